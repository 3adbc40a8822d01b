"""Degenerate loops: a tail that repeats itself (Appendix A)."""

from __future__ import annotations

from collections.abc import Sequence

MIN_COVER = 256
"""Tokens of the tail that must be periodic before it counts as a loop."""
MIN_REPEATS = 8
"""Times that the period must have come in a row."""
EVERY = 64
"""How often, in tokens, the engines look."""


def period(tokens: Sequence[int], cover: int = MIN_COVER, repeats: int = MIN_REPEATS) -> int | None:
    """The shortest period of the tail, in tokens, or None where the tail does not repeat.

    A tail has period p when its last `max(cover, repeats * p)` tokens each equal the one p
    places earlier. Honest lists (1, 2, 3, …) do not repeat exactly, so they never count.
    """
    n = len(tokens)
    if n < cover:
        return None
    # failure function of the reversed tail gives the shortest period of every suffix at once
    tail = list(tokens[-max(cover, min(n, repeats * 512)):])[::-1]
    failure = [0] * len(tail)
    match = 0
    for i in range(1, len(tail)):
        while match and tail[i] != tail[match]:
            match = failure[match - 1]
        if tail[i] == tail[match]:
            match += 1
        failure[i] = match
        length = i + 1
        p = length - match
        if match and length >= cover and length >= repeats * p:
            return p
    return None
