"""Choosing an engine by name."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

from drp_plugin import hub
from drp_plugin.errors import UserError
from drp_plugin.sampling.arguments import check_for
from drp_plugin.sampling.completions import Sampler

BACKENDS = ("auto", "hf", "vllm", "openai", "ray")


def resolve(backend: str, base_urls: Sequence[str] = ()) -> str:
    """What `auto` means here: the servers that are given, vLLM on a GPU, transformers elsewhere."""
    if backend not in BACKENDS:
        raise UserError(f"unknown backend {backend!r}", fix=f"Choose from {', '.join(BACKENDS)}")
    if backend != "auto":
        return backend
    if base_urls:
        return "openai"
    import torch

    return "vllm" if torch.cuda.is_available() and importlib.util.find_spec("vllm") else "hf"


def make(backend: str, model: str | None, *, base_urls: Sequence[str] = (),
         adapter: str | None = None, batch_size: int | None = None, **engine: Any) -> Sampler:
    """The engine with the model in it. Raises UserError when it cannot be had."""
    backend = resolve(backend, base_urls)
    if backend == "openai":
        from drp_plugin.sampling.endpoint import EndpointSampler

        if not base_urls:
            raise UserError("the openai backend needs a server", fix="Give --base-url URL")
        if adapter:
            raise UserError("an adapter is served by the server itself",
                            fix="Name it with --model, and leave --adapter out")
        check_for(EndpointSampler, engine, "the openai backend")
        return EndpointSampler(base_urls, model, **engine)
    if model is None:
        raise UserError("no model was given", fix="Give --model FOLDER")
    why = hub.missing(model)
    if why:
        raise UserError(why, fix="Give --model FOLDER with a folder that holds the weights")
    if backend == "hf":
        from drp_plugin.sampling.transformers_engine import HFSampler

        check_for(HFSampler, engine, "the hf backend")
        return HFSampler(model, peft=adapter, batch_size=batch_size, **engine)
    if backend == "vllm":
        from drp_plugin.sampling.vllm_engine import VLLMSampler

        return VLLMSampler(model, lora=adapter, **engine)
    from drp_plugin.sampling.cluster import RaySampler

    return RaySampler(model, adapter=adapter, batch_size=batch_size, **engine)
