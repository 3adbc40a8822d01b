"""`perplexity:MODEL[@RATIO]`: a step without which the answer is no less likely goes.

A step's importance is how much the perplexity of A rises without it, each step taken out alone.
Steps of no importance go, or, with RATIO, the least important until that share of R's tokens is
left. The statement of the answer stays. `pir:MODEL` lets only steps of checking and correcting go,
as PIR does; there a model classifies the steps, here their words do.
"""

from __future__ import annotations

import re

from drp_plugin.methods import Given, Method
from drp_plugin.methods.dropping import model_and_ratio, sentences, to_ratio, without
from drp_plugin.methods.scorer import Scorer, scores
from drp_plugin.pruning.dialogue import Dialogue
from drp_plugin.pruning.values import CheckedTrace, Result

CHECKING = re.compile(
    r"\b(?:wait|hold on|hmm+|actually|(?:double|re)-?\s?check\w*|check\w*|verif\w+|confirm\w*|"
    r"make sure|once more|go (?:through|over) (?:it|this|that)|look (?:at \w+ )?again|"
    r"another way|alternatively|did i|mistake|wrong|correct(?:ly)?|it works|makes sense)\b",
    re.IGNORECASE)


def method(given: Given) -> Method:
    """Raises UserError for a model or ratio that is none."""
    model, ratio = model_and_ratio(given.argument)

    async def prune(checked: CheckedTrace, dialogue: Dialogue) -> Result:
        steps, stays = sentences(checked)
        whole, *rest = await scores("answer", checked, steps, dialogue)
        may_go = [s.index for s in steps if s.index != stays
                  and (given.name != "pir" or CHECKING.search(s.text))]
        dropped = {i for i in may_go if rest[i - 1] <= whole} if ratio is None else to_ratio(
            ratio, checked, steps, sorted(may_go, key=lambda i: rest[i - 1]), dialogue.count)
        return without(checked, steps, dropped)

    return Method(prune, Scorer(model))
