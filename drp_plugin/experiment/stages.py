"""A stage of an experiment: one command, what it needs, and what tells whether it has to run."""

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from drp_plugin import jsonl

TAIL_BYTES = 4096
LEAST = 0.03  # A smaller change of the mean tokens than this share is none
_PERCENT = re.compile(rb"(\d{1,3}(?:\.\d+)?)\s?%")


@dataclass(frozen=True)
class Stage:
    """One command."""

    name: str
    title: str
    command: tuple[str, ...]
    outputs: tuple[Path, ...]  # What a finished stage has made; parts with a `*` are patterns
    kind: str = ""  # `file.Kind`: what it does.
    needs: tuple[str, ...] = ()  # Names of the stages whose outputs it reads
    method: str = ""  # The method that it is for; empty where it is for all
    cwd: Path | None = None
    clears: Path | None = None  # What a run with other settings left here is removed first
    still: tuple[str, ...] = ()  # Earlier rounds' measurements: not needed unless they `moved`

    @property
    def show(self) -> bool:
        """Whether its standard output is for the user rather than for the log."""
        return self.kind == "report"

    def made_all(self) -> bool:
        """Whether every output is there."""
        return all(_exists(path) for path in self.outputs)


def _exists(path: Path) -> bool:
    fixed = next((parent for parent in path.parents if "*" not in str(parent)), path.parent)
    return any(fixed.glob(str(path.relative_to(fixed))))


@dataclass(frozen=True)
class Marks:
    """Which stages are done, on disk. A mark is a digest over the command and those of all that
    it needs: a changed setting redoes the stage and what stands on it, nothing else."""

    folder: Path

    def digests(self, stages: Iterable[Stage]) -> dict[str, str]:
        """Each stage's digest; a stage comes after those that it needs."""
        found: dict[str, str] = {}
        for stage in stages:
            text = json.dumps([[found[name] for name in stage.needs if name in found],
                               stage.command, _read(stage)])
            found[stage.name] = hashlib.sha256(text.encode()).hexdigest()[:16]
        return found

    def done(self, stage: Stage, digest: str) -> bool:
        """Whether this very stage has finished and its outputs are still there."""
        mark = self._path(stage)
        return mark.is_file() and mark.read_text().strip() == digest and stage.made_all()

    def set(self, stage: Stage, digest: str) -> None:
        """Remember that it has finished."""
        with jsonl.replacing(self._path(stage)) as file:
            file.write(digest + "\n")

    def begin(self, stage: Stage, digest: str) -> None:
        """Remember with what it was begun; clears what another beginning left."""
        if stage.clears is None:
            return
        mark = self._path(stage).with_suffix(".begun")
        if not mark.is_file() or mark.read_text().strip() != digest:
            shutil.rmtree(stage.clears, ignore_errors=True)
            with jsonl.replacing(mark) as file:
                file.write(digest + "\n")

    def _path(self, stage: Stage) -> Path:
        return self.folder / stage.name.replace("/", "__")


def _read(stage: Stage) -> list[str]:
    """Size and time of the files that a command names and no stage makes: the user's own input."""
    if stage.needs or stage.kind not in ("generate", "prune"):
        return []
    files = [Path(w) for w in stage.command[1:] if len(w) < 1000 and Path(w).is_file()]
    return [f"{f} {f.stat().st_size} {f.stat().st_mtime_ns}" for f in files]


def fraction(log: Path) -> float | None:
    """The last percentage near the end of a running stage's log, 0 to 1. For display only."""
    with contextlib.suppress(OSError, IndexError), open(log, "rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - TAIL_BYTES))
        value = float(_PERCENT.findall(file.read())[-1]) / 100
        return value if value <= 1 else None
    return None


def moved(measured: tuple[str, ...]) -> bool:
    """Whether the last measurement's tokens differ from those before; True for fewer than two."""
    before, after = [None, None, *(_tokens(Path(folder)) for folder in measured)][-2:]
    return before is None or after is None or abs(after - before) > LEAST * before


def _tokens(folder: Path) -> float | None:
    """Mean tokens a completion over all tasks of a measurement; None where there is none."""
    files = sorted(folder.glob("*/*_results.json"))
    results = json.loads(files[-1].read_text("utf-8")).get("results", {}) if files else {}
    means = [float(r["tokens,none"]) for r in results.values() if "tokens,none" in r]
    return sum(means) / len(means) if means else None
