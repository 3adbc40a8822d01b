"""Whether the curve of accuracy and tokens still moves from round to round."""

from __future__ import annotations

import json
from pathlib import Path

LEAST = 0.03  # A smaller change of the mean tokens than this share is none


def moved(measured: tuple[str, ...]) -> bool:
    """Whether the last of these measurements differs from the one before it.

    True for fewer than two. Tokens decide: a round that no longer shortens has nothing to give.
    """
    if len(measured) < 2:
        return True
    before, after = (_tokens(Path(folder)) for folder in measured[-2:])
    if before is None or after is None:
        return True
    return abs(after - before) > LEAST * before


def _tokens(folder: Path) -> float | None:
    """Mean tokens a completion over all tasks of a measurement; None where there is none."""
    files = sorted(folder.glob("*/*_results.json"))
    if not files:
        return None
    results = json.loads(files[-1].read_text("utf-8")).get("results", {})
    means = [float(r["tokens,none"]) for r in results.values() if "tokens,none" in r]
    return sum(means) / len(means) if means else None
