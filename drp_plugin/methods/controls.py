"""The controls that every choice of steps must beat.

`random:RATIO` drops steps at random; RATIO is the share of R's tokens that stays (DRP's own is
1 − `tokens_saved` of its summary.json), and so does the statement of the answer. `no-thinking` is
the answer part alone behind an empty thinking, the lower bound in tokens."""

import random

from drp_plugin.methods import Given, Method, Nobody
from drp_plugin.methods.dropping import parse_ratio, sentences, to_ratio, without
from drp_plugin.pruning.dialogue import CheckedTrace, Dialogue, Result


def method(given: Given) -> Method:
    """Raises UserError for a ratio that is not one."""
    ratio = parse_ratio(given.argument) if given.name == "random" else 0.0

    async def prune(checked: CheckedTrace, dialogue: Dialogue) -> Result:
        steps, stays = sentences(checked)
        if not ratio:
            every = {step.index for step in steps}
            return without(checked, steps, every)._replace(kind="no_thinking")
        order = [step.index for step in steps if step.index != stays]
        random.Random(checked.trace.id).shuffle(order)  # by the row alone, whatever its neighbours
        return without(checked, steps, to_ratio(ratio, checked, steps, order, dialogue.count))

    return Method(prune, Nobody())
