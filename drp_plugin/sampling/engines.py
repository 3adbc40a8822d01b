"""Choosing an engine by name."""

import importlib
import importlib.util
from collections.abc import Sequence
from typing import Any

from drp_plugin import hub
from drp_plugin.errors import UserError
from drp_plugin.sampling.arguments import check_for
from drp_plugin.sampling.completions import Sampler

_ENGINES = {"hf": "transformers_engine.HFSampler", "vllm": "vllm_engine.VLLMSampler",
            "openai": "endpoint.EndpointSampler", "ray": "cluster.RaySampler"}


def resolve(backend: str, base_urls: Sequence[str] = ()) -> str:
    """What `auto` means here: the servers that are given, vLLM on a GPU, transformers elsewhere."""
    if backend in _ENGINES:
        return backend
    if backend != "auto":
        raise UserError(f"unknown backend {backend!r}",
                        fix=f"Choose from auto, {', '.join(_ENGINES)}")
    if base_urls:
        return "openai"
    import torch

    return "vllm" if torch.cuda.is_available() and importlib.util.find_spec("vllm") else "hf"


def engine_class(backend: str) -> Any:
    """The class of a backend; its libraries are imported here."""
    module, _, name = _ENGINES[backend].partition(".")
    return getattr(importlib.import_module(f"drp_plugin.sampling.{module}"), name)


def make(backend: str, model: str | None, *, base_urls: Sequence[str] = (),
         adapter: str | None = None, batch_size: int | None = None, **engine: Any) -> Sampler:
    """The engine with the model in it. Raises UserError when it cannot be had."""
    backend = resolve(backend, base_urls)
    if backend == "openai":
        if not base_urls:
            raise UserError("the openai backend needs a server", fix="Give --base-url URL")
        if adapter:
            raise UserError("an adapter is served by the server itself",
                            fix="Name it with --model, and leave --adapter out")
    elif model is None:
        raise UserError("no model was given", fix="Give --model FOLDER")
    elif why := hub.missing(model):
        raise UserError(why, fix="Give --model FOLDER with a folder that holds the weights")
    made = engine_class(backend)
    if backend in ("openai", "hf"):
        check_for(made, engine, f"the {backend} backend")
    options: dict[str, dict[str, Any]] = {
        "openai": {}, "vllm": {"lora": adapter}, "hf": {"peft": adapter, "batch_size": batch_size},
        "ray": {"adapter": adapter, "batch_size": batch_size}}
    sampler: Sampler = made(*([base_urls] if backend == "openai" else []), model,
                            **options[backend], **engine)
    return sampler
