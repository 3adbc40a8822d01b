"""A set of readings in a few figures."""

from collections.abc import Iterable, Sequence

from drp_plugin.records import Record
from drp_plugin.scoring.measure import Reading


class Summary(Record):
    """Figures of one method on one task under one cutoff."""

    cutoff: int | None
    n: int  # Problems
    samples: int  # Completions; more than `n` where problems have several
    graded: int  # Problems whose gold answer is known; accuracy is over these
    correct: int | float  # Problems solved; with several samples a problem, the sum of their shares
    accuracy: float | None  # Mean over problems of the share of correct samples
    tokens: float  # Mean tokens of a completion, over problems likewise
    think_tokens: float
    truncated: int  # Completions, as are all below
    no_answer: int
    boxed: int
    stated: int
    last_number: int


class Figures:
    """A summary in the making: problem by problem, so that nothing of a row is kept. Means are of
    each problem first, as lmms-eval's are."""

    def __init__(self, cutoff: int | None) -> None:
        self._cutoff = cutoff
        self._counts = dict.fromkeys(("n", "samples", "graded", "truncated", "no_answer", "boxed",
                                      "stated", "last_number"), 0)
        self._shares = self._tokens = self._think = 0.0

    def add(self, readings: Sequence[Reading]) -> None:
        """Count a problem, by the readings of its samples."""
        counts = self._counts
        counts["n"] += 1
        counts["samples"] += len(readings)
        self._tokens += sum(r.tokens for r in readings) / len(readings)
        self._think += sum(r.think_tokens for r in readings) / len(readings)
        if readings[0].correct is not None:
            counts["graded"] += 1
            self._shares += sum(bool(r.correct) for r in readings) / len(readings)
        for reading in readings:
            counts["truncated"] += reading.truncated
            counts["no_answer"] += reading.extracted is None and not reading.truncated
            if reading.extraction:
                counts[reading.extraction] += 1

    def summary(self) -> Summary:
        """The figures."""
        n, graded = self._counts["n"], self._counts["graded"]
        single = self._counts["samples"] == n
        return Summary(cutoff=self._cutoff, **self._counts,
                       correct=int(self._shares) if single else self._shares,
                       accuracy=self._shares / graded if graded else None,
                       tokens=self._tokens / max(n, 1), think_tokens=self._think / max(n, 1))


def summarize(problems: Iterable[Reading | Sequence[Reading]], cutoff: int | None) -> Summary:
    """The figures of problems, each one reading or the readings of its samples."""
    figures = Figures(cutoff)
    for problem in problems:
        figures.add([problem] if isinstance(problem, Reading) else problem)
    return figures.summary()
