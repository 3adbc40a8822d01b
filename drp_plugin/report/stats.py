"""The statistics of the report: exact where they can be, seeded where they are sampled."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

Z95 = 1.959963984540054
REPLICATES = 2_000
SEED = 20_250_520


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


def wilson(correct: float, n: int) -> Interval:
    """Wilson's score interval of correct / n; (0, 1) where nothing was measured.

    n is the number of problems. With several samples a problem `correct` is the sum of their
    shares, unrounded, so that the interval holds the accuracy that stands beside it.
    """
    if n == 0:
        return Interval(0.0, 1.0)
    share, z2 = correct / n, Z95 * Z95
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # at 0 and n the bound is exact; floats miss it by a hair
    return Interval(0.0 if correct == 0 else max(0.0, middle - half),
                    1.0 if correct == n else min(1.0, middle + half))


def mcnemar(only_before: int, only_after: int) -> float:
    """Exact two-sided McNemar test on the discordant pairs; 1.0 where there are none.

    Twice the smaller binomial tail with p = 1/2, in integers throughout.
    """
    n, k = only_before + only_after, min(only_before, only_after)
    if n == 0:
        return 1.0
    tail, term = 0, 1
    for i in range(k + 1):
        tail += term
        term = term * (n - i) // (i + 1)
    return min(1.0, (2 * tail) / (1 << n)) if n < 1000 else _ratio(2 * tail, n)


def _ratio(numerator: int, bits: int) -> float:
    """numerator / 2**bits for integers that no float can hold."""
    shift = max(numerator.bit_length() - 64, 0)
    return min(1.0, math.ldexp(numerator >> shift, shift - bits))


class Change(NamedTuple):
    """A statistic of paired data and its bootstrap interval."""

    value: float
    interval: Interval


def paired_bootstrap(before: Sequence[float], after: Sequence[float],
                     statistic: Callable[[float, float], float], *, seed: int = SEED,
                     replicates: int = REPLICATES) -> Change:
    """`statistic(mean before, mean after)` and its percentile interval.

    Whole pairs are drawn, so that the difficulty of a problem, which both methods share, drops
    out. The same seed gives the same interval on every machine.
    """
    n = len(before)
    if n == 0 or n != len(after):
        raise ValueError("paired data must be of one length and not empty")
    rng = random.Random(seed)
    value = statistic(math.fsum(before) / n, math.fsum(after) / n)
    drawn = []
    indices = range(n)
    for _ in range(replicates):
        sample = rng.choices(indices, k=n)
        drawn.append(statistic(sum(map(before.__getitem__, sample)) / n,
                               sum(map(after.__getitem__, sample)) / n))
    drawn.sort()
    return Change(value, Interval(_quantile(drawn, 0.025), _quantile(drawn, 0.975)))


def _quantile(ordered: Sequence[float], share: float) -> float:
    position = share * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def relative_change(before: float, after: float) -> float:
    """(after − before) / before; 0 where both are 0."""
    if before == 0:
        return 0.0 if after == 0 else math.inf
    return after / before - 1


def difference(before: float, after: float) -> float:
    """after − before."""
    return after - before
