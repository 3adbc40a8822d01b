"""`no-thinking`: the answer part alone behind an empty thinking, the lower bound in tokens."""

from __future__ import annotations

from drp_plugin.methods import Given, Method, Nobody
from drp_plugin.methods.dropping import sentences, without
from drp_plugin.pruning.dialogue import Dialogue
from drp_plugin.pruning.values import CheckedTrace, Result


async def no_thinking(checked: CheckedTrace, dialogue: Dialogue) -> Result:
    """Delete every step."""
    steps, _ = sentences(checked)
    return without(checked, steps, {s.index for s in steps})._replace(kind="no_thinking")


def method(given: Given) -> Method:
    return Method(no_thinking, Nobody())
