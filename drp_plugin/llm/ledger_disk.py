"""What keeps the ledger from its disk, and what mends that."""

import errno
import os
import shutil
import sqlite3
from pathlib import Path

from drp_plugin.errors import UserError

_ROOM = 2 ** 22  # Bytes that must be free at the start: about what the replies in flight take
_FREE_THE_DISK = "Free the disk, then run the same command again"
_MAKE_WRITABLE = "Make the file and its folder writable, then run the same command again"
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
    """What to do about a ledger that does not work; never to drop its replies, which are paid."""
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)  # the others: missing rights
        return UserError(f"cannot be written ({error.strerror or error})", file=path,
                         fix=_FREE_THE_DISK if full else _MAKE_WRITABLE)
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
