"""The figures behind all tables: rows for one method, comparisons of two."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from drp_plugin import statistics
from drp_plugin.grading import equal
from drp_plugin.records import Record
from drp_plugin.report.efficiency import aes, bought, habits, mean, share
from drp_plugin.report.regrading import Scored, labelled, readings
from drp_plugin.scoring import Reading

TOY = "drp_tiny"  # Prefix of the embedded student's tasks: they say nothing about real models
Key = tuple[str, str, str]  # Group, method and task


class ResultRow(Record):
    """One method on one task under one cutoff.

    `accuracy` is Pass@1 (avg@k), with a 95 % score interval over problems as clusters; `spread` its
    standard deviation between runs or samples. Token figures are means over problems, clipped."""

    method: str
    group: str
    task: str
    variant: str  # The task's full name; differs from `task` for prompt variants
    n: int  # Problems
    repeats: int  # Samples of a problem, over all `runs` that were pooled, such as seeds
    runs: int
    correct: float  # Problems solved; with several samples a problem, the sum of their shares
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    accuracy_se: float | None
    spread: float | None
    pass_at: tuple[float, ...]  # Unbiased pass@1 to pass@k of a run; empty for one sample a problem
    majority: float | None  # Share of problems whose most frequent answer in a run is right
    tokens: float
    think_tokens: float
    tokens_right: float | None
    tokens_wrong: float | None
    tokens_per_correct: float | None
    ockscore: float
    at_budget: dict[int, float]
    budget_area: float | None
    budget_99: int | None
    levels: tuple[dict[str, Any], ...]  # For each difficulty: `level`, `n`, `accuracy`, `tokens`
    truncated: int
    no_answer: int
    loops: int
    skips: float  # Share of completions without thinking
    first_correct: float | None
    """Where in the thinking the first correct result stands, 0 to 1: the mean where one stands."""
    first_found: float  # Share of completions with one in their thinking
    reflections: float  # Sentences per completion that check or retract
    approaches: float  # Sentences per completion that change the approach
    cutoff: int | None
    protocol: str
    tokenizer: str
    backend_tokens_differ: int | None
    """Completions whose ids, as the backend counted them, differ from ours by more than a stop
    token; None where the backend reported none."""
    toy: bool

    @property
    def label(self) -> str:
        return labelled(self.group, self.method)

    @property
    def key(self) -> Key:
        return self.group, self.method, self.task


class Comparison(Record):
    """A method against its group's first method, on the `n` problems that both have. Intervals are
    of 95 %: score intervals with problems as clusters for accuracy, Fieller's over problems for the
    relative change in tokens (−0.4 is 40 % fewer)."""

    before: str
    after: str
    group: str
    task: str
    cutoff: int | None
    n: int
    repeats: int  # Most samples of a problem
    accuracy_before: float
    accuracy_after: float
    accuracy_change: float
    accuracy_change_low: float
    accuracy_change_high: float
    both: int  # This and the next three: by the first sample of each problem
    only_before: int
    only_after: int
    neither: int
    worse: int  # Problems whose share of right samples fell, and rose
    better: int
    mcnemar_p: float | None  # Exact, two-sided; None where problems have several samples
    p: float  # McNemar's, or with several samples the exact sign-flip test over problems
    p_holm: float  # `p` adjusted for all methods that are compared on this task under this cutoff
    detectable: float  # The smallest difference in accuracy that 8 of 10 experiments show
    tokens_before: float
    tokens_after: float
    tokens_change: float
    tokens_change_low: float
    tokens_change_high: float
    aes: float | None
    same_protocol: bool
    toy: bool

    @property
    def label(self) -> str:
        return f"{labelled(self.group, self.before)} → {self.after}"

    @property
    def key(self) -> Key:
        return self.group, self.after, self.task


def _interval(name: str, estimate: statistics.Estimate) -> dict[str, Any]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), estimate, strict=True))


def row(scored: Scored, cutoff: int | None, tokenizer: str) -> ResultRow:
    """The figures of one method on one task."""
    problems, task = readings(scored, cutoff), scored.task
    flat = [r for samples in problems for r in samples]
    measured = [m for samples in scored.measured for m in samples]
    shares = [share(s) for s in problems]
    accuracy, tokens = mean(shares), mean([mean([r.tokens for r in s]) for s in problems])
    right, wrong = ([r.tokens for r in flat if bool(r.correct) is c] for c in (True, False))
    differ = [abs(m.full.tokens - m.backend_tokens) > 1 for m in measured
              if m.backend_tokens is not None]
    interval = statistics.mean_share(shares, max((len(s) for s in problems), default=0))
    return ResultRow(
        method=scored.task.name, group=scored.task.group, task=task.column, variant=task.task,
        n=len(problems), correct=math.fsum(shares),
        **_interval("accuracy", interval._replace(value=accuracy)),
        tokens=tokens, think_tokens=mean([mean([r.think_tokens for r in s]) for s in problems]),
        tokens_right=fmean(right) if right else None, tokens_wrong=fmean(wrong) if wrong else None,
        no_answer=sum(r.extracted is None and not r.truncated for r in flat), tokenizer=tokenizer,
        truncated=sum(r.truncated for r in flat), loops=sum(m.loop is not None for m in measured),
        backend_tokens_differ=sum(differ) if differ else None, protocol=task.protocol.text,
        cutoff=cutoff, toy=task.task.startswith(TOY), **_sampled(scored, problems, shares),
        **bought(scored, cutoff, accuracy, tokens), **habits(scored))


def _sampled(scored: Scored, problems: Sequence[Sequence[Reading]],
             shares: Sequence[float]) -> dict[str, Any]:
    # each problem's samples by run: those of several seeds are no samples of one model
    own = [[s[a:b] for a, b in itertools.pairwise(itertools.accumulate(sample.sizes, initial=0))]
           for s, sample in zip(problems, scored.task.samples, strict=True)]
    runs, least = len(scored.task.origin), min((len(s) for each in own for s in each), default=0)
    # between runs if several were pooled, else between the samples of the one
    parts = own if runs > 1 else [[s[i:i + 1] for i in range(least)] for s in problems]
    spread = [mean([share(s) for s in part]) for part in zip(*parts, strict=True)]
    return {"repeats": max(map(len, problems), default=0), "runs": runs,
            "accuracy_se": stdev(shares) / math.sqrt(len(shares)) if len(shares) > 1 else None,
            "spread": stdev(spread) if len(spread) > 1 else None,
            "pass_at": tuple(mean([mean([statistics.pass_at(
                sum(bool(r.correct) for r in s), len(s), j) for s in each]) for each in own])
                for j in range(1, least + 1) if least > 1),
            "majority": mean([mean([majority(s, scored.task.column) for s in each])
                              for each in own]) if least > 1 else None}


def majority(samples: Sequence[Reading], task: str) -> float:
    """Chance that the most frequent answer of a problem is right, ties broken by chance. Right
    answers count as one answer however they are written, and so do wrong ones that the grader holds
    equal. A completion without an answer has no vote."""
    right = sum(bool(r.correct) for r in samples)
    votes: Counter[str] = Counter()
    for reading in samples:
        if reading.extracted is not None and not reading.correct:
            text = reading.extracted
            votes[next((v for v in votes if v == text or equal(text, v, task)), text)] += 1
    counts = [right, *votes.values()]
    return 1 / counts.count(right) if right == max(counts) > 0 else 0.0


def compare(before: Scored, after: Scored, cutoff: int | None) -> Comparison | None:
    """One method against another on the problems that both have; None if they share none."""
    ours = dict(zip((s.doc for s in after.task.samples), readings(after, cutoff), strict=True))
    pairs = [(samples, ours[doc.doc]) for doc, samples
             in zip(before.task.samples, readings(before, cutoff), strict=True) if doc.doc in ours]
    if not pairs:
        return None
    sides = list(zip(*pairs, strict=True))
    one, two = ([share(s) for s in side] for side in sides)
    long_one, long_two = ([mean([r.tokens for r in s]) for s in side] for side in sides)
    samples = (max(map(len, sides[0])), max(map(len, sides[1])))
    cells = Counter((bool(a[0].correct), bool(b[0].correct)) for a, b in pairs)
    # differences of shares in whole steps; rounded where ragged samples have a huge denominator
    unit = min(math.lcm(*map(len, itertools.chain(*sides))), 5_040)
    p = statistics.sign_flip([round(unit * (y - x)) for x, y in zip(one, two, strict=True)])
    accuracy, tokens = (mean(one), mean(two)), (mean(long_one), mean(long_two))
    change = statistics.paired_difference(one, two, samples)
    return Comparison(
        before=before.task.name, after=after.task.name, group=before.task.group,
        task=before.task.column, cutoff=cutoff, n=len(pairs), repeats=max(samples),
        accuracy_before=accuracy[0], accuracy_after=accuracy[1],
        **_interval("accuracy_change", change),
        both=cells[True, True], only_before=cells[True, False], only_after=cells[False, True],
        neither=cells[False, False], worse=sum(y < x for x, y in zip(one, two, strict=True)),
        better=sum(y > x for x, y in zip(one, two, strict=True)),
        mcnemar_p=p if samples == (1, 1) else None, p=p, p_holm=p,
        # nor is a change that the interval still holds shown
        detectable=max(statistics.detectable(one, two, samples), (change.high - change.low) / 2),
        tokens_before=tokens[0], tokens_after=tokens[1],
        **_interval("tokens_change", statistics.relative_change(long_one, long_two)),
        aes=aes(accuracy, tokens), same_protocol=before.task.protocol == after.task.protocol,
        toy=before.task.task.startswith(TOY))


def comparisons(scored: Sequence[Scored], cutoffs: Sequence[int | None],
                base: str | None = None) -> list[Comparison]:
    """Every method against its group's base: the one named so, else the group's first."""
    found: list[Comparison] = []
    for group in dict.fromkeys(s.task.group for s in scored):
        members = [s for s in scored if s.task.group == group]
        first = base if any(s.task.name == base for s in members) else members[0].task.name
        bases = {s.task.column: s for s in members if s.task.name == first}
        pairs = [(bases[s.task.column], s) for s in members
                 if s.task.name != first and s.task.column in bases]
        found += filter(None, (compare(*pair, cutoff) for pair in pairs for cutoff in cutoffs
                               if cutoff or not any(s.task.protocol.early for s in pair)))
    # Holm's p over the methods of each group, task and cutoff
    families: dict[tuple[str, str, int | None], list[int]] = {}
    for i, c in enumerate(found):
        families.setdefault((c.group, c.task, c.cutoff), []).append(i)
    for family in families.values():
        for i, p in zip(family, statistics.holm([found[i].p for i in family]), strict=True):
            found[i] = found[i].model_copy(update={"p_holm": p})
    return found
