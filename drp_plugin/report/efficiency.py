"""What tokens buy: accuracy at a budget, tokens for a right answer, and the field's scores.

| figure | formula | source |
|---|---|---|
| accuracy at a budget | share right when cut at so many tokens | §4.6's cutoff, at every length |
| area | its mean over budgets from 1k to 32k on a log scale | |
| 99 % budget | tokens that hold 99 % of the right completions | the paper's Figure 4 |
| tokens per correct answer | mean tokens / accuracy | |
| AES | ΔL + 3 ΔA, or ΔL − 5 abs(ΔA) where accuracy falls; both relative | O1-Pruner, 2501.12570 |
| OckScore | accuracy in % − 10 ln(1 + tokens / 10,000) | OckBench, 2511.05722, its code |
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from statistics import fmean

from drp_plugin.records import Record
from drp_plugin.report.regrading import BUDGETS, Scored, early, readings
from drp_plugin.scoring import Reading

_SHARE = 0.99
_LOWEST = 1_000


class Level(Record):
    """The problems of one difficulty."""

    level: str
    n: int
    accuracy: float
    tokens: float


def share(samples: Sequence[Reading]) -> float:
    """The share of a problem's samples that are right."""
    return sum(bool(r.correct) for r in samples) / len(samples) if samples else 0.0


def mean(values: Sequence[float]) -> float:
    """The mean; 0 of nothing."""
    return fmean(values) if values else 0.0


def at_budgets(scored: Scored) -> dict[int, float]:
    """Accuracy by budget, for the budgets that generation did not itself cut short."""
    told = scored.task.told
    caps = [told.get("cutoff") if told.get("stop_at_cutoff") else None,
            scored.task.protocol.max_new_tokens]
    cap = min((c for c in caps if c), default=math.inf)
    if not any(m.full.truncated for samples in scored.measured for m in samples):
        cap = math.inf      # nothing was cut, so nothing is hidden
    return {budget: mean([mean([float(w[i]) for w in samples]) for samples in scored.within])
            for i, budget in enumerate(BUDGETS) if budget <= cap}


def area(curve: dict[int, float]) -> float | None:
    """Mean accuracy over budgets from 1k to 32k, log scale; None where the curve ends earlier."""
    points = [(math.log(b), a) for b, a in sorted(curve.items()) if b >= _LOWEST]
    if not curve or max(curve) < BUDGETS[-1]:
        return None
    total = sum((x2 - x1) * (y1 + y2) / 2
                for (x1, y1), (x2, y2) in itertools.pairwise(points))
    return total / (points[-1][0] - points[0][0])


def right_lengths(scored: Scored) -> list[int]:
    """Lengths of the completions that are right without a cutoff, ascending."""
    if early(scored):
        return []
    return sorted(r.tokens for samples in readings(scored, None) for r in samples if r.correct)


def budget_99(lengths: Sequence[int]) -> int | None:
    """The budget that holds 99 % of them."""
    return lengths[math.ceil(_SHARE * len(lengths)) - 1] if lengths else None


def levels(scored: Scored, cutoff: int | None) -> tuple[Level, ...]:
    """Figures by difficulty, where the samples carry one."""
    found: dict[str, list[Sequence[Reading]]] = {}
    for sample, read in zip(scored.task.samples, readings(scored, cutoff), strict=True):
        if sample.level:
            found.setdefault(sample.level, []).append(read)
    return tuple(Level(level=level, n=len(problems), accuracy=mean([share(p) for p in problems]),
                       tokens=mean([r.tokens for p in problems for r in p]))
                 for level, problems in sorted(found.items()))


def ockscore(accuracy: float, tokens: float) -> float:
    """Accuracy in percent less a penalty for tokens."""
    return 100 * accuracy - 10 * math.log(1 + tokens / 10_000)


def aes(accuracy: tuple[float, float], tokens: tuple[float, float]) -> float | None:
    """The accuracy-efficiency score of after against before; None where before has nothing."""
    if not accuracy[0] or not tokens[0]:
        return None
    gained = accuracy[1] / accuracy[0] - 1
    return (1 - tokens[1] / tokens[0]) + (3 if gained >= 0 else 5) * gained
