"""One experiment at a time in a folder, and no orphan of a killed one beside it."""

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from drp_plugin.errors import UserError
from drp_plugin.runner.outputs import alive

WAIT_SECONDS = 20


class Lock:
    """A lock that the running stages hold too, since they inherit the open file. Killed with -9, an
    experiment leaves stages running: the next one sees it gone and ends them."""

    def __init__(self, file: IO[str]) -> None:
        self.file, self.fd = file, file.fileno()

    def note(self, groups: Iterable[int] = ()) -> None:
        """Write down who we are and which process groups run stages."""
        self.file.seek(0)
        self.file.truncate()
        self.file.write(" ".join(map(str, (os.getpid(), *groups))) + "\n")
        self.file.flush()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[Lock]:
    """Hold the folder. Raises UserError where another experiment is at work in it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a+", encoding="utf-8") as file:
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                file.seek(0)
                owner, *groups = (int(x) for x in file.read().split() or ["0"])
                if (owner and alive(owner)) or time.monotonic() > deadline:
                    raise UserError(f"another experiment (process {owner}) is at work here",
                                    file=folder, fix="Wait for it, or give another folder "
                                                     "with -o") from None
                for group in groups:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(group, signal.SIGKILL)
                time.sleep(0.2)
        lock = Lock(file)
        lock.note()
        yield lock
