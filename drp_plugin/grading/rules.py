"""Which rule each data set is graded by."""

from __future__ import annotations

import re
from typing import Literal

Rule = Literal["number", "integer", "choice", "symbolic"]

_RULES: tuple[tuple[str, Rule], ...] = (
    ("gsm8k", "number"), ("tiny", "number"), ("aime", "integer"), ("amc", "integer"),
    ("gpqa", "choice"),
    ("math", "symbolic"), ("prm12k", "symbolic"), ("prm800k", "symbolic"))


def base_name(dataset: str) -> str:
    """drp_gsm8k, GSM8K-test and gsm8k_test all begin with gsm8k here."""
    return re.sub(r"[^a-z0-9]+", "_", dataset.lower()).removeprefix("drp_")


def rule_of(dataset: str | None) -> Rule:
    """The rule for a set's name, as a task (drp_gsm8k), a file (gsm8k_test) or plain (gsm8k).

    `number`: exact decimal value after commas, currency and units. `integer`: the same, and the
    gold may be written as a float (AMC) or the candidate with leading zeros (AIME). `choice`: the
    letter of a multiple choice. `symbolic`: any mathematical object, and sets that are not known.
    """
    name = base_name(dataset or "")
    return next((rule for prefix, rule in _RULES if name.startswith(prefix)), "symbolic")
