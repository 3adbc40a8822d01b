"""Rows that wait on disk until their order is known."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from drp_plugin.jsonl import dumps
from drp_plugin.training.mixing import Fit


class Spool:
    """A nameless file beside the set that is being built; it goes with its process."""

    def __init__(self, folder: Path) -> None:
        place = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.is_dir())
        self._file = tempfile.TemporaryFile(dir=place)  # noqa: SIM115
        self._end = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._file.close()

    def put(self, example: dict[str, Any], note: Any) -> int:
        """Keep a training example and what is known about it; returns where they are."""
        text = f"{dumps(example)}\n{json.dumps(note)}\n".encode()
        self._file.write(text)
        self._end += len(text)
        return self._end - len(text)

    def examples(self, rows: Iterable[Fit]) -> Iterator[str]:
        """Each row's example, as one line of JSON."""
        for row in rows:
            self._file.seek(row.offset)
            yield self._file.readline().decode().rstrip("\n")

    def notes(self, rows: Iterable[Fit]) -> Iterator[Any]:
        """What is known about each row."""
        for row in rows:
            self._file.seek(row.offset)
            self._file.readline()
            yield json.loads(self._file.readline())
