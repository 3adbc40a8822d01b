"""What somebody made or paid for is not replaced by an output without being asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from drp_plugin import jsonl
from drp_plugin.cli import group
from drp_plugin.errors import UserError
from drp_plugin.run_dir import EDITS, FILES, LEDGER, PRUNED

ROW = {"id": "a", "question": "What is 3 + 4?", "answer": "7", "response":
       "<think>\n3 and 4 make 7.\n\nWait, let me check that. It is 7.\n\nSo the answer is 7.\n"
       "</think>\n\nIt is \\boxed{7}."}


def called(*arguments: object) -> int:
    """The exit code of a command, 2 for a mistake."""
    try:
        return group.main([str(part) for part in arguments], standalone_mode=False) or 0
    except UserError:
        return 2


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "t.jsonl").write_text(json.dumps(ROW) + "\n")
    folder = tmp_path / "run"
    assert called("prune", tmp_path / "t.jsonl", "-o", folder, "--teacher", "offline",
                  "--tokenizer", "student") == 0
    return folder


@pytest.mark.parametrize(("command", "victim"), [
    *((command, f"run/{name}") for command in ("inspect", "score") for name in FILES),
    ("inspect", "t.jsonl"), ("inspect", "notes.txt"), ("score", "t.jsonl"), ("score", "notes.txt"),
    ("score", "page.html"), ("generate", "t.jsonl"), ("generate", "notes.txt"),
    ("generate", f"run/{PRUNED}"), ("generate", "same.jsonl")])
def test_an_output_replaces_nothing_of_another_kind(command: str, victim: str, run: Path,
                                                    tmp_path: Path) -> None:
    (run / EDITS).write_text('{"id": "a", "action": "accept"}\n')
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "page.html").write_text("<!DOCTYPE html>")
    (tmp_path / "same.jsonl").symlink_to(tmp_path / "t.jsonl")
    target = tmp_path / victim
    before = target.read_bytes()
    given = [run] if command == "inspect" else [tmp_path / "t.jsonl"]
    given += ["--base-url", "http://127.0.0.1:9/v1"] if command == "generate" else []
    assert called(command, *given, "-o", target) == 2
    assert target.read_bytes() == before


def test_an_own_output_is_replaced(run: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert called("inspect", run, "-o", tmp_path / "p.html") == 0
        assert called("score", tmp_path / "t.jsonl", "-o", tmp_path / "s.jsonl", "--tokenizer",
                      "student") == 0
    jsonl.check_output(tmp_path / "new" / LEDGER)  # of no run


def test_a_second_merge_keeps_the_edits_made_since(run: Path, tmp_path: Path) -> None:
    (run / EDITS).write_text('{"id": "a", "action": "reject"}\n')
    merged = tmp_path / "merged"
    assert called("merge", run, "-o", merged) == 0
    mine = '{"id": "a", "action": "accept"}\n'
    with (merged / EDITS).open("a") as file:
        file.write(mine)
    for _ in range(2):
        assert called("merge", run, "-o", merged) == 0
        assert (merged / EDITS).read_text() == (run / EDITS).read_text() + mine


@pytest.mark.parametrize("name", ["x.json", "x.md", "x.card.json", "x.provenance.jsonl",
                                  "x.dropped.jsonl"])
def test_a_set_is_not_built_over_files_of_another(name: str, run: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / name).write_text("{}")
    assert called("build", run, "-o", data, "--name", "x") == 2
    assert (data / name).read_text() == "{}"
    assert called("build", run, "-o", data, "--name", "y") == 0
    (data / "dataset_info.json").unlink()  # as a check advises where it cannot be read
    assert called("build", run, "-o", data, "--name", "y") == 0


@pytest.mark.parametrize("command", ["merge", "judge", "build"])
def test_nothing_gained_is_no_success(command: str, run: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text(json.dumps({**ROW, "response": "7"}))
    bad = tmp_path / "bad"
    assert called("prune", tmp_path / "bad.jsonl", "-o", bad, "--teacher", "offline",
                  "--tokenizer", "student") == 2
    assert called(*{"merge": ["merge", bad], "judge": ["judge", run, run, "--judge", "offline"],
                    "build": ["build", bad, "--name", "x"]}[command],
                  "-o", tmp_path / "out") == 2
