"""The student in the real vLLM, in this process: thousands of requests are scheduled at once.

The engine is stepped here, so every completion is handed over the moment it finishes. Works
with vLLM from 0.11 on, on GPUs and on its CPU platform."""

import asyncio
import contextlib
import dataclasses
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError, install
from drp_plugin.jsonl import loads
from drp_plugin.sampling.arguments import check
from drp_plugin.sampling.completions import Failed, Outcome, Sampler, SampleRequest
from drp_plugin.sampling.pool import in_thread
from drp_plugin.sampling.pretrained import Chat, Drawn, identity
from drp_plugin.terminal import say
from drp_plugin.thinking import CLOSE, OPEN

_RANKS = (8, 16, 32, 64, 128, 256, 512)
AHEAD = 8192  # Requests that the engine is given at a time: many more than it runs at once


class VLLMSampler(Sampler):
    """A vLLM engine with a model, and a LoRA adapter by path (`lora`), not merged.

    Every further argument is one of vLLM's own (`tensor_parallel_size`, `max_model_len`, …).
    `data_parallel_size` > 1 runs that many engines under one scheduler, without torchrun. Without a
    GPU the defaults of vLLM's CPU platform are set here. Raises UserError for unknown arguments."""

    def __init__(self, model: str, *, lora: str | None = None, chat_template: str | None = None,
                 revision: str | None = None, trust_remote_code: bool = False,
                 **engine: Any) -> None:
        self.arguments = arguments(model, lora, revision, trust_remote_code, engine)
        self.chat = Chat(model, template=chat_template, revision=revision,
                         trust_remote_code=trust_remote_code)
        self.lora = lora
        self.parallel = int(engine.get("data_parallel_size", 1) or 1)
        self.identity = identity("vllm", model, revision=revision, chat_template=chat_template,
                                 adapter=lora, **{"dtype": self.arguments["dtype"], **engine})
        self._engine: Any = None

    def sample(self, requests: Iterable[SampleRequest]) -> Iterator[tuple[int, Outcome]]:
        if self.parallel > 1:  # vLLM's own data parallelism, which its asynchronous engine has
            yield from in_thread(lambda results: self._all(requests, results))
            return
        if self._engine is None:
            from vllm import LLM

            start = time.monotonic()
            self._engine = LLM(**self.arguments).llm_engine
            say(f"vLLM's engine is ready after {time.monotonic() - start:.1f} s")
        engine = self._engine
        longest = _longest(engine)
        open_: dict[str, Drawn] = {}
        coming = enumerate(requests)
        try:
            while True:
                while len(open_) < AHEAD and (following := next(coming, None)):
                    item = Drawn(*following, self.chat, longest)
                    if item.failed:
                        yield item.index, item.failed
                        continue
                    open_[str(item.index)] = item
                    engine.add_request(str(item.index), {"prompt_token_ids": item.prompt},
                                       self._params(item.request), lora_request=self._lora())
                if not open_:
                    return
                for output in engine.step():
                    item = open_[output.request_id]
                    outcome = _take(item, output)
                    if outcome is not None:
                        if not output.finished:
                            engine.abort_request([output.request_id])
                        del open_[output.request_id]
                        yield item.index, outcome
        finally:
            if open_:
                with contextlib.suppress(Exception):  # the engine may be what failed
                    engine.abort_request(list(open_))

    def ends_thinking(self) -> bool:
        """See `Sampler.ends_thinking`; before the engine is started."""
        with contextlib.suppress(ImportError, TypeError):  # earlier releases have none, or another
            from vllm.config.reasoning import ReasoningConfig

            self.arguments.setdefault("reasoning_config", ReasoningConfig(
                reasoning_start_str=OPEN, reasoning_end_str=CLOSE))
            return True
        return False

    def _params(self, request: SampleRequest) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        greedy, budget = request.temperature <= 0, request.thinking_budget
        return SamplingParams(**({} if budget is None else {"thinking_token_budget": budget}),
            temperature=request.temperature, top_p=1.0 if greedy else request.top_p,
            top_k=-1 if greedy or not request.top_k else request.top_k,
            max_tokens=request.limit, seed=None if greedy else request.seed, detokenize=False,
            output_kind=(RequestOutputKind.DELTA if request.stop_loops
                         else RequestOutputKind.FINAL_ONLY))

    def _lora(self) -> Any:
        from vllm.lora.request import LoRARequest

        return None if self.lora is None else LoRARequest("adapter", 1, self.lora)

    async def _all(self, requests: Iterable[SampleRequest], results: Any) -> None:
        from vllm import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**self.arguments))
        try:
            longest = _longest(engine)

            async def one(index: int, request: SampleRequest) -> None:
                item = Drawn(index, request, self.chat, longest)
                outcome: Outcome | None = item.failed
                if outcome is None:
                    async for output in engine.generate(
                            {"prompt_token_ids": item.prompt}, self._params(request), str(index),
                            lora_request=self._lora()):
                        if (outcome := _take(item, output)) is not None:
                            break
                results.put((index, outcome or Failed(error="vLLM gave no completion")))

            await asyncio.gather(*(one(i, r) for i, r in enumerate(requests)))
        finally:
            engine.shutdown()


def _take(item: Drawn, output: Any) -> Outcome | None:
    part = output.outputs[0]
    item.ids += part.token_ids
    if not output.finished:
        return item.ended("loop") if item.loops() else None
    if part.finish_reason == "length":
        return item.ended(item.request.cut(len(item.ids)))
    if part.finish_reason != "stop":
        return Failed(error=f"vLLM ended the request with {part.finish_reason!r}")
    if item.ids and item.ids[-1] in item.chat.stop_ids:
        item.ids.pop()
    return item.ended("stop")


def engine_arguments() -> list[str]:
    """The names of this vLLM's engine arguments. Raises UserError where there is no vLLM."""
    try:
        from vllm import EngineArgs
    except ImportError as error:
        raise UserError(f"vLLM cannot be imported ({error})", fix=f"{install('vllm')}, or do "
                        "without: --backend hf, --teacher openai:MODEL, --model drp_hf") from None
    return [field.name for field in dataclasses.fields(EngineArgs) if field.name != "model"]


def arguments(model: str, lora: str | None, revision: str | None, trust_remote_code: bool,
              given: dict[str, Any]) -> dict[str, Any]:
    """vLLM's engine arguments, with this machine's defaults. Raises UserError."""
    cpu = _without_gpu()
    if cpu:  # before vLLM is imported
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
        if int(given.get("data_parallel_size", 1) or 1) == 1:
            os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
    check(given, engine_arguments(), "vLLM")
    settings: dict[str, Any] = {"model": model, "revision": revision, "disable_log_stats": True,
        "trust_remote_code": trust_remote_code, "dtype": "float32" if cpu else "auto"}
    if cpu:
        settings["enforce_eager"] = True
        if os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING") == "0":
            settings["distributed_executor_backend"] = "uni"
    if lora is not None:
        settings |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": _rank(lora)}
    return settings | {name: _read(name, value) for name, value in given.items()}


def _without_gpu() -> bool:
    try:
        import torch
    except ImportError:
        return False  # there is no vLLM either, which its import reports
    return not torch.cuda.is_available() and not getattr(torch, "xpu", torch.cuda).is_available()


def _read(name: str, value: Any) -> Any:
    if not isinstance(value, str) or value.strip()[:1] not in ("{", "["):
        return value
    try:
        return loads(value)
    except ValueError as error:
        raise UserError(f"the engine's argument {name} is not JSON ({error})") from None


def _rank(lora: str) -> int:
    file = Path(lora) / "adapter_config.json"
    if not file.is_file():
        raise UserError("holds no adapter_config.json", file=lora,
                        fix="lora must name the folder of a PEFT adapter")
    rank = int(loads(file.read_text(encoding="utf-8")).get("r", 8))
    return next((r for r in _RANKS if r >= rank), rank)


def _longest(engine: Any) -> int:
    """The model's context in tokens; the place of its configuration differs between releases."""
    config = getattr(engine, "model_config", None) or engine.vllm_config.model_config
    return int(config.max_model_len)
