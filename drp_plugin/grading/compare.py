"""Whether a candidate answer is the gold one, by the rules of its data set."""

from __future__ import annotations

from functools import lru_cache

from drp_plugin.grading import worker
from drp_plugin.grading.normal import tidy, without_unit
from drp_plugin.grading.number import number

_MAX_LENGTH = 2_000


@lru_cache(maxsize=100_000)
def equal(candidate: str, gold: str, dataset: str | None = None) -> bool:
    """Whether `candidate` is the same answer as `gold`."""
    if len(candidate) > _MAX_LENGTH or len(gold) > _MAX_LENGTH:
        return candidate.strip() == gold.strip() and bool(gold.strip())
    one, two = tidy(candidate), tidy(gold)
    if not one or not two:
        return False
    if one.replace(" ", "") == two.replace(" ", ""):
        return True
    (value, unit), (gold_value, gold_unit) = without_unit(one), without_unit(two)
    x, y = number(value), number(gold_value)
    if x is not None and y is not None:
        if gold_unit.endswith("%") and not unit.endswith("%"):
            return x == y / 100
        return x == y
    if x is not None or y is not None:
        a, b = (value, gold_value)
    else:
        a, b = one, two
    return worker.same(b, a)
