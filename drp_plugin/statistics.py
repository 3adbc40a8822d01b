"""Statistics for whatever is measured; problems are the units, samples of one are not independent.

All of it is exact or closed form: no draws, no scipy. How often the intervals hold the truth is
measured in the tests, at 30, 40 and 500 problems."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate
from statistics import NormalDist, fmean, pstdev, variance
from typing import NamedTuple

Z95 = NormalDist().inv_cdf(0.975)
_Z80 = NormalDist().inv_cdf(0.8)


class Estimate(NamedTuple):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


def wilson(hits: float, n: int) -> Estimate:
    """The share hits / n with Wilson's score interval; 0 to 1 where nothing was measured. `hits`
    may be a sum of shares, unrounded, so that the interval holds the share beside it."""
    return _score(hits / n, n, Z95) if n else Estimate(0.0, 0.0, 1.0)


def _score(share: float, n: float, z: float) -> Estimate:
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # at 0 and 1 the bound is exact; floats miss it by a hair
    return Estimate(share, 0.0 if share == 0 else max(0.0, middle - half),
                    1.0 if share == 1 else min(1.0, middle + half))


def mean_share(shares: Sequence[float], samples: int = 1) -> Estimate:
    """The mean over problems of the share of right samples, with problems as clusters. With one
    sample a problem this is Wilson's interval. With several it is the same formula for as many
    independent answers as have the variance seen between problems, and Student's t."""
    n = len(shares)
    if samples == 1 or n < 2:
        return wilson(math.fsum(shares), n)
    mean, spread = fmean(shares), variance(shares) / n
    effective = min(n * samples, mean * (1 - mean) / spread) if spread else n
    return _score(mean, effective, student_t(n - 1))


def paired_difference(before: Sequence[float], after: Sequence[float],
                      samples: tuple[int, int] = (1, 1)) -> Estimate:
    """Mean share after − before on the same problems, with a score interval.

    With one sample a problem it is Tango's (Statistics in Medicine 17, 1998, 891). With several it
    is Newcombe's hybrid score interval (the same volume, 2635), which joins the intervals of the
    two shares, here those of `mean_share`, by their correlation over problems."""
    if samples == (1, 1):
        flips = [y - x for x, y in zip(before, after, strict=True)]
        return _tango(flips.count(-1), flips.count(1), len(flips))
    one, two = mean_share(before, samples[0]), mean_share(after, samples[1])
    shared = fmean(x * y for x, y in zip(before, after, strict=True)) - one.value * two.value
    if shared > 0:  # for continuity, of half a step, so that equal runs still have a width
        shared = max(0.0, shared - 1 / (4 * len(before) * min(samples)))
    spread = pstdev(before) * pstdev(after)
    correlation = shared / spread if spread else 0.0

    def joined(x: float, y: float) -> float:
        return math.sqrt(max(0.0, x * x + y * y - 2 * correlation * x * y))

    change = two.value - one.value
    return Estimate(change, max(-1.0, change - joined(two.value - two.low, one.high - one.value)),
                    min(1.0, change + joined(two.high - two.value, one.value - one.low)))


def _tango(lost: int, won: int, n: int) -> Estimate:
    """The differences that a score test at 5 % does not refuse, given that they are the truth."""
    seen = (won - lost) / n

    def refused(change: float) -> bool:
        # the likeliest share of lost problems under this change, and the variance that follows
        linear = (2 * n - won + lost) * change - won - lost
        root = math.sqrt(max(0.0, linear ** 2 + 8 * n * lost * change * (1 - change)))
        spread = (root - linear) / (2 * n) + change * (1 - change)
        return n * (seen - change) ** 2 > Z95 ** 2 * spread

    return Estimate(seen, _turn(seen, -1.0, refused)[0], _turn(seen, 1.0, refused)[0])


def _turn(low: float, high: float, holds: Callable[[float], bool]) -> tuple[float, float]:
    """Where a condition turns from false, at `low`, to true, from either side, by halving."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return low, high


def relative_change(before: Sequence[float], after: Sequence[float]) -> Estimate:
    """Mean after / mean before − 1 on the same problems, with Fieller's interval. It holds for
    skewed lengths, where a bootstrap of 30 problems is too narrow. Without a bound where the mean
    before is not distinguishable from 0."""
    n, one, two = len(before), fmean(before), fmean(after)
    if one == 0:
        return Estimate(0.0 if two == 0 else math.inf, -1.0, math.inf)
    if n < 2:
        return Estimate(two / one - 1, -1.0, math.inf)
    t2 = student_t(n - 1) ** 2 / (n * (n - 1))
    a = one ** 2 - t2 * math.fsum((x - one) ** 2 for x in before)
    b = one * two - t2 * math.fsum((x - one) * (y - two)
                                   for x, y in zip(before, after, strict=True))
    c = two ** 2 - t2 * math.fsum((y - two) ** 2 for y in after)
    if a <= 0:
        return Estimate(two / one - 1, -1.0, math.inf)
    half = math.sqrt(max(0.0, b * b - a * c))
    return Estimate(two / one - 1, max(-1.0, (b - half) / a - 1), (b + half) / a - 1)


def detectable(before: Sequence[float], after: Sequence[float],
               samples: tuple[int, int] = (1, 1)) -> float:
    """The smallest true difference in accuracy that these problems show in 8 of 10 experiments.

    At 5 %, two-sided, by Connor's approximation (Biometrics 43, 1987, 207), corrected for McNemar's
    test being exact. A difference is taken to add half of itself to how problems vary here, an
    eighth where they have several samples: so the power is near 80 % in simulations."""
    n, flips = len(before), [y - x for x, y in zip(before, after, strict=True)]
    single = samples == (1, 1)
    noise = (2 * min(flips.count(-1), flips.count(1)) + 1) / n if single else \
        variance(flips) if n > 1 else 1.0

    def shown(change: float) -> bool:
        square = max(change, noise + change / 2) if single else \
            noise + max(change ** 2, change / 8)
        needed = Z95 * math.sqrt(square) + _Z80 * math.sqrt(max(0.0, square - change ** 2))
        # of five problems no exact p is below 5 %
        return n > 5 and (n - single / change) * change ** 2 >= needed ** 2

    return _turn(1e-9, 1.0, shown)[1]


def sign_flip(differences: Sequence[int]) -> float:
    """Exact two-sided permutation test of paired differences, in whole units; 1.0 where there are
    none. Of all ways to give each difference either sign, the share whose sum is at least as far
    from 0 as the sum seen. With differences of −1, 0 and 1 this is McNemar's exact test."""
    steps = [abs(d) for d in differences if d]
    unit = math.gcd(*steps)
    far = abs(sum(differences))
    if not far:
        return 1.0
    steps, far = [d // unit for d in steps], far // unit
    n, most = len(steps), (sum(steps) - far) // 2
    if max(steps) == 1:  # a tail of the binomial distribution, term by term
        tail = sum(accumulate(range(most), lambda term, i: term * (n - i) // (i + 1), initial=1))
    else:
        # how many patterns have which sum of positive terms: one number, a field for each sum
        width, ways = n + 1, 1
        kept = (1 << width * (most + 1)) - 1
        for step in steps:
            ways = (ways + (ways << step * width)) & kept
        tail = ways % ((1 << width) - 1)  # the remainder is the sum of the fields
    # integers divide exactly, however large
    return min(1.0, (2 * tail) / (1 << n))


def holm(values: Sequence[float]) -> list[float]:
    """p values adjusted for being several, by Holm's step-down method, in the order given."""
    adjusted, running = [0.0] * len(values), 0.0
    for rank, i in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        running = max(running, min(1.0, (len(values) - rank) * values[i]))
        adjusted[i] = running
    return adjusted


def pass_at(right: int, samples: int, j: int) -> float:
    """Chance that at least one of j of the samples is right: 1 − C(n−c, j) / C(n, j), unbiased."""
    return 1 - math.comb(samples - right, j) / math.comb(samples, j)


@lru_cache(maxsize=256)
def student_t(freedom: int) -> float:
    """The 97.5 % point of Student's t, by halving: t² / (t² + freedom) has a beta law."""
    import mpmath

    share = _turn(0.0, 1.0, lambda x: mpmath.betainc(0.5, freedom / 2, 0, x, True) >= 0.95)[0]
    return math.sqrt(freedom * share / (1 - share))
