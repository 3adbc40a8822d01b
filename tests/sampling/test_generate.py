"""`drp generate` as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from drp_plugin.cli.flows import generate as command
from drp_plugin.errors import UserError
from drp_plugin.records import Trace

ENV = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def drp(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "drp_plugin", "generate", *arguments]


def rows(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def stored(file: Path) -> int:
    try:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as found:
            return int(found.execute("SELECT COUNT(*) FROM replies").fetchone()[0])
    except sqlite3.Error:
        return 0


@pytest.fixture(scope="module")
def settings(random_student: Path) -> list[str]:
    return ["tiny:sft:steps2+steps3:40", "--model", str(random_student), "--backend", "hf",
            "--samples", "2", "--max-new-tokens", "150", "--engine-arg", "workers=1",
            "--batch-size", "4"]


def test_killed_and_started_again(settings: list[str], tmp_path: Path) -> None:
    """A second start draws only what was not stored, and ends with the same file."""
    whole = tmp_path / "whole.jsonl"
    done = subprocess.run(drp(*settings, "-o", str(whole)), env=ENV, capture_output=True,
                          text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "" and "completions 80/80" in done.stderr
    traces = [Trace.model_validate(row) for row in rows(whole)]
    assert [t.id for t in traces[:3]] == ["sft-steps2-0-0000#0", "sft-steps2-0-0000#1",
                                          "sft-steps2-0-0001#0"]
    assert traces[0].response != traces[1].response and traces[0].answer
    assert traces[0].question in json.dumps(rows(whole)[0], ensure_ascii=False)

    cut = tmp_path / "cut.jsonl"
    ledger = tmp_path / "cut.jsonl.ledger.sqlite"
    process = subprocess.Popen(drp(*settings, "-o", str(cut)), env=ENV, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while stored(ledger) < 5 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = stored(ledger)
    assert 5 <= kept < 80 and not cut.exists()
    again = subprocess.run(drp(*settings, "-o", str(cut)), env=ENV, capture_output=True,
                           text=True, timeout=600)
    assert again.returncode == 0, again.stderr
    assert rows(cut) == rows(whole)
    assert stored(ledger) == 80


def test_mistakes_are_one_line(random_student: Path, tmp_path: Path) -> None:
    from drp_plugin.cli import main

    cases = {
        "no such file": ["missing.jsonl", "--model", str(random_student)],
        "there is no folder": ["tiny:eval:steps2:1", "--model", str(tmp_path / "x")],
        "hub cache": ["tiny:eval:steps2:1", "--model", "org/name"],
        "no argument 'foo'": ["tiny:eval:steps2:1", "--model", str(random_student),
                              "--engine-arg", "foo=1"],
        "not KEY=VALUE": ["tiny:eval:steps2:1", "--model", str(random_student),
                          "--engine-arg", "foo"],
        "cannot be read (": ["tiny:eval:steps2:1", "--model", str(random_student),
                        "--engine-arg", "foo=[1"],
        "prompt nope.jinja is missing": ["tiny:eval:steps2:1", "--model", str(random_student),
                                         "--prompt", "nope"],
        "needs a server": ["tiny:eval:steps2:1", "--backend", "openai"],
    }
    import contextlib
    import io

    for said, arguments in cases.items():
        backend = [] if "--backend" in arguments else ["--backend", "hf"]
        heard = io.StringIO()
        with contextlib.redirect_stderr(heard), pytest.raises(SystemExit) as stopped:
            main(["generate", *arguments, *backend, "-o", str(tmp_path / "out.jsonl")])
        lines = [x for x in heard.getvalue().splitlines() if x.startswith("drp: ")]
        assert stopped.value.code == 2, (said, heard.getvalue())
        assert len(lines) == 1 and said in lines[0], (said, heard.getvalue())
        assert not (tmp_path / "out.jsonl").exists()


def test_failures_leave_what_was_done(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from test_endpoint import serving

    from drp_plugin.cli import main

    questions = tmp_path / "q.jsonl"
    questions.write_text('{"id": "a", "question": "one"}\n{"id": "b", "question": "two"}\n')
    out = tmp_path / "t.jsonl"
    arguments = ["generate", str(questions), "-o", str(out), "--prompt", "eval_plain"]
    with serving() as server:
        server.rules = {"two": {"codes": [400]}}
        for code, ids in ((1, ["a"]), (0, ["a", "b"])):
            with pytest.raises(SystemExit) as stopped:
                main([*arguments, "--base-url", server.url])
            assert stopped.value.code == code
            assert [row["id"] for row in rows(out)] == ids
        assert len(server.bodies) == 3  # "one" was asked once
    assert "1 of 2 completions failed (b): HTTP 400: too bad" in capsys.readouterr().err


@pytest.mark.parametrize(("file", "more", "says"), [
    ("mine.jinja", (), "holds no eval_plain.jinja"),
    ("revise.jinja", (), "holds no eval_plain.jinja"),
    ("eval_boxed.jinja", ("--prompt", "eval_answer"), "holds no eval_answer.jinja"),
    ("mine.jinja", ("--prompt", "mine"), None), ("eval_plain.jinja", (), None),
])
def test_a_folder_of_prompts_is_obeyed_or_refused(file: str, more: tuple[str, ...],
                                                  says: str | None, tmp_path: Path) -> None:
    """Said before the model is looked at, which here is none."""
    (tmp_path / file).write_text("Q: {{ question }}\n")
    with pytest.raises(UserError) as error:
        command.main(["tiny:eval:steps2:1", "-o", str(tmp_path / "t"), "--prompts", str(tmp_path),
                      "--backend", "hf", "--model", str(tmp_path), *more], standalone_mode=False)
    assert (says or "holds no config.json") in str(error.value)
    assert ("--prompt NAME" in str(error.value)) is bool(says)
