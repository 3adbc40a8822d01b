"""The ledger's disk: what can be wrong with it and how to mend that, and locks that end with their
process: one byte of a file for each thing that is claimed. They hold on one machine, and between
machines on a network disk that supports it (`shared_by_locks`)."""

import contextlib
import errno
import fcntl
import hashlib
import math
import os
import shutil
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from drp_plugin.errors import UserError
from drp_plugin.jsonl import private
from drp_plugin.resources import table
from drp_plugin.terminal import say

SAY_AFTER_S = 5.0
_ROOM = 2 ** 22  # Bytes that must be free at the start: about what the replies in flight take
_FIXES, _NETWORK, _LOCAL_LOCKS, SCHEMA = table("ledger.yaml").values()
_SQLITE = {getattr(sqlite3, f"SQLITE_{name}"): fix for name, fix in _FIXES.items()}
_CREATING, _PRESENT = 0, 2 ** 61  # The bytes to lock for making the file, for having it open


def check_room(folder: Path) -> None:
    """Raises OSError on a full disk: replies without room would be paid for and lost."""
    disk = shutil.disk_usage(folder)
    if disk.total and disk.free < _ROOM:  # some network disks report nothing
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def refusal(error: Exception, path: Path) -> UserError:
    """What to do about a ledger that does not work; never to delete its paid replies."""
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)  # the others: missing rights
        return UserError(f"cannot be written ({error.strerror or error})", file=path,
                         fix=_FIXES["FULL" if full else "PERM"])
    # the low byte is the kind, the others say where; errors of Python's own have no code
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code in _SQLITE:
        return UserError(f"cannot be written ({error})", file=path, fix=_SQLITE[code])
    if code == sqlite3.SQLITE_NOTADB:
        return UserError(f"cannot be used as the run's ledger ({error})", file=path,
                         fix="Give another run directory, or move the file away")
    return UserError(f"is damaged, or no ledger ({error})", file=path,
                     fix="Restore a copy, or what `sqlite3 FILE .recover` still reads: "
                         "its replies were paid for")


class Claims:
    """Keys that a process holds: locks on bytes of this open file, which end with the process."""

    def __init__(self, path: Path) -> None:
        # open-file-description locks (Linux) belong to this descriptor alone; classic ones
        # belong to the process, which is enough as long as it opens the ledger once
        self._command = getattr(fcntl, "F_OFD_SETLK", None)
        while True:
            self._file = private(path, os.O_RDWR | os.O_CREAT)
            with contextlib.suppress(BlockingIOError, PermissionError, FileNotFoundError):
                self._set(fcntl.LOCK_SH | fcntl.LOCK_NB, fcntl.F_RDLCK, _PRESENT)
                if os.path.samestat(os.fstat(self._file), path.stat()):
                    return
            os.close(self._file)  # another process is removing it, or has just done so
            time.sleep(0.01)

    def claim(self, key: str, *, shared: bool = False) -> bool:
        """Try to hold `key` alone, or (`shared`) with others; False while that cannot be."""
        return self._take(_offset(key), shared)

    def release(self, key: str) -> None:
        self._set(fcntl.LOCK_UN, fcntl.F_UNLCK, _offset(key))

    def alone(self) -> bool:
        """Whether no other process has the file open; none can come in until it is closed."""
        return self._take(_PRESENT)

    def _take(self, offset: int, shared: bool = False) -> bool:
        try:
            self._set((fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB,
                      fcntl.F_RDLCK if shared else fcntl.F_WRLCK, offset)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _set(self, flags: int, kind: int, offset: int) -> None:
        if self._command is None:
            fcntl.lockf(self._file, flags, 1, offset)
        else:
            fcntl.fcntl(self._file, self._command,
                        struct.pack("@hhqqi4x", kind, os.SEEK_SET, offset, 1, 0))

    @contextlib.contextmanager
    def creating(self) -> Iterator[None]:
        """Held while the ledger is made."""
        wait_for(lambda: self._take(_CREATING), lambda: _holder(self._file, _CREATING),
                 "it opens the ledger, too")
        try:
            yield
        finally:
            self._set(fcntl.LOCK_UN, fcntl.F_UNLCK, _CREATING)

    def holder(self, key: str) -> str:
        """The process that holds `key`, as far as the system knows, for a person."""
        return _holder(self._file, _offset(key))

    def close(self) -> None:
        os.close(self._file)


@contextlib.contextmanager
def locked(path: Path, why: str) -> Iterator[None]:
    """Hold a file of this user alone, which is made for it, in this process; see `wait_for`."""
    def take() -> bool:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    with open(path, "a", opener=private) as file:
        wait_for(take, lambda: _holder(file.fileno()), why)
        yield


def wait_for(take: Callable[[], bool], who: Callable[[], str], why: str) -> None:
    """Wait until something can be taken; if that takes long, say for whom and why."""
    told = time.monotonic() + SAY_AFTER_S
    while not take():
        time.sleep(0.01)
        if time.monotonic() > told:
            told = math.inf
            say(f"waiting for {who()}: {why}")


def _holder(file: int, offset: int | None = None) -> str:
    """The process that has locked a byte of an open file, or all of it."""
    inode = f":{os.fstat(file).st_ino} "
    mark = " 0 EOF" if offset is None else f" {offset} {offset}"
    for folder in Path("/proc").glob("[0-9]*/fdinfo"):
        with contextlib.suppress(OSError):  # another user's process, or an ended one
            if any("WRITE" in line and inode in line and line.endswith(mark)
                   for file in folder.iterdir() for line in file.read_text().splitlines()):
                pid = folder.parent.name
                state = (folder.parent / "stat").read_text().rpartition(")")[2].split()[0]
                return f"process {pid}" + (f", which is stopped (`kill -CONT {pid}` lets it "
                                           f"go on)" if state in "Tt" else "")
    return "another process"


def _offset(key: str) -> int:
    """A byte of the file for a key: 60 bits, so that two keys never share one."""
    return int(hashlib.sha256(key.encode()).hexdigest()[:15], 16) + 1


def shared_by_locks(folder: Path) -> bool | None:
    """Whether processes on several machines may share a file there: None for a disk of this
    machine, True for a network disk that keeps locks for all, False for one that does not."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return None
    inside = [m for m in mounts if folder.resolve().is_relative_to(m[1].replace("\\040", " "))]
    _, _, kind, options, *_ = max(inside, key=lambda m: len(m[1]))
    if kind not in _NETWORK:
        return None
    return set(options.split(",")).isdisjoint(_LOCAL_LOCKS)
