"""The labelled cases, read once for the tests and for the comparison with Math-Verify."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import yaml

FILE = Path(__file__).with_name("cases.yaml")


class Case(NamedTuple):
    trap: str
    dataset: str | None
    gold: str
    text: str
    whole: bool
    """Whether `text` is a whole completion rather than an answer."""
    want: str
    """right, wrong or none."""

    @property
    def completion(self) -> str:
        return self.text if self.whole else f"<think>\nhm\n</think>\n\n$\\boxed{{{self.text}}}$"


def cases() -> list[Case]:
    found = []
    for entry in yaml.safe_load(FILE.read_text(encoding="utf-8")):
        for want in ("right", "wrong", "none"):
            found += [Case(entry["trap"], entry.get("set"), entry["gold"], text,
                           entry.get("completions", False), want)
                      for text in entry.get(want, [])]
    return found
