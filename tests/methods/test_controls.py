"""The controls: steps dropped at random, and no thinking at all."""

from __future__ import annotations

import pytest
from made_samples import sample

from drp_plugin.thinking import split_response
from drp_plugin.tokens import TokenCounter

ROWS = [sample(f"r{k}", 20) for k in range(6)]


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.8])
def test_random_keeps_its_ratio_and_the_statement_of_the_answer(prune, built, ratio):
    run = prune(ROWS, f"random:{ratio}")
    assert len(run.pruned) == 6
    for row in run.pruned:
        assert row["tokens_after"] / row["tokens_before"] == pytest.approx(ratio, abs=0.04)
        thinking = split_response(row["response"]).thinking
        assert thinking.endswith("So the answer is 5.")
        assert {s.strip() for s in thinking.split(".")} <= {
            s.strip() for s in split_response(row["original"]).thinking.split(".")}
    assert len({row["response"] for row in run.pruned}) == 6, "each row has its own seed"
    assert len(built(run.folder, pairs=True)) == 6


def test_a_rows_steps_do_not_depend_on_its_neighbours(prune, tmp_path):
    first = {r["id"]: r["response"] for r in prune(ROWS, "random:0.5").pruned}
    again = prune(ROWS[3:], "random:0.50").pruned
    assert [r["response"] for r in again] == [first[r["id"]] for r in again]


@pytest.mark.parametrize("ratio", ["0", "1", "50%", "-0.5", "nan"])
def test_a_ratio_is_between_0_and_1(prune, capsys, ratio):
    prune(ROWS, f"random:{ratio}", code=2)
    err = capsys.readouterr().err
    assert "not a number between 0 and 1" in err and err.count("\n") == 1


def test_no_thinking_is_verified_built_and_paired(prune, built):
    run = prune(ROWS[:1], "no-thinking")
    (row,) = run.pruned
    answer = split_response(ROWS[0]["response"]).answer
    assert row["response"] == f"<think>\n</think>\n\n{answer}"
    assert row["verdict"]["answer"]["ok"] and row["verdict"]["empty"]["ok"]
    assert {r["action"] for r in row["revisions"]} == {"DELETE"}
    (made,) = built(run.folder)
    assert made["conversations"][1]["value"] == row["response"]


def test_no_thinking_makes_pairs(prune, built):
    (pair,) = built(prune(ROWS[:1], "no-thinking").folder, pairs=True)
    assert pair["rejected"]["value"] == ROWS[0]["response"]


def test_an_empty_thinking_of_anybody_else_is_still_no_row(prune, built, capsys, tmp_path):
    from drp_plugin import jsonl

    file = tmp_path / "own.jsonl"
    jsonl.write(file, [{**ROWS[0], "response": "<think>\n\n</think>\n\n\\boxed{5}"}])
    built(file, code=2)
    assert "1 empty_thinking" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["qwen", "student"])
def test_an_empty_thinking_begins_as_prompts_end(name):
    """`<think>` and two newlines are other tokens than those of a prompt that ends with one."""
    encode = TokenCounter.load(name)._tokenizer.encode
    prompt = encode("<think>\n", add_special_tokens=False).ids
    trained = encode("<think>\n</think>\n\n5", add_special_tokens=False).ids
    assert trained[:len(prompt)] == prompt
    assert encode("<think>\n\n</think>", add_special_tokens=False).ids[:len(prompt)] != prompt
