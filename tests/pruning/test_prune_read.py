"""Traces from a file: what is mended, what becomes a reject, what stops everything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from drp_plugin.errors import UserError
from drp_plugin.reading import traces
from drp_plugin.records import Reason, Reject, Trace

GOOD = {"id": "a", "question": "q", "answer": "5", "response": "<think>T</think>5"}


def file(folder: Path, *rows: object) -> Path:
    path = folder / "my.traces.jsonl"
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows))
    return path


def test_good_rows_and_mended_ones(tmp_path: Path) -> None:
    found = list(traces(file(tmp_path, GOOD, {**GOOD, "id": 7, "answer": 5},
                             {"question": "q", "response": "r", "answer": ""})))
    assert all(isinstance(row, Trace) for row in found)
    assert [(row.id, row.answer) for row in found] == [  # type: ignore[union-attr]
        ("a", "5"), ("7", "5"), ("my-3", None)]


def test_bad_rows_become_rejects(tmp_path: Path) -> None:
    rows = list(traces(file(tmp_path, GOOD, "{not json", "[1]", {"id": "b", "question": "q"},
                            {**GOOD, "response": 5})))
    rejects = [row for row in rows if isinstance(row, Reject)]
    assert [(r.stage, r.reason) for r in rejects] == [
        ("read", Reason.NOT_JSON), ("read", Reason.NOT_JSON), ("read", Reason.BAD_ROW),
        ("read", Reason.BAD_ROW)]
    assert "row 2" in rejects[0].detail and "'response' is missing" in rejects[2].detail
    assert rejects[0].row == {"text": "{not json"}
    assert len({row.id for row in rows}) == len(rows)


def test_samples_of_one_question_are_all_kept(tmp_path: Path) -> None:
    rows = list(traces(file(tmp_path, GOOD, {**GOOD, "response": "<think>U</think>5"},
                            {**GOOD, "id": "a#2"}, {**GOOD, "response": "<think>V</think>5"})))
    assert all(isinstance(row, Trace) for row in rows)
    assert len({row.id for row in rows}) == 4 and [r.id for r in rows][:2] == ["a", "a#2"]


def test_a_duplicate_names_the_other_row(tmp_path: Path) -> None:
    rows = list(traces(file(tmp_path, GOOD, {**GOOD, "id": "b"}, GOOD)))
    assert isinstance(rows[2], Reject) and rows[2].reason is Reason.BAD_ROW
    assert "row 1" in rows[2].detail and "row 3" in rows[2].detail


def test_a_file_without_a_usable_row(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no usable trace: row 1: field 'question' is missing"):
        list(traces(file(tmp_path, {"response": "r"})))
    with pytest.raises(UserError, match="it is empty"):
        list(traces(file(tmp_path, "")))
    with pytest.raises(UserError, match="no such file"):
        list(traces(tmp_path / "none.jsonl"))


def test_the_real_traces(data_dir: Path) -> None:
    rows = list(traces(data_dir / "traces_math_train_r1distill.jsonl"))
    assert len(rows) == 240 and all(isinstance(row, Trace) for row in rows)
    assert len({row.id for row in rows}) == 240
