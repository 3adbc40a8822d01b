"""`vllm:PATH`: a model in this process, by vLLM."""

import asyncio
import uuid
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.llm.messages import Reply, Request, Teacher, TeacherError, TooLong
from drp_plugin.records import Usage
from drp_plugin.sampling.pretrained import identity
from drp_plugin.sampling.vllm_engine import arguments


class VllmTeacher(Teacher):
    """A local model; vLLM's engine batches what is asked at once. `engine` holds arguments of
    vLLM's engine. Raises UserError for one that it does not have, and without vLLM."""

    def __init__(self, path: str, *, concurrency: int = 64,
                 engine: dict[str, Any] | None = None) -> None:
        self.name = f"vllm:{path}"
        self.identity = {"kind": "vllm", **identity("vllm", path, **(engine or {}))}
        self._failed: UserError | None = None
        self._slots = asyncio.Semaphore(concurrency)
        self._starting = asyncio.Lock()
        self._engine: Any = None
        self._tokenizer: Any = None
        self._arguments = arguments(path, None, None, False, engine or {})

    async def _start(self) -> None:
        async with self._starting:
            if self._failed is not None:
                raise self._failed
            if self._engine is not None:
                return
            from vllm import AsyncEngineArgs
            from vllm.v1.engine.async_llm import AsyncLLM

            try:
                engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**self._arguments))
            except Exception as error:
                text = " ".join(str(error).split())[:300]
                self._failed = UserError(f"teacher {self.name} does not start ({text})",
                    fix="Check the path and the memory; vLLM's message is above")
                raise self._failed from None
            tokenizer = engine.get_tokenizer()
            if asyncio.iscoroutine(tokenizer):
                tokenizer = await tokenizer
            self._engine, self._tokenizer = engine, tokenizer

    async def ask(self, request: Request) -> Reply:
        """Answer one request. Raises TooLong where the prompt does not fit the model."""
        if self._engine is None:
            await self._start()
        prompt = self._tokenizer.apply_chat_template(
            [m.model_dump() for m in request.messages], tokenize=False, add_generation_prompt=True)
        ids = self._tokenizer(prompt, add_special_tokens=False)["input_ids"]
        room = self._engine.model_config.max_model_len - len(ids)
        if room < 1:
            raise TooLong(f"the prompt has {len(ids)} tokens, more than the model takes")
        async with self._slots:
            last = None
            try:
                async for output in self._engine.generate(
                        {"prompt_token_ids": ids}, self._sampling(request, room),
                        uuid.uuid4().hex):
                    last = output
            except ValueError as error:
                raise TeacherError(" ".join(str(error).split())[:300]) from None
        assert last is not None
        done = last.outputs[0]
        return Reply(text=done.text,
                     finish_reason="length" if done.finish_reason == "length" else "stop",
                     usage=Usage(requests=1, prompt_tokens=len(ids),
                                 completion_tokens=len(done.token_ids)))

    def _sampling(self, request: Request, room: int) -> Any:
        from vllm import SamplingParams

        given = {**request.sampling.model_dump(exclude={"extra"}),
            "max_tokens": min(request.sampling.max_tokens or room, room), **request.sampling.extra}
        if request.json_schema is not None:
            from vllm.sampling_params import StructuredOutputsParams

            given["structured_outputs"] = StructuredOutputsParams(json=request.json_schema)
        return SamplingParams(**{k: v for k, v in given.items() if v is not None})

    async def close(self) -> None:
        if self._engine is not None:
            self._engine.shutdown()
            self._engine = None
