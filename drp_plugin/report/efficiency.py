"""Efficiency: accuracy at a budget, tokens per right answer, the field's scores, and habits of
thinking. The formulas and their sources are the notes of `efficiency` in data/report_texts.yaml."""

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import fmean
from typing import Any

from drp_plugin.methods.earliest_correct import first_correct
from drp_plugin.report.regrading import BUDGETS, Scored, readings
from drp_plugin.scoring import Reading
from drp_plugin.segment import texts, units
from drp_plugin.teachers.offline_cues import says
from drp_plugin.thinking import CLOSE, split_response


def share(samples: Sequence[Reading]) -> float:
    return sum(bool(r.correct) for r in samples) / len(samples) if samples else 0.0


def mean(values: Sequence[float]) -> float:
    return fmean(values) if values else 0.0


def at_budgets(scored: Scored) -> dict[int, float]:
    """Accuracy by budget, for the budgets that generation did not itself cut short."""
    told, every = scored.task.told, [m.full for samples in scored.measured for m in samples]
    caps = (told.get("cutoff") if told.get("stop_at_cutoff") else None,
            scored.task.protocol.max_new_tokens)
    # a limit that is not known is not below the longest completion
    cap = min((c for c in caps if c), default=max(r.tokens for r in every)) if any(
        r.truncated for r in every) else math.inf
    return {budget: mean([mean([float(m.within[i]) for m in ms]) for ms in scored.measured])
            for i, budget in enumerate(BUDGETS) if budget <= cap}


def right_lengths(scored: Scored) -> list[int]:
    """Lengths of the completions that are right without a cutoff, ascending."""
    return [] if scored.task.protocol.early else sorted(
        r.tokens for samples in readings(scored, None) for r in samples if r.correct)


def budget_99(lengths: Sequence[int]) -> int | None:
    return lengths[math.ceil(0.99 * len(lengths)) - 1] if lengths else None


def bought(scored: Scored, cutoff: int | None, accuracy: float, tokens: float) -> dict[str, Any]:
    """The figures of a row that weigh tokens, by the row's names for them."""
    curve, area = at_budgets(scored), None
    if BUDGETS[-1] in curve:    # the mean over a log scale
        points = [(math.log(b), a) for b, a in sorted(curve.items()) if b >= 1_000]
        area = sum((x2 - x1) * (y1 + y2) / 2 for (x1, y1), (x2, y2) in itertools.pairwise(points)
                   ) / (points[-1][0] - points[0][0])
    found: dict[str, list[Sequence[Reading]]] = {}
    for sample, read in zip(scored.task.samples, readings(scored, cutoff), strict=True):
        if sample.level:
            found.setdefault(sample.level, []).append(read)
    return {"tokens_per_correct": tokens / accuracy if accuracy else None, "at_budget": curve,
            "ockscore": 100 * accuracy - 10 * math.log(1 + tokens / 10_000), "budget_area": area,
            "budget_99": budget_99(right_lengths(scored)),
            "levels": tuple({"level": level, "n": len(problems),
                             "accuracy": mean([share(p) for p in problems]),
                             "tokens": mean([mean([r.tokens for r in p]) for p in problems])}
                            for level, problems in sorted(found.items()))}


def aes(accuracy: tuple[float, float], tokens: tuple[float, float]) -> float | None:
    """The accuracy-efficiency score; None if `before` has no accuracy or tokens."""
    if not accuracy[0] or not tokens[0]:
        return None
    gained = accuracy[1] / accuracy[0] - 1
    return (1 - tokens[1] / tokens[0]) + (3 if gained >= 0 else 5) * gained


def habits(scored: Scored) -> dict[str, Any]:
    """The figures of a row about the whole thinking, without a cutoff."""
    found = [_of(text, s.gold, s.dataset, s.question, s.thinking)
             for s in scored.task.samples for text in s.completions]
    first = [place for place, *_ in found if place is not None]
    return {"first_correct": mean(first) if first else None,
            "first_found": len(first) / len(found) if found else 0.0,
            **{name: mean([own[i] for _, *own in found])
               for i, name in enumerate(("skips", "reflections", "approaches"))}}


@lru_cache(maxsize=200_000)     # a row with, and one without the cutoff
def _of(text: str, gold: str, dataset: str | None, question: str, thinks: bool
        ) -> tuple[float | None, bool, int, int]:
    """The share of the thinking up to the first correct result, and the other three figures."""
    thinking = split_response(text).thinking if thinks or CLOSE in text else ""
    if not thinking:
        return None, True, 0, 0
    spans = units(thinking, "sentence")
    sentences = texts(thinking, spans)
    place = first_correct(sentences, gold, dataset, question) if gold else None
    return (None if place is None else spans[place].end / len(thinking), False,
            sum(says(s, "check", "retract") for s in sentences),
            sum(says(s, "alternative") for s in sentences))
