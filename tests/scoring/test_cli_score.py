"""`drp score` as a user calls it."""

from __future__ import annotations

import json
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


def test_cutoffs(file: Path) -> None:
    done = score(str(file), "--cutoffs", "5,100,none")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["cutoff"] for line in lines] == [5, 100, None]
    assert [line["correct"] for line in lines] == [0, 1, 1]


@pytest.mark.parametrize(("text", "said"), [
    ("", "no rows"), ("{bad", "row 1"), ('{"id": 1}', "response"), ("[1]", "not a JSON object"),
    ('{"response": 5}', "response"), ('{"response": "x", "answer": ["y"]}', "answer"),
])
def test_bad_rows_are_one_line(text: str, said: str) -> None:
    done = score("-", text=text)
    assert done.returncode == 2
    assert said in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [
    ("/no/such/file.jsonl",), ("-", "--tokenizer", "nonsense"), ("-", "--cutoff", "few"),
    ("-", "--cutoffs", "1,x")])
def test_bad_arguments_are_one_line(arguments: tuple[str, ...]) -> None:
    done = score(*arguments, text=json.dumps(ROWS[0]) + "\n")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
