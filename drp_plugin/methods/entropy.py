"""`entropy:MODEL[@RATIO]`: the steps of lowest entropy under the student go.

A step's entropy is the sum of its tokens' entropies. As in the paper on step entropy, the lowest
80 % of the steps go, or, with RATIO, as many as leave that share of R's tokens. That paper leaves
a mark where a step stood; here the rest is joined. The statement of the answer stays.
"""

from __future__ import annotations

from drp_plugin.methods import Given, Method
from drp_plugin.methods.dropping import model_and_ratio, sentences, to_ratio, without
from drp_plugin.methods.scorer import Scorer, scores
from drp_plugin.pruning.dialogue import Dialogue
from drp_plugin.pruning.values import CheckedTrace, Result

SHARE = 0.8
"""Of the steps, without a RATIO."""


def method(given: Given) -> Method:
    """Raises UserError for a model or ratio that is none."""
    model, ratio = model_and_ratio(given.argument)

    async def prune(checked: CheckedTrace, dialogue: Dialogue) -> Result:
        steps, stays = sentences(checked)
        values = await scores("entropy", checked, steps, dialogue)
        order = sorted((s.index for s in steps if s.index != stays), key=lambda i: values[i - 1])
        dropped = set(order[:int(SHARE * len(steps))]) if ratio is None else \
            to_ratio(ratio, checked, steps, order, dialogue.count)
        return without(checked, steps, dropped)

    return Method(prune, Scorer(model))
