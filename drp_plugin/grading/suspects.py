"""Gold answers that are probably wrong. The official gold stays in force; reports list these."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from drp_plugin.grading.rules import base_name
from drp_plugin.records import Record


class Suspect(Record):
    """An official answer that does not follow from its question."""

    dataset: str
    split: str
    index: int
    """Row of the official file, from 0."""
    official: str
    suspected: str
    why: str


@lru_cache(maxsize=1)
def _all() -> tuple[Suspect, ...]:
    file = Path(__file__).resolve().parents[1] / "data" / "suspect_golds.json"
    return tuple(Suspect(**entry) for entry in json.loads(file.read_text(encoding="utf-8")))


def suspects(dataset: str) -> tuple[Suspect, ...]:
    """The suspect golds of a set, by any of its names."""
    return tuple(s for s in _all() if base_name(dataset).startswith(s.dataset))
