"""Output for people: the streams of a command, and its one-line messages."""

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from drp_plugin.redact import redact, visible
from drp_plugin.resources import phrase as phrase

# the colours, line ends and bars of our own libraries; any other escape comes from a text
_OURS = re.compile(r"(\x1b\[(?:[0-9;]*[mAK]|\?25[lh])|\r)")


def say(text: str) -> None:
    """One line on standard error, at once: no key and no escape of a terminal is in it. If nobody
    can read it (the terminal is gone, the command has just ended), the work continues."""
    with contextlib.suppress(OSError, ValueError):
        print(f"drp: {redact(text)}", file=sys.stderr, flush=True)


class _Inert(io.TextIOWrapper):
    """A stream whose texts cannot control the terminal; what its encoding lacks is numbers."""

    forgiven: tuple[type[OSError], ...] = ()  # For messages, which nobody may be able to read

    def write(self, text: str) -> int:
        with contextlib.suppress(*self.forgiven):
            parts = _OURS.split(text) if self.isatty() else [text.replace("\r", "\n")]
            super().write("".join(p if i % 2 else visible(p) for i, p in enumerate(parts)))
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(*self.forgiven):
            super().flush()


@contextlib.contextmanager
def inert() -> Iterator[None]:
    """Standard output and error as such streams. A closed one's number goes to no other file."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # those who read or write there get an error
            os.open(os.devnull, os.O_RDONLY if number == 1 else os.O_WRONLY)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    before, made = (sys.stdout, sys.stderr), list[Any]()
    if any(stream and not hasattr(stream, "buffer") for stream in before):
        yield  # a notebook's, or a caller's own, which is no terminal
        return
    for number, stream in enumerate(before, start=1):
        raw = stream.buffer if stream else open(number, "wb", closefd=False)  # noqa: SIM115
        made.append(_Inert(raw, getattr(stream, "encoding", "utf-8"), "backslashreplace", "",
                           line_buffering=number == 2 or raw.isatty()))
    sys.stdout, sys.stderr = made
    sys.stderr.forgiven = (OSError,)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in made:
            try:
                stream.flush()
                stream.buffer.flush()
            except OSError:  # reported already; the rest must not be tried again
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            stream.detach()
