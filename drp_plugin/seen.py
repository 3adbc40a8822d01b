"""Earlier rows of a stream, kept on disk so that memory stays flat."""

import hashlib
import pickle
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def digest(*parts: str) -> bytes:
    """12 bytes that stand for these texts."""
    texts = b"".join(part.encode("utf-8", "surrogatepass") + b"\0" for part in parts)
    return hashlib.blake2b(texts, digest_size=12).digest()


def temporary(tables: str) -> sqlite3.Connection:
    """A database with these tables that ends with the process; it goes to disk from 2 MB on."""
    base = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    base.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; "
                       f"PRAGMA cache_size = -2000; {tables}; BEGIN")
    return base


class Kept(Sequence[T]):
    """Values in the order in which they came, each read from disk when it is looked at."""

    def __init__(self, values: Iterable[T] = ()) -> None:
        self._base, self._length = temporary("CREATE TABLE kept (value BLOB)"), 0
        for value in values:
            self.append(value)

    def append(self, value: T) -> None:
        self._base.execute("INSERT INTO kept VALUES (?)", (pickle.dumps(value),))
        self._length += 1

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, place: Any) -> Any:
        value, = self._base.execute("SELECT value FROM kept WHERE rowid = ?",
                                    (range(1, self._length + 1)[place],)).fetchone()
        return pickle.loads(value)

    def __iter__(self) -> Iterator[T]:
        return (pickle.loads(value) for value, in self._base.execute("SELECT value FROM kept"))


class Numbers:
    """A number for each key."""

    def __init__(self) -> None:
        self._base = temporary(
            "CREATE TABLE numbers (key BLOB PRIMARY KEY, number INTEGER) WITHOUT ROWID")

    def get(self, key: bytes) -> int | None:
        found = self._base.execute("SELECT number FROM numbers WHERE key = ?", (key,)).fetchone()
        return None if found is None else int(found[0])

    def put(self, key: bytes, number: int) -> None:
        self._base.execute("INSERT OR REPLACE INTO numbers VALUES (?, ?)", (key, number))

    def drop(self, key: bytes) -> bool:
        """Forget a key; whether it was known."""
        return self._base.execute("DELETE FROM numbers WHERE key = ?", (key,)).rowcount > 0

    def least(self) -> tuple[int, int]:
        """How many keys there are, and the least of their numbers (0 without any)."""
        count, least = self._base.execute("SELECT COUNT(*), MIN(number) FROM numbers").fetchone()
        return int(count), int(least or 0)

    def first(self, key: bytes, number: int) -> int | None:
        """The key's earlier number; None for a new key, which gets `number`."""
        found = self.get(key)
        if found is None:
            self.put(key, number)
        return found
