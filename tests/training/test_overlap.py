"""Training questions that stand in a test set: found, told, and left out where that is asked."""

from __future__ import annotations

import json

import pytest
import tiny_models as tiny
from click.testing import CliRunner

from drp_plugin import jsonl
from drp_plugin.cli.sets import build as command
from drp_plugin.errors import UserError
from drp_plugin.student import questions
from drp_plugin.training.sources import NEAR, HeldOut

TRAIN = ("A train travels {} miles in 3 hours. At the same rate, how many additional hours would "
         "it take to travel an additional 180 miles?")


@pytest.fixture
def tests(tmp_path):
    file = tmp_path / "test.jsonl"
    jsonl.write(file, [
        {"id": "t1", "question": TRAIN.format(270), "answer": "2"},
        {"id": "t2", "question": "What is $3 + 4$?", "answer": "7"},
        {"id": "t3", "question": "求 3 加 4 的和是多少？", "answer": "7"}])
    return str(file)


@pytest.mark.parametrize(("question", "found", "same"), [
    (TRAIN.format(270), "t1", True),
    (TRAIN.format(270).upper().replace(" ", "\n  "), "t1", True),  # case and white space
    (TRAIN.format(270).replace(",", "").replace("?", " ?"), "t1", True),  # punctuation
    (TRAIN.format(360), "t1", False),  # a twin with another number
    (TRAIN.format(270).replace("train", "plane"), "t1", False),
    ("What is \\(3+4\\)?", "t2", True),
    ("What is $3 - 4$?", "", False),  # short, and another sum
    ("求3加4的和是多少?", "t3", True),
    ("A baker bakes 12 loaves in 3 hours. How many loaves does she bake in 5 hours?", "", False),
    ("", "", False), ("???", "", False)])
def test_the_same_and_nearly_the_same(tests, question, found, same):
    overlap = HeldOut([tests]).find(question)
    assert (overlap.test.endswith(f": {found}") if found else overlap is None)
    if found:
        assert (overlap.similarity == 1) == same and overlap.similarity >= NEAR


def test_the_embedded_students_own_splits_do_not_overlap_exactly():
    """Its problems are of one family, so some are close; none is the same."""
    index = HeldOut(["drp_tiny", "drp_tiny_ood"])
    for level in ("steps2", "steps3", "steps4"):
        for row in questions("sft", level, 300):
            found = index.find(row["question"])
            assert found is None or found.similarity < 1
    assert index.find(questions("eval", "ood", 1)[0]["question"]).similarity == 1


def test_a_group_stands_for_its_tasks_and_what_is_unknown_is_said(tmp_path, monkeypatch):
    for name in ("gsm8k", "math500", "aime24", "amc23"):
        jsonl.write(tmp_path / f"{name}_test.jsonl", [
            {"id": name, "question": f"What is the value of {name}, all in all?", "answer": "1"}])
    monkeypatch.setenv("DRP_DATA_DIR", str(tmp_path))
    index = HeldOut(["drp"])
    assert index.find("What is the value of amc23, all in all?").test == "drp: amc23"
    for name in ("drp_gsm9k", "gsm8k_tests"):
        with pytest.raises(UserError, match=name):
            HeldOut([name])


def test_build_tells_them_by_count_and_ids_and_drops_them_when_asked(write_rows, tests, tmp_path):
    rows = tiny.rows(4)
    rows[1]["question"], rows[2]["question"] = TRAIN.format(270), TRAIN.format(360)
    run, out = str(write_rows(rows)), tmp_path / "d"
    told = CliRunner().invoke(command, [run, "-o", str(out), "--name", "x", "--test-set", tests],
                              catch_exceptions=False, standalone_mode=False)
    assert "1 row asks a question of the test sets, 1 nearly one: " in told.output
    assert f"{rows[1]['id']}, {rows[2]['id']}" in told.output
    card = json.loads((out / "x.card.json").read_text())
    assert card["rows"] == 4 and [o["id"] for o in card["overlap"]] == [
        rows[1]["id"], rows[2]["id"]]
    assert "2 rows ask the same or nearly the same" in (out / "x.md").read_text()
    CliRunner().invoke(command, [run, "-o", str(out), "--name", "y", "--test-set", tests,
                                 "--drop-overlap"], catch_exceptions=False, standalone_mode=False)
    card = json.loads((out / "y.card.json").read_text())
    assert card["rows"] == 2 and card["dropped"] == {"in_test_set": 2} and not card["overlap"]
    assert "t1, similarity 1" in (out / "y.dropped.jsonl").read_text()
