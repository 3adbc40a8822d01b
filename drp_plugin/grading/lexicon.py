"""What data/grading.yaml lists: words, units, names and signs, and the patterns of notation."""

import re
from pathlib import Path
from typing import Any

import yaml

_FILE = Path(__file__).resolve().parents[1] / "data" / "grading.yaml"
_ALL = yaml.load(_FILE.read_text("utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
TABLES: dict[str, Any] = _ALL["tables"]


class Patterns:
    """The regular expressions of one part of grading, compiled when they are first used."""

    def __init__(self, part: str) -> None:
        self._sources = _ALL[part]

    def __getattr__(self, name: str) -> re.Pattern[str]:
        pattern = re.compile("".join(self._sources[name]))
        setattr(self, name, pattern)
        return pattern
