"""How a method thinks: whether at all, when it is right first, how often it looks back or anew."""

from functools import lru_cache
from typing import Any, NamedTuple

from drp_plugin.methods.earliest_correct import first_correct
from drp_plugin.report.efficiency import mean
from drp_plugin.report.regrading import Scored
from drp_plugin.segment import texts, units
from drp_plugin.teachers.offline_cues import says
from drp_plugin.thinking import CLOSE, split_response


class _Habits(NamedTuple):
    skips: bool
    first: float | None  # Share of the thinking up to the first correct result
    reflections: int
    approaches: int


def habits(scored: Scored) -> dict[str, Any]:
    """The figures of a row that are about the thinking, whole and without a cutoff."""
    found = [_of(text, s.gold, s.dataset, s.question, s.thinking)
             for s in scored.task.samples for text in s.completions]
    first = [h.first for h in found if h.first is not None]
    return {"skips": mean([h.skips for h in found]),
            "first_correct": mean(first) if first else None,
            "first_found": len(first) / len(found) if found else 0.0,
            "reflections": mean([h.reflections for h in found]),
            "approaches": mean([h.approaches for h in found])}


@lru_cache(maxsize=200_000)     # a row with, and one without the cutoff
def _of(text: str, gold: str, dataset: str | None, question: str, thinks: bool) -> _Habits:
    thinking = split_response(text).thinking if thinks or CLOSE in text else ""
    if not thinking:
        return _Habits(True, None, 0, 0)
    spans = units(thinking, "sentence")
    sentences = texts(thinking, spans)
    place = first_correct(sentences, gold, dataset, question) if gold else None
    return _Habits(False, None if place is None else spans[place].end / len(thinking),
                   sum(says(s, "check", "retract") for s in sentences),
                   sum(says(s, "alternative") for s in sentences))
