"""Degenerate loops: a completion whose tail repeats itself up to the limit (§4.6).

One definition for the scorer and, with more repeats since what follows is not known yet, for the
engines (`stop_loops`): a loop that they stop is a loop for the scorer."""

import itertools
import re
import statistics
from collections.abc import Sequence

MIN_REPEATS = 4  # A tail counts as a loop from this many repeats and this many characters on
MIN_CHARACTERS = 160
WINDOW = 40_000  # Periods are looked for in the last part of a completion only
STOP_REPEATS = 8  # An engine stops at so many repeats over this many tokens, checked so often
STOP_TOKENS = 256
EVERY = 64
_STOP_WINDOW = 4_096
_PROBE = 24
_CANDIDATES = 32
#: A sentence that comes back this often among the last characters, as this share of them, and up
#: to the end, is a loop too: sampled loops vary, and some count up.
REFRAIN_TIMES = 20
REFRAIN_SHARE = 0.2
REFRAIN_WINDOW = 6_000
_SENTENCE = re.compile(r"[^.!?\n]{12,}")
_ANSWERED = re.compile(r"</think>|\\f?boxed(?![A-Za-z])")


def loop_period(text: str) -> int | None:
    """The period, in characters, of a tail that repeats itself; None without a loop.

    Either exact repeats, at least four that cover at least 160 characters at the very end (the
    shortest period), or a refrain: one sentence, apart from its numbers, that keeps coming back up
    to the end (the median distance). A list of cases with a conclusion is no loop."""
    tail = text[-WINDOW:].rstrip("\ufffd")     # half a character where the limit fell inside one
    return _exact(tail) or _refrain(tail[-REFRAIN_WINDOW:])


def token_period(ids: Sequence[int]) -> int | None:
    """The period, in tokens, of a tail that came back eight times over 256 tokens or more."""
    return _exact("".join(map(chr, ids[-_STOP_WINDOW:])), STOP_REPEATS, STOP_TOKENS)


def _exact(tail: str, repeats: int = MIN_REPEATS, cover: int = MIN_CHARACTERS) -> int | None:
    if len(tail) < cover:
        return None
    probe = tail[-_PROBE:]
    end = len(tail) - 1
    for _ in range(_CANDIDATES):
        at = tail.rfind(probe, 0, end)
        if at < 0:
            return None
        period = len(tail) - _PROBE - at
        span = max(repeats * period, cover)
        if span > len(tail):
            return None
        if tail[-span:-period] == tail[-span + period:]:
            return period
        end = at + _PROBE - 1
    return None


def _refrain(tail: str) -> int | None:
    places: dict[str, list[int]] = {}
    total, last = 0, ""
    for match in _SENTENCE.finditer(tail):
        words = re.sub(r"\d+", "#", match[0]).strip()
        if len(re.findall(r"[^\W\d_]{2,}", words)) >= 3:
            places.setdefault(words, []).append(match.start())
            total += 1
            last = words if match.end() < len(tail) else last
    most = max(places.values(), key=len, default=[])
    if len(most) < REFRAIN_TIMES or len(most) < REFRAIN_SHARE * total:
        return None
    period = int(statistics.median(b - a for a, b in itertools.pairwise(most)))
    # it must still be going on at the end: a new sentence there ends it
    new = sum(len(found) == 1 and found[0] > most[0] for found in places.values())
    closed = len(places.get(last, ())) == 1 and new < len(most) / 4
    # an answer or the end of the thinking after the last refrain, not an earlier one
    concluded = _ANSWERED.search(_SENTENCE.sub("", tail[most[-1]:], 1)) \
        and not _ANSWERED.search(tail, most[-3], most[-2])
    return None if closed or concluded or len(tail) - most[-1] > 2 * period else period
