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


def summarize(problems: Iterable[Reading | Sequence[Reading]], cutoff: int | None) -> Summary:
    """The figures of problems, each one reading or the readings of its samples. Means are of each
    problem first, as lmms-eval's are."""
    shares: list[float] = []
    tokens: list[float] = []
    think: list[float] = []
    samples = truncated = no_answer = 0
    hows = {"boxed": 0, "stated": 0, "last_number": 0}
    for problem in problems:
        readings = [problem] if isinstance(problem, Reading) else problem
        samples += len(readings)
        tokens.append(sum(r.tokens for r in readings) / len(readings))
        think.append(sum(r.think_tokens for r in readings) / len(readings))
        if readings[0].correct is not None:
            shares.append(sum(bool(r.correct) for r in readings) / len(readings))
        for reading in readings:
            truncated += reading.truncated
            no_answer += reading.extracted is None and not reading.truncated
            if reading.extraction:
                hows[reading.extraction] += 1
    correct = sum(shares)
    return Summary(cutoff=cutoff, n=len(tokens), samples=samples, graded=len(shares),
                   correct=int(correct) if samples == len(tokens) else correct,
                   accuracy=correct / len(shares) if shares else None,
                   tokens=_mean(tokens), think_tokens=_mean(think), truncated=truncated,
                   no_answer=no_answer, **hows)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
