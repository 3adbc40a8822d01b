"""Statistics for whatever is measured: exact where they can be, seeded where they are sampled.

All of it runs on the standard library, so that the core needs no scipy.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

Z95 = 1.959963984540054
REPLICATES = 2_000
SEED = 20_250_520


class Estimate(NamedTuple):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


def wilson(hits: float, n: int) -> Estimate:
    """The share hits / n with Wilson's score interval; 0 to 1 where nothing was measured.

    `hits` may be a sum of shares, unrounded, so that the interval holds the share beside it.
    """
    if n == 0:
        return Estimate(0.0, 0.0, 1.0)
    share, z2 = hits / n, Z95 * Z95
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # at 0 and n the bound is exact; floats miss it by a hair
    return Estimate(share, 0.0 if hits == 0 else max(0.0, middle - half),
                    1.0 if hits == n else min(1.0, middle + half))


def student_t(freedom: int) -> float:
    """The 97.5 % point of Student's t, found by halving on its exact distribution."""
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_within(middle, freedom) < 0.95 else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def _t_within(angle: float, freedom: int) -> float:
    """P(|t| < √freedom · tan angle): the finite series of Abramowitz and Stegun, 26.7.3–4."""
    odd = freedom % 2
    cosine = math.cos(angle)
    term = cosine if odd else 1.0
    total = 0.0
    for i in range(odd + 2, freedom + 1, 2):
        total += term
        term *= (i - 1) / i * cosine ** 2
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total


def mcnemar(only_before: int, only_after: int) -> float:
    """Exact two-sided McNemar test on the discordant pairs; 1.0 where there are none.

    Twice the smaller binomial tail with p = 1/2, in integers throughout.
    """
    n, k = only_before + only_after, min(only_before, only_after)
    tail, term = 0, 1
    for i in range(k + 1):
        tail += term
        term = term * (n - i) // (i + 1)
    # integers divide exactly, however large
    return min(1.0, (2 * tail) / (1 << n))


def paired_bootstrap(before: Sequence[float], after: Sequence[float],
                     statistic: Callable[[float, float], float], *, seed: int = SEED,
                     replicates: int = REPLICATES) -> Estimate:
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
    return Estimate(value, _quantile(drawn, 0.025), _quantile(drawn, 0.975))


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
