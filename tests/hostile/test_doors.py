"""What options, prompts and servers may hold, at the door; who may read what is written."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import click
import pytest
from scene import every_option

from drp_plugin.given_yaml import parse
from drp_plugin.inspection.edits import Decisions
from drp_plugin.inspection.serving import decide

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


@pytest.mark.parametrize("more", [
    ("--price", "nan,1"), ("--price", "1,inf"), ("--price", "1"), ("--temperature", "1e308"),
    ("--timeout", "1e308"), ("--poll", "1e10"), ("--seed", "9" * 20)])
def test_a_number_without_sense_is_refused_before_anything_is_read(place: Path,
                                                                   more: tuple[str, str]) -> None:
    code, said = drp("prune", "absent.jsonl", *PRUNE[2:], *more)
    assert code == 2 and more[0] in said and "absent" not in said


def test_every_number_has_two_ends() -> None:
    for command, option in every_option():
        kind = option.type
        if isinstance(kind, click.IntRange | click.FloatRange):
            assert None not in (kind.min, kind.max), (command, option.name)
            with pytest.raises(click.BadParameter):
                kind.convert("nan", option, None)
        assert not isinstance(kind, click.types.IntParamType | click.types.FloatParamType) \
            or isinstance(kind, click.IntRange | click.FloatRange), (command, option.name)


EXPERIMENT = """
students: {tiny: {model: tiny, config: drp_tiny.yaml}}
questions: [tiny:sft:plain:8]
tasks: [drp_tiny]
methods: {DRP: {prune: {teacher: offline}}}
"""


@pytest.mark.parametrize(("old", "new", "says"), [
    ("teacher: offline", "teacher: offline, temperature: .nan", "--temperature"),
    ("teacher: offline", "teacher: offline, limits: 3", "--limits"),
    ("teacher: offline", "teacher: offline, price: 'nan,1'", "--price"),
    ("tasks:", "generate: {samples: 0}\ntasks:", "--samples"),
    ("tasks:", "hardware: {tflops: .nan}\ntasks:", "tflops"),
    ("tasks:", "build: {name: x}\nbuild: {}\ntasks:", "twice"),
    ("tasks:", "seeds: [010]\ntasks:", "010")])
def test_an_experiment_is_refused_before_it_begins(place: Path, old: str, new: str, says: str
                                                   ) -> None:
    (place / "e.yaml").write_text(EXPERIMENT.replace(old, new))
    code, said = drp("experiment", "e.yaml", "--dry-run", "-o", "out")
    assert code == 2 and says in said and "e.yaml" in said and said.count("\n") == 1
    (place / "e.yaml").write_text(EXPERIMENT)
    assert drp("experiment", "e.yaml", "--dry-run", "-o", "out")[0] == 0


YAMLS = [
    ("a: 1\nb: 2\na: 3", "line 3: the key 'a' is given twice"), ("{a: 1, 'a': 1}", "'a' is"),
    ("x:\n- {b: {a: 1, a: 1}}", "line 2: the key 'a'"), ("yes: 1\ntrue: 1", "'true' is given"),
    ("1: 1\n0x1: 1", "'0x1' is given"), ("a: &b {c: 1, c: 2}\nd: {<<: *b}", "'c' is given"),
    ("a: 010", "line 1: 010 is no plain number"), ("a: -0_17", "-0_17"), ("a: [1:30]", "1:30"),
    ("a: 1:30:00", "1:30:00"), ("a: 1:30.5", "1:30.5"), ("010: a", "010"), ("a: +07", "07"),
    ("a: !!int '010'", "010"), ("a: !!float '1:30'", "1:30")]


@pytest.mark.parametrize(("text", "says"), YAMLS)
def test_yaml_that_would_be_read_as_something_else_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "value"), [
    ("a: 0", 0), ("a: 00", 0), ("a: -0", 0), ("a: 08", "08"), ("a: '010'", "010"), ("a: 0x10", 16),
    ("a: 0.5", 0.5), ("a: 1_000", 1000), ("a: 10", 10), ("a: '1:30'", "1:30"), ("a: a:b", "a:b"),
    ("a: 100.0e-2", 1.0), ("x: &x {a: 1}\ny: &y {<<: *x, a: 2}\n<<: [*y, *x]", 2)])
def test_yaml_that_is_read_as_it_looks_passes(text: str, value: object) -> None:
    assert parse(text)["a"] == value


@pytest.mark.parametrize("text", ["retries: 1\nretries: 2\n", "retries: 010\n", "poll: 1:30\n",
                                  "tokenizer: no\n", "models: {a: 1, a: 2}\n",
                                  "models: {'offline:rules': {input: .nan, output: 1}}\n"])
def test_what_is_given_in_yaml_is_not_guessed_at(place: Path, text: str) -> None:
    (place / "c.yaml").write_text(text)
    option = "--prices" if "models" in text else "--config"
    code, said = drp(*PRUNE, option, "c.yaml")
    assert code == 2 and said.count("\n") == 1 and "c.yaml" in said
    assert not (place / "run").exists()


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
        decide(Decisions(Path("run")), {"id": "a", "action": "accept"})
        assert drp("build", "run", "-o", "data", "--name", "x", "--tokenizer", "student")[0] == 0
        assert drp("score", "t.jsonl", "-o", "s.jsonl", "--tokenizer", "student")[0] == 0
    finally:
        os.umask(before)
    made = [f for top in ("run", "data") for f in (place / top).iterdir()] + [place / "s.jsonl"]
    assert any(f.name == ".edits.jsonl.lock" for f in made) and len(made) > 10
    assert {f.name: oct(f.stat().st_mode & 0o777) for f in made if f.stat().st_mode & 0o077} == {}


@pytest.mark.parametrize("words", [
    ("prune", "t.jsonl", "-o", "", "--teacher", "offline"), ("init", ""), ("score", "", "-o", "s"),
    ("build", "run", "-o", "", "--name", "x"), ("generate", "t.jsonl", "-o", "")])
def test_an_empty_path_is_not_this_folder(place: Path, words: tuple[str, ...]) -> None:
    code, said = drp(*words)
    assert code == 2 and "empty" in said and [f.name for f in place.iterdir()] == ["t.jsonl"]


def test_a_name_that_begins_as_an_option_is_none_in_the_next_command(place: Path) -> None:
    code, said = drp("prune", "t.jsonl", "-o", "-run", "--teacher", "offline", "--tokenizer",
                     "student")
    assert code == 0 and "drp inspect ./-run --serve" in said


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-32-be"])
def test_text_of_another_width_is_named(place: Path, encoding: str) -> None:
    file = place / "t.jsonl"
    mark = "" if encoding in ("utf-16", "utf-32") else "\ufeff"
    file.write_bytes((mark + json.dumps(ROW)).encode(encoding))
    code, said = drp(*PRUNE)
    assert code == 2 and "UTF-16 or UTF-32" in said and "Convert it to UTF-8" in said


def test_a_ledger_of_another_release_is_not_used(place: Path) -> None:
    assert drp(*PRUNE)[0] == 0
    with contextlib.closing(sqlite3.connect(place / "run" / "ledger.sqlite")) as ledger:
        ledger.execute("PRAGMA user_version=7")
    code, said = drp(*PRUNE)
    assert code == 2 and "another release" in said
