"""Traces as they come from the student, bad rows included as rejects."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.records import Reason, Reject, Trace


def traces(path: str | Path) -> Iterator[Trace | Reject]:
    """Every row of a JSONL file of traces, in order.

    A row that cannot be used becomes a reject of the stage `read`. A missing id is made from the
    file's name and the row's number. Ids come out unique: where several rows share one (samples
    of the same question), the second becomes `ID#2` and so on; a row whose id and response
    both stood before is a duplicate and is rejected.

    Raises UserError when the file cannot be read or holds no usable row.
    """
    stem = "stdin" if str(path) == "-" else Path(path).name.split(".")[0]
    known = _Known()
    usable, first_problem = 0, "it is empty"
    for row in jsonl.rows(path):
        name = f"{stem}-{row.number}"
        if row.value is None:
            problem = Reject(id=name, stage="read", reason=Reason.NOT_JSON,
                             detail=f"row {row.number}: {row.error}",
                             row={"text": row.text[:2000]})
        else:
            result = _trace(row.value, name, row.number)
            if isinstance(result, Trace):
                earlier = known.row_of(_digest(result.id, result.response), row.number)
                if earlier is None:
                    usable += 1
                    yield _unique(result, known)
                    continue
                result = Reject(id=f"{result.id}@row{row.number}", stage="read",
                                reason=Reason.BAD_ROW, row=row.value,
                                detail=f"row {row.number}: the same id and response as in row "
                                       f"{earlier}")
            problem = result
        if first_problem == "it is empty":
            first_problem = problem.detail
        yield problem
    if not usable:
        raise UserError(f"holds no usable trace: {first_problem}", file=path,
                        fix='Each line must be a JSON object with "question" and "response"')


def _trace(value: dict[str, Any], name: str, number: int) -> Trace | Reject:
    row = dict(value)
    for field in ("id", "answer"):
        if isinstance(row.get(field), int | float) and not isinstance(row[field], bool):
            row[field] = str(row[field])
    if row.get("id") in (None, ""):
        row["id"] = name
    if row.get("answer") == "":
        row["answer"] = None
    try:
        return Trace.model_validate(row)
    except ValidationError as error:
        named = row["id"] if isinstance(row["id"], str) else name
        return Reject(id=f"{named}@row{number}", stage="read", reason=Reason.BAD_ROW,
                      detail=f"row {number}: {jsonl.explain(error)}", row=value)


class _Known:
    """Rows and ids that stood before: in a temporary database, so that memory stays flat."""

    def __init__(self) -> None:
        self._base = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._base.executescript("""
            PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -4000;
            CREATE TABLE rows (key BLOB PRIMARY KEY, number INTEGER) WITHOUT ROWID;
            CREATE TABLE ids (key BLOB PRIMARY KEY, turn INTEGER) WITHOUT ROWID;
            BEGIN""")

    def row_of(self, key: bytes, number: int) -> int | None:
        """The earlier row with this key; None, and `number` is kept, where it is the first."""
        found = self._base.execute("SELECT number FROM rows WHERE key = ?", (key,)).fetchone()
        if found is None:
            self._base.execute("INSERT INTO rows VALUES (?, ?)", (key, number))
        return None if found is None else int(found[0])

    def turn(self, name: str) -> int:
        """How often the id has been given."""
        found = self._base.execute("SELECT turn FROM ids WHERE key = ?",
                                   (_digest(name),)).fetchone()
        return 0 if found is None else int(found[0])

    def give(self, name: str, turn: int) -> None:
        self._base.execute("INSERT OR REPLACE INTO ids VALUES (?, ?)", (_digest(name), turn))


def _digest(*parts: str) -> bytes:
    digest = hashlib.blake2b(digest_size=12)
    for part in parts:
        digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return digest.digest()


def _unique(trace: Trace, known: _Known) -> Trace:
    turn = known.turn(trace.id) + 1
    known.give(trace.id, turn)
    if turn == 1:
        return trace
    name = f"{trace.id}#{turn}"
    while known.turn(name):  # somebody's ids look like ours
        turn += 1
        name = f"{trace.id}#{turn}"
    known.give(trace.id, turn)
    known.give(name, 1)
    return trace.model_copy(update={"id": name})
