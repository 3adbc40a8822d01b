"""TALE: the student's own answers under a token budget, with the prompts of the task `drp_tale`.

`tale-search:MODEL` halves the budget while the answer stays right and shrinks (docs/methods.md)."""

import asyncio
import re
from typing import Any

from drp_plugin.llm.messages import Message, Reply, Request, Teacher, TeacherError
from drp_plugin.methods import Given, Method
from drp_plugin.pruning.dialogue import CheckedTrace, CutReply, Dialogue, Rejection, Result, whole
from drp_plugin.pruning.flow import check_trace
from drp_plugin.records import Reason, Usage
from drp_plugin.sampling import engines
from drp_plugin.sampling.completions import MAX_NEW_TOKENS, Failed, SampleRequest
from drp_plugin.sampling.pretrained import derived_seed

_GATHER_S = 0.05  # How long a batch waits for further rows
_BUDGET = re.compile(r"\[\[\s*(\d{1,6})\s*\]\]")


def budget(reply: str) -> int | None:
    """The token budget that a reply names: the last `[[N]]` with N > 0, or None."""
    return next((int(n) for n in reversed(_BUDGET.findall(reply)) if int(n) > 0), None)


async def _say(dialogue: Dialogue, prompt: str) -> str:
    request = Request(messages=(Message(role="user", content=prompt),),
                      sampling=dialogue.options.sampling, tag="tale")
    try:
        return (await dialogue.reply("sample", request)).text
    except CutReply as cut:
        raise Rejection("sample", Reason.CUT_REPLY, "the student did not finish",
                        cut.reply.text) from None


async def _answer(checked: CheckedTrace, dialogue: Dialogue, tokens: int | None) -> CheckedTrace:
    """The response under a budget, taken apart. Raises Rejection where it is wrong."""
    trace, render = checked.trace, dialogue.prompts.render
    prompt = render("eval_tale_fallback", question=trace.question) if tokens is None else \
        render("eval_tale", question=trace.question, budget=tokens)
    right = checked.final if trace.answer is None else trace.answer
    return check_trace(trace.model_copy(update={"response": await _say(dialogue, prompt),
                                                "answer": right}), dialogue.options)


async def estimate(checked: CheckedTrace, dialogue: Dialogue) -> Result:
    """Ask for the budget, then for the answer under it. Raises Rejection."""
    prompt = dialogue.prompts.render("eval_tale_budget", question=checked.trace.question)
    try:
        named = budget(await _say(dialogue, prompt))
    except Rejection as cut:  # a reply without an end has no budget either
        if cut.reason is not Reason.CUT_REPLY:
            raise
        named = None
    return whole(await _answer(checked, dialogue, named))


async def search(checked: CheckedTrace, dialogue: Dialogue) -> Result:
    """Raises Rejection if the first budget's answer is wrong or not shorter."""
    best, least = None, dialogue.count(checked.trace.response)
    tokens = max(1, least // 2)
    while tokens:
        try:
            found = await _answer(checked, dialogue, tokens)
            if (length := dialogue.count(found.trace.response)) >= least:
                raise Rejection("sample", Reason.LONGER, f"under a budget of {tokens} tokens it "
                                f"has {length}, not fewer than {least}")
        except Rejection as failed:
            if best is None or failed.reason is Reason.REQUEST_FAILED:
                raise
            break
        best, least, tokens = found, length, tokens // 2
    assert best is not None
    return whole(best)


def method(given: Given) -> Method:
    """Raises UserError where the model cannot be had."""
    return Method(search if given.name == "tale-search" else estimate, OwnStudent(given))


class OwnStudent(Teacher):
    """The student, by any engine of `drp generate`: simultaneous requests of rows are one batch.
    Raises UserError if the model is not available."""

    def __init__(self, given: Given) -> None:
        self.local = not given.base_urls
        self._sampler = engines.make("auto", given.argument, base_urls=given.base_urls,
                                     **(given.engine or {}))
        self.identity = {"kind": "student", **self._sampler.identity}
        self._waiting: list[tuple[SampleRequest, asyncio.Future[Any]]] = []
        self._work: asyncio.Task[None] | None = None

    async def ask(self, request: Request) -> Reply:
        """One completion. Raises TeacherError."""
        given, future = request.sampling, asyncio.get_running_loop().create_future()
        self._waiting.append((SampleRequest(messages=request.messages, stop_loops=True,
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
        """Sample what waits, batch by batch. An engine's failure ends the rows of its batch."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            await asyncio.sleep(_GATHER_S)
            batch, self._waiting = self._waiting, []

            def work(batch: Any = batch) -> None:
                fault = "the engine gave no completion"
                try:
                    for index, outcome in self._sampler.sample([asked for asked, _ in batch]):
                        loop.call_soon_threadsafe(_settle, batch[index][1], outcome)
                except Exception as error:
                    fault = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                for _, future in batch:
                    loop.call_soon_threadsafe(_settle, future, Failed(error=fault))

            await asyncio.to_thread(work)


def _settle(future: asyncio.Future[Any], outcome: Any) -> None:
    if not future.done():
        future.set_result(outcome)
