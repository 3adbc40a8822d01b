"""Math-Verify in a process of its own, with limits on its time and memory.

Math-Verify stops itself with signals, which threads may not use, and sympy can be sent into
computations without end. So one child process answers questions one at a time; it is limited in
CPU seconds for a question and replaced when it dies or hangs.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from functools import lru_cache
from queue import Empty, Queue
from typing import IO

#: CPU seconds for one comparison: CPU, not wall time, so that a busy machine grades the same.
CPU_SECONDS = 4.0
#: Wall seconds after which the child is given up.
WALL_SECONDS = 60.0
MEMORY_BYTES = 3 * 2**30


class _Child:
    def __init__(self) -> None:
        environment = dict(os.environ, PYTHONHASHSEED="0")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "drp_plugin.grading.worker"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
        self.replies: Queue[str] = Queue()
        self.owner = os.getpid()
        threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self.replies.put(line)
        self.replies.put("")

    def ask(self, gold: str, candidate: str) -> bool | None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps([gold, candidate]) + "\n")
            self.process.stdin.flush()
            reply = self.replies.get(timeout=WALL_SECONDS)
        except (OSError, Empty):
            reply = ""
        if not reply:
            self.stop()
            return None
        value: bool | None = json.loads(reply)
        return value

    def stop(self) -> None:
        if self.owner == os.getpid():
            self.process.kill()
            self.process.wait()


_lock = threading.Lock()
_child: _Child | None = None


@lru_cache(maxsize=50_000)
def same(gold: str, candidate: str) -> bool:
    """Whether Math-Verify holds two LaTeX answers to be equal; False when it gives up."""
    global _child
    with _lock:
        for _ in range(2):
            if _child is None or _child.owner != os.getpid() or _child.process.poll() is not None:
                _child = _Child()
            fresh = _child
            answer = fresh.ask(gold, candidate)
            if answer is not None:
                return answer
            if fresh.process.returncode is not None and fresh.process.returncode < 0:
                break       # it hung or was killed over this very question: do not ask again
        return False


@atexit.register
def stop() -> None:
    """End the child, if there is one."""
    global _child
    if _child is not None:
        _child.stop()
        _child = None


def _serve() -> None:
    import resource
    import signal
    from types import FrameType

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    sys.setrecursionlimit(3000)
    from math_verify import LatexExtractionConfig, parse, verify

    class OutOfTime(BaseException):
        pass

    def ring(signum: int, frame: FrameType | None) -> None:
        raise OutOfTime

    signal.signal(signal.SIGPROF, ring)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)       # whatever a library prints must not look like a reply
    config = [LatexExtractionConfig()]
    for line in sys.stdin:
        gold, candidate = json.loads(line)
        verdict = False
        try:
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
            parsed = [parse(f"\\boxed{{{text}}}", config, parsing_timeout=None)
                      for text in (gold, candidate)]
            if all(parsed):
                verdict = bool(verify(parsed[0], parsed[1], timeout_seconds=None))
        except (OutOfTime, Exception):
            verdict = False
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        out.write(json.dumps(verdict) + "\n")
        out.flush()


if __name__ == "__main__":
    _serve()
