"""`tale-estimate:MODEL`: TALE-EP's answers under a budget that the student estimates itself.

Two rounds of the same model, with the prompts of the task `drp_tale`. A budget that cannot be
read falls back to "Let's think step by step:". The rows are TALE-PT's sets: as they are for SFT,
as pairs with the trace's own response for DPO.
"""

from __future__ import annotations

import re

from drp_plugin.llm.messages import Message, Request
from drp_plugin.methods import Given, Method
from drp_plugin.methods.own_student import OwnStudent
from drp_plugin.methods.shortest_correct import whole
from drp_plugin.pruning.dialogue import CutReply, Dialogue, Rejection
from drp_plugin.pruning.values import CheckedTrace, Result
from drp_plugin.pruning.verify import check_trace
from drp_plugin.records import Reason

_BUDGET = re.compile(r"\[\[\s*(\d{1,6})\s*\]\]")


def budget(reply: str) -> int | None:
    """The token budget that a reply names: the last `[[N]]` with N > 0, or None."""
    found = [int(n) for n in _BUDGET.findall(reply)]
    return next((n for n in reversed(found) if n > 0), None)


async def say(dialogue: Dialogue, prompt: str) -> str:
    """The student's whole reply. Raises Rejection where it was cut off."""
    message = Message(role="user", content=prompt)
    try:
        return (await dialogue.reply("sample", Request(
            messages=(message,), sampling=dialogue.options.sampling, tag="tale"))).text
    except CutReply as cut:
        raise Rejection("sample", Reason.CUT_REPLY, "the student did not come to an end",
                        cut.reply.text) from None


async def answer(checked: CheckedTrace, dialogue: Dialogue, tokens: int | None) -> CheckedTrace:
    """The student's response under a budget, taken apart. Raises Rejection where it is wrong."""
    question = checked.trace.question
    prompt = dialogue.prompts.render("eval_tale_fallback", question=question) if tokens is None \
        else dialogue.prompts.render("eval_tale", question=question, budget=tokens)
    response = await say(dialogue, prompt)
    known = checked.trace.answer if checked.trace.answer is not None else checked.final
    return check_trace(checked.trace.model_copy(update={"response": response, "answer": known}),
                       dialogue.options)


async def estimate(checked: CheckedTrace, dialogue: Dialogue) -> Result:
    """Ask for the budget, then for the answer under it. Raises Rejection."""
    asked = dialogue.prompts.render("eval_tale_budget", question=checked.trace.question)
    try:
        named = budget(await say(dialogue, asked))
    except Rejection as cut:  # a reply without end names no budget either
        if cut.reason is not Reason.CUT_REPLY:
            raise
        named = None
    return whole(await answer(checked, dialogue, named))


def method(given: Given) -> Method:
    """Raises UserError where the model cannot be had."""
    return Method(estimate, OwnStudent(given))
