"""`tale-search:MODEL`: TALE's budget search, from the length of the student's own answer down.

The budget is halved while the answer stays right and gets shorter; the last such answer is kept.
"""

from __future__ import annotations

from drp_plugin.methods import Given, Method
from drp_plugin.methods.own_student import OwnStudent
from drp_plugin.methods.shortest_correct import whole
from drp_plugin.methods.tale_estimate import answer
from drp_plugin.pruning.dialogue import Dialogue, Rejection
from drp_plugin.pruning.values import CheckedTrace, Result
from drp_plugin.records import Reason


async def search(checked: CheckedTrace, dialogue: Dialogue) -> Result:
    """Raises Rejection where already the first budget's answer is wrong or not shorter."""
    best, least = None, dialogue.count(checked.trace.response)
    tokens = least // 2
    while tokens:
        try:
            found = await answer(checked, dialogue, tokens)
            length = dialogue.count(found.trace.response)
            if length >= least:
                raise Rejection("sample", Reason.LONGER, f"under a budget of {tokens} tokens it "
                                f"has {length}, not fewer than {least}")
        except Rejection as failed:
            if best is None or failed.reason is Reason.REQUEST_FAILED:
                raise
            break
        best, least, tokens = found, length, tokens // 2
    if best is None:
        raise Rejection("sample", Reason.LONGER, "there is no budget below its length")
    return whole(best)


def method(given: Given) -> Method:
    """Raises UserError where the model cannot be had."""
    return Method(search, OwnStudent(given))
