"""Runs graded and counted anew, with the cutoff and the tokenizer that they were made for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from drp_plugin.errors import UserError
from drp_plugin.report.runs import Run, TaskRun
from drp_plugin.scoring import DEFAULT_CUTOFF, Measured, Reading, measure_many
from drp_plugin.scoring.samples import dataset_of
from drp_plugin.tokens import QWEN, TokenCounter


def choose_cutoff(runs: Sequence[Run], asked: int | None) -> int | None:
    """`asked` (0 is none), else the one that all runs recorded, else the paper's 12,000.

    Raises UserError where the runs disagree, or where generation was stopped before `asked`.
    """
    tasks = [task for run in runs for task in run.tasks.values()]
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
                            "nothing is known beyond", file=task.file,
                            fix=f"Give --cutoff {limit} or less")
    return asked or None


def choose_counter(runs: Sequence[Run], asked: str | None) -> TokenCounter:
    """The counter `asked` for, else the one that all runs recorded, else Qwen's.

    Two folders count as one tokenizer when the files in them are the same.
    """
    if asked is not None:
        return TokenCounter.load(asked)
    names = sorted({str(task.told["tokenizer"]) for run in runs for task in run.tasks.values()
                    if task.told.get("tokenizer")})
    if not names:
        return TokenCounter.load(QWEN)
    counters = [TokenCounter.load(name) for name in names]
    if any(not counter.same_as(counters[0]) for counter in counters[1:]):
        raise UserError(f"the runs were counted with different tokenizers ({', '.join(names)})",
                        fix="Say which one with --tokenizer")
    return counters[0]


class Scored(NamedTuple):
    """A run on a task, regraded: `measured[i][k]` is repeat k of document i."""

    run: Run
    task: TaskRun
    measured: tuple[tuple[Measured, ...], ...]

    @property
    def key(self) -> tuple[str, str, str]:
        return self.run.group, self.run.name, self.task.task


def score_run(run: Run, counter: TokenCounter, cutoff: int | None) -> list[Scored]:
    """Grade and count every completion of a run, with and without the cutoff."""
    return [_score_task(run, task, counter, cutoff) for task in run.tasks.values()]


def _score_task(run: Run, task: TaskRun, counter: TokenCounter, cutoff: int | None) -> Scored:
    texts = [text for sample in task.samples for text in sample.completions]
    golds = [sample.gold for sample in task.samples for _ in sample.completions]
    datasets = [sample.dataset or dataset_of(task.task)
                for sample in task.samples for _ in sample.completions]
    ended = [end for sample in task.samples for end in sample.ended]
    thinking = [sample.thinking for sample in task.samples for _ in sample.completions]
    ids = [count for sample in task.samples for count in sample.backend_tokens]
    flat: list[Measured] = []
    for at in range(0, len(texts), 256):
        part = slice(at, at + 256)
        flat += measure_many(texts[part], golds[part], datasets[part], counter, cutoff,
                             backend_tokens=ids[part], ended=ended[part],
                             thinking=thinking[part])
    measured, at = [], 0
    for sample in task.samples:
        measured.append(tuple(flat[at:at + len(sample.completions)]))
        at += len(sample.completions)
    return Scored(run, task, tuple(measured))


def early(scored: Scored) -> bool:
    """Whether generation was stopped early, so that nothing is known without a cutoff."""
    return scored.task.protocol.early


def readings(scored: Scored, cutoff: int | None) -> list[tuple[Reading, ...]]:
    """The completions as the cutoff, or none, has them."""
    if cutoff is not None:
        return [tuple(samples) for samples in scored.measured]
    return [tuple(m.full for m in samples) for samples in scored.measured]
