"""`drp score` as a user calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from drp_plugin.tokens import TokenCounter

ROWS = [
    {"id": "a", "response": "<think>\nhm\n</think>\n\n\\boxed{42}", "answer": "42"},
    {"id": "b", "completion": "<think>\nhm\n</think>\n\nThe answer is 7.", "answer": 8},
    {"id": "c", "response": "<think>\n" + "wait, again. " * 200, "answer": "1"},
    {"id": "d", "response": "<think>\nhm\n</think>\n\nNo idea.", "answer": "1", "extra": "kept"},
    {"id": "e", "response": "<think>\nhm\n</think>\n\n\\boxed{1}"},
]


def score(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "drp_plugin", "score", *arguments], input=text,
                          capture_output=True, text=True, check=False)


@pytest.fixture()
def file(tmp_path: Path, qwen: TokenCounter) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_rows_come_out_with_the_fields_of_the_contract(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "scored.jsonl"
    done = score(str(file), "-o", str(out), "--cutoff", "100")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [r["outcome"] for r in rows] == ["right", "wrong", "truncated", "no_answer", None]
    assert [r["correct"] for r in rows] == [True, False, False, False, None]
    assert [r["extraction"] for r in rows] == ["boxed", "stated", None, None, "boxed"]
    assert rows[2]["tokens"] == 100 < rows[2]["tokens_full"]
    assert rows[2]["loop"] and rows[2]["truncated"] and rows[2]["truncated_full"]
    assert rows[3]["extra"] == "kept"
    for row in rows:
        assert {"correct", "extracted", "extraction", "tokens", "think_tokens", "truncated"} <= set(
            row)
    assert "accuracy" in done.stderr and done.stdout == ""


def test_standard_input_and_output(file: Path) -> None:
    done = score("-", text=file.read_text())
    assert done.returncode == 0
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == list("abcde")


def test_samples_of_lmms_eval_score_the_same(file: Path, tmp_path: Path) -> None:
    plain = [json.loads(line) for line in score(str(file)).stdout.splitlines()]
    samples = tmp_path / "samples.jsonl"
    samples.write_text("".join(json.dumps(
        {"doc_id": i, "target": str(row["answer"]),
         "filtered_resps": row.get("response", row.get("completion"))}) + "\n"
        for i, row in enumerate(ROWS[:4])))
    found = [json.loads(line) for line in score(str(samples)).stdout.splitlines()]
    for one, two in zip(plain, found, strict=False):
        assert {k: one[k] for k in ("outcome", "tokens", "extracted", "tokens_full")} == \
            {k: two[k] for k in ("outcome", "tokens", "extracted", "tokens_full")}


def sample(*texts: str, **own: object) -> dict:
    """A row as our tasks write it, `drp` with what is given."""
    return {"doc_id": 0, "target": "49", "doc_hash": "a", "resps": [list(texts)],
            "filtered_resps": list(texts), "drp": {"id": "q0", "answer": "49", **own}}


def scored(rows: list[dict], *arguments: str) -> list[dict]:
    done = score("-", *arguments, text="".join(json.dumps(row) + "\n" for row in rows))
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


SENTENCE = "so</think>\n\n\\boxed{There are 49 left}"


def test_samples_are_graded_by_the_rule_of_their_set() -> None:
    """`number` takes 49 out of the sentence; the symbolic rule of unknown sets does not."""
    assert scored([sample(SENTENCE, dataset="drp_tiny")])[0]["correct"] is True
    assert scored([sample(SENTENCE)])[0]["correct"] is False
    assert scored([sample(SENTENCE)], "--dataset", "gsm8k")[0]["correct"] is True
    # what the row says comes before --dataset
    assert scored([sample(SENTENCE, dataset="drp_tiny")], "--dataset", "math500")[0]["correct"]


def test_a_samples_file_says_its_task(tmp_path: Path) -> None:
    file = tmp_path / "20260101_000000_samples_gsm8k.jsonl"
    file.write_text(json.dumps({k: v for k, v in sample(SENTENCE).items() if k != "drp"}))
    assert json.loads(score(str(file)).stdout)["correct"] is True


def test_samples_of_models_that_do_not_think() -> None:
    rows = [sample("It is \\boxed{49}", dataset="gsm8k", protocol={"thinking": thinking})
            for thinking in (False, True)]
    assert [row["outcome"] for row in scored(rows)] == ["right", "truncated"]
    assert [row["outcome"] for row in scored(rows, "--no-thinking")] == ["right", "right"]


def test_every_repeat_counts_with_its_own_finish(tmp_path: Path) -> None:
    """Of the two samples of the second problem one was stopped at the limit, and has no answer."""
    right, wrong = SENTENCE, SENTENCE.replace("49", "50")
    cut = "so</think>\n\nAs 100 are 51 more than"
    rows = [sample(wrong, right, dataset="gsm8k", completions=[{"finish": "stop"}] * 2),
            {**sample(right, cut, dataset="gsm8k",
                      completions=[{"finish": "stop"}, {"finish": "length"}]), "doc_id": 1}]
    found = scored(rows)
    assert [(row["doc_id"], row["repeat"]) for row in found] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [row["correct"] for row in found] == [False, True, True, False]
    assert [row["truncated"] for row in found] == [False, False, False, True]
    assert found[3]["resps"] == [[cut]] and len(found[3]["drp"]["completions"]) == 1
    rows[1]["drp"]["id"] = "q1"
    for given in (rows, scored(rows)):      # the rows that came out say the same once more
        (figures,) = scored(given, "--cutoffs", "none")
        assert (figures["n"], figures["samples"], figures["correct"]) == (2, 4, 1.0)
        assert (figures["accuracy"], figures["truncated"]) == (0.5, 1)


@pytest.mark.parametrize(("own", "said"), [
    ({"completions": [7]}, "row 1: its record of the run is damaged: field 'completions.0'"),
    ({"completions": 7}, "field 'completions'"), ({"protocol": 7}, "field 'protocol'"),
    ({"dataset": [1]}, "field 'dataset'")])
def test_damaged_samples_are_one_line(own: dict, said: str) -> None:
    done = score("-", text=json.dumps(sample("x", **own)))
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1] and done.stderr.count("\n") == 2


def test_an_answer_that_is_not_a_number_is_none() -> None:
    """pandas writes NaN for what is missing."""
    (row,) = scored([{"response": "so</think>\n\n\\boxed{nan}", "answer": float("nan"),
                      "dataset": float("nan")}])
    assert row["correct"] is None and row["outcome"] is None


@pytest.mark.parametrize("cutoffs", [(), ("--cutoffs", "none")])
@pytest.mark.parametrize(("output", "said"), [
    ("", "is a folder"), ("file.txt/x.jsonl", "file.txt: is a file, not a folder"),
    ("file.txt/y/x.jsonl", "file.txt: is a file, not a folder")])
def test_the_output_is_looked_at_first(tmp_path: Path, output: str, said: str,
                                       cutoffs: tuple[str, ...]) -> None:
    """Before the rows are: the bad one is not reached."""
    (tmp_path / "file.txt").write_text("kept")
    done = score("-", "-o", str(tmp_path / output), *cutoffs, text="{bad")
    assert done.returncode == 2
    assert said in done.stderr and done.stderr.count("\n") == 1
    assert [f.name for f in tmp_path.iterdir()] == ["file.txt"]


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """A pipe here; a device such as /dev/null would be replaced by a file just so."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    done = score("-", "-o", str(pipe), text=json.dumps(ROWS[0]))
    assert done.returncode == 2 and "is not a file" in done.stderr
    assert pipe.is_fifo()


def test_cutoffs(file: Path) -> None:
    done = score(str(file), "--cutoffs", "5,100,none")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["cutoff"] for line in lines] == [5, 100, None]
    assert [line["correct"] for line in lines] == [0, 1, 1]


@pytest.mark.parametrize(("text", "said"), [
    ("", "no rows"), ("{bad", "row 1"), ('{"id": 1}', "response"), ("[1]", "not a JSON object"),
    ('{"response": 5}', "response"), ('{"response": "x", "answer": {"y": 1}}', "answer"),
])
def test_bad_rows_are_one_line(text: str, said: str) -> None:
    done = score("-", text=text)
    assert done.returncode == 2
    assert said in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [
    ("/no/such/file.jsonl",), ("-", "--tokenizer", "nonsense"), ("-", "--cutoff", "few"),
    ("-", "--cutoffs", "1,x"), ("-", "--cutoffs", ","), ("-", "--cutoffs", ""),
    ("-", "--cutoff", "²")])
def test_bad_arguments_are_one_line(arguments: tuple[str, ...]) -> None:
    done = score(*arguments, text=json.dumps(ROWS[0]) + "\n")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


# -- what a file may be, and a result of nothing --------------------------------------------------

def test_a_completion_cut_at_the_limit_is_cut_under_every_name() -> None:
    """`drp generate` says `finish`, others `finish_reason` or `stop_reason`."""
    base = {"response": "so</think>\n\nThe answer is 7", "answer": "7"}
    rows = [base | end for end in ({"finish": "length"}, {"finish_reason": "max_tokens"},
                                   {"stop_reason": "MAX_TOKENS"}, {"finish": "cutoff"})]
    for row in scored(rows):
        assert row["truncated"] and row["correct"] is False
    for row in scored([base | end for end in ({}, {"finish": "eos"}, {"finish_reason": None})]):
        assert not row["truncated"] and row["correct"] is True


def test_what_ended_by_itself_without_thinking_was_not_cut() -> None:
    row = {"response": "It is \\boxed{7}", "answer": "7"}
    done = score("-", text="".join(json.dumps(row | {"finish": e}) + "\n"
                                   for e in ("stop", "length", None)))
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["outcome"] for r in found] == ["no_answer", "truncated", "truncated"]
    assert [r["truncated"] for r in found] == [False, True, True]
    assert "1 of 3 completions ended by itself" in done.stderr
    assert "--no-thinking" in done.stderr and "no response closes its thinking" in done.stderr


def test_without_thinking_all_tokens_are_the_answers() -> None:
    row = {"response": "It is \\boxed{7}", "answer": "7", "finish": "stop"}
    (plain,), (found,) = scored([row]), scored([row], "--no-thinking")
    assert plain["answer_tokens"] == 0 < plain["think_tokens"]
    assert found["think_tokens"] == 0 and found["answer_tokens"] == found["tokens"] > 0
    assert found["correct"] is True


@pytest.mark.parametrize("gold", ["3 + 4 = <<3+4=7>>7\n#### 7", "so \\boxed{7}",
                                  "The answer is 7.", ["7"]])
def test_golds_as_they_are_published(gold: object) -> None:
    assert scored([{"response": "so</think>\n\n\\boxed{7}", "answer": gold,
                    "dataset": "gsm8k"}])[0]["correct"] is True


def test_several_completions_of_a_row_are_one_problem() -> None:
    row = {"problem": "?", "answer": "7", "generations": ["a</think>7", "a</think>8"]}
    rows = scored([row, row])
    assert [(r["repeat"], r["correct"]) for r in rows] == [(0, True), (1, False)] * 2
    (figures,) = scored([row, row], "--cutoffs", "none")
    assert (figures["n"], figures["samples"], figures["accuracy"]) == (2, 4, 0.5)


def _apart(order: str) -> list[dict]:
    """Samples of three problems, two of them with one id; the first problem has one more."""
    rows = [{"id": name, "question": question, "answer": "7", "repeat": k,
             "response": f"{'so ' * k}</think>{7 + (k + i) % 2}"}
            for i, (name, question) in enumerate([("a", "?"), ("a", "!"), (3, "?")])
            for k in range(3 - bool(i))]
    return {"together": rows, "by repeat": sorted(rows, key=lambda row: row["repeat"]),
            "reversed": rows[::-1]}[order]


@pytest.mark.parametrize("order", ["by repeat", "reversed"])
@pytest.mark.parametrize("wrote", ["a user", "lmms-eval"])
def test_samples_of_a_problem_are_found_wherever_they_stand(order: str, wrote: str) -> None:
    def written(row: dict) -> dict:
        own = {"id": f"{row['id']}{row['question']}"}
        return row if wrote == "a user" else {**sample(row["response"], **own), "repeat": 1}

    apart, together = (scored(list(map(written, _apart(told))), "--cutoffs", "6,none")
                       for told in (order, "together"))
    assert apart == together
    assert [(f["n"], f["samples"], f["graded"]) for f in apart] == [(3, 7, 3)] * 2
    if wrote == "a user":
        assert apart[1]["accuracy"] == pytest.approx((2 / 3 + 1 / 2 + 1 / 2) / 3)


def test_repeats_without_a_name_are_problems_of_their_own() -> None:
    row = {"response": "so</think>7", "answer": "7", "repeat": 0}
    (figures,) = scored([row, row], "--cutoffs", "none")
    assert figures["n"] == figures["samples"] == 2


@pytest.mark.parametrize(("row", "said"), [
    ({"response": "so</think>7", "answer": "8"}, "none of 2 graded answers is right"),
    ({"response": "7", "answer": "7"}, "no response closes its thinking"),
    ({"response": "so</think>7", "answer": "We note that both of them are added up. " * 4},
     "2 of 2 gold answers are texts")])
def test_nothing_right_is_never_quiet(row: dict, said: str) -> None:
    done = score("-", text=(json.dumps(row) + "\n") * 2)
    assert done.returncode == 0 and said in done.stderr


@pytest.mark.parametrize(("end", "outcome"), [
    ({}, "truncated"), ({"finish": "stop"}, "no_answer"),
    ({"finish_reason": "length"}, "truncated")])
def test_an_empty_response_is_a_row_without_an_answer(end: dict, outcome: str) -> None:
    rows = scored([{"response": text, "answer": "7", **end} for text in ("", "a</think>7")])
    assert [(r["outcome"], r["tokens"] > 0) for r in rows] == [
        (outcome, False), ("truncated" if "finish_reason" in end else "right", True)]


def test_rows_that_differ_by_their_filter_are_one() -> None:
    """lm-evaluation-harness writes all documents anew for each filter; other tasks have others."""
    rows = [{"doc_id": i, "doc": {"question": f"{i}?"}, "target": str(i), "doc_hash": f"{task}{i}",
             "resps": [[f"so</think>\\boxed{{{i}}}"]], "filtered_resps": [str(i)], "filter": name}
            for task, names in (("a", ("strict", "flexible")), ("b", ("none",)))
            for name in names for i in range(3)]
    (figures,) = scored(rows, "--cutoffs", "none")
    assert (figures["n"], figures["correct"]) == (6, 6)


def test_rows_without_gold_are_told(file: Path) -> None:
    assert "accuracy is over the 4 whose gold" in " ".join(score(str(file)).stderr.split())
