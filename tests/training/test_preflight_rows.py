"""Faults of single rows, planted and found."""

from __future__ import annotations

import json

import pytest
import tiny_models as tiny
from preflight_help import ask, codes, edit_set, respond, response

pytest.importorskip("llamafactory")
pytestmark = pytest.mark.framework

from drp_plugin.training.preflight.check_config import check  # noqa: E402
from drp_plugin.training.templates import asking  # noqa: E402


def test_3_double_think_in_the_response(good):
    path = good()
    edit_set(path, lambda rows: respond(rows, 3, "<think>\n" + response(rows, 3)))
    assert codes(path) == ["double_think"]


def test_3_double_think_from_the_prompt(good):
    path = good()

    edit_set(path, lambda rows: ask(rows, 0, more="<think>\n"))
    found = check(path).problems
    assert [f.code for f in found] == ["double_think"]
    assert "in the prompt" in found[0].text and "drp build" not in found[0].text


def test_4_missing_think_end(good):
    path = good()
    edit_set(path, lambda rows: respond(rows, 5, response(rows, 5).replace("</think>", "")))
    assert codes(path) == ["no_think_end"]


def test_6_cut_rows(good):
    path = good(cutoff_len=212)
    report = check(path)
    assert [f.code for f in report.problems] == ["cut_rows"]
    assert 0 < report.facts["cut_rows"] < 40
    assert report.exit_code() == 1
    assert check(path, max_cut=100).exit_code() == 0


def test_6_cut_rows_are_counted_exactly(good):
    lengths = []
    for cutoff in (212, 217, 222):
        report = check(good(cutoff_len=cutoff))
        lengths.append(report.facts["cut_rows"])
    rows = tiny.rows(40)
    # one token a byte, three control tokens in front and behind, two tags of one token each
    asked = asking("eval_boxed")
    sizes = [3 + len(asked(r["question"])) + 2 + 1 + len(
        r["response"].replace("<think>", "").replace("</think>", "")) for r in rows]
    assert lengths == [sum(size > cutoff for size in sizes) for cutoff in (212, 217, 222)]


@pytest.mark.parametrize("leak", [" (Answer: {})", "\nThe answer is {}.", " #### {}",
                                  " Hint: \\boxed{{{}}}"])
def test_8_gold_in_the_prompt(good, leak):
    path = good()

    def give_away(rows: list[dict]) -> None:
        final = response(rows, 2).rsplit(" ", 1)[1].rstrip(".")
        ask(rows, 2, more=leak.format(final))

    edit_set(path, give_away)
    assert codes(path) == ["gold_in_prompt"]


def test_9_empty_response(good):
    path = good()
    edit_set(path, lambda rows: respond(rows, 7, ""))
    assert "empty_response" in codes(path)


def test_preference_pairs_are_checked_on_both_sides(good, tmp_path, write_rows):
    from drp_plugin.training.sft_set import SetSettings, build

    path = good(dataset="pairs", stage="dpo", val_size=None, eval_strategy=None)
    build([write_rows(tiny.rows(20))], tmp_path / "data", SetSettings(
        name="pairs", pairs=True, prompt="eval_boxed"))
    assert codes(path) == []
    file = tmp_path / "data" / "pairs.json"
    rows = json.loads(file.read_text())
    rows[4]["rejected"]["value"] = rows[4]["rejected"]["value"].replace("</think>", "")
    file.write_text(json.dumps(rows))
    assert codes(path) == ["no_think_end"]
