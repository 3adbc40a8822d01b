"""What a check found: one line each, with the words of `data/preflight.yaml`."""

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any

from drp_plugin import resources


class Level(StrEnum):
    """An error makes training go wrong, mostly without a word; a warning may be meant."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True)
class Finding:
    """One thing that was found: a stable name for scripts, and what is wrong and mends it."""

    level: Level
    code: str
    text: str


@dataclass(frozen=True)
class TrainedRow:
    """A row as the student sees it: what it only reads, and what every token of is trained."""

    masked: str
    trained: str
    note: str = ""


@cache
def _words() -> dict[str, tuple[Level, str]]:
    table = resources.table("preflight.yaml")
    return {key: (Level(level), text) for level in table for key, text in table[level].items()}


@dataclass
class Preflight:
    """Everything that one check found."""

    config: str
    findings: list[Finding] = field(default_factory=list)
    examples: list[TrainedRow] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)  # rows, tokens, steps, …: for scripts

    def add(self, key: str, /, **values: Any) -> None:
        """Add a finding: its code, with `:CASE` where it has several, and what its text names."""
        level, text = _words()[key]
        self.findings.append(
            Finding(level, key.partition(":")[0], " ".join(text.format(**values).split())))

    @property
    def problems(self) -> list[Finding]:
        """Errors and warnings, in the order in which they were found."""
        return [f for f in self.findings if f.level is not Level.INFO]

    def exit_code(self, strict: bool = False) -> int:
        """0 when there is no error (under `strict` no warning either), else 1."""
        return int(any(strict or f.level is Level.ERROR for f in self.problems))
