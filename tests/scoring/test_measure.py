"""Grading and counting with and without the cutoff, from one completion."""

from __future__ import annotations

import itertools
import json
import os
import random
from pathlib import Path

import pytest
from cpu import effort

from drp_plugin.loops import loop_period
from drp_plugin.scoring import DEFAULT_CUTOFF, Measured, measure_at, measure_many, summarize
from drp_plugin.tokens import TokenCounter

DATA = Path(os.environ.get("DRP_TEST_DATA") or Path(__file__).parents[2] / "../shared/data")
GOOD = "<think>\nSix times seven.\n</think>\n\nThe answer is \\boxed{42}."


def measure(text: str, gold: str | None, dataset: str | None, counter: TokenCounter,
            cutoff: int | None = DEFAULT_CUTOFF, ended: bool | None = None) -> Measured:
    return measure_many([text], [gold], [dataset], counter, cutoff, ended=[ended])[0]


def test_a_short_completion_is_the_same_either_way(qwen: TokenCounter) -> None:
    m = measure(GOOD, "42", None, qwen)
    assert (m.outcome, m.correct, m.extracted, m.extraction) == ("right", True, "42", "boxed")
    assert m.tokens == m.full.tokens == qwen.count(GOOD)
    assert m.think_tokens == qwen.count(GOOD.partition("\n\n")[0])
    assert m.think_tokens + m.answer_tokens == m.tokens
    assert (m.cutoff, m.full.cutoff, m.truncated, m.loop) == (12_000, None, False, None)


def test_tokens_are_clipped_and_late_answers_are_wrong(qwen: TokenCounter) -> None:
    text = "<think>\n" + "so " * 500 + "\n</think>\n\n\\boxed{42}"
    m = measure(text, "42", None, qwen, 100)
    assert (m.tokens, m.think_tokens, m.answer_tokens) == (100, 100, 0)
    assert (m.outcome, m.correct, m.truncated) == ("truncated", False, True)
    assert m.full.correct and m.full.tokens == qwen.count(text) > 500


def test_an_answer_within_the_cutoff_counts_though_the_text_goes_on(qwen: TokenCounter) -> None:
    text = GOOD + " And so on." * 200
    m = measure(text, "42", None, qwen, 60)
    assert m.correct and m.truncated and m.tokens == 60


@pytest.mark.parametrize("answer", ["\\boxed{1234567}", "The answer is 1234567.", "so 1234567"])
def test_the_answer_must_be_complete_by_tokens(qwen: TokenCounter, answer: str) -> None:
    """At no cutoff is a part of the answer taken for the answer."""
    text = f"<think>\nhm\n</think>\n\n{answer} ok"
    total = qwen.count(text)
    right = []
    for cutoff in range(1, total + 1):
        m = measure(text, "1234567", None, qwen, cutoff)
        assert m.extracted in (None, "1234567")
        assert m.tokens == cutoff
        right.append(bool(m.correct))
        for part in ("1", "12", "123", "1234", "12345", "123456"):
            assert not measure(text, part, None, qwen, cutoff).correct
    assert right == sorted(right), "once complete, it stays"
    assert right[-1]
    assert not right[0]


def test_measure_at_agrees_with_measure(qwen: TokenCounter) -> None:
    texts = [GOOD, GOOD + " more" * 100, "<think>\n" + "la " * 300]
    cutoffs = [5, 20, 100, None]
    rows = measure_at(texts, ["42"] * 3, [None] * 3, qwen, cutoffs)
    for text, row in zip(texts, rows, strict=True):
        for cutoff, reading in zip(cutoffs, row, strict=True):
            one = measure(text, "42", None, qwen, cutoff)
            assert reading.model_dump() == {k: v for k, v in one.model_dump().items()
                                            if k in reading.model_dump()}


def test_unknown_gold(qwen: TokenCounter) -> None:
    m = measure(GOOD, None, None, qwen)
    assert m.correct is None and m.outcome is None and m.extracted == "42"
    assert summarize([m], 12_000).accuracy is None


def test_stopped_by_the_backend(qwen: TokenCounter) -> None:
    text = "<think>\nhm\n</think>\n\nShe sold 48 clips and then 4"
    assert measure(text, "4", None, qwen).correct
    stopped = measure(text, "4", None, qwen, ended=False)
    assert stopped.outcome == "truncated" and stopped.truncated and stopped.full.truncated


@pytest.mark.parametrize(("tail", "period"), [
    ("Wait, let me check again. " * 30, 26), ("ab" * 200, 2), ("x" * 400, 1),
    ("".join(f"Step {i}. " for i in range(100)), None), ("", None),
    ("short short short short", None),
    ("Wait, again. " * 30 + "Done.", None)])
def test_loops(tail: str, period: int | None) -> None:
    assert loop_period("<think>\nsome text first, then: " + tail) == period


def test_a_loop_that_stops_in_the_middle_of_a_period() -> None:
    text = ("Let me think about it once more, from the start. " * 40)[:-17]
    assert loop_period(text) == 49
    assert loop_period(text + "\ufffd") == 49


def test_a_loop_that_varies_or_counts_up() -> None:
    rng = random.Random(0)
    drift = "".join(f"Let me check case {i} again. " + rng.choice(("Hmm, no. ", "So no.\n", ""))
                    for i in range(40))
    assert 25 <= loop_period("<think>\n" + drift) <= 40
    # what came to an end, and a list of a dozen cases, are none
    listed = "".join(f"The pair (3, {i}) gives a difference of {i - 3}.\n" for i in range(4, 17))
    assert loop_period(listed) is None
    assert loop_period(drift + "All the cases fail, and there is nothing else to try here. " * 3
                       + "So the answer is 7.\n</think>\n\nThe answer is \\boxed{7}.") is None


CASES = ["When n = {k}, the value of n^2 + n + 41 is {v}, which is prime.\n",
         "Case {k}: here the remainder is {v}, so it is not a solution. "]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("end", [
    "</think>\n\nSo the smallest is \\boxed{40}.", "</think>\n\n\\boxed{7}", "\\boxed{7}",
    "</think>\n\n7", "So the smallest one is 40.", "Hence it is 40.\n</think>",
    "So the smallest is 40.\n\n**40**"])
def test_a_list_of_cases_that_ends_is_no_loop(case: str, end: str) -> None:
    cases = "<think>\n" + "".join(case.format(k=k, v=k * k + k + 41) for k in range(25))
    assert loop_period(cases + end) is None


@pytest.mark.parametrize("case", [*CASES, "So the answer is \\boxed{{{k}}}. Or not for {v}? "])
def test_a_list_of_cases_that_is_cut_is_a_loop(case: str) -> None:
    cases = "<think>\n" + "".join(case.format(k=k, v=k * k + k + 41) for k in range(30))
    for cut in range(100):
        assert loop_period(cases[:len(cases) - cut]) is not None


def test_loop_in_a_long_text_is_found_soon() -> None:
    def search() -> None:
        assert loop_period("ab" * 10 + "0123456789" * 100_000) == 10
        assert loop_period("a" * 23 + "b" + "".join(map(str, range(100_000)))) is None

    assert effort(search) < 40


def test_table_5_relation_on_loops(qwen: TokenCounter) -> None:
    """Clipping cannot add tokens or right answers; loops are what shrinks."""
    loop = "<think>\n" + "Wait, let me check this again. " * 400
    found = measure_many([GOOD, loop, loop], ["42"] * 3, [None] * 3, qwen, 500)
    with_cutoff = summarize(found, 500)
    without = summarize([m.full for m in found], None)
    assert with_cutoff.tokens < without.tokens / 2
    assert with_cutoff.correct == without.correct == 1
    assert [m.loop is not None for m in found] == [False, True, True]
    assert with_cutoff.tokens == pytest.approx((qwen.count(GOOD) + 1000) / 3)


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="no real data sets here")
def test_real_traces_at_all_cutoffs(qwen: TokenCounter) -> None:
    with (DATA / "traces_math_train_r1distill.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    cutoffs = [1_000, 2_000, 4_000, 8_000, 12_000, None]
    table = measure_at([r["response"] for r in rows], [r["answer"] for r in rows],
                       [r["dataset"] for r in rows], qwen, cutoffs)
    summaries = [summarize([row[i] for row in table], c) for i, c in enumerate(cutoffs)]
    assert summaries[-1].correct == sum(r["correct"] for r in rows)
    for less, more in itertools.pairwise(summaries):
        assert less.correct <= more.correct
        assert less.tokens <= more.tokens
        assert less.truncated >= more.truncated
    assert summaries[-1].tokens == pytest.approx(3_670.74, abs=0.01)
    assert (summaries[0].correct, summaries[4].correct) == (11, 214)
