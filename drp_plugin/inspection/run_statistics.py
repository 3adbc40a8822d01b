"""What a run did, in numbers."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from drp_plugin.records import Action, Pruned, Reject


def not_reached(run_dir: str | Path) -> int:
    """Rows that the run did not reach, as --max-cost stopped it; 0 where nothing says so."""
    try:
        summary = json.loads((Path(run_dir) / "summary.json").read_text("utf-8"))
    except (OSError, ValueError):
        return 0
    left = summary.get("not_reached") if isinstance(summary, dict) else None
    return left if isinstance(left, int) else 0


@dataclass
class Statistics:
    """Added up row by row: rejects by `stage: reason`, R̂'s tokens over R's and the steps of each
    row, and steps by action, by skill and, those deleted, by skill again."""

    pruned: int = 0
    not_reached: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    before: int = 0
    after: int = 0
    ratios: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    actions: Counter[str] = field(default_factory=Counter)
    skills: Counter[str] = field(default_factory=Counter)
    deleted: Counter[str] = field(default_factory=Counter)

    def add(self, row: Pruned | Reject) -> None:
        """Count one row in."""
        if isinstance(row, Reject):
            self.rejected[f"{row.stage}: {row.reason.value}"] += 1
            return
        self.pruned += 1
        self.before += row.tokens_before
        self.after += row.tokens_after
        self.ratios.append(row.tokens_after / row.tokens_before if row.tokens_before else 1.0)
        self.steps.append(len(row.steps))
        action = {step: r.action for r in row.revisions for step in r.steps}
        for step in row.steps:
            name = step.skill or "(no skill)"
            self.skills[name] += 1
            fate = action.get(step.index)
            self.actions[fate.value if fate else "(none)"] += 1
            self.deleted[name] += fate is Action.DELETE

    @property
    def reduction(self) -> float | None:
        """Share of all tokens that went away; None without rows."""
        return 1 - self.after / self.before if self.before else None

    def histogram(self) -> list[int]:
        """Rows by tenths of tokens that stayed; the last one takes what is longer, too."""
        counts = Counter(min(9, int(ratio * 10)) for ratio in self.ratios)
        return [counts[tenth] for tenth in range(10)]
