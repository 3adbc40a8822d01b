"""One of a question's own samples: the shortest, and CoT-Valve's solutions."""

from __future__ import annotations

import random

import pytest
from made_samples import sample

from drp_plugin.thinking import split_response

LENGTHS = (3, 9, 1, 7, 5)
ROWS = [sample(f"a#{k}", n) for k, n in enumerate(LENGTHS)]


def test_the_shortest_is_kept_beside_the_longest_and_the_run_balances(prune, built):
    wrong = sample("a#5", 0, answer="6")
    cut = {**sample("a#6", 0), "response": "<think>\nSo"}
    run = prune([*ROWS, wrong, cut], "shortest-correct")
    (row,) = run.pruned
    assert row["id"] == "a#2" and row["original"] == ROWS[1]["response"]
    assert split_response(row["response"]) == split_response(ROWS[2]["response"])
    assert row["tokens_before"] > row["tokens_after"] and row["teacher"] == "shortest-correct"
    assert run.summary["rejects"] == {"no_think_end": 1, "not_chosen": 4, "wrong_answer": 1}
    assert run.summary["balanced"] and run.summary["requests"] == 0
    assert "a#2 is kept of the 5 samples" in run.rejects[0]["detail"]
    (pair,) = built(run.folder, pairs=True)
    assert pair["chosen"]["value"] == ROWS[2]["response"]
    assert pair["rejected"]["value"] == ROWS[1]["response"]


def test_samples_belong_together_wherever_they_stand(prune):
    rows = ROWS + [sample(f"b{k}", n, question="How many are  3 and 2?")
                   for k, n in enumerate((4, 2, 6))]
    rows[-1]["question"] = "How many are 3 and 2?"
    random.Random(1).shuffle(rows)
    run = prune(rows, "shortest-correct")
    assert {r["id"] for r in run.pruned} == {"a#2", "b1"}
    longest = {r["id"]: r["original"] for r in run.pruned}
    assert longest["b1"] == sample("", 6)["response"]
    assert longest["a#2"] == ROWS[1]["response"]


def test_what_would_not_pass_verification_is_not_the_shortest(prune):
    broken = {**ROWS[2], "id": "z", "response": "<think>\n2 + 3 = 5, and,\n</think>\n\n\\boxed{5}"}
    assert [r["id"] for r in prune([broken, *ROWS], "shortest-correct").pruned] == ["a#2"]
    run = prune([broken, *ROWS], "shortest-correct", "--no-check-complete", "--anew")
    assert [r["id"] for r in run.pruned] == ["z"]


def test_equal_samples_make_a_row_and_no_pair(prune, built, capsys):
    run = prune([sample("a#0", 2), sample("a#1", 2)], "shortest-correct")
    assert [r["id"] for r in run.pruned] == ["a#0"], "the first of equals"
    built(run.folder, pairs=True, code=2)
    assert "1 no_rejected" in capsys.readouterr().err


def test_a_sample_that_lacks_the_opening_tag_is_not_longer_than_itself(prune):
    row = sample("a", 1)
    row["response"] = row["response"].removeprefix("<think>\n")
    assert len(prune([row], "shortest-correct").pruned) == 1


def test_without_gold_nobody_knows_what_is_right(prune):
    rows = [sample("a#0", 2, gold=None), sample("a#1", 1, gold=None)]
    run = prune(rows, "shortest-correct", code=2)
    assert not run.pruned and "no gold answer" in run.rejects[0]["detail"]
    run = prune(rows, "shortest-correct", "--keep-wrong", "--anew")
    assert [r["id"] for r in run.pruned] == ["a#1"]


def test_mixchain_goes_from_the_longest_to_the_shortest(prune):
    kept = [prune(ROWS, f"mixchain:{k}").pruned[0]["id"] for k in (4, 3, 2, 1, 0)]
    assert kept == ["a#1", "a#3", "a#4", "a#0", "a#2"]


def test_solutions_share_a_sample_where_there_are_few(prune, built):
    runs = [prune(ROWS[:2], f"mixchain:{k}") for k in range(5)]
    assert [r.pruned[0]["id"] for r in runs] == ["a#0", "a#0", "a#0", "a#1", "a#1"]
    assert len(built(*(r.folder for r in runs))) == 2, "the mix holds each chain once"


@pytest.mark.parametrize("k", ["5", "-1", "x", "1.0"])
def test_there_are_five_solutions(prune, capsys, k):
    prune(ROWS, f"mixchain:{k}", code=2)
    assert "no such solution" in capsys.readouterr().err


def test_the_students_own_samples(prune, built, student_traces):
    short, long = prune(student_traces, "shortest-correct"), prune(student_traces, "mixchain:4")
    assert short.summary["rows"] == 12 and 1 <= len(short.pruned) <= 3
    assert len(short.pruned) == len(long.pruned)
    for one, other in zip(sorted(short.pruned, key=lambda r: r["question"]),
                          sorted(long.pruned, key=lambda r: r["question"]), strict=True):
        assert one["tokens_after"] <= other["tokens_after"]
        assert one["original"] == other["original"]
    assert built(short.folder, long.folder)
