"""Degenerate loops: a completion whose tail repeats itself until the limit (§4.6)."""

from __future__ import annotations

#: A tail counts as a loop from this many repeats and this many characters on.
MIN_REPEATS = 4
MIN_CHARACTERS = 160
#: Periods are looked for in the last part of a completion only.
WINDOW = 40_000
_PROBE = 24
_CANDIDATES = 32


def loop_period(text: str) -> int | None:
    """The shortest period, in characters, of a tail that repeats itself; None without a loop.

    The repeats must be exact, at least four, and cover at least 160 characters at the very end.
    """
    tail = text[-WINDOW:].rstrip("\ufffd")     # half a character where the limit fell inside one
    if len(tail) < MIN_CHARACTERS:
        return None
    probe = tail[-_PROBE:]
    end = len(tail) - 1
    for _ in range(_CANDIDATES):
        at = tail.rfind(probe, 0, end)
        if at < 0:
            return None
        period = len(tail) - _PROBE - at
        span = max(MIN_REPEATS * period, MIN_CHARACTERS)
        if span > len(tail):
            return None
        if tail[-span:-period] == tail[-span + period:]:
            return period
        end = at + _PROBE - 1
    return None
