"""`perplexity:MODEL[@RATIO]`: a step without which the answer is no less likely goes.

A step's importance is how much the perplexity of A rises without it, each step taken out alone
(PIR). Steps of no importance go, or, with RATIO, the least important until that share of R's
tokens is left. The statement of the answer stays.
"""

from __future__ import annotations

from collections.abc import Callable

from drp_plugin.methods import Given, Method
from drp_plugin.methods.dropping import model_and_ratio, sentences, to_ratio, without
from drp_plugin.methods.scorer import Scorer, scores
from drp_plugin.pruning.dialogue import Dialogue
from drp_plugin.pruning.values import CheckedTrace, Result


def by_perplexity(given: Given, prunable: Callable[[str], bool]) -> Method:
    """The method, for steps whose text is `prunable`. Raises UserError."""
    model, ratio = model_and_ratio(given.argument)

    async def prune(checked: CheckedTrace, dialogue: Dialogue) -> Result:
        steps, stays = sentences(checked)
        whole, *rest = await scores("answer", checked, steps, dialogue)
        may_go = [s.index for s in steps if s.index != stays and prunable(s.text)]
        dropped = {i for i in may_go if rest[i - 1] <= whole} if ratio is None else to_ratio(
            ratio, checked, steps, sorted(may_go, key=lambda i: rest[i - 1]), dialogue.count)
        return without(checked, steps, dropped)

    return Method(prune, Scorer(model))


def method(given: Given) -> Method:
    return by_perplexity(given, lambda text: True)
