"""Math-Verify in a process of its own, with limits on its time and memory. Math-Verify stops itself
with signals, which threads may not use, and sympy may compute without end. So one child answers
questions one at a time, and is replaced when it dies or hangs."""

import atexit
import json
import os
import select
import subprocess
import sys
import threading
from functools import lru_cache
from pathlib import Path

from drp_plugin.errors import UserError

#: CPU seconds for one comparison: CPU, not wall time, so that a busy machine grades the same. The
#: slowest sum of the cases takes 1.5, and 2.6 where others share the core.
CPU_SECONDS = 4.0
WALL_SECONDS = 60.0  # Wall seconds after which a child is given up
MEMORY_BYTES = 3 * 2**30
_CHILD = Path(__file__).resolve().with_name("asked.py")


def _search_path() -> str:
    """Where the child may import from: as this process, but never from the current folder."""
    try:
        here = os.path.realpath(os.getcwd())
    except OSError:     # a folder that no longer exists
        here = ""
    return os.pathsep.join(entry for entry in sys.path
                           if os.path.isabs(entry) and os.path.realpath(entry) != here)


class _Child:
    """A running worker; `ask` returns None when it died over the question."""

    def __init__(self) -> None:
        environment = dict(os.environ, PYTHONHASHSEED="0", PYTHONPATH=_search_path())
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(_CHILD), str(CPU_SECONDS), str(MEMORY_BYTES)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environment, cwd=_CHILD.parent)
        if self._reply() != "ready":
            self.stop()
            raise UserError("Math-Verify does not start", fix="Run `pip install -U "
                            "'math-verify>=0.9'` and try `python -c 'import math_verify'`")

    def _reply(self) -> str:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], WALL_SECONDS)
        return self.process.stdout.readline().decode().strip() if ready else ""

    def ask(self, gold: str, candidate: str) -> bool | None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps([gold, candidate]).encode() + b"\n")
            self.process.stdin.flush()
            reply = self._reply()
        except OSError:
            reply = ""
        if not reply:
            self.stop()
        return reply == "true" if reply else None

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


_lock = threading.Lock()
_child: _Child | None = None


@lru_cache(maxsize=10_000)
def same(gold: str, candidate: str) -> bool:
    """Whether Math-Verify holds two answers to be equal; UserError when it does not start."""
    global _child
    with _lock:
        if _child is None or _child.process.poll() is not None:
            _child = _Child()
        # a child that died over a question would do so again
        return bool(_child.ask(gold, candidate))


@atexit.register
def stop() -> None:
    global _child
    if _child is not None:
        _child.stop()
        _child = None


def _forked() -> None:
    """A forked process has no child of its own yet, and its copy of the lock may be held."""
    global _child, _lock
    _child, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forked)
