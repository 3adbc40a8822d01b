"""Counting a run: what came in, what went out, what it cost."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from drp_plugin.llm.messages import Reply
from drp_plugin.records import Pruned, Reject, Usage
from drp_plugin.seen import Numbers, digest


class Tally:
    """The figures of `summary.json`, added up row by row."""

    def __init__(self) -> None:
        self.rows = self.pruned = self.steps = self.tokens_before = self.tokens_after = 0
        self.not_reached = 0  # Rows without a result because the run was stopped (budget, pilot)
        self.first_reject = ""
        self.reasons: Counter[str] = Counter()
        self.stages: Counter[str] = Counter()
        self.actions: Counter[str] = Counter()
        self.used = Usage()
        self._counted = Numbers()

    @property
    def rejected(self) -> int:
        return sum(self.reasons.values())

    def add(self, result: Pruned | Reject | None, replies: Iterable[Reply] = ()) -> None:
        """Count one row's result; None for a row that was not reached. `replies` are those that it
        came from; one that several rows share is counted once."""
        self.rows += 1
        if result is None:
            self.not_reached += 1
            return
        for reply in replies:
            if not reply.key or self._counted.first(digest(reply.key), 1) is None:
                self.used += reply.usage
        if isinstance(result, Reject):
            self.reasons[result.reason.value] += 1
            self.first_reject = self.first_reject or f"{result.reason.value}: {result.detail}"
            self.stages[result.stage] += 1
            return
        self.pruned += 1
        self.steps += len(result.steps)
        self.actions.update(r.action.value for r in result.revisions)
        self.tokens_before += result.tokens_before
        self.tokens_after += result.tokens_after

    @property
    def balanced(self) -> bool:
        """Every row that came in is accounted for."""
        return self.rows == self.pruned + self.rejected + self.not_reached

    def summary(self) -> dict[str, Any]:
        """The figures as one JSON object. Equal results give an equal summary: no times in it."""
        cost = self.used.cost_usd
        return {
            "complete": self.not_reached == 0,
            **{name: getattr(self, name) for name in ("rows", "pruned", "rejected", "not_reached")},
            "rejects": dict(sorted(self.reasons.items())),
            "rejects_by_stage": dict(sorted(self.stages.items())),
            "tokens_before": self.tokens_before, "tokens_after": self.tokens_after,
            "tokens_saved": (round(1 - self.tokens_after / self.tokens_before, 4)
                             if self.tokens_before else None),
            "steps_per_row": round(self.steps / self.pruned, 2) if self.pruned else None,
            "actions": dict(sorted(self.actions.items())),
            **self.used.model_dump(exclude={"keys"}),
            "cost_usd": None if cost is None else round(cost, 6),
        }

    def line(self) -> str:
        """The figures in one line for a person."""
        parts = [f"{self.rows} rows = {self.pruned} pruned + {self.rejected} rejected"]
        if self.not_reached:
            parts[0] += f" + {self.not_reached} not reached"
        if self.reasons:
            parts[0] += " (" + ", ".join(f"{r} {n}" for r, n in self.reasons.most_common()) + ")"
        if self.tokens_before:
            parts.append(f"tokens {self.tokens_before:,} → {self.tokens_after:,} "
                         f"(−{100 * (1 - self.tokens_after / self.tokens_before):.1f} %)")
        parts.append(f"{self.used.requests:,} requests")
        if self.used.cost_usd is not None:
            parts.append(f"${self.used.cost_usd:,.4f}")
        return "; ".join(parts)
