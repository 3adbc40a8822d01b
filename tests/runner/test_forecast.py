"""The forecast's arithmetic, and its pilot."""

from __future__ import annotations

import itertools
import random

import pytest

from drp_plugin.llm.prices import Price
from drp_plugin.records import Pruned, Reason, Reject, Usage
from drp_plugin.runner.forecast import described, project, strata


def result(tokens: int, *, reject: bool = False) -> Pruned | Reject:
    usage = Usage(requests=2, prompt_tokens=tokens, completion_tokens=tokens // 2)
    if reject:
        return Reject(id="x", stage="verify", reason=Reason.NEW_NUMBER, detail="", usage=usage)
    return Pruned(id="x", question="q", original="", response="", tokens_before=100,
                  tokens_after=40, teacher="t", prompts_hash="", usage=usage)


def test_strata_cover_all_rows_by_length():
    lengths = [random.Random(n).randrange(10_000) for n in range(203)]
    parts = strata(lengths, 20)
    assert len(parts) == 5 and sum(p.rows for p in parts) == 203
    assert [len(p.picked) for p in parts] == [4] * 5
    for shorter, longer in itertools.pairwise(parts):
        assert max(lengths[i] for i in shorter.picked) <= min(lengths[i] for i in longer.picked)
    assert strata(lengths, 20)[0].picked == parts[0].picked, "the same pilot each time"


@pytest.mark.parametrize(("rows", "pilot"), [(1, 2), (3, 20), (7, 2), (10, 10), (50, 3)])
def test_small_inputs(rows, pilot):
    parts = strata(list(range(rows)), min(pilot, rows))
    picked = [i for p in parts for i in p.picked]
    assert len(picked) == len(set(picked)) == min(rows, pilot)


def fill(parts, lengths, tokens):
    for part in parts:
        part.results = [(lengths[i], result(tokens[i])) for i in part.picked]
    return parts


def test_a_pilot_of_everything_is_exact():
    tokens = [100, 200, 300, 400, 5000]
    forecast = project(fill(strata([3, 1, 4, 1, 5], 5), [3, 1, 4, 1, 5], tokens),
                       price=Price(input=1, output=2))
    assert forecast.prompt_tokens.value == pytest.approx(6000)
    assert forecast.prompt_tokens.low == forecast.prompt_tokens.high == pytest.approx(6000)
    assert forecast.cost_usd.value == pytest.approx(6000 * 2 / 1e6)
    assert forecast.batch_cost_usd.value == pytest.approx(6000 / 1e6)


@pytest.mark.parametrize("pilot", [20, 60])
def test_intervals_hold_the_truth_about_as_often_as_they_say(pilot):
    chance = random.Random(1)
    lengths = [int(chance.lognormvariate(9, 0.8)) for _ in range(2000)]
    tokens = [int(500 + n / 3 * chance.uniform(0.7, 1.3)) for n in lengths]
    truth, inside, width = sum(tokens), 0, 0.0
    for seed in range(200):
        e = project(fill(strata(lengths, pilot, seed=seed), lengths, tokens),
                    price=None).prompt_tokens
        inside += e.low <= truth <= e.high
        width += (e.high - e.low) / truth / 200
    assert 176 <= inside <= 200
    assert width < 0.5, "and they say something"


def test_failed_rows_are_left_out_of_the_estimate():
    failed = Reject(id="x", stage="decompose", reason=Reason.REQUEST_FAILED, detail="HTTP 400")
    parts = strata([1] * 40, 8)
    for part in parts:
        part.results = [(1, result(100)) for _ in part.picked[1:]] + [(1, failed)]
    forecast = project(parts, price=Price(input=1, output=1))
    assert forecast.prompt_tokens.value == pytest.approx(4000)
    assert forecast.failed == 2 and forecast.yields["request_failed"].value == 0.25
    assert "2 of the pilot's rows failed" in described(forecast)


def test_a_pilot_cut_to_one_row_gives_no_interval_of_no_width():
    parts = strata([1] * 40, 8)
    parts[0].results = [(1, result(100))]
    forecast = project(parts, price=Price(input=1, output=1))
    text = described(forecast)
    assert forecast.cut == 7 and "7 of its 8 rows were not reached" in text
    assert "cost, live          $0.01  (too few rows for an interval)" in text


def test_replies_without_usage_give_no_cost():
    parts = fill(strata([1] * 5, 5), [1] * 5, [0] * 5)
    forecast = project(parts, price=Price(input=1, output=1), counted=False)
    text = described(forecast)
    assert forecast.cost_usd is None and "$0.0" not in text
    assert "cost                cannot be forecast" in text
    free = project(parts, price=Price(input=0, output=0), counted=False)
    assert free.cost_usd.value == 0, "what runs here costs nothing, counted or not"


def test_yield_by_reason():
    parts = strata([1] * 100, 10)
    rest = iter([result(10)] * 8 + [result(10, reject=True)] * 2)
    for part in parts:
        part.results = [(1, next(rest)) for _ in part.picked]
    forecast = project(parts, price=None)
    assert forecast.yields["pruned"].value == 0.8
    assert forecast.yields["new_number"].value == 0.2
    assert forecast.tokens_saved == pytest.approx(0.6)
    text = described(forecast)
    assert "no price is known" in text and "new_number" in text
