"""The files and notes of batches: to be sent, and open."""

import contextlib
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from drp_plugin.errors import UserError
from drp_plugin.llm.ledger import Ledger
from drp_plugin.llm.remote import Limits

NOTE = "batch/"
RUNNER = "batch-runner"  # What a run that sends batches claims alone, and live ones share


def hold(ledger: Ledger, run_dir: Path, *, shared: bool = False) -> None:
    """Raises UserError for batches beside live requests, which would pay for the same answers."""
    if not ledger.claim(RUNNER, shared=shared):
        raise UserError(f"{ledger.holder(RUNNER)} asks in this run", file=run_dir,
                        fix="Let it finish, or stop it first: batches go with no other process")


class Sent(NamedTuple):
    """A batch that was sent, or is about to be."""

    label: str  # Finds it at the provider if its id was lost; its file's name
    size: int  # Requests in it
    id: str | None = None
    teacher: str | None = None  # The teacher; earlier releases did not note it


class BatchFiles:
    """The folder RUN_DIR/batches and the ledger's notes of it."""

    def __init__(self, run_dir: Path, ledger: Ledger, teacher: str, limits: Limits) -> None:
        self.folder = run_dir / "batches"
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.limits = limits
        self._ledger, self._teacher = ledger, teacher
        self._collected: list[Sent] = []
        self._file: BinaryIO | None = None

    def input(self, sent: Sent) -> Path:
        return self.folder / f"{sent.label}.jsonl"

    def add(self, text: str) -> None:
        line = text.encode() + b"\n"
        if self._file is None or self._collected[-1].size >= self.limits.requests \
                or self._file.tell() + len(line) > self.limits.bytes:
            self.collected()
            self._collected.append(Sent(f"drp-{uuid.uuid4().hex}", 0, teacher=self._teacher))
            self._file = open(self.input(self._collected[-1]), "wb")  # noqa: SIM115
        self._file.write(line)
        self._collected[-1] = self._collected[-1]._replace(size=self._collected[-1].size + 1)

    def collected(self) -> list[Sent]:
        """What is to be sent, completely written to the files."""
        if self._file is not None:
            self._file.close()
            self._file = None
        return self._collected

    def sweep(self) -> None:
        """Remove what was collected and not sent, also by a process that was killed."""
        self.collected().clear()
        kept = {self.input(sent) for sent in self._noted()}
        for file in self.folder.glob("drp-*.jsonl"):
            if file not in kept:
                file.unlink(missing_ok=True)

    def note(self, sent: Sent) -> None:
        self._ledger.note(NOTE + sent.label, {**sent._asdict(), "file": self.input(sent).name})

    def open(self) -> list[Sent]:
        return [sent for sent in self._noted() if sent.teacher in (None, self._teacher)]

    def _noted(self) -> list[Sent]:
        return [Sent(name.removeprefix(NOTE), n["size"], n["id"], n.get("teacher"))
                for name, n in self._ledger.notes(NOTE).items()]

    def keys(self, sent: Sent) -> Iterator[str]:
        """The keys of a batch's requests, from its input file; none if that is gone."""
        with contextlib.suppress(FileNotFoundError), \
                open(self.input(sent), encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                yield row.get("custom_id") or row["key"]

    def forget(self, sent: Sent) -> None:
        self._ledger.note(NOTE + sent.label, None)
        for file in (self.input(sent), *self.folder.glob("*.results.jsonl")):
            file.unlink(missing_ok=True)
