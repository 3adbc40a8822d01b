"""A stage of the demo: one command, what it must leave behind, and whether that is there."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

TAIL_BYTES = 4096


@dataclass(frozen=True)
class Stage:
    """One command of the loop."""

    name: str
    title: str
    command: tuple[str, ...]
    outputs: tuple[Path, ...]
    """Paths that a finished stage has made; parts that hold a `*` are patterns."""
    seconds: float
    """What it took on the machine it was measured on (2 cores); only its share matters, and only
    for the estimate of the time that is left."""
    cwd: Path | None = None
    show: bool = False
    """Whether its standard output is for the user rather than for the log."""

    def made_all(self) -> bool:
        """Whether every output is there."""
        return all(_exists(path) for path in self.outputs)


def _exists(path: Path) -> bool:
    fixed = next((parent for parent in path.parents if "*" not in str(parent)), path.parent)
    return any(fixed.glob(str(path.relative_to(fixed))))


@dataclass(frozen=True)
class Marks:
    """Which stages are done, on disk, so that a killed demo goes on where it was.

    A mark holds a digest over the command and all commands before it: a changed setting redoes
    the stage and what follows it, nothing else.
    """

    folder: Path

    def digests(self, stages: list[Stage]) -> dict[str, str]:
        """Each stage's digest, chained along the list."""
        chain = ""
        result = {}
        for stage in stages:
            text = json.dumps([chain, stage.command])
            chain = result[stage.name] = hashlib.sha256(text.encode()).hexdigest()[:16]
        return result

    def done(self, stage: Stage, digest: str) -> bool:
        """Whether this very stage has finished and its outputs are still there."""
        mark = self.folder / stage.name
        return mark.is_file() and mark.read_text().strip() == digest and stage.made_all()

    def set(self, stage: Stage, digest: str) -> None:
        """Remember that it has finished."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / stage.name).write_text(digest + "\n")


_PERCENT = re.compile(rb"(\d{1,3}(?:\.\d+)?)\s?%")


def fraction(log: Path) -> float | None:
    """How far a running stage says it is: the last percentage near the end of its log, 0 to 1.

    The drp commands, LLaMA-Factory and lmms-eval all print percentages. For display only.
    """
    try:
        with open(log, "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            found = _PERCENT.findall(file.read())
    except OSError:
        return None
    if not found:
        return None
    value = float(found[-1]) / 100
    return value if value <= 1 else None
