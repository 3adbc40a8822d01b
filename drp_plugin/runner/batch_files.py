"""The files and notes of batches: what is to be sent, what is out."""

import contextlib
import json
import uuid
from collections.abc import Callable, Iterator, Set
from pathlib import Path
from typing import IO, NamedTuple

from drp_plugin.llm.batch_api import Limits
from drp_plugin.llm.ledger import Ledger
from drp_plugin.llm.messages import Request

NOTE = "batch/"


class Sent(NamedTuple):
    """A batch that is out, or about to be."""

    label: str  # By which it can be found at the provider when its id was lost
    file: Path
    size: int  # Requests in it
    id: str | None = None
    teacher: str | None = None  # Whom it asks; earlier releases did not note it


class Collector:
    """Writes pending requests into input files within the provider's limits."""

    def __init__(self, folder: Path, limits: Limits, line: Callable[[str, Request], str]) -> None:
        self.keys: set[str] = set()
        self.keep = False
        self.sent: list[Sent] = []
        self._folder, self._limits, self._line = folder, limits, line
        self._file: IO[str] | None = None
        self._count = self._bytes = 0

    def add(self, key: str, request: Request) -> None:
        """Add a request that is not in yet."""
        text = self._line(key, request) + "\n"
        size = len(text.encode())
        full = self._count >= self._limits.requests or self._bytes + size > self._limits.bytes
        if self._file is None or full:
            self.close()
            path = self._folder / f"drp-{uuid.uuid4().hex}.jsonl"
            self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115
        self._file.write(text)
        self.keys.add(key)
        self._count += 1
        self._bytes += size

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            path = Path(self._file.name)
            self.sent.append(Sent(path.stem, path, self._count))
        self._file, self._count, self._bytes = None, 0, 0


class BatchFiles:
    """The folder RUN_DIR/batches and the ledger's notes of it."""

    def __init__(self, run_dir: Path, ledger: Ledger, teacher: str) -> None:
        self.folder = run_dir / "batches"
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.teacher = teacher
        self.at_once: int | None = None  # Most batches out at once; None is no limit
        self._ledger = ledger
        self._ready: list[Sent] = []

    @contextlib.contextmanager
    def collecting(self, limits: Limits,
                   line: Callable[[str, Request], str]) -> Iterator[Collector]:
        """Collects requests; their files stay only if `keep` was set."""
        collector = Collector(self.folder, limits, line)
        try:
            yield collector
        finally:
            collector.close()
            self._ready = collector.sent if collector.keep else []
            self.sweep({sent.file for sent in self._ready})

    def ready(self) -> list[Sent]:
        """What was collected last and is to be sent now; the rest comes with the next pass."""
        ready, self._ready = self._ready[:self.at_once], []
        self.sweep({sent.file for sent in ready})
        return ready

    def note(self, sent: Sent) -> None:
        """Remember a batch, durably."""
        self._ledger.note(NOTE + sent.label, {"file": sent.file.name, "size": sent.size,
                                              "id": sent.id, "teacher": self.teacher})

    def open(self) -> list[Sent]:
        """The batches of this teacher that are out."""
        return [sent for sent in self._noted() if sent.teacher in (None, self.teacher)]

    def _noted(self) -> list[Sent]:
        return [Sent(name.removeprefix(NOTE), self.folder / Path(n["file"]).name, n["size"],
                     n["id"], n.get("teacher")) for name, n in self._ledger.notes(NOTE).items()]

    def sweep(self, ready: Set[Path] = frozenset()) -> None:
        """Remove input files that are neither ready nor a batch's: an earlier process was killed
        over them, or what came before them was not taken."""
        kept = ready | {sent.file for sent in self._noted()}
        for file in self.folder.glob("drp-*.jsonl"):
            if file not in kept:
                file.unlink(missing_ok=True)

    def keys(self, sent: Sent) -> Iterator[str]:
        """The keys of a batch's requests, from its input file; none where that is gone."""
        with contextlib.suppress(FileNotFoundError), open(sent.file, encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                yield row.get("custom_id") or row["key"]

    def forget(self, sent: Sent) -> None:
        """The batch is done with: drop its note and files."""
        self._ledger.note(NOTE + sent.label, None)
        for file in (sent.file, *self.folder.glob("*.results.jsonl")):
            file.unlink(missing_ok=True)
