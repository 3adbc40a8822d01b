"""The statistics against values known from elsewhere."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from statistics import fmean
from typing import Any

import pytest

from drp_plugin.statistics import (
    Estimate,
    detectable,
    holm,
    mean_share,
    paired_difference,
    pass_at,
    relative_change,
    sign_flip,
    student_t,
    wilson,
)


@pytest.mark.parametrize(("correct", "n", "low", "high"), [
    (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634),
    (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605),
    (33, 50, 0.5215, 0.7756)])
def test_wilson(correct: int, n: int, low: float, high: float) -> None:
    """Two are the worked examples of Newcombe (1998)."""
    interval = wilson(correct, n)
    assert interval.low == pytest.approx(low, abs=5e-5)
    assert interval.high == pytest.approx(high, abs=5e-5)


def test_wilson_of_a_share_that_is_not_rounded() -> None:
    """Two thirds of ten problems: Newcombe's formula by hand, not the interval of 7 of 10."""
    share, n, z2 = 2 / 3, 10, 1.959963984540054 ** 2
    middle, half = share + z2 / (2 * n), math.sqrt(z2 * (share * (1 - share) / n
                                                         + z2 / (4 * n * n)))
    assert wilson(20 / 3, n) == pytest.approx(
        (share, (middle - half) / (1 + z2 / n), (middle + half) / (1 + z2 / n)))


def test_wilson_of_nothing() -> None:
    assert wilson(0, 0) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(("freedom", "value"), [
    (1, 12.7062), (2, 4.30265), (3, 3.18245), (4, 2.77645), (8, 2.30600), (20, 2.08596),
    (29, 2.04523), (120, 1.97993), (1000, 1.96234)])
def test_student_t(freedom: int, value: float) -> None:
    """The 97.5 % points that every table has."""
    assert student_t(freedom) == pytest.approx(value, abs=5e-5)


def test_student_t_against_scipy() -> None:
    scipy = pytest.importorskip("scipy.stats")
    for freedom in (*range(1, 60), 499, 500, 5_001):
        assert student_t(freedom) == pytest.approx(scipy.t.ppf(0.975, freedom), rel=1e-9)


def mcnemar(lost: int, won: int) -> float:
    """Of problems with one sample, some of them as right after as before."""
    return sign_flip([-1] * lost + [0] * 5 + [1] * won)


@pytest.mark.parametrize(("b", "c", "p"), [
    (0, 0, 1.0), (1, 0, 1.0), (5, 5, 1.0), (0, 5, 0.0625), (0, 6, 0.03125), (1, 9, 22 / 1024),
    (2, 10, 2 * (1 + 12 + 66) / 4096)])
def test_mcnemar(b: int, c: int, p: float) -> None:
    assert mcnemar(b, c) == mcnemar(c, b) == pytest.approx(p, rel=1e-12)


def test_mcnemar_by_enumeration() -> None:
    """Every way in which 9 coins can fall."""
    for k in range(10):
        extreme = min(k, 9 - k)
        ways = sum(min(sum(f), 9 - sum(f)) <= extreme for f in itertools.product((0, 1), repeat=9))
        assert mcnemar(k, 9 - k) == pytest.approx(min(1.0, ways / 512))


def test_mcnemar_of_many() -> None:
    assert mcnemar(5_000, 5_000) == 1.0
    normal = math.erfc((200 - 1) / math.sqrt(2 * 10_000))
    assert mcnemar(4_900, 5_100) == pytest.approx(normal, rel=0.01)
    assert mcnemar(0, 1_000) == math.ldexp(2.0, -1_000)
    assert mcnemar(0, 1_200) == 0.0, "too small for a float"


@pytest.mark.parametrize("samples", [(1, 1), (8, 8)])
def test_five_problems_show_nothing(samples: tuple[int, int]) -> None:
    """All five lost has p = 2/32: no exact test of five problems is below 5 %."""
    assert detectable([1.0] * 5, [0.0] * 5, samples) == 1.0 and sign_flip([-1] * 5) > 0.05
    assert detectable([1.0] * 6, [1.0] * 6, samples) < 1.0 and sign_flip([-1] * 6) < 0.05


# ---- several samples a problem

def test_one_sample_a_problem_is_wilson() -> None:
    assert mean_share([1.0] * 15 + [0.0] * 25) == wilson(15, 40)


def test_several_samples_count_as_what_they_are_worth() -> None:
    """Samples of a problem that always agree say no more than one; independent ones say more."""
    alike = mean_share([1.0] * 15 + [0.0] * 25, 8)
    assert alike.high - alike.low == pytest.approx(
        wilson(15, 40).high - wilson(15, 40).low, rel=0.05)
    spread = mean_share([0.25, 0.5] * 20, 8)
    assert spread.high - spread.low < 0.5 * (alike.high - alike.low)
    assert 0.8 < mean_share([1.0] * 30, 64).low < 0.95, "thirty problems, not 1,920 answers"
    assert mean_share([], 4) == (0.0, 0.0, 1.0) and mean_share([0.5], 4) == wilson(0.5, 1)


@pytest.mark.parametrize(("right", "samples", "j", "chance"), [
    (0, 4, 2, 0.0), (4, 4, 1, 1.0), (1, 4, 1, 0.25), (1, 4, 2, 0.5), (2, 4, 2, 5 / 6),
    (1, 64, 64, 1.0), (2, 5, 4, 1.0)])
def test_pass_at(right: int, samples: int, j: int, chance: float) -> None:
    assert pass_at(right, samples, j) == pytest.approx(chance)


def test_pass_at_by_enumeration() -> None:
    for right, j in itertools.product(range(6), range(1, 6)):
        drawn = list(itertools.combinations([True] * right + [False] * (5 - right), j))
        assert pass_at(right, 5, j) == pytest.approx(sum(map(any, drawn)) / len(drawn))


# ---- paired differences

def test_paired_difference_is_tango_s() -> None:
    """Against a direct search of the likelihood under each difference."""
    optimize = pytest.importorskip("scipy.optimize")

    def z(lost: int, won: int, n: int, change: float) -> float:
        rest = n - lost - won

        def against(q: float) -> float:
            cells = ((lost, q), (won, q + change), (rest, 1 - 2 * q - change))
            return -sum(k * math.log(max(p, 1e-300)) for k, p in cells if k)

        q = optimize.minimize_scalar(against, bounds=(max(0.0, -change), (1 - change) / 2),
                                     method="bounded", options={"xatol": 1e-12}).x
        return ((won - lost) / n - change) / math.sqrt((2 * q + change - change ** 2) / n)

    for lost, won, n in ((2, 12, 50), (1, 0, 30), (4, 4, 40), (30, 60, 500), (0, 7, 30)):
        found = paired_difference([1.0] * lost + [0.0] * (n - lost),
                                  [0.0] * lost + [1.0] * won + [0.0] * (n - lost - won))
        assert found.value == pytest.approx((won - lost) / n)
        assert z(lost, won, n, found.low) == pytest.approx(1.959964, abs=2e-3)
        assert z(lost, won, n, found.high) == pytest.approx(-1.959964, abs=2e-3)


def test_no_change_at_all_still_has_a_width() -> None:
    z2 = 1.959963984540054 ** 2
    found = paired_difference([1.0] * 30, [1.0] * 30)
    assert found == pytest.approx((0.0, -z2 / (30 + z2), z2 / (30 + z2)), abs=1e-9)
    several = paired_difference([0.5, 1.0] * 15, [0.5, 1.0] * 15, (4, 4))
    assert several.value == 0 and several.low < -0.01 and several.high > 0.01


def test_difference_of_several_samples_is_newcombe_s_hybrid() -> None:
    """By hand from the two shares' own intervals."""
    rng = random.Random(3)
    before = [rng.randrange(9) / 8 for _ in range(40)]
    after = [min(1.0, max(0.0, x + rng.choice((-1, 0, 1, 2)) / 8)) for x in before]
    one, two = mean_share(before, 8), mean_share(after, 8)
    numpy = pytest.importorskip("numpy")
    shared = numpy.cov(before, after, bias=True)[0, 1] - 1 / (4 * 40 * 8)
    r = shared / (numpy.std(before) * numpy.std(after))
    x, y = two.value - two.low, one.high - one.value
    found = paired_difference(before, after, (8, 8))
    assert found.low == pytest.approx(two.value - one.value
                                      - math.sqrt(x * x + y * y - 2 * r * x * y))
    back = paired_difference(after, before, (8, 8))
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))


def test_sign_flip_by_enumeration() -> None:
    rng = random.Random(5)
    for _ in range(20):
        steps = [rng.randrange(-8, 9) for _ in range(9)]
        sums = [abs(sum(s * d for s, d in zip(signs, steps, strict=True)))
                for signs in itertools.product((-1, 1), repeat=9)]
        assert sign_flip(steps) == pytest.approx(
            sum(s >= abs(sum(steps)) for s in sums) / len(sums))


def test_sign_flip_against_scipy_and_the_normal_limit() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = random.Random(6)
    steps = [round(rng.gauss(2, 20)) for _ in range(400)]
    p = sign_flip(steps)
    z = abs(sum(steps)) / math.sqrt(sum(d * d for d in steps))
    assert p == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.05)
    few = [3, -1, 4, 1, 5, 2, -6, 5, 3, 5, 8, 9]
    drawn = stats.permutation_test((few,), lambda x, axis: x.sum(axis), vectorized=True,
                                   permutation_type="samples", n_resamples=10_000)
    assert sign_flip(few) == pytest.approx(drawn.pvalue)
    assert sign_flip([]) == sign_flip([0, 0]) == sign_flip([2, -2]) == 1.0


def test_holm_against_statsmodels() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    rng = random.Random(7)
    values = [rng.random() ** 3 for _ in range(9)]
    assert holm(values) == pytest.approx(multitest.multipletests(values, method="holm")[1])
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06]) and holm([]) == []


def test_mcnemar_and_wilson_against_statsmodels() -> None:
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    for lost, won in ((3, 9), (12, 1), (40, 55)):
        table = [[50, lost], [won, 7]]
        assert mcnemar(lost, won) == pytest.approx(tables.mcnemar(table, exact=True).pvalue)
    for hits, n in ((0, 30), (17, 40), (455, 500)):
        assert wilson(hits, n)[1:] == pytest.approx(
            proportion.proportion_confint(hits, n, method="wilson"))


# ---- changes in tokens

def test_relative_change_of_pairs_that_all_shrink_alike() -> None:
    before = [float(100 + 10 * (i % 7)) for i in range(60)]
    found = relative_change(before, [0.6 * x for x in before])
    assert found == pytest.approx((-0.4, -0.4, -0.4))


def test_relative_change_is_fieller_s() -> None:
    """Each end is a ratio at which the paired t test of after − ratio · before is at 5 %."""
    stats = pytest.importorskip("scipy.stats")
    rng = random.Random(8)
    before = [rng.lognormvariate(7, 1) for _ in range(30)]
    after = [x * rng.lognormvariate(-0.4, 0.6) for x in before]
    found = relative_change(before, after)
    for end in (found.low, found.high):
        rest = [y - (1 + end) * x for x, y in zip(before, after, strict=True)]
        assert stats.ttest_1samp(rest, 0).pvalue == pytest.approx(0.05, abs=1e-9)


def test_relative_change_where_nothing_can_be_said() -> None:
    assert relative_change([0.0], [0.0]) == (0.0, -1.0, math.inf)
    assert relative_change([5.0], [10.0]) == (1.0, -1.0, math.inf)
    assert relative_change([0.0, 0.0, 9.0], [1.0, 1.0, 1.0]).high == math.inf
    assert relative_change([0.0, 0.0], [1.0, 1.0]).value == math.inf
    # lengths cannot fall by more than all
    assert relative_change([10.0, 20.0, 30.0, 40.0], [1.0, 500.0, 1.0, 1.0]).low == -1


# ---- how often the intervals hold the truth, and what the detectable difference is worth

#: Accuracy, how problems differ (a beta distribution's weight), and the effect on the logit.
WORLDS = list(itertools.product((0.5, 0.8, 0.9), (0.6, 4.0), (0.0, 0.8)))


def chances(rng: Any, world: tuple[float, float, float], shape: Any) -> tuple[Any, Any]:
    """Chances of an answer being right, before and after, of so many problems."""
    import numpy

    accuracy, weight, effect = world
    before = rng.beta(accuracy * weight, (1 - accuracy) * weight, shape).clip(1e-6, 1 - 1e-6)
    logit = numpy.log(before / (1 - before)) + rng.normal(effect, 0.7, shape)
    return before, 1 / (1 + numpy.exp(-logit))


def drawn(rng: Any, world: tuple[float, float, float], times: int, n: int, k: int
          ) -> list[tuple[list[float], list[float]]]:
    """So many experiments: shares of k right samples for each of n problems."""
    one, two = (rng.binomial(k, chance) / k for chance in chances(rng, world, (times, n)))
    return list(zip(one.tolist(), two.tolist(), strict=True))


def covered(n: int, k: int, times: int, interval: Callable[..., Estimate],
            truth: Callable[..., Any]) -> float:
    """How often, over all worlds alike, an interval holds the mean of `truth` over problems."""
    numpy = pytest.importorskip("numpy")
    rng, held = numpy.random.default_rng(n), []
    for world in WORLDS:
        value = float(truth(*chances(rng, world, 400_000)).mean())
        found = [interval(*pair) for pair in drawn(rng, world, times, n, k)]
        held += [e.low <= value <= e.high for e in found]
    return fmean(held)


@pytest.mark.parametrize("n", [30, 40, 500])
def test_wilson_covers(n: int) -> None:
    """Exactly, over accuracies of 5 to 95 %."""
    comb, held = [math.comb(n, k) for k in range(n + 1)], []
    found = [wilson(k, n) for k in range(n + 1)]
    for i in range(5, 96):
        p = i / 100
        held.append(math.fsum(comb[k] * p ** k * (1 - p) ** (n - k) for k in range(n + 1)
                              if found[k].low <= p <= found[k].high))
    assert 0.93 <= fmean(held) <= 0.97 and min(held) >= 0.91


@pytest.mark.parametrize(("n", "k"), [(30, 4), (30, 64), (40, 16), (500, 4)])
def test_mean_share_covers(n: int, k: int) -> None:
    found = covered(n, k, 250, lambda one, two: mean_share(one, k), lambda one, two: one)
    assert 0.93 <= found <= 0.97


@pytest.mark.parametrize(("n", "k"), [(30, 1), (40, 1), (500, 1), (30, 4), (30, 64), (40, 8),
                                      (500, 4)])
def test_paired_difference_covers(n: int, k: int) -> None:
    found = covered(n, k, 250, lambda one, two: paired_difference(one, two, (k, k)),
                    lambda one, two: two - one)
    assert 0.93 <= found <= 0.97


@pytest.mark.parametrize("n", [30, 40, 500])
@pytest.mark.parametrize("limit", [12_000, math.inf])
def test_relative_change_covers(n: int, limit: float) -> None:
    """Lengths of completions, skewed as they are, with a cutoff and without."""
    numpy = pytest.importorskip("numpy")
    rng = numpy.random.default_rng(n)

    def pairs(*shape: int) -> tuple[Any, Any]:
        before = rng.lognormal(7.5, 1, shape)
        after = before * rng.lognormal(-0.5, 0.5, shape)
        return before.clip(0, limit), after.clip(0, limit)

    one, two = pairs(2_000_000)
    truth = two.mean() / one.mean() - 1
    found = [relative_change(x, y) for x, y in zip(*(s.tolist() for s in pairs(2_000, n)),
                                                   strict=True)]
    assert 0.93 <= fmean(e.low <= truth <= e.high for e in found) <= 0.97


@pytest.mark.parametrize(("n", "k"), [(30, 1), (40, 1), (500, 1), (30, 8), (500, 4)])
def test_what_so_many_problems_can_show(n: int, k: int) -> None:
    """At the detectable difference a test finds it about 8 times in 10."""
    numpy = pytest.importorskip("numpy")
    rng, power = numpy.random.default_rng(n + k), []
    for accuracy, weight in ((0.5, 4.0), (0.8, 4.0), (0.8, 0.6)):
        wanted = sorted(detectable(one, two, (k, k)) for one, two
                        in drawn(rng, (accuracy, weight, 0.0), 61, n, k))[30]
        low, high = -9.0, 0.0
        for _ in range(20):
            effect = (low + high) / 2
            one, two = chances(numpy.random.default_rng(1), (accuracy, weight, effect), 50_000)
            low, high = (effect, high) if (one - two).mean() > wanted else (low, effect)
        power += [sign_flip([round((y - x) * k) for x, y in zip(one, two, strict=True)]) < 0.05
                  for one, two in drawn(rng, (accuracy, weight, effect), 200, n, k)]
    assert 0.65 <= fmean(power) <= 0.93


def test_six_problems_are_the_least_that_show_anything() -> None:
    assert detectable([1.0] * 30, [1.0] * 30) > 6 / 30
    assert mcnemar(5, 0) > 0.05 > mcnemar(6, 0)
    assert detectable([1.0] * 500, [1.0] * 500) < 0.03
    assert detectable([1.0], [1.0]) == 1.0
