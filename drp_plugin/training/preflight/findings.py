"""What a check found: one line each."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """Training would go wrong, most of these without a word."""
    WARNING = "warning"
    """May be meant."""
    INFO = "info"


@dataclass(frozen=True)
class Finding:
    """One thing that was found."""

    level: Level
    code: str
    """Stable name, for scripts."""
    text: str
    """One line: what is wrong and how to mend it."""


@dataclass(frozen=True)
class TrainedRow:
    """A training row as the student sees it."""

    masked: str
    """The prompt: read, not trained."""
    trained: str
    """The target: every token of it is trained."""
    note: str = ""


@dataclass
class Preflight:
    """Everything that one check found."""

    config: str
    findings: list[Finding] = field(default_factory=list)
    examples: list[TrainedRow] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """Rows, tokens, steps, effective batch size, memory: for scripts."""

    def error(self, code: str, text: str) -> None:
        self.findings.append(Finding(Level.ERROR, code, " ".join(text.split())))

    def warn(self, code: str, text: str) -> None:
        self.findings.append(Finding(Level.WARNING, code, " ".join(text.split())))

    def info(self, code: str, text: str) -> None:
        self.findings.append(Finding(Level.INFO, code, " ".join(text.split())))

    @property
    def problems(self) -> list[Finding]:
        """Errors and warnings, in the order in which they were found."""
        return [f for f in self.findings if f.level is not Level.INFO]

    def exit_code(self, strict: bool = False) -> int:
        """0 when there is no error (under `strict` no warning either), else 1."""
        bad = self.problems if strict else [f for f in self.findings if f.level is Level.ERROR]
        return 1 if bad else 0
