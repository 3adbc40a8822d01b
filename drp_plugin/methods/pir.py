"""`pir:MODEL[@RATIO]`: as `perplexity`, but only steps of checking and correcting may go (PIR).

The paper has a model classify the steps; here their words do.
"""

from __future__ import annotations

import re

from drp_plugin.methods import Given, Method
from drp_plugin.methods.perplexity import by_perplexity

_CHECKING = re.compile(
    r"\b(?:wait|hold on|hmm+|actually|(?:double|re)-?\s?check\w*|check\w*|verif\w+|confirm\w*|"
    r"make sure|once more|go (?:through|over) (?:it|this|that)|look (?:at it )?again|"
    r"another way|alternatively|did i|mistake|wrong|correct(?:ly)?|it works|makes sense)\b",
    re.IGNORECASE)


def is_checking(step: str) -> bool:
    """Whether a step verifies, corrects or doubts what stood before."""
    return _CHECKING.search(step) is not None


def method(given: Given) -> Method:
    return by_perplexity(given, is_checking)
