"""Runs stages one after the other, says how far it is, and can be killed at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from drp_plugin.experiment.lock import Lock
from drp_plugin.experiment.stages import Marks, Stage, fraction

POLL_SECONDS = 0.5
PLAIN_LINE_SECONDS = 30
"""How often progress is said where there is no terminal to draw a bar in."""

ENVIRONMENT = {
    **os.environ,
    # a model this small is several times faster on one thread than on many
    "OMP_NUM_THREADS": "1",
    # the demo needs nothing from a hub, and says so rather than waiting for one
    "HF_HUB_OFFLINE": "1",
    "PYTHONUNBUFFERED": "1",
}


class StageFailed(Exception):
    """A stage's command ended badly; the text is for the user."""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes}:{rest:02d}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the stage and what it started: it runs in a process group of its own."""
    for number in (signal.SIGINT, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                continue


class Runner:
    """Runs the stages that are not done yet.

    `folder` holds logs and marks. `console` is where progress goes (standard error).
    """

    def __init__(self, folder: Path, stages: list[Stage], console: Console, lock: Lock) -> None:
        self.folder, self.stages, self.console, self.lock = folder, stages, console, lock
        self.marks = Marks(folder / ".done")
        self.speed = 1.0
        """Seconds that this machine takes for a second of the estimates."""

    def run(self) -> None:
        """Run what is not done. Raises StageFailed, and KeyboardInterrupt after cleaning up."""
        digests = self.marks.digests(self.stages)
        redo = False
        for number, stage in enumerate(self.stages, start=1):
            head = f"[{number}/{len(self.stages)}] {stage.title}"
            redo = redo or not self.marks.done(stage, digests[stage.name])
            if not redo and not stage.show:
                self.console.print(f"{head} [dim]done before[/dim]", highlight=False)
                continue
            began = time.monotonic()
            later = sum(s.seconds for s in self.stages[number:])
            self._run_one(stage, head, later)
            took = time.monotonic() - began
            # short stages are mostly start-up time and say little about the machine
            if stage.seconds >= 20:
                self.speed = took / stage.seconds
            self.marks.set(stage, digests[stage.name])
            self.console.print(f"{head} [green]done[/green] in {_clock(took)}", highlight=False)

    def _run_one(self, stage: Stage, head: str, later: float) -> None:
        log = self.folder / "logs" / f"{stage.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "wb") as sink:
            process = subprocess.Popen(
                stage.command, cwd=stage.cwd, env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                stdout=None if stage.show else sink, stderr=sink, start_new_session=True,
                pass_fds=(self.lock.fd,),
            )
            self.lock.note(process.pid)
            try:
                self._watch(process, head, lambda: fraction(log), stage.seconds, later)
            finally:
                _stop(process)
        if process.returncode != 0 or not stage.made_all():
            lines = log.read_text(errors="replace").splitlines()[-15:]
            raise StageFailed(
                f"{stage.name} failed (exit code {process.returncode}). The end of {log}:\n"
                + "\n".join("    " + line for line in lines)
            )

    def _watch(self, process: subprocess.Popen[bytes], head: str,
               done: Callable[[], float | None], expected: float, later: float) -> None:
        began = time.monotonic()
        last_line = began

        def left(part: float | None, elapsed: float) -> float:
            here = max(expected * self.speed - elapsed, 0.0)
            if part and elapsed > 5:
                here = elapsed * (1 - part) / part
            return here + later * self.speed

        if not self.console.is_terminal:
            self.console.print(f"{head} …", highlight=False)
        with Progress(TextColumn("{task.description}"), BarColumn(bar_width=24),
                      TimeElapsedColumn(), TextColumn("[dim]{task.fields[left]}[/dim]"),
                      console=self.console, transient=True,
                      disable=not self.console.is_terminal) as bar:
            task = bar.add_task(head, total=1.0, left="")
            while process.poll() is None:
                time.sleep(POLL_SECONDS)
                elapsed, part = time.monotonic() - began, done()
                text = f"about {_clock(left(part, elapsed))} left in all"
                bar.update(task, completed=part or 0.0, left=text)
                if bar.disable and time.monotonic() - last_line > PLAIN_LINE_SECONDS:
                    last_line = time.monotonic()
                    percent = "" if part is None else f" {part:.0%},"
                    self.console.print(f"{head}{percent} {text}", highlight=False)


def tool(name: str) -> str:
    """A console script of this very environment, also when it is not on PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else name
