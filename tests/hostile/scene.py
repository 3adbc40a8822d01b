"""Good files for every command, and the command lines that take them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click
from properties import Arena
from small_runs import traces

from drp_plugin.cli import COMMANDS, group

EXPERIMENT = """
students: {tiny: {model: tiny, config: drp_tiny.yaml}}
questions: [tiny:sft:plain:8]
tasks: [drp_tiny]
methods:
  Base: {}
  DRP: {prune: {teacher: offline}}
"""
NEVER_DONE = ("check", "demo", "merge", "serve-teacher")
"""Their lines fail early: a good one takes a framework or minutes, or does not end."""


class Scene:
    """A folder with an input for every command; `port` is that of a server that answers."""

    def __init__(self, arena: Arena, port: int) -> None:
        self.arena, self.work, self.port = arena, arena.work, port
        self.traces = traces(self.work / "t.jsonl", 2)
        rows = [json.loads(x) for x in self.traces.read_text().splitlines()]
        self.questions = self.work / "q.jsonl"
        self.questions.write_text("".join(
            json.dumps({k: r[k] for k in ("id", "question", "answer")}) + "\n" for r in rows))
        for run in ("run-a", "run-b"):
            ran = arena.run("prune", self.traces, "-o", run, "--teacher", "offline")
            assert ran.code == 0, ran.said
        (self.work / "e.yaml").write_text(EXPERIMENT)
        self.eval_dir()

    def eval_dir(self) -> Path:
        """What lmms-eval would have written of two problems."""
        folder = self.work / "eval" / "m"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "1_results.json").write_text(json.dumps({
            "results": {"drp_tiny": {"alias": "drp_tiny"}}, "configs": {"drp_tiny": {
                "task": "drp_tiny", "metadata": {"version": 1.0}}},
            "n-samples": {"drp_tiny": {"original": 2, "effective": 2}}}))
        (folder / "1_samples_drp_tiny.jsonl").write_text("".join(json.dumps({
            "doc_id": n, "doc": {"question": f"{n} + 1?", "answer": str(n + 1)},
            "target": str(n + 1), "resps": [[f"<think>\nadd\n</think>\n\n\\boxed{{{n + 1}}}"]],
            "filtered_resps": [f"<think>\nadd\n</think>\n\n\\boxed{{{n + 1}}}"]}) + "\n"
            for n in range(2)))
        return folder.parent

    def line(self, command: str) -> list[str]:
        """A command line that works (but for those of NEVER_DONE)."""
        url = f"http://127.0.0.1:{self.port}/v1"
        asking = ["--base-url", url, "--retries", "1", "--timeout", "20"]
        return [command, *{
            "prune": ["t.jsonl", "-o", "out", "--teacher", "offline", "--tokenizer", "student"],
            "generate": ["q.jsonl", "-o", "g.jsonl", "--backend", "openai", "--base-url", url],
            "distill": ["q.jsonl", "-o", "out", "--tokenizer", "student", "--teacher",
                        "openai:rules", *asking],
            "judge": ["run-a", "run-b", "-o", "out", "--judge", "openai:rules", *asking],
            "build": ["run-a", "-o", "out", "--name", "x"],
            "check": ["absent.yaml"],
            "merge": ["absent.yaml"],
            "score": ["t.jsonl", "-o", "s.jsonl", "--tokenizer", "student"],
            "report": ["eval", "-o", "out", "--no-figures", "--tokenizer", "student"],
            "inspect": ["run-a", "-o", "page.html"],
            "show": ["run-a", "q0"],
            "stats": ["run-a"],
            "init": ["out"],
            "serve-teacher": ["--port", str(self.port)],
            "experiment": ["e.yaml", "--dry-run", "-o", "out"],
            "demo": ["-o", "t.jsonl"],
        }[command]]

    def clean(self) -> None:
        """Remove what a command made."""
        for name in ("out", "g.jsonl", "s.jsonl", "page.html", "g.jsonl.ledger.sqlite"):
            path = self.work / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def options(command: str) -> list[click.Option]:
    """A command's options."""
    found = group.get_command(click.Context(group), command)
    return [p for p in found.params if isinstance(p, click.Option)]


def every_option() -> list[tuple[str, click.Option]]:
    """Every option that takes a value, with its command."""
    return [(command, option) for command in COMMANDS for option in options(command)
            if not option.is_flag]
