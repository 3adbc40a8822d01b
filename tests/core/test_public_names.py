"""`from drp_plugin import …`: light to import, and each function does what its command does."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT
from pydantic import ValidationError

import drp_plugin
from drp_plugin import (
    PruneOptions,
    PruneRun,
    Reject,
    SetSettings,
    UserError,
    build,
    grade,
    prune,
    read,
    score,
    summarize,
)

TRACES = [{"id": str(n), "question": f"What is {n} + 4?", "answer": str(n + 4),
           "response": f"<think>\n{n} and 4.\n\n{n} + 4 = {n + 4}.\n\nWait, let me check that. "
                       f"{n} + 4 is {n + 4}. Yes.\n</think>\n\nIt is \\boxed{{{n + 4}}}."}
          for n in (5, 6, 7)]


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    file = tmp_path / "traces.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in TRACES) + "{broken\n")
    return file


def test_import_alone_loads_nothing_and_every_name_can_be_had() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys, drp_plugin; print(*sys.modules)"], cwd=ROOT,
        capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"pydantic", "openai", "click", "tokenizers", "torch"}
    assert all(getattr(drp_plugin, name).__doc__ for name in drp_plugin.__all__)
    with pytest.raises(AttributeError, match="prunes"):
        getattr(drp_plugin, "prunes")  # noqa: B009


def test_from_a_file_to_a_set(traces: Path, tmp_path: Path) -> None:
    run = prune(traces, tmp_path / "run", tokenizer="qwen-pieces")
    assert (run.summary["rows"], run.summary["pruned"]) == (4, 3)
    assert [row.id for row in run.pruned()] == ["5", "6", "7"]
    assert [row.reason for row in run.rejects()] == ["not_json"]
    assert build([run.folder], tmp_path / "data", SetSettings(name="mine")).rows == 3


def test_rows_of_ones_own_also_beside_a_running_loop(traces: Path, tmp_path: Path) -> None:
    rows = [row for row in read(traces) if not isinstance(row, Reject)]

    async def notebook() -> PruneRun:
        return prune(rows, tmp_path / "run", "earliest-correct", tokenizer="qwen-pieces")

    first = asyncio.run(notebook())
    made = [row.response for row in first.pruned()]
    again = prune(rows, tmp_path / "run", "earliest-correct", tokenizer="qwen-pieces")
    assert len(made) == 3 and [row.response for row in again.pruned()] == made


@pytest.mark.parametrize("given", ["dictionaries", "a generator", "DataFrame", "Dataset", "paths"])
def test_rows_of_any_kind_are_read_like_a_file(given: str, traces: Path, tmp_path: Path) -> None:
    if given == "DataFrame":
        rows = pytest.importorskip("pandas").DataFrame([*TRACES, {"question": "Why?"}])
    elif given == "Dataset":
        rows = pytest.importorskip("datasets").Dataset.from_list(TRACES)
    else:
        rows = {"dictionaries": [*TRACES, 5], "paths": [traces, traces],
                "a generator": iter(TRACES)}[given]
    run = prune(rows, tmp_path / "run", tokenizer="qwen-pieces")
    assert [row.id for row in run.pruned()] == ["5", "6", "7"]
    assert run.summary["rejects"] == {"DataFrame": {"bad_row": 1}, "dictionaries": {"not_json": 1},
                                      "paths": {"not_json": 2, "bad_row": 3}}.get(given, {})
    assert build(run, tmp_path / "data", SetSettings(name="mine")).rows == 3
    assert build([run], tmp_path / "data", SetSettings(name="mine")).rows == 3


def test_fields_are_named_and_rows_over_the_cutoff_left_out(tmp_path: Path) -> None:
    rows = [{"a": row["question"], "b": row["response"]} for row in TRACES]
    (first, *_) = read(rows, {"question": "a", "response": "b"})
    assert not isinstance(first, Reject) and first.question == TRACES[0]["question"]
    run = prune(TRACES, tmp_path / "run", tokenizer="qwen-pieces")
    built = build(run, tmp_path / "data", SetSettings(name="all"), tokenizer="qwen-pieces")
    most = built.card["tokens_per_row"]["max"]
    with pytest.raises(UserError, match="over_cutoff"):
        build(run, tmp_path / "data", SetSettings(name="few", cutoff_len=10),
              tokenizer="qwen-pieces")
    assert most > 10 and built.card["tokenizer"] == "qwen-pieces"


def test_scores_are_those_of_the_rows(traces: Path) -> None:
    rows = [row for row in read(traces) if not isinstance(row, Reject)]
    figures = summarize(score(rows, tokenizer="qwen-pieces"), 12_000)
    assert (figures.n, figures.correct) == (3, 3) and figures.tokens > 20
    short = score(rows, cutoff=5, tokenizer="qwen-pieces")
    assert [m.correct for m in short] == [False] * 3 and all(m.full.correct for m in short)


def test_mistakes_are_one_line(traces: Path, tmp_path: Path) -> None:
    for call in (lambda: prune(tmp_path / "none.jsonl", tmp_path / "run"),
                 lambda: prune(traces, tmp_path / "run", "nobody:x"),
                 lambda: prune([next(read(traces))] * 2, tmp_path / "run"),
                 lambda: prune([], tmp_path / "run"), lambda: prune([1, 2], tmp_path / "run"),
                 lambda: prune(traces, tmp_path / "run", concurrency=0),
                 lambda: read(5), lambda: read(traces, {"quest": "q"}),  # type: ignore[arg-type]
                 lambda: build([], tmp_path / "data", SetSettings(name="x")),
                 lambda: build("nowhere", tmp_path / "data", SetSettings(name="x")),
                 lambda: grade("\\boxed{1}", None),  # type: ignore[arg-type]
                 lambda: score(read(traces), tokenizer="qwen-pieces")):
        with pytest.raises(UserError) as said:
            call()
        assert "\n" not in str(said.value)
    assert not (tmp_path / "run").exists() and not (tmp_path / "data").exists()


def test_a_setting_that_does_not_exist_is_refused() -> None:
    for made in (lambda: PruneOptions(decomposed="skill"), lambda: SetSettings(name="x", size=0),
                 lambda: SetSettings(name="x", sizes=3)):  # type: ignore[call-arg]
        with pytest.raises(ValidationError):
            made()
