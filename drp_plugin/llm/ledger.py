"""The ledger: every answer that was paid for, stored durably before anything uses it.

One SQLite file per run directory. A request is keyed by everything that determines its answer
(`request_key`): an edited prompt never replays a stale answer, and nothing is paid for twice, not
across stages, restarts, `kill -9`, or processes that share the directory.

One writer thread puts everything that is waiting into a single transaction; each caller goes on
once that is on the disk. Claims are kernel locks, which die with their process (`ledger_disk`)."""

import asyncio
import contextlib
import hashlib
import json
import os
import sqlite3
import threading
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from drp_plugin.errors import UserError
from drp_plugin.jsonl import loads, private
from drp_plugin.llm.ledger_disk import SCHEMA, Claims, check_room, refusal, shared_by_locks

_BUSY_S = 60.0
_Stored = tuple[str, str, str, float | None]  # A row of `replies`


def request_key(payload: Mapping[str, Any]) -> str:
    """64 hex digits from all that determines an answer, in any order; leave out what is None."""
    text = json.dumps(payload, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Totals(NamedTuple):
    """Totals of the ledger."""

    replies: int
    cost_usd: float | None


class Entry(NamedTuple):
    """One answer to be stored."""

    key: str
    value: Mapping[str, Any]
    tag: str = ""
    cost_usd: float | None = None


class Ledger(Claims, contextlib.AbstractContextManager["Ledger"]):
    """A durable, shared map from request keys to answers. Safe for threads and processes.

    The first answer stored under a key stays. After claiming a key, check again whether the answer
    is there: another process may just have stored it. Raises UserError when the file cannot be
    opened or is no ledger; so does every method when the disk is full or the file is damaged."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            check_room(self.path.parent)
            self.shared = shared_by_locks(self.path.parent)
            super().__init__(self.path.with_name(self.path.name + ".lock"))
            with self.creating():  # two processes may create the file at the same moment
                os.close(private(self.path, os.O_RDWR | os.O_CREAT))
                self._writer = self._connect()
                if self._writer.execute("PRAGMA user_version").fetchone() != (0,):
                    raise UserError("is another release's, or another program's", file=self.path,
                                    fix="Use that release, or give another run directory")
                self._writer.executescript(SCHEMA)
            self._reader = self._connect()
        except (sqlite3.Error, OSError) as error:
            raise refusal(error, self.path) from None
        self._reading, self._writing = threading.Lock(), ThreadPoolExecutor(1, "ledger")
        self._waiting: deque[tuple[list[_Stored], Future[None]]] = deque()
        self._closed = False

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY_S, check_same_thread=False,
                                     isolation_level=None, cached_statements=32)
        connection.execute(f"PRAGMA journal_mode={'WAL' if self.shared is None else 'DELETE'}")
        connection.execute("PRAGMA synchronous=FULL")  # a commit that returned survives a crash
        return connection

    def _found(self, query: str, *values: Any) -> dict[str, Any]:
        with self._guarded(), self._reading:
            return {n: loads(v) for n, v in self._reader.execute(query, values).fetchall()}

    def get(self, key: str) -> dict[str, Any] | None:
        return self._found("SELECT key, value FROM replies WHERE key=?", key).get(key)

    def get_many(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        return self._found("SELECT key, value FROM replies WHERE key IN (SELECT value FROM "
                           "json_each(?))", json.dumps(list(keys)))

    def totals(self) -> Totals:
        """Answers stored and what they cost; the cost is None where no price was known."""
        with self._guarded(), self._reading:
            return Totals(*self._reader.execute(
                "SELECT COUNT(*), SUM(cost_usd) FROM replies").fetchone())

    def unpriced(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Tag and value of every answer that was stored without a cost, one at a time."""
        with self._guarded(), contextlib.closing(self._connect()) as connection:
            for tag, value in connection.execute(
                    "SELECT tag, value FROM replies WHERE cost_usd IS NULL"):
                yield tag, loads(value)

    def __len__(self) -> int:
        return self.totals().replies

    def put(self, *entries: Entry) -> None:
        """Store answers in one transaction; they are on the disk when this returns."""
        self._submit(entries).result()

    async def aput(self, *entries: Entry) -> None:
        """`put` for a coroutine: other coroutines run while the disk is waited for."""
        await asyncio.wrap_future(self._submit(entries))

    def _submit(self, entries: Iterable[Entry]) -> Future[None]:
        done: Future[None] = Future()
        # lone surrogates cannot be stored as UTF-8: ASCII escapes keep them as they came
        self._waiting.append(([(e.key, json.dumps(e.value, ensure_ascii=True,
                                                  separators=(",", ":")), e.tag, e.cost_usd)
                               for e in entries], done))
        self._writing.submit(self._write)  # raises RuntimeError when the ledger is closed
        return done

    def _write(self) -> None:
        puts = [self._waiting.popleft() for _ in range(len(self._waiting))]
        error: BaseException | None = None
        try:
            if puts:
                self._commit([row for rows, _ in puts for row in rows])
        except BaseException as caught:
            error = caught
        for _, done in puts:
            # a caller that was cancelled: its answer is stored nevertheless
            with contextlib.suppress(InvalidStateError):
                done.set_result(None) if error is None else done.set_exception(error)

    def _commit(self, rows: list[_Stored]) -> None:
        with self._guarded(), self._writer:  # commits; at an error it rolls back
            self.path.stat()  # SQLite would go on in a file that was moved or deleted
            self._writer.execute("BEGIN IMMEDIATE")
            self._writer.executemany("INSERT OR IGNORE INTO replies VALUES (?,?,?,?)", rows)

    def note(self, name: str, value: Any) -> None:
        """Store, replace or (None) remove a small fact about the run; durable when this returns."""
        if value is None:
            return self._change("DELETE FROM notes WHERE name=?", name)
        self._change("INSERT OR REPLACE INTO notes VALUES (?,?)", name, json.dumps(value))

    def notes(self, prefix: str = "") -> dict[str, Any]:
        """All facts whose names begin with `prefix`, in the order of their names."""
        return self._found("SELECT name, value FROM notes WHERE substr(name, 1, ?) = ? ORDER BY "
                           "name", len(prefix), prefix)

    def _change(self, query: str, *values: str) -> None:
        with self._guarded(), contextlib.closing(self._connect()) as connection:
            connection.execute(query, values)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """What SQLite or the disk refuses, or a damaged value, is one line for the user."""
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as error:
            raise refusal(error, self.path) from None

    def set_aside(self, key: str) -> None:
        """Keep what is stored under `key` as paid for, and no longer as its answer."""
        self._change("UPDATE replies SET key=? WHERE key=?", aside(key), key)

    def take(self, file: Path, mark: str, *, note: str) -> None:
        """Take over all that another ledger holds, with a note that it is done, or nothing. A reply
        to a request that is already answered here is kept under a key with `mark`: it was paid for
        too. If the note is there, only new replies are taken."""
        known = note in self.notes(note)
        with self._guarded(), contextlib.closing(self._connect()) as connection:
            connection.execute("ATTACH ? AS other", (str(file),))
            connection.execute("BEGIN IMMEDIATE")
            if not known:
                connection.execute(
                    "INSERT OR IGNORE INTO main.replies SELECT o.key || '/' || ?, o.value, o.tag, "
                    "o.cost_usd FROM other.replies o JOIN main.replies USING (key)", (mark,))
            connection.execute("INSERT OR IGNORE INTO main.replies SELECT * FROM other.replies")
            connection.execute("INSERT OR REPLACE INTO main.notes VALUES (?, 'true')", (note,))
            connection.execute("COMMIT")

    def discard(self) -> bool:
        """Close a ledger that holds nothing and remove it, unless another process has it open."""
        if remove := not len(self) and not self.notes() and self.alone():
            for end in ("", "-wal", "-shm", "-journal", ".lock"):
                self.path.with_name(self.path.name + end).unlink(missing_ok=True)
        self.close()
        return remove

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._writing.shutdown()
            self._reader.close()
            self._writer.close()
            super().close()

    def __exit__(self, kind: object, *_: object) -> None:
        with contextlib.closing(self):
            if kind:
                self.discard()


def aside(key: str, mark: str = "") -> str:
    """A key for a reply to `key` that was paid for and is no answer."""
    return f"{key}/{mark or uuid.uuid4().hex}"
