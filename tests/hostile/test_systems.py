"""Disks, streams and homes that are not what they should be: one line, and nothing half made."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from properties import ROOT
from scene import Scene


def drp(scene: Scene, command: str, shell: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    """`drp COMMAND` in a shell that has the last word."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(scene.arena.home), "LANG": "C.UTF-8",
                   "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"} | more
    call = f"{sys.executable} -P -m drp_plugin {command}"
    return subprocess.run(["bash", "-c", shell.replace("DRP", call)], cwd=scene.work, timeout=300,
                          capture_output=True, env={k: v for k, v in environment.items() if v})


def one_line(ran: subprocess.CompletedProcess[bytes]) -> str:
    said = ran.stderr.decode()
    assert ran.returncode == 2 and said.startswith("drp: ") and said.count("\n") == 1, said
    return said


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full")
def test_a_full_standard_output_is_one_line(scene: Scene) -> None:
    for command in ("inspect run-a -o -", "score t.jsonl -o - --tokenizer student 2>/dev/null",
                    "--help", "experiment e.yaml --dry-run"):
        ran = drp(scene, command, "DRP >/dev/full")
        assert ran.returncode == 2, (command, ran.stderr)
        if "2>" not in command:
            assert "No space left" in ran.stderr.decode() and b"Traceback" not in ran.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full")
@pytest.mark.parametrize("shell", ["DRP 2>/dev/full >/dev/null", "DRP 2>&- >/dev/null",
                                   "DRP 2>&1 >/dev/null | true; exit ${PIPESTATUS[0]}"])
def test_messages_that_nobody_reads_are_no_failure(scene: Scene, shell: str) -> None:
    """Results are what a command is for; a mistake keeps its exit code."""
    for command in ("prune", "score", "build", "inspect", "report", "init"):
        ran = drp(scene, " ".join(map(str, scene.line(command))), shell)
        assert ran.returncode == 0, (command, ran.stderr)
        scene.clean()
    assert drp(scene, "prune absent.jsonl -o out --teacher offline", shell).returncode == 2


def test_streams_that_are_closed(scene: Scene) -> None:
    assert "descriptor" in one_line(drp(scene, "experiment e.yaml --dry-run", "DRP >&-"))
    assert "descriptor" in one_line(drp(scene, "prune - -o out --teacher offline --tokenizer "
                                               "student", "DRP <&-"))
    ran = drp(scene, "prune t.jsonl -o out --teacher offline --tokenizer student",
              "DRP <&- >&- 2>&-")
    assert ran.returncode == 0, "the ledger has no stream's number"
    assert (scene.work / "out" / "pruned.jsonl").read_text().count("\n") == 2
    scene.clean()


def test_output_in_another_encoding(scene: Scene) -> None:
    ran = drp(scene, "experiment e.yaml --dry-run -o döner", "DRP", PYTHONIOENCODING="ascii")
    assert ran.returncode == 0 and b"d\\xf6ner" in ran.stdout, ran.stderr
    rows = scene.work / "u.jsonl"
    rows.write_text('{"question": "日本 \\u009b", "response": "</think> é", "answer": "1"}\n')
    for encoding in ("ascii", "latin-1", "utf-8"):
        ran = drp(scene, "score u.jsonl -o - --tokenizer student", "DRP", PYTHONIOENCODING=encoding)
        assert ran.returncode == 0 and "日本 \\u009b".encode() in ran.stdout, ran.stderr


def test_no_home(scene: Scene) -> None:
    ran = drp(scene, "build run-a -o out2 --name x --tokenizer '~nobody-at-all/x'", "DRP", HOME="")
    assert "no tokenizer" in one_line(ran)
