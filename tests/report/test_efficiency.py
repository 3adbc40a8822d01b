"""What tokens buy, by figures worked out by hand."""

from __future__ import annotations

import math

import pytest

from drp_plugin.report import efficiency, read_runs, score_run
from drp_plugin.report.efficiency import aes, at_budgets, bought
from drp_plugin.report.regrading import BUDGETS, Scored
from drp_plugin.report.results import row
from drp_plugin.scoring import measure_many
from drp_plugin.tokens import TokenCounter

from .conftest import GREEDY, Writer, documents


def scored(folder: object, counter: TokenCounter) -> Scored:
    (run,) = read_runs([f"A={folder}"])
    found = score_run(run, counter, 12_000)
    return found


def test_accuracy_at_a_budget_is_the_cutoff_s_own(write: Writer, counter: TokenCounter) -> None:
    """At every budget exactly what grading the clipped text gives, answers in the middle too."""
    rows = documents(12, {3, 7}, 40, 700)
    rows[1]["filtered_resps"] += " That is all. " * 400      # an answer, then much more
    rows[2]["filtered_resps"] += " Or rather \\boxed{1}. " * 90     # taken back later
    rows[4]["filtered_resps"] = "<think>\n" + "so we add " * 3_000
    one = scored(write("one", {"drp_gsm8k": rows}), counter)
    curve = at_budgets(one)
    assert tuple(curve) == BUDGETS
    for budget in BUDGETS:
        right = [m.correct for m in measure_many(
            [r["filtered_resps"] for r in rows], [r["target"] for r in rows],
            ["gsm8k"] * len(rows), counter, budget)]
        assert curve[budget] == pytest.approx(sum(map(bool, right)) / 12)
    assert curve[500] != curve[1_000] != curve[2_000], "the case must move within the budgets"


def test_budgets_beyond_what_was_generated_are_not_told(write: Writer, counter: TokenCounter
                                                        ) -> None:
    rows = documents(4, set(), 20)
    short = {**GREEDY, "max_new_tokens": 5_000}
    whole = scored(write("whole", {"drp_gsm8k": rows}, generation=short), counter)
    assert max(at_budgets(whole)) == 32_000, "nothing was cut, so nothing is hidden"
    rows[0]["filtered_resps"] = "<think>\n" + "so we add " * 2_000
    cut = scored(write("cut", {"drp_gsm8k": rows}, generation=short), counter)
    assert max(at_budgets(cut)) == 4_000
    assert row(cut, 12_000, "qwen").budget_area is None
    other = {"do_sample": False}
    unknown = scored(write("unknown", {"drp_gsm8k": rows}, generation=other), counter)
    assert max(at_budgets(unknown)) == 6_000, "the limit is not told; the longest has 6,001 tokens"


def test_area_over_the_log_of_budgets(write: Writer, counter: TokenCounter,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    one = scored(write("one", {"drp_gsm8k": documents(4, set(), 5)}), counter)

    def area(curve: dict[int, float]) -> float | None:
        monkeypatch.setattr(efficiency, "at_budgets", lambda scored: curve)
        found: float | None = bought(one, None, 1.0, 10.0)["budget_area"]
        return found

    assert area(dict.fromkeys(BUDGETS, 0.8)) == pytest.approx(0.8)
    # right from 4k on: a ramp over one octave less than what lies between 3k and 4k
    step = {b: float(b >= 4_000) for b in BUDGETS}
    whole = math.log(32)
    assert area(step) == pytest.approx(
        (math.log(32_000 / 4_000) + math.log(4_000 / 3_000) / 2) / whole)
    assert area({1_000: 1.0}) is None and area({}) is None


@pytest.mark.parametrize(("accuracy", "tokens", "score"), [
    ((0.8, 0.8), (1000, 600), 0.4), ((0.8, 0.88), (1000, 600), 0.4 + 3 * 0.1),
    ((0.8, 0.72), (1000, 600), 0.4 - 5 * 0.1), ((0.8, 0.8), (1000, 1500), -0.5)])
def test_aes(accuracy: tuple[float, float], tokens: tuple[float, float], score: float) -> None:
    assert aes(accuracy, tokens) == pytest.approx(score)


def test_scores_of_nothing() -> None:
    assert aes((0.0, 0.5), (10, 10)) is None and aes((0.5, 0.5), (0, 10)) is None


@pytest.mark.parametrize(("accuracy", "tokens", "score"), [
    (0.5, 0, 50), (0.9, 10_000, 90 - 10 * math.log(2))])
def test_ockscore(accuracy: float, tokens: float, score: float, write: Writer,
                  counter: TokenCounter) -> None:
    one = scored(write("one", {"drp_gsm8k": documents(4, set(), 5)}), counter)
    assert bought(one, None, accuracy, tokens)["ockscore"] == pytest.approx(score)


def test_tokens_of_right_and_wrong_and_levels(write: Writer, counter: TokenCounter) -> None:
    rows = documents(6, {0, 1}, 10)
    for i, sample in enumerate(rows):
        sample["filtered_resps"] = sample["filtered_resps"].replace("so we", "so we " * (1 + i))
        sample["drp"] = {"id": f"q{i}", "level": 1 + i // 3, "question": f"What is {i}?"}
    one = scored(write("one", {"drp_math500": rows}), counter)
    tokens = counter.counts([r["filtered_resps"] for r in rows])
    found = row(one, 12_000, "qwen")
    assert found.tokens_wrong == pytest.approx(sum(tokens[:2]) / 2)
    assert found.tokens_right == pytest.approx(sum(tokens[2:]) / 4)
    assert found.tokens_per_correct == pytest.approx(sum(tokens) / 4)
    assert [(lv["level"], lv["n"], lv["accuracy"]) for lv in found.levels] == [
        ("1", 3, pytest.approx(1 / 3)), ("2", 3, 1.0)]
    assert found.levels[1]["tokens"] == pytest.approx(sum(tokens[3:]) / 3)
    nothing = row(scored(write("none", {"drp_math500": documents(3, {0, 1, 2}, 5)}), counter),
                  None, "qwen")
    assert (nothing.tokens_right, nothing.tokens_per_correct, nothing.budget_99) == (None,) * 3
    assert nothing.levels == ()
