"""`random:RATIO`: steps dropped at random, the control that every choice of steps must beat.

RATIO is the share of R's tokens that stays: DRP's own is 1 − `tokens_saved` of its summary.json.
The statement of the answer stays.
"""

from __future__ import annotations

import random

from drp_plugin.methods import Given, Method, Nobody
from drp_plugin.methods.dropping import parse_ratio, sentences, to_ratio, without
from drp_plugin.pruning.dialogue import Dialogue
from drp_plugin.pruning.values import CheckedTrace, Result


def method(given: Given) -> Method:
    """Raises UserError for a ratio that is none."""
    ratio = parse_ratio(given.argument)

    async def prune(checked: CheckedTrace, dialogue: Dialogue) -> Result:
        steps, stays = sentences(checked)
        order = [step.index for step in steps if step.index != stays]
        random.Random(checked.trace.id).shuffle(order)  # by the row, whatever stands around it
        return without(checked, steps, to_ratio(ratio, checked, steps, order, dialogue.count))

    return Method(prune, Nobody())
