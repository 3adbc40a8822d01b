"""`vllm:PATH`: a real engine in the command's own process."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from drp_plugin.llm.ledger import Ledger
from drp_plugin.student import model_path, questions


@pytest.mark.vllm
@pytest.mark.framework
def test_the_command_asks_the_engine_and_pays_once(vllm_python: Path, tmp_path: Path) -> None:
    """The toy cannot do a teacher's work: every row must come out with a reason."""
    traces = tmp_path / "traces.jsonl"
    rows = [{"id": q["id"], "question": q["question"], "answer": q["answer"],
             "response": f"<think>\nIt is {q['answer']}.\n</think>\n\n\\boxed{{{q['answer']}}}"}
            for q in questions("eval", "steps2", 3)]
    traces.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = tmp_path / "run"

    def prune(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(vllm_python), "-m", "drp_plugin", "prune", str(traces), "-o", str(run),
             "--teacher", f"vllm:{model_path()}", "--max-tokens", "40", "--repairs", "0",
             "--max-requests", "2", "--tokenizer", "student", *more],
            env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, timeout=600)

    done = prune()
    assert done.returncode == 2, done.stderr[-3000:]
    assert "no row was pruned" in done.stderr
    assert "3 rows = 0 pruned + 3 rejected" in done.stderr
    lines = (run / "rejects.jsonl").read_text().split("\n")
    rejects = [json.loads(line) for line in lines if line]
    assert {r["stage"] for r in rejects} == {"decompose"}
    assert {r["reason"] for r in rejects} <= {"cut_reply", "bad_format", "low_coverage"}
    assert all(r["reply"] for r in rejects)
    before = (run / "rejects.jsonl").read_bytes()
    # nothing is asked again: such an engine does not start
    assert _stored(run) == 3
    (run / "rejects.jsonl").unlink()
    assert prune("--engine-arg", "max_num_seqs=0").returncode == 2
    assert _stored(run) == 3 and (run / "rejects.jsonl").read_bytes() == before
    wrong = prune("--engine-arg", "tensor_parallel=2")
    assert wrong.returncode == 2 and "tensor_parallel_size" in wrong.stderr


def _stored(run: Path) -> int:
    with Ledger(run / "ledger.sqlite") as ledger:
        return len(ledger)
