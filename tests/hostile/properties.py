"""What holds of every command, whatever it is given; stated once, here.

1. It ends by itself, with a documented exit code and without a traceback.
2. A mistake is said: a failure without a line on standard error is none.
3. Nothing of what it was given runs as code.
4. No key of the environment stands in what it says or writes.
5. No escape of a terminal goes out raw.
6. Memory is bounded: the child may have `MEMORY` bytes of address space, no more.
7. No temporary file stays behind.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-proj-HostileSecret1234567890abcdefXYZ"
CANARY = "DRP_CANARY"
"""The variable that names a file which only executed code would make."""
CODES = (0, 1, 2, 3, 130)
MEMORY = 2 << 30
SECONDS = 120.0
_RAW = {*range(0x20), 0x7F} - {0x09, 0x0A, 0x0D}


class Ran(NamedTuple):
    """What a command did."""

    code: int | None
    out: bytes
    err: bytes

    @property
    def said(self) -> str:
        return self.err.decode("utf-8", "replace")


class Zygote:
    """The process that forks a child for each case."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1",
                       "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("zygote.py"))], env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        self._lock = threading.Lock()

    def run(self, case: dict[str, Any]) -> int | None:
        assert self.process.stdin is not None and self.process.stdout is not None
        with self._lock:
            self.process.stdin.write(json.dumps(case) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class Arena:
    """A folder in which commands are attacked."""

    def __init__(self, zygote: Zygote, home: Path) -> None:
        self.zygote, self.home = zygote, home
        self.work = home / "work"
        self.work.mkdir(exist_ok=True)
        self.canary = home / "canary"
        self._said = home / "said"
        self._said.mkdir(exist_ok=True)

    def run(self, *args: Any, stdin: str = os.devnull, memory: int = MEMORY,
            seconds: float = SECONDS, env: dict[str, str] | None = None,
            out: str | None = None, **more: Any) -> Ran:
        """Run `drp ARGS` in the arena's folder; see `zygote.child` for what `more` may say."""
        one, two = self._said / "out", self._said / "err"
        code = self.zygote.run({
            "args": [str(a) for a in args], "cwd": str(self.work), "stdin": stdin,
            "out": out or str(one), "err": str(two), "memory": memory, "seconds": seconds,
            "env": {"PATH": os.environ["PATH"], "HOME": str(self.home), "LANG": "C.UTF-8",
                    "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1",
                    "TOKENIZERS_PARALLELISM": "false", "OPENAI_API_KEY": KEY,
                    "GEMINI_API_KEY": KEY, CANARY: str(self.canary), **(env or {})}} | more)
        return Ran(code, one.read_bytes() if out is None else b"", two.read_bytes())

    def attack(self, *args: Any, **how: Any) -> Ran:
        """Run it and hold it to the properties."""
        ran = self.run(*args, **how)
        faults = [*broken(ran), *self._left()]
        assert not faults, f"drp {' '.join(map(repr, map(str, args)))}\n" + "\n".join(faults) \
            + f"\n--- said:\n{ran.said[-3000:]}"
        return ran

    def _left(self) -> Iterable[str]:
        if self.canary.exists():
            self.canary.unlink()
            yield "what it was given ran as code"
        for file in self.work.rglob("*"):
            if file.name.endswith(".tmp"):
                file.unlink()
                yield f"{file.name} stays behind"
            elif file.is_file() and not file.is_symlink() and KEY.encode() in file.read_bytes():
                file.unlink()
                yield f"the key stands in {file.name}"


def broken(ran: Ran) -> Iterable[str]:
    """Which properties what a command said does not have."""
    if ran.code is None:
        yield f"did not end within {SECONDS:g} s"
    elif ran.code not in CODES:
        yield f"ended with {ran.code}"
    if ran.code and not ran.err.strip():
        yield f"ended with {ran.code} and said nothing"
    for name, said in (("output", ran.out), ("error", ran.err)):
        if b"Traceback (most recent call last)" in said:
            yield f"a traceback on standard {name}"
        if KEY.encode() in said or KEY[8:24].encode() in said:
            yield f"the key on standard {name}"
        text = said.decode("utf-8", "replace")
        if raw := {c for c in text if ord(c) in _RAW or 0x80 <= ord(c) < 0xA0}:
            yield f"raw control characters on standard {name}: {sorted(map(repr, raw))}"
    if ran.code == 2 and len(ran.said.splitlines()) > 12:
        yield f"{len(ran.said.splitlines())} lines for a mistake"
