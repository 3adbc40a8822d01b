"""The figures that every table is made from: rows of one method, comparisons of two."""

from __future__ import annotations

import math
from collections.abc import Sequence

from drp_plugin.records import Record
from drp_plugin.report.regrading import Scored, early, readings
from drp_plugin.scoring import Reading
from drp_plugin.statistics import (
    difference,
    mcnemar,
    paired_bootstrap,
    relative_change,
    wilson,
)

#: Tasks of the embedded student begin so; their figures say nothing about real models.
TOY = "drp_tiny"


class ResultRow(Record):
    """One method on one task under one cutoff."""

    method: str
    group: str
    task: str
    variant: str
    """The task's full name; differs from `task` for prompt variants."""
    n: int
    """Problems."""
    repeats: int
    correct: float
    """Problems solved; with several samples a problem, the sum of their shares."""
    accuracy: float
    """Pass@1: the mean share of correct samples."""
    accuracy_low: float
    accuracy_high: float
    """Wilson's 95 % interval of `accuracy`; its n is the number of problems, also with several
    samples a problem, which are not independent."""
    tokens: float
    """Mean tokens of a whole completion, clipped to the cutoff."""
    think_tokens: float
    truncated: int
    no_answer: int
    loops: int
    cutoff: int | None
    protocol: str
    tokenizer: str
    backend_tokens_differ: int | None
    """Completions whose ids, as the backend counted them, differ from ours by more than a stop
    token; None where the backend reported none."""
    toy: bool


class Comparison(Record):
    """A method against its group's first method, problem by problem."""

    before: str
    after: str
    group: str
    task: str
    cutoff: int | None
    n: int
    """Problems that both have."""
    accuracy_before: float
    accuracy_after: float
    accuracy_change: float
    accuracy_change_low: float
    accuracy_change_high: float
    both: int
    """This and the next three: by the first sample of each problem."""
    only_before: int
    only_after: int
    neither: int
    mcnemar_p: float | None
    """Exact, two-sided; None where problems have several samples."""
    tokens_before: float
    tokens_after: float
    tokens_change: float
    """Relative: −0.4 is 40 % fewer."""
    tokens_change_low: float
    tokens_change_high: float
    """Paired bootstrap over problems, 95 %."""
    same_protocol: bool
    toy: bool


def row(scored: Scored, cutoff: int | None, tokenizer: str) -> ResultRow:
    """The figures of one method on one task.

    Wilson's interval is that of the accuracy itself, with n the number of problems.
    """
    problems = readings(scored, cutoff)
    flat = [reading for samples in problems for reading in samples]
    n, correct = len(problems), math.fsum(_share(s) for s in problems)
    accuracy = wilson(correct, n)
    pairs = [(m.full.tokens, m.backend_tokens) for samples in scored.measured for m in samples
             if m.backend_tokens is not None]
    return ResultRow(
        method=scored.run.name, group=scored.run.group, task=scored.task.column,
        variant=scored.task.task, n=n,
        repeats=max((len(s) for s in problems), default=0), correct=correct,
        accuracy=accuracy.value, accuracy_low=accuracy.low, accuracy_high=accuracy.high,
        tokens=_mean([r.tokens for r in flat]), think_tokens=_mean([r.think_tokens for r in flat]),
        truncated=sum(r.truncated for r in flat),
        no_answer=sum(r.extracted is None and not r.truncated for r in flat),
        loops=sum(m.loop is not None for samples in scored.measured for m in samples),
        cutoff=cutoff, protocol=scored.task.protocol.text(), tokenizer=tokenizer,
        backend_tokens_differ=sum(abs(a - b) > 1 for a, b in pairs) if pairs else None,
        toy=scored.task.task.startswith(TOY))


def compare(before: Scored, after: Scored, cutoff: int | None) -> Comparison | None:
    """One method against another on the problems that both have; None where they share none."""
    ours = dict(zip((s.doc for s in after.task.samples), readings(after, cutoff), strict=True))
    pairs = [(samples, ours[doc.doc]) for doc, samples
             in zip(before.task.samples, readings(before, cutoff), strict=True) if doc.doc in ours]
    if not pairs:
        return None
    right_before, right_after = ([_share(pair[side]) for pair in pairs] for side in (0, 1))
    long_before, long_after = ([_mean([r.tokens for r in pair[side]]) for pair in pairs]
                               for side in (0, 1))
    accuracy = paired_bootstrap(right_before, right_after, difference)
    tokens = paired_bootstrap(long_before, long_after, relative_change)
    cells = [(bool(a[0].correct), bool(b[0].correct)) for a, b in pairs]
    only_before, only_after = cells.count((True, False)), cells.count((False, True))
    single = all(len(a) == 1 and len(b) == 1 for a, b in pairs)
    return Comparison(
        before=before.run.name, after=after.run.name, group=before.run.group,
        task=before.task.column, cutoff=cutoff, n=len(pairs),
        accuracy_before=_mean(right_before), accuracy_after=_mean(right_after),
        accuracy_change=accuracy.value, accuracy_change_low=accuracy.low,
        accuracy_change_high=accuracy.high, both=cells.count((True, True)),
        only_before=only_before, only_after=only_after, neither=cells.count((False, False)),
        mcnemar_p=mcnemar(only_before, only_after) if single else None,
        tokens_before=_mean(long_before), tokens_after=_mean(long_after),
        tokens_change=tokens.value, tokens_change_low=tokens.low,
        tokens_change_high=tokens.high,
        same_protocol=before.task.protocol.comparable(after.task.protocol),
        toy=before.task.task.startswith(TOY))


def comparisons(scored: Sequence[Scored], cutoffs: Sequence[int | None],
                base: str | None = None) -> list[Comparison]:
    """Every method against its group's base: the one named so, else the group's first."""
    result = []
    for group in dict.fromkeys(s.run.group for s in scored):
        members = [s for s in scored if s.run.group == group]
        first = base if any(s.run.name == base for s in members) else members[0].run.name
        bases = {s.task.column: s for s in members if s.run.name == first}
        for other in members:
            reference = bases.get(other.task.column)
            if reference is None or other.run.name == first:
                continue
            found = (compare(reference, other, cutoff) for cutoff in cutoffs
                     if cutoff is not None or not (early(reference) or early(other)))
            result += [comparison for comparison in found if comparison is not None]
    return result


def _share(samples: Sequence[Reading]) -> float:
    return sum(bool(r.correct) for r in samples) / len(samples) if samples else 0.0


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0
