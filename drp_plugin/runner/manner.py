"""How a run is to be run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Manner:
    """How a run is to be run, apart from what it computes."""

    anew: bool = False
    batch: bool = False
    poll_s: float = 30.0
    batch_size: int | None = None
    max_cost_usd: float | None = None
    pilot: int | None = None
    """Only forecast, from this many rows."""
