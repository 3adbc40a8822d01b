"""Earlier rows of a stream, remembered on disk so that memory stays flat."""

import hashlib
import sqlite3


def digest(*parts: str) -> bytes:
    """12 bytes that stand for these texts."""
    texts = b"".join(part.encode("utf-8", "surrogatepass") + b"\0" for part in parts)
    return hashlib.blake2b(texts, digest_size=12).digest()


class Numbers:
    """A number for each key, in a temporary database that ends with the process."""

    def __init__(self) -> None:
        self._base = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._base.executescript("""
            PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -2000;
            CREATE TABLE numbers (key BLOB PRIMARY KEY, number INTEGER) WITHOUT ROWID;
            BEGIN""")

    def get(self, key: bytes) -> int | None:
        """The key's number; None for a key that is new."""
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
