"""The cutoff and the tokenizer of a report: what the runs were made for, unless told otherwise."""

from __future__ import annotations

from collections.abc import Sequence

from drp_plugin.errors import UserError
from drp_plugin.report.runs import Run
from drp_plugin.scoring import DEFAULT_CUTOFF
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
