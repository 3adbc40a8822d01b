"""The statistics against values known from elsewhere."""

from __future__ import annotations

import itertools
import math

import pytest

from drp_plugin.statistics import (
    difference,
    mcnemar,
    paired_bootstrap,
    relative_change,
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


def test_bootstrap_is_seeded_and_paired() -> None:
    before = [float(100 + 10 * (i % 7)) for i in range(60)]
    after = [0.6 * x for x in before]
    change = paired_bootstrap(before, after, relative_change)
    # pairs that all shrink by 40 % leave no doubt, however much problems differ
    assert change.value == pytest.approx(-0.4)
    assert change == pytest.approx((-0.4, -0.4, -0.4))
    noisy = [x * (0.5 + 0.2 * (i % 2)) for i, x in enumerate(before)]
    assert paired_bootstrap(before, noisy, relative_change) == paired_bootstrap(
        before, noisy, relative_change)
    assert paired_bootstrap(before, noisy, relative_change, seed=1) != paired_bootstrap(
        before, noisy, relative_change, seed=2)


def test_bootstrap_interval_has_about_the_right_width() -> None:
    values = [float(i % 2) for i in range(400)]
    zeros = [0.0] * 400
    found = paired_bootstrap(zeros, values, difference)
    assert found.value == 0.5
    half = 1.96 * math.sqrt(0.25 / 400)
    assert found.low == pytest.approx(0.5 - half, abs=0.006)
    assert found.high == pytest.approx(0.5 + half, abs=0.006)


def test_bootstrap_refuses_unpaired_data() -> None:
    with pytest.raises(ValueError):
        paired_bootstrap([1.0], [1.0, 2.0], difference)
