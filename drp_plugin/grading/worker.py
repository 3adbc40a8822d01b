"""Math-Verify in a process of its own, with limits on its time and memory.

Math-Verify stops itself with signals, which threads may not use, and sympy can be sent into
computations without end. So one child process answers questions one at a time; it is limited in
CPU seconds for each question and replaced when it dies or hangs.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from functools import lru_cache
from queue import Empty, Queue
from typing import IO

from drp_plugin.errors import UserError

#: CPU seconds for one comparison: CPU, not wall time, so that a busy machine grades the same.
CPU_SECONDS = 2.0
#: Wall seconds after which a child is given up, whatever it does.
WALL_SECONDS = 60.0
MEMORY_BYTES = 3 * 2**30
_READY = "ready"


class _Child:
    """A running worker; `ask` returns None when it died over the question."""

    def __init__(self) -> None:
        environment = dict(os.environ, PYTHONHASHSEED="0")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "drp_plugin.grading.worker"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
        self.owner = os.getpid()
        self._replies: Queue[str] = Queue()
        threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()
        if self._reply() != _READY:
            self.stop()
            raise UserError("Math-Verify does not start", fix="Run `pip install -U "
                            "'math-verify>=0.9'` and try `python -c 'import math_verify'`")

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._replies.put(line.strip())
        self._replies.put("")

    def _reply(self) -> str:
        try:
            return self._replies.get(timeout=WALL_SECONDS)
        except Empty:
            return ""

    def ask(self, gold: str, candidate: str) -> bool | None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps([gold, candidate]) + "\n")
            self.process.stdin.flush()
        except OSError:
            self.stop()
            return None
        reply = self._reply()
        if not reply:
            self.stop()
            return None
        value: bool = json.loads(reply)
        return value

    @property
    def usable(self) -> bool:
        return self.owner == os.getpid() and self.process.poll() is None

    def stop(self) -> None:
        if self.owner == os.getpid():
            self.process.kill()
            self.process.wait()


_lock = threading.Lock()
_child: _Child | None = None


@lru_cache(maxsize=50_000)
def same(gold: str, candidate: str) -> bool:
    """Whether Math-Verify holds two LaTeX answers to be equal; False when it gives up.

    Raises UserError when it cannot be started at all.
    """
    global _child
    with _lock:
        if _child is None or not _child.usable:
            _child = _Child()
        # a child that dies over a question would die over it again
        return bool(_child.ask(gold, candidate))


@atexit.register
def stop() -> None:
    """End the child, if there is one."""
    global _child
    if _child is not None:
        _child.stop()
        _child = None


def _forked() -> None:
    """A forked process has no child of its own yet, and its copy of the lock may be held."""
    global _child, _lock
    _child, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forked)


class _OutOfTime(BaseException):
    pass


def _serve() -> None:
    import resource
    import signal
    from types import FrameType

    with contextlib.suppress(ValueError, OSError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    from math_verify import LatexExtractionConfig, parse, verify

    def ring(signum: int, frame: FrameType | None) -> None:
        raise _OutOfTime

    signal.signal(signal.SIGPROF, ring)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)       # whatever a library prints must not look like a reply
    print(_READY, file=out, flush=True)
    config = [LatexExtractionConfig()]
    for line in sys.stdin:
        gold, candidate = json.loads(line)
        verdict = False
        used = resource.getrusage(resource.RUSAGE_SELF)
        # a signal waits for the interpreter, which one huge multiplication can keep busy: then
        # the kernel ends this process
        spent = int(used.ru_utime + used.ru_stime + 2 * CPU_SECONDS) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (spent, resource.RLIM_INFINITY))
        try:
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
            one, two = (parse(f"\\boxed{{{text}}}", config, parsing_timeout=None)
                        for text in (gold, candidate))
            verdict = bool(one and two and verify(one, two, timeout_seconds=None))
        except (_OutOfTime, Exception):
            verdict = False
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(verdict), file=out, flush=True)


if __name__ == "__main__":
    _serve()
