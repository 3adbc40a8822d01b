"""Every command under hostile options, files and streams, held to the properties of `properties`.

A run takes a sample, always the same; `DRP_FUZZ_SEED=S` takes another, `DRP_FUZZ=N` N cases of each
kind, and `DRP_FUZZ=1` all.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from properties import CANARY, KEY
from scene import NEVER_DONE, Scene, every_option, options

from drp_plugin.cli import COMMANDS

T = TypeVar("T")
LONG = os.environ.get("DRP_FUZZ", "")
SEED = os.environ.get("DRP_FUZZ_SEED") or "1"
RUN_CODE = f"open(__import__('os').environ['{CANARY}'],'w')"
VALUES = (
    "nan", "-inf", "1e400", "9" * 5000, "-1", "0", "", " ", "2024-01-01", "null", "[]", "1_000",
    "\u0661\u0662", "0x10", "\x1b]0;x\x07", "\x9b31m", "[/INST] [red]", "\udcff", "\u202e\u2028",
    "../" * 50, "x" * 300, "x" * 5000, "/dev/zero", "/dev/full", "loop", ".", ":", "@", "openai:",
    "k=" + "[" * 2000, "k=&a [*a]", "{a: 1", f"k=!!python/object/apply:eval [\"{RUN_CODE}\"]",
    f"http://u:{KEY}@h/v1", f"http://127.0.0.1:1/v1?key={KEY}")
BOMB = "\n".join(["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 12)}]"
                                    for n in range(1, 12)])
MERGES = "\n".join(["a0: &a0 {k: 1}"] + [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 12)}]}}"
                                         for n in range(1, 12)])
YAMLS = (BOMB, MERGES, "[" * 5000, "a: &a [*a]", "a: \"\\0\"", "- 1", "x", "\x00", "a: b: c",
         f"!!python/object/apply:eval [\"{RUN_CODE}\"]", "9" * 5000 + ": 1", "2024-13-45: 1",
         "? [1]\n: 2", "temperature: .nan", "students: 3", "? {a: 1}\n: 2",
         "[/INST]: \"\\e]0;x\\a\"",
         "models: {openai:rules: {input: .inf, output: -1}}", "models: {offline: 7}",
         "retries: 1" + "0" * 5000, "prompts: \"\\e[31m\"", "a: 1\n" * 300_000, "<<: 1", "!!set 1",
         "students: {\"\\e]0;x\\a\": {model: m, config: c}}\ntasks: [t]\nmethods: {a: {}}\n"
         "questions: [\"\\x9b\"]")
ROW_VALUES: tuple[Any, ...] = (
    None, 0, -1.5, 1e308, True, [], {}, "", "\x1b]0;x\x07\x9b31m", "[/INST] [red]boom[/]",
    "<script>alert(1)</script>", "\ud83d", "x" * 200_000, "<think>" * 500, "</think>", [[1]],
    {"text": {}}, "2024-01-01", float("nan"), "![x](javascript:1) | a | b |", "\u202e\u2028",
    "\\boxed{" * 900, "9" * 5000)
LINES = (b"", b"\x00", b"[" * 100_000, b"{\"a\":" * 600 + b"1" + b"}" * 600, b"\xff\xfe{}", b"nul",
         b"{\"id\": " + b"9" * 6000 + b"}", b"\"text\"", b"PAR1", b"PK\x03\x04", b"[{},",
         gzip.compress(b"{\"question\": 1}\n" * 9)[:-5], b"\xef\xbb\xbf{}",
         zlib.compress(b"x" * 999), b"\x1f\x8b\x08")
TEMPLATES = (
    f"{{{{ cycler.__init__.__globals__.__builtins__.eval(\"{RUN_CODE}\") }}}}", "{{ absent }}",
    f"{{{{ ''.__class__.__mro__[1].__subclasses__() }}}}{{{{ lipsum.__globals__ }}}}{RUN_CODE}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{{ 'a' * 10000000000 }}", "{{ 9 ** 999999999 }}", "{{ 'a'.ljust(10000000000) }}",
    "{% set n = namespace(s='aaaa') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}"
    "{% endfor %}{{ n.s }}", "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "{% if", "\xff", "",
    "{{ ('<!--' * 1000000) | striptags }}", "{{ ['a-' * 1000000] | map('wordwrap') | list }}",
    "{% include '/etc/passwd' %}", "{% include '../../../../etc/passwd' %}", "\x1b]0;x\x07{{ x }}",
    "{% set n = namespace(s=99) %}{% for i in range(60) %}{% set n.s = n.s * n.s %}{% endfor %}")


def some(kind: str, cases: Sequence[T], count: int) -> Sequence[T]:
    """A sample of cases, or all."""
    if LONG == "1" or count >= len(cases):
        return cases
    most = int(LONG) if LONG.isdecimal() else count
    return random.Random(f"{SEED} {kind}").sample(cases, min(most, len(cases)))


def test_every_command_works_before_it_is_attacked(scene: Scene) -> None:
    for command in COMMANDS:
        ran = scene.arena.attack(*scene.line(command))
        assert (ran.code == 0) == (command not in NEVER_DONE), ran.said
        scene.clean()


USUAL_MODE = ("report", "init")
"""What they make is for others, too."""


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in NEVER_DONE])
def test_only_the_owner_reads_what_holds_rows(scene: Scene, command: str) -> None:
    old = set(scene.work.rglob("*"))
    assert scene.arena.attack(*scene.line(command)).code == 0
    made = [f for f in set(scene.work.rglob("*")) - old if f.is_file()]
    assert made or command in ("show", "stats", "experiment", *USUAL_MODE), command
    if command not in USUAL_MODE:
        open_ = {f.name: oct(f.stat().st_mode) for f in made if f.stat().st_mode & 0o077}
        assert not {n: m for n, m in open_.items() if n != ".dataset_info.json.lock"}, open_
    scene.clean()


def test_options(scene: Scene) -> None:
    loop = scene.work / "loop"
    loop.symlink_to(loop)
    slow = {("build", "template"), ("build", "prompt"), ("demo", "output")}  # take a framework
    cases = [(command, option.opts[-1], value) for command, option in every_option()
             for value in VALUES if (command, option.name) not in slow]
    for command, option, value in some("options", cases, 60):
        scene.arena.attack(*scene.line(command), *(
            [f"{option}={value}"] if option.startswith("--") else [option, value]))
        scene.clean()
    loop.unlink()


def test_yaml(scene: Scene) -> None:
    file = scene.work / "y.yaml"
    keys = [f"{option.opts[-1].lstrip('-')}: {value}\n" for option in options("prune")
            for value in (".nan", "-.inf", "2024-01-01", "1" + "0" * 400, "[[1]]", "{a: b}",
                          "\"\\e[2J\"", "!!binary x", "~", "yes", "1:30:00", "\"[/INST]\"")]
    for text in [*some("yaml", YAMLS, 9), *some("yaml keys", keys, 8)]:
        file.write_text(text)
        for line in ([*scene.line("prune"), "--config", file],
                     [*scene.line("prune"), "--prices", file, "--max-cost", "1"],
                     ["experiment", file, "--dry-run", "-o", "out"]):
            ran = scene.arena.attack(*line)
            assert ran.code in (0, 2)
            scene.clean()


def test_prompts(scene: Scene) -> None:
    folder = scene.work / "prompts"
    folder.mkdir()
    url = f"http://127.0.0.1:{scene.port}/v1"
    for text in some("prompts", TEMPLATES, 6):
        for name, line in (("judge", scene.line("judge")), ("decompose_skill", [
                "prune", "t.jsonl", "-o", "out", "--teacher", "openai:m", "--base-url", url])):
            (folder / f"{name}.jinja").write_bytes(text.encode("latin-1"))
            ran = scene.arena.attack(*line, "--prompts", folder)
            assert ran.code == 2 and b"root:" not in ran.out + ran.err
            (folder / f"{name}.jinja").unlink()
            scene.clean()


def bad_file(good: Path, target: Path, chance: random.Random) -> None:
    """A file of rows with one value, field or line changed."""
    rows = good.read_bytes().splitlines()
    place = chance.randrange(len(rows))
    if chance.random() < 0.3:
        rows[place] = chance.choice(LINES)
    else:
        row = json.loads(rows[place])
        row[chance.choice([*row, "id", "dataset", "model", "repeat"])] = chance.choice(ROW_VALUES)
        rows[place] = json.dumps(row).encode()
    target.write_bytes(b"\n".join(rows) + b"\n" * chance.randrange(2))


def test_rows_results_and_samples(scene: Scene) -> None:
    """A reader of each command meets a row that is not what it should be."""
    work, chance = scene.work, random.Random(f"{SEED} rows")
    places = {"prune": "t.jsonl", "score": "t.jsonl", "generate": "q.jsonl", "distill": "q.jsonl",
              "build": "run-a/pruned.jsonl", "inspect": "run-a/pruned.jsonl",
              "judge": "run-b/pruned.jsonl", "report": "eval/m/1_samples_drp_tiny.jsonl"}
    for turn in range(int(LONG) if LONG.isdecimal() and LONG != "1" else 400 if LONG else 24):
        command = list(places)[turn % len(places)]
        file = work / places[command]
        good = file.read_bytes()
        bad_file(file, file, chance)
        try:
            ran = scene.arena.attack(*scene.line(command))
            pages = [p for p in (work / "out").glob("report.md") if ran.code == 0]
            assert not any(b"<script>" in p.read_bytes() or b"\x1b" in p.read_bytes()
                           for p in pages)
        finally:
            file.write_bytes(good)
            scene.clean()


def test_results_files_and_tokenizers(scene: Scene) -> None:
    work = scene.work
    results, tokenizer = work / "eval" / "m" / "1_results.json", work / "tokenizer.json"
    good = results.read_bytes()
    content = json.loads(good)
    bad = [b"", b"{", b"[" * 100_000, b"[]", b"\xff", b"{\"results\": 3}", b"9" * 6000]
    for key in ("results", "configs", "n-samples"):
        bad += [json.dumps({**content, key: value}).encode()
                for value in (None, [], 7, "\x1b[31m", {"[/red]": 1}, {"drp_tiny": [1]})]
    for text in some("results", bad, 8):
        results.write_bytes(text)
        tokenizer.write_bytes(text)
        scene.arena.attack(*scene.line("report"))
        scene.clean()
        assert scene.arena.attack("score", "t.jsonl", "-o", "s.jsonl", "--tokenizer",
                                  tokenizer).code == 2
    results.write_bytes(good)


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/urandom", "fifo", "loop", "\udcff.jsonl",
                                  "x" * 300, "/proc/self/mem"])
def test_inputs_that_are_no_files(scene: Scene, name: str) -> None:
    """Each is one line, and neither memory nor a wait: /dev/zero has no end of line, /dev/urandom
    has lines without end, and nobody writes to the pipe."""
    loop, fifo = scene.work / "loop", scene.work / "fifo"
    loop.symlink_to(loop)
    os.mkfifo(fifo)
    try:
        for command in ("prune", "score", "generate", "distill", "build", "inspect", "experiment"):
            _, _, *rest = scene.line(command)
            ran = scene.arena.attack(command, name, *rest, memory=1 << 30)
            assert ran.code == 2 and len(ran.said.splitlines()) <= 2, ran.said
            assert "/proc" in name or not (scene.work / "out").exists()
            scene.clean()
        for option in ("--config", "--prices", "--tokenizer", "--prompts"):
            ran = scene.arena.attack(*scene.line("prune"), option, name, memory=1 << 30)
            assert ran.code == 2 and len(ran.said.splitlines()) <= 2, ran.said
            scene.clean()
    finally:
        loop.unlink()
        fifo.unlink()


def test_a_pipe_among_a_runs_files_is_not_waited_for(scene: Scene) -> None:
    for name in ("edits.jsonl", "pruned.jsonl", "rejects.jsonl", "settings.json", "summary.json"):
        file, aside = scene.work / "run-a" / name, scene.work / "aside"
        if file.exists():
            file.rename(aside)
        os.mkfifo(file)
        try:
            for line in (scene.line("build"), scene.line("inspect"), scene.line("judge"),
                         ["stats", "run-a"], ["merge", "run-a", "-o", "out"],
                         ["prune", "t.jsonl", "-o", "run-a", "--teacher", "offline"]):
                ran = scene.arena.attack(*line, seconds=60)
                assert ran.code == 0 or name in ran.said, (name, line, ran.said)
                scene.clean()
        finally:
            file.unlink()
            if aside.exists():
                aside.rename(file)


@pytest.mark.parametrize("there", ["loop", "folder", "file/x"])
def test_an_output_is_looked_at_before_anything_is_asked(scene: Scene, there: str) -> None:
    (scene.work / "loop").symlink_to("loop")
    (scene.work / "folder").mkdir()
    (scene.work / "file").write_text("")
    for command in ("generate", "score", "inspect"):
        line = [there if x in ("g.jsonl", "s.jsonl", "page.html") else x
                for x in scene.line(command)]
        ran = scene.arena.attack(*(x.replace(str(scene.port), "9") for x in line))
        assert ran.code == 2 and there.partition("/")[0] in ran.said and ":9" not in ran.said
    for file in ("loop", "file"):
        (scene.work / file).unlink()
    (scene.work / "folder").rmdir()


def test_names_that_are_no_text_work(scene: Scene) -> None:
    """A path on Linux is bytes."""
    odd = scene.work / "\udcff \x1b[31m"
    odd.mkdir()
    (odd / "\udce9.jsonl").write_bytes(scene.traces.read_bytes())
    (odd / "q\udce9.jsonl").write_bytes(scene.questions.read_bytes())
    names = {"t.jsonl": odd / "\udce9.jsonl", "q.jsonl": odd / "q\udce9.jsonl",
             "out": odd / "\udcee", "g.jsonl": odd / "g\udcee", "s.jsonl": odd / "s\udcee",
             "page.html": odd / "p\udcee"}
    for command in ("prune", "prune", "generate", "distill", "score", "build", "inspect", "stats"):
        run = {"run-a": odd / "\udcee"} if command in ("build", "inspect", "stats") else {}
        line = [{**names, **run}.get(x, x) for x in scene.line(command)]
        if command in ("build", "distill"):
            line[line.index("-o") + 1] = odd / command
        ran = scene.arena.attack(*line)
        assert ran.code == 0, ran.said
    assert scene.arena.attack("merge", odd / "\udcee", "-o", odd / "m").code == 2, "not two parts"
    shutil.rmtree(odd)
