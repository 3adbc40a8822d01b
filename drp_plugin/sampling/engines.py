"""Choosing an engine by name, and the engine for many machines.

Ray Data shares the requests out, on a reachable cluster (RAY_ADDRESS, `ray job submit`) or on this
machine. Each worker holds one model: vLLM on its GPUs, transformers on CPUs."""

import importlib
import importlib.util
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from drp_plugin import hub
from drp_plugin.errors import UserError
from drp_plugin.sampling.arguments import check_for, flag, integer
from drp_plugin.sampling.completions import OUTCOME, Outcome, Sampler, SampleRequest
from drp_plugin.sampling.pretrained import identity

_ENGINES = {"hf": "transformers_engine.HFSampler", "vllm": "vllm_engine.VLLMSampler",
            "openai": "endpoint.EndpointSampler", "ray": "engines.RaySampler"}
BLOCK = 64  # Requests that a worker takes, and stores, at a time


def resolve(backend: str, base_urls: Sequence[str] = ()) -> str:
    """What `auto` means here: the given servers, vLLM on a GPU, transformers elsewhere."""
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
    """The engine with its model. Raises UserError if it is not available."""
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


class Worker:
    """One engine on one worker; Ray Data calls it with blocks of requests."""

    def __init__(self, engine: str, model: str, settings: dict[str, Any]) -> None:
        self.sampler: Sampler = engine_class(engine)(model, **settings)

    def __call__(self, block: dict[str, Any]) -> dict[str, list[Any]]:
        requests = [SampleRequest.model_validate_json(text) for text in block["request"]]
        done = list(self.sampler.sample(requests))
        return {"index": [int(block["index"][place]) for place, _ in done],
                "outcome": [outcome.model_dump_json() for _, outcome in done]}


class RaySampler(Sampler):
    """Sampling on a Ray cluster. `workers`: engines in all (1); `gpus`: GPUs of each (1 with vLLM,
    0 with transformers); `engine`: `vllm` or `hf`, by whether the workers have GPUs; `block`:
    requests handed over, and stored, at a time. Further arguments are the engine's own."""

    def __init__(self, model: str, *, adapter: str | None = None, batch_size: int | None = None,
                 workers: int = 1, gpus: float | None = None, engine: str | None = None,
                 block: int = BLOCK, local: bool = False, **settings: Any) -> None:
        import ray

        if not ray.is_initialized():
            ray.init(address="local" if flag("local", local) else None, log_to_driver=False,
                     logging_level=logging.WARNING, include_dashboard=False)
        self.engine = engine or ("vllm" if ray.cluster_resources().get("GPU", 0) > 0 else "hf")
        if self.engine not in ("vllm", "hf"):
            raise UserError(f"engine={engine} is unknown", fix="Choose vllm or hf")
        self.gpus = gpus if gpus is not None else float(self.engine == "vllm")
        self.workers = integer("workers", workers) or 1
        self.block = integer("block", block) or BLOCK
        self.model = model
        self.settings = {"lora": adapter, **settings}
        if self.engine == "hf":
            check_for(engine_class("hf"), settings, "the hf engine of the ray backend")
            self.settings = {"workers": 1, "batch_size": batch_size, "peft": adapter, **settings}
        self.identity = identity("ray", model, adapter=adapter, inner=self.engine, **settings)

    def sample(self, requests: Iterable[SampleRequest]) -> Iterator[tuple[int, Outcome]]:
        """See `Sampler.sample`; completions come, and are stored, block by block."""
        from ray import data

        data.DataContext.get_current().enable_progress_bars = False
        rows = [{"index": i, "request": r.model_dump_json()} for i, r in enumerate(requests)]
        blocks = max(1, -(-len(rows) // self.block))
        size: dict[str, Any] = {"num_gpus": self.gpus} if self.gpus else {"num_cpus": 1}
        outcomes = data.from_items(rows, override_num_blocks=blocks).map_batches(
            Worker, fn_constructor_args=(self.engine, self.model, self.settings),
            batch_size=self.block, concurrency=self.workers, **size)
        for batch in outcomes.iter_batches(batch_size=None, batch_format="numpy"):
            for index, outcome in zip(batch["index"], batch["outcome"], strict=True):
                yield int(index), OUTCOME.validate_json(outcome)
