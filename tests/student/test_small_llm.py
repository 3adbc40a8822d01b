"""A real small LLM that does not think, as a student of one's own: what is said of its traces."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from drp_plugin.cli import main

pytestmark = pytest.mark.framework

QUESTIONS = [{"id": f"q{n}", "question": f"What is {n} plus 2?", "answer": str(n + 2)}
             for n in range(1, 7)]
Drp = Callable[..., str]


def written(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def drp(capfd: pytest.CaptureFixture[str]) -> Drp:
    """Runs `drp …` in this process; returns all that it printed."""
    def run(*arguments: object, code: int = 0) -> str:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(a) for a in arguments])
        said = "".join(capfd.readouterr())
        assert ended.value.code == code, said
        return said
    return run


def test_a_student_that_does_not_think_is_said_to(small_llm: Path, tmp_path: Path,
                                                  drp: Drp) -> None:
    questions, traces = tmp_path / "q.jsonl", tmp_path / "traces.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    said = drp("generate", questions, "-o", traces, "--backend", "hf", "--model", small_llm,
               "--temperature", 0, "--max-new-tokens", 24)
    assert "the student does not think" in said
    ends = {row["id"]: row["finish"] for row in written(traces)}
    assert set(ends.values()) == {"stop", "length"}, "else it is no test of both"

    said = drp("score", traces, "-o", tmp_path / "s.jsonl", "--tokenizer", small_llm)
    assert "ended by themselves without </think>" in said
    for row in written(tmp_path / "s.jsonl"):
        assert row["truncated"] is (ends[row["id"]] == "length") and not row["correct"]
        assert row["tokens"] == row["think_tokens"] or ends[row["id"]] == "stop"
    said = drp("score", traces, "-o", tmp_path / "n.jsonl", "--tokenizer", small_llm,
               "--no-thinking")
    assert "</think>" not in said
    for row in written(tmp_path / "n.jsonl"):
        assert row["think_tokens"] == 0 and row["answer_tokens"] == row["tokens"] > 0
        assert row["truncated"] is (ends[row["id"]] == "length")
        assert not (row["truncated"] and row["correct"]), "a cut completion is never right"
    assert any(row["correct"] for row in written(tmp_path / "n.jsonl"))

    drp("prune", traces, "-o", tmp_path / "run", "--teacher", "offline", code=2)
    reasons = {row["id"]: row["reason"] for row in written(tmp_path / "run" / "rejects.jsonl")}
    assert reasons == {name: "no_thinking" if end == "stop" else "no_think_end"
                       for name, end in ends.items()}
