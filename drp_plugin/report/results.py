"""The figures that everything is made from: rows of one method, comparisons of two."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from statistics import stdev
from typing import Any

from drp_plugin.grading import equal
from drp_plugin.records import Record
from drp_plugin.report.efficiency import (
    Level,
    aes,
    area,
    at_budgets,
    budget_99,
    levels,
    mean,
    ockscore,
    right_lengths,
    share,
)
from drp_plugin.report.regrading import Scored, early, readings
from drp_plugin.scoring import Reading
from drp_plugin.statistics import (
    detectable,
    holm,
    mcnemar,
    mean_share,
    paired_difference,
    pass_at,
    relative_change,
    sign_flip,
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
    """Samples of a problem, over all runs."""
    runs: int
    """Runs that were pooled, such as seeds."""
    correct: float
    """Problems solved; with several samples a problem, the sum of their shares."""
    accuracy: float
    """Pass@1: the mean share of correct samples, avg@k."""
    accuracy_low: float
    accuracy_high: float
    """95 % score interval of `accuracy`, with problems as clusters."""
    accuracy_se: float | None
    """Standard error of `accuracy` over problems."""
    spread: float | None
    """Standard deviation of accuracy between runs, or between the samples of one run."""
    pass_at: tuple[float, ...]
    """Unbiased pass@1 to pass@k; empty for one sample a problem."""
    majority: float | None
    """Share of problems whose most frequent answer is right, ties by chance; None for one."""
    tokens: float
    """Mean tokens of a whole completion, clipped to the cutoff."""
    think_tokens: float
    tokens_right: float | None
    tokens_wrong: float | None
    tokens_per_correct: float | None
    ockscore: float
    at_budget: dict[int, float]
    budget_area: float | None
    budget_99: int | None
    levels: tuple[Level, ...]
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

    @property
    def label(self) -> str:
        """The method, with its group where it has one."""
        return f"{self.group}/{self.method}" if self.group else self.method


class Comparison(Record):
    """A method against its group's first method, problem by problem."""

    before: str
    after: str
    group: str
    task: str
    cutoff: int | None
    n: int
    """Problems that both have."""
    repeats: int
    """The most samples that a problem has."""
    accuracy_before: float
    accuracy_after: float
    accuracy_change: float
    accuracy_change_low: float
    accuracy_change_high: float
    """95 % score interval, problems as clusters."""
    both: int
    """This and the next three: by the first sample of each problem."""
    only_before: int
    only_after: int
    neither: int
    worse: int
    """Problems whose share of right samples fell, and rose."""
    better: int
    mcnemar_p: float | None
    """Exact, two-sided; None where problems have several samples."""
    p: float
    """McNemar's, or with several samples the exact sign-flip test over problems."""
    p_holm: float
    """`p` adjusted for all methods that are compared on this task under this cutoff."""
    detectable: float
    """The smallest difference in accuracy that these problems show in 8 of 10 experiments."""
    tokens_before: float
    tokens_after: float
    tokens_change: float
    """Relative: −0.4 is 40 % fewer."""
    tokens_change_low: float
    tokens_change_high: float
    """Fieller's interval over problems, 95 %."""
    aes: float | None
    same_protocol: bool
    toy: bool

    @property
    def label(self) -> str:
        """Before → after, with the group where they have one."""
        return f"{self.group + '/' if self.group else ''}{self.before} → {self.after}"


def row(scored: Scored, cutoff: int | None, tokenizer: str) -> ResultRow:
    """The figures of one method on one task."""
    problems = readings(scored, cutoff)
    flat = [r for samples in problems for r in samples]
    shares = [share(s) for s in problems]
    tokens = mean([r.tokens for r in flat])
    curve = at_budgets(scored)
    pairs = [(m.full.tokens, m.backend_tokens) for samples in scored.measured for m in samples
             if m.backend_tokens is not None]
    accuracy = mean(shares)
    return ResultRow(
        method=scored.run.name, group=scored.run.group, task=scored.task.column,
        variant=scored.task.task, n=len(problems), correct=math.fsum(shares), accuracy=accuracy,
        tokens=tokens, think_tokens=mean([r.think_tokens for r in flat]),
        tokens_right=_mean_or_none([r.tokens for r in flat if r.correct]),
        tokens_wrong=_mean_or_none([r.tokens for r in flat if not r.correct]),
        tokens_per_correct=tokens / accuracy if accuracy else None,
        ockscore=ockscore(accuracy, tokens), at_budget=curve, budget_area=area(curve),
        budget_99=budget_99(right_lengths(scored)), levels=levels(scored, cutoff),
        truncated=sum(r.truncated for r in flat),
        no_answer=sum(r.extracted is None and not r.truncated for r in flat),
        loops=sum(m.loop is not None for samples in scored.measured for m in samples),
        cutoff=cutoff, protocol=scored.task.protocol.text(), tokenizer=tokenizer,
        backend_tokens_differ=sum(abs(a - b) > 1 for a, b in pairs) if pairs else None,
        toy=scored.task.task.startswith(TOY), **_sampled(scored, problems, shares))


def _sampled(scored: Scored, problems: Sequence[Sequence[Reading]],
             shares: Sequence[float]) -> dict[str, Any]:
    """What several samples of a problem say more than one."""
    repeats = max((len(s) for s in problems), default=0)
    least = min((len(s) for s in problems), default=0)
    interval = mean_share(shares, repeats)
    several = least > 1
    return {
        "repeats": repeats, "runs": len(scored.task.sizes),
        "accuracy_low": interval.low, "accuracy_high": interval.high,
        "accuracy_se": stdev(shares) / math.sqrt(len(shares)) if len(shares) > 1 else None,
        "spread": _spread(problems, scored.task.sizes) if several else None,
        "pass_at": tuple(mean([pass_at(sum(bool(r.correct) for r in s), len(s), j)
                               for s in problems])
                         for j in range(1, least + 1)) if several else (),
        "majority": mean([majority(s, scored.task.column) for s in problems])
        if several else None}


def _spread(problems: Sequence[Sequence[Reading]], sizes: Sequence[int]) -> float:
    """Between runs where several were pooled, else between the samples of the one."""
    if len(sizes) == 1:
        sizes = [1] * min(len(s) for s in problems)
    ends = list(itertools.accumulate(sizes, initial=0))
    return stdev(mean([share(s[a:b]) for s in problems]) for a, b in itertools.pairwise(ends))


def majority(samples: Sequence[Reading], task: str) -> float:
    """Chance that the most frequent answer of a problem is right, ties broken by chance.

    Right answers are one answer however they are written, and so are wrong ones that the grader
    takes for equal. A completion without an answer has no vote.
    """
    right = sum(bool(r.correct) for r in samples)
    votes: Counter[str] = Counter()
    for reading in samples:
        if reading.extracted is not None and not reading.correct:
            text = reading.extracted
            votes[next((v for v in votes if v == text or equal(text, v, task)), text)] += 1
    most = max([right, *votes.values()])
    leaders = [right, *votes.values()].count(most)
    return 1 / leaders if right == most > 0 else 0.0


def _mean_or_none(values: Sequence[float]) -> float | None:
    return mean(values) if values else None


def compare(before: Scored, after: Scored, cutoff: int | None) -> Comparison | None:
    """One method against another on the problems that both have; None where they share none."""
    ours = dict(zip((s.doc for s in after.task.samples), readings(after, cutoff), strict=True))
    pairs = [(samples, ours[doc.doc]) for doc, samples
             in zip(before.task.samples, readings(before, cutoff), strict=True) if doc.doc in ours]
    if not pairs:
        return None
    one, two = ([share(pair[side]) for pair in pairs] for side in (0, 1))
    long_one, long_two = ([mean([r.tokens for r in pair[side]]) for pair in pairs]
                          for side in (0, 1))
    sizes = tuple(max(len(pair[side]) for pair in pairs) for side in (0, 1))
    samples = (sizes[0], sizes[1])
    accuracy, tokens = paired_difference(one, two, samples), relative_change(long_one, long_two)
    cells = [(bool(a[0].correct), bool(b[0].correct)) for a, b in pairs]
    exact = mcnemar(cells.count((True, False)), cells.count((False, True)))
    p = exact if samples == (1, 1) else sign_flip(_steps(pairs))
    return Comparison(
        before=before.run.name, after=after.run.name, group=before.run.group,
        task=before.task.column, cutoff=cutoff, n=len(pairs), repeats=max(samples),
        accuracy_before=mean(one), accuracy_after=mean(two), accuracy_change=accuracy.value,
        accuracy_change_low=accuracy.low, accuracy_change_high=accuracy.high,
        both=cells.count((True, True)), only_before=cells.count((True, False)),
        only_after=cells.count((False, True)), neither=cells.count((False, False)),
        worse=sum(y < x for x, y in zip(one, two, strict=True)),
        better=sum(y > x for x, y in zip(one, two, strict=True)),
        mcnemar_p=exact if samples == (1, 1) else None, p=p, p_holm=p,
        # what the interval still holds is not shown either
        detectable=max(detectable(one, two, samples), (accuracy.high - accuracy.low) / 2),
        tokens_before=mean(long_one), tokens_after=mean(long_two), tokens_change=tokens.value,
        tokens_change_low=tokens.low, tokens_change_high=tokens.high,
        aes=aes((mean(one), mean(two)), (mean(long_one), mean(long_two))),
        same_protocol=before.task.protocol.comparable(after.task.protocol),
        toy=before.task.task.startswith(TOY))


def _steps(pairs: Sequence[tuple[Sequence[Reading], Sequence[Reading]]]) -> list[int]:
    """Differences in the share of right samples, in whole steps of their common denominator."""
    unit = math.lcm(*(len(side) for pair in pairs for side in pair))
    return [sum(bool(r.correct) for r in b) * (unit // len(b))
            - sum(bool(r.correct) for r in a) * (unit // len(a)) for a, b in pairs]


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
    return _adjusted(result)


def _adjusted(found: list[Comparison]) -> list[Comparison]:
    """The same, with Holm's p over the methods of each group, task and cutoff."""
    family: dict[tuple[str, str, int | None], list[int]] = {}
    for i, c in enumerate(found):
        family.setdefault((c.group, c.task, c.cutoff), []).append(i)
    for members in family.values():
        for i, p in zip(members, holm([found[i].p for i in members]), strict=True):
            found[i] = found[i].model_copy(update={"p_holm": p})
    return found
