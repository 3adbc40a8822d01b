"""What stands between the ledger and its disk: rows, who waits for them, and refusals."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import shutil
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from drp_plugin.errors import UserError

_ROOM = 2 ** 22
"""Bytes that must be free at the start: about what the replies in flight take."""
_FREE_THE_DISK = "Free the disk, then run the same command again"
_MAKE_WRITABLE = "Make the file and its folder writable, then run the same command again"
_SYSTEM = {errno.ENOSPC: _FREE_THE_DISK, errno.EDQUOT: _FREE_THE_DISK}
"""What mends a refusal of the operating system; the others are taken for missing rights."""
_SQLITE = {
    sqlite3.SQLITE_FULL: _FREE_THE_DISK, sqlite3.SQLITE_IOERR: _FREE_THE_DISK,
    sqlite3.SQLITE_READONLY: _MAKE_WRITABLE, sqlite3.SQLITE_CANTOPEN: _MAKE_WRITABLE,
    sqlite3.SQLITE_PERM: _MAKE_WRITABLE,
    sqlite3.SQLITE_BUSY: "Another process holds it: run the same command again when it has ended",
}


def check_room(folder: Path) -> None:
    """Raises OSError on a full disk: replies that find no room are paid for and lost."""
    disk = shutil.disk_usage(folder)
    if disk.total and disk.free < _ROOM:  # some network disks tell nothing
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def refusal(error: Exception, path: Path) -> UserError:
    """What to do about a ledger that does not work. Its replies are paid for: none of it tells
    to drop them."""
    if isinstance(error, OSError):
        return UserError(f"cannot be written ({error.strerror or error})", file=path,
                         fix=_SYSTEM.get(error.errno or 0, _MAKE_WRITABLE))
    # the low byte is the kind, the others say where; errors of Python's own have no code
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code in _SQLITE:
        return UserError(f"cannot be written ({error})", file=path, fix=_SQLITE[code])
    if code == sqlite3.SQLITE_NOTADB:
        return UserError(f"cannot be used as the run's ledger ({error})", file=path,
                         fix="Give another run directory, or move the file away")
    return UserError(f"is damaged, or no ledger ({error})", file=path,
                     fix="Put a copy in its place, or what `sqlite3 FILE .recover` still reads: "
                         "its replies are paid for")


class Entry(NamedTuple):
    """One answer to be stored."""

    key: str
    value: Mapping[str, Any]
    tag: str = ""
    cost_usd: float | None = None


class Put(NamedTuple):
    """Rows to be stored, and who waits for it: a coroutine of `loop`, or a thread."""

    rows: list[tuple[str, str, str, float | None]]
    loop: asyncio.AbstractEventLoop | None
    done: Any


def as_row(entry: Entry) -> tuple[str, str, str, float | None]:
    """An answer as the table has it."""
    # lone surrogates cannot be stored as UTF-8: ASCII escapes keep them as they came
    text = json.dumps(entry.value, ensure_ascii=True, separators=(",", ":"))
    return entry.key, text, entry.tag, entry.cost_usd


def resolve(puts: list[Put], error: BaseException | None) -> None:
    """Wake the callers: one wake-up for each event loop, not one for each put."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Any]] = {}
    for put in puts:
        if put.loop is not None:
            by_loop.setdefault(put.loop, []).append(put.done)
        elif error is None:
            put.done.set_result(None)
        else:
            put.done.set_exception(error)
    for loop, waiting in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(_wake, waiting, error)


def _wake(waiting: list[asyncio.Future[None]], error: BaseException | None) -> None:
    for done in waiting:
        if done.done():
            continue  # the caller was cancelled; the answer is stored all the same
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
