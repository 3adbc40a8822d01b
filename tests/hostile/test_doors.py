"""What options, prompts and servers may hold, at the door; who may read what is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KEY = "sk-a-key-of-nobody-123456"
ROW = {"id": "a", "question": "What is 3 + 4?", "answer": "7",
       "response": "<think>\n3 + 4 is 7.\n\nWait, 3 + 4 is 7.\n</think>\n\n\\boxed{7}"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.jsonl").write_text(json.dumps(ROW) + "\n")
    return tmp_path


def drp(*words: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-P", "-m", "drp_plugin", *words], capture_output=True,
                          text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


PRUNE = ("prune", "t.jsonl", "-o", "run", "--teacher", "offline", "--tokenizer", "student")


@pytest.mark.parametrize("more", [
    ("--limit", "9" * 20), ("--shard", "1/" + "9" * 23), ("--extra", "a=1e999"),
    ("--extra", "a=NaN"), ("--max-tokens", "9" * 20)])
def test_a_number_beyond_reason_is_refused(place: Path, more: tuple[str, str]) -> None:
    code, said = drp(*PRUNE, *more)
    assert code == 2 and more[0] in said and not (place / "run").exists()


@pytest.mark.parametrize("extra", ["{a: 2020-01-01}", "{a: .nan}", "{a: [1, 2020-01-01]}"])
def test_what_is_no_json_is_refused_in_a_config(place: Path, extra: str) -> None:
    (place / "c.yaml").write_text(f"extra: {extra}\n")
    code, said = drp(*PRUNE, "--config", "c.yaml")
    assert code == 2 and "JSON" in said


def test_a_key_that_is_a_number_is_a_name(place: Path) -> None:
    (place / "c.yaml").write_text("extra: {1: 2}\n")
    assert drp(*PRUNE, "--config", "c.yaml")[0] == 0


@pytest.mark.parametrize("kind", ["endless", "long"])
def test_a_prompt_without_end_is_refused(place: Path, kind: str) -> None:
    (place / "p").mkdir()
    file = place / "p" / "decompose_skill.jinja"
    if kind == "endless":
        file.symlink_to("/dev/zero")
    else:
        file.write_text("x" * (2 ** 20 + 1))
    code, said = drp(*PRUNE, "--prompts", "p")
    assert code == 2 and "decompose_skill.jinja" in said and "1,048,576" in said


def test_a_key_among_the_options_is_not_written(place: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for _ in range(2):  # the second time the settings are compared
        assert drp(*PRUNE, "--extra", f"user={KEY}")[0] == 0
    for file in (place / "run").iterdir():
        assert KEY.encode() not in file.read_bytes(), file.name


def test_only_the_owner_reads_what_holds_rows(place: Path) -> None:
    before = os.umask(0o022)
    try:
        assert drp(*PRUNE)[0] == 0
        assert drp("inspect", "run")[0] == 0
        assert drp("build", "run", "-o", "data", "--name", "x", "--tokenizer", "student")[0] == 0
        assert drp("score", "t.jsonl", "-o", "s.jsonl", "--tokenizer", "student")[0] == 0
    finally:
        os.umask(before)
    made = [f for top in ("run", "data") for f in (place / top).iterdir()] + [place / "s.jsonl"]
    assert {f.name: oct(f.stat().st_mode & 0o777) for f in made
            if f.stat().st_mode & 0o077 and not f.name.endswith(".lock")} == {}
