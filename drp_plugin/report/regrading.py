"""Runs graded and counted anew, with the cutoff and the tokenizer that they were made with."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from drp_plugin.errors import UserError
from drp_plugin.report.runs import TaskRun
from drp_plugin.scoring import DEFAULT_CUTOFF, Measured, Reading, measure_many
from drp_plugin.tokens import QWEN, TokenCounter

#: Token budgets at which accuracy is reported; those below 1,000 are for small models.
BUDGETS = (62, 125, 250, 500, 1_000, 1_500, 2_000, 3_000, 4_000, 6_000, 8_000, 12_000, 16_000,
           24_000, 32_000)


def choose_cutoff(tasks: Sequence[TaskRun], asked: int | None) -> int | None:
    """`asked` (0 is none), else the one that all runs recorded, else the paper's 12,000. Raises
    UserError where the runs disagree, or where generation was stopped before `asked`."""
    recorded = {task.told["cutoff"] for task in tasks if "cutoff" in task.told}
    if asked is None:
        if len(recorded) > 1:
            found = ", ".join(sorted(map(str, recorded)))
            raise UserError(f"the runs were made for different cutoffs ({found})",
                            fix="Say which one with --cutoff")
        return recorded.pop() if recorded else DEFAULT_CUTOFF
    for task in tasks:
        limit = task.told.get("cutoff")
        if task.told.get("stop_at_cutoff") and limit and (asked == 0 or asked > limit):
            raise UserError(f"{task.task} was generated with stop_at_cutoff at {limit} tokens: "
                "nothing is known beyond", file=task.file, fix=f"Give --cutoff {limit} or less")
    return asked or None


def choose_counter(tasks: Sequence[TaskRun], asked: str | None) -> TokenCounter:
    """The counter `asked` for, else the one that all runs recorded, else Qwen's. Two folders count
    as one tokenizer when the files in them are the same."""
    if asked is not None:
        return TokenCounter.load(asked)
    names = sorted({str(task.told["tokenizer"]) for task in tasks if task.told.get("tokenizer")})
    counters = [TokenCounter.load(name) for name in names or [QWEN]]
    if any(not counter.same_as(counters[0]) for counter in counters[1:]):
        raise UserError(f"the runs were counted with different tokenizers ({', '.join(names)})",
                        fix="Say which one with --tokenizer")
    return counters[0]


class Scored(NamedTuple):
    """A run on a task, regraded: `measured[i][k]` is sample k of document i."""

    task: TaskRun
    measured: tuple[tuple[Measured, ...], ...]

    @property
    def label(self) -> str:
        return labelled(self.task.group, self.task.name)

    @property
    def key(self) -> tuple[str, str, str]:
        return self.task.group, self.task.name, self.task.column


def labelled(group: str, method: str) -> str:
    return f"{group}/{method}" if group else method


def score_run(task: TaskRun, counter: TokenCounter, cutoff: int | None) -> Scored:
    """Grade and count every completion of a run: with and without the cutoff, at every budget."""
    flat = [(sample, sample.dataset or task.task, *each) for sample in task.samples
            for each in zip(sample.completions, sample.backend_tokens, sample.ended, strict=True)]
    measured: list[Measured] = []
    for at in range(0, len(flat), 256):
        samples, datasets, texts, backend_tokens, ended = zip(*flat[at:at + 256], strict=True)
        measured += measure_many(texts, [s.gold for s in samples], datasets, counter, cutoff,
            ended=ended, backend_tokens=backend_tokens, thinking=[s.thinking for s in samples],
            budgets=BUDGETS)
    ends = itertools.accumulate((len(s.completions) for s in task.samples), initial=0)
    return Scored(task, tuple(tuple(measured[a:b]) for a, b in itertools.pairwise(ends)))


def readings(scored: Scored, cutoff: int | None) -> list[tuple[Reading, ...]]:
    """The completions as they are with the cutoff, or without one."""
    return [tuple(m.full for m in samples) if cutoff is None else samples
            for samples in scored.measured]
