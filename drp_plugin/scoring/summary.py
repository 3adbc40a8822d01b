"""A set of readings in a few figures."""

from __future__ import annotations

from collections.abc import Iterable

from drp_plugin.records import Record
from drp_plugin.scoring.measure import Reading


class Summary(Record):
    """Figures of one method on one task under one cutoff."""

    cutoff: int | None
    n: int
    graded: int
    """Completions whose gold answer is known; accuracy is over these."""
    correct: int
    accuracy: float | None
    tokens: float
    """Mean tokens of a completion."""
    think_tokens: float
    truncated: int
    no_answer: int
    boxed: int
    stated: int
    last_number: int


def summarize(readings: Iterable[Reading], cutoff: int | None) -> Summary:
    """The figures of `readings`, which may come from a generator of any length."""
    n = graded = correct = tokens = think = truncated = no_answer = 0
    hows = {"boxed": 0, "stated": 0, "last_number": 0}
    for reading in readings:
        n += 1
        graded += reading.correct is not None
        correct += bool(reading.correct)
        tokens += reading.tokens
        think += reading.think_tokens
        truncated += reading.truncated
        no_answer += reading.extracted is None and not reading.truncated
        if reading.extraction:
            hows[reading.extraction] += 1
    return Summary(cutoff=cutoff, n=n, graded=graded, correct=correct,
                   accuracy=correct / graded if graded else None,
                   tokens=tokens / n if n else 0.0, think_tokens=think / n if n else 0.0,
                   truncated=truncated, no_answer=no_answer, **hows)
