"""Official answers of the real sets: each equals itself and nothing else of its set."""

import json
import os
import random
import re
from fractions import Fraction
from pathlib import Path

import pytest

from drp_plugin.grading import equal, grade, suspects
from drp_plugin.grading.match import same_answer
from drp_plugin.grading.normal import tidy
from drp_plugin.grading.reading import read

DATA = Path(os.environ.get("DRP_TEST_DATA") or Path(__file__).parents[2] / "../shared/data")
SETS = ["gsm8k_test", "gsm8k_train", "math500_test", "prm12k_train", "aime24_test", "amc23_test"]
pytestmark = [pytest.mark.data,
              pytest.mark.skipif(not DATA.is_dir(), reason="no real data sets here")]


def bare(gold: str) -> str:
    """A gold without its unit and with plain fractions: a second opinion on equality."""
    text = re.sub(r"\\text\s*\{[^{}]*\}|\^\{?\\circ\}?|\\[$%]|\\!|[, ]", "", gold)
    text = re.sub(r"\\[dt]?frac(\d)(\d)", r"(\1/\2)", text)
    text = re.sub(r"\\[dt]?frac\{(\w+)\}\{(\w+)\}", r"(\1/\2)", text)
    plain = re.fullmatch(r"(\d+(?:\.\d+)?)?(?:\(?(\d+)/(\d+)\)?)?", text)
    if not plain:
        return text
    whole, top, bottom = plain.groups()
    return str(Fraction(whole or 0) + Fraction(int(top or 0), int(bottom or 1)))


def golds(name: str) -> list[str]:
    with (DATA / f"{name}.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line)["answer"] for line in file]


@pytest.mark.parametrize("name", SETS)
def test_gold_against_itself(name: str) -> None:
    wrong = [gold for gold in golds(name)
             if not grade(f"x</think>Thus $\\boxed{{{gold}}}$.", gold, name).correct]
    assert not wrong


@pytest.mark.parametrize("name", SETS)
def test_gold_against_itself_by_value(name: str) -> None:
    """Beyond letter by letter: the grammar reads all golds but a few names of geometry."""
    unread = [gold for gold in sorted(set(golds(name)))
              if same_answer(read(tidy(gold)), read(tidy(gold))) is not True]
    assert len(unread) <= 4


@pytest.mark.parametrize("name", SETS)
def test_gold_against_twenty_others(name: str) -> None:
    distinct = sorted(set(golds(name)))
    rng = random.Random(7)
    taken = {(other, gold) for gold in distinct
             for other in rng.sample(distinct, min(20, len(distinct))) if other != gold}
    equals = {frozenset(pair) for pair in taken if equal(*pair, name)}
    assert len(taken) >= len(distinct) * min(10, len(distinct) // 2)
    for pair in equals:
        assert len({bare(gold) for gold in pair}) == 1, pair


def test_suspect_golds_are_listed_and_official() -> None:
    official = golds("gsm8k_test")
    listed = suspects("drp_gsm8k")
    assert {s["index"] for s in listed} == {403, 454}
    for suspect in listed:
        assert official[suspect["index"]] == suspect["official"]
        assert not equal(suspect["suspected"], suspect["official"], "gsm8k")


def test_real_traces_are_graded_as_labelled() -> None:
    with (DATA / "traces_math_train_r1distill.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    assert len(rows) == 240
    assert [grade(r["response"], r["answer"], r["dataset"]).correct for r in rows] == \
        [r["correct"] for r in rows]
