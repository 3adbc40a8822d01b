"""The student, asked like a teacher: what rows ask at once is sampled as one batch."""

from __future__ import annotations

import asyncio
from typing import Any

from drp_plugin.llm.messages import Reply, Request, Teacher, TeacherError
from drp_plugin.methods import Given
from drp_plugin.records import Usage
from drp_plugin.sampling import engines
from drp_plugin.sampling.completions import MAX_NEW_TOKENS, Failed, SampleRequest
from drp_plugin.sampling.identity import derived_seed

_GATHER_S = 0.05
"""How long a batch waits for rows that are about to ask as well."""


class OwnStudent(Teacher):
    """Any engine of `drp generate`. Raises UserError where the model cannot be had."""

    def __init__(self, given: Given) -> None:
        urls = [given.base_url] if given.base_url else []
        self.local = not urls
        self._sampler = engines.make("auto", given.argument, base_urls=urls,
                                     **(given.engine or {}))
        self.identity = {"kind": "student", **self._sampler.identity}
        self._waiting: list[tuple[SampleRequest, asyncio.Future[Any]]] = []
        self._work: asyncio.Task[None] | None = None

    async def ask(self, request: Request) -> Reply:
        """One completion. Raises TeacherError."""
        given, future = request.sampling, asyncio.get_running_loop().create_future()
        self._waiting.append((SampleRequest(
            messages=request.messages, stop_loops=True,
            temperature=0.6 if given.temperature is None else given.temperature,
            top_p=given.top_p or 1.0, max_new_tokens=given.max_tokens or MAX_NEW_TOKENS,
            seed=derived_seed(given.seed or 0, *(m.content for m in request.messages))), future))
        if self._work is None or self._work.done():
            self._work = asyncio.ensure_future(self._run())
        outcome = await future
        if isinstance(outcome, Failed):
            raise TeacherError(outcome.error)
        return Reply(text=outcome.text, finish_reason="stop" if outcome.finish == "stop" else
                     "length", usage=Usage(requests=1, prompt_tokens=outcome.prompt_tokens,
                                           completion_tokens=outcome.tokens))

    async def _run(self) -> None:
        """Sample what waits, batch by batch. An engine's fault ends the rows of its batch."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            await asyncio.sleep(_GATHER_S)
            batch, self._waiting = self._waiting, []

            def settle(index: int, outcome: Any, batch: Any = batch) -> None:
                if not batch[index][1].done():
                    batch[index][1].set_result(outcome)

            def work(batch: Any = batch, settle: Any = settle) -> None:
                fault = "the engine gave no completion"
                try:
                    for index, outcome in self._sampler.sample([asked for asked, _ in batch]):
                        loop.call_soon_threadsafe(settle, index, outcome)
                except Exception as error:
                    fault = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                for index in range(len(batch)):
                    loop.call_soon_threadsafe(settle, index, Failed(error=fault))

            await asyncio.to_thread(work)
