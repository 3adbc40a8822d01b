"""A line of a table, before any format."""

from __future__ import annotations

from typing import NamedTuple


class Line(NamedTuple):
    """Cells and what they are."""

    cells: tuple[str, ...]
    kind: str = "ours"
    """ours, paper (numbers typed in from the paper) or section (a heading across)."""
