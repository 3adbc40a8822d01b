"""Runs the stages that are not done, side by side where they may, and can be killed at any moment.

One experiment at a time in a folder. The graph is doit's; whether a stage is done is recorded by
marks of our own, since doit writes its own at the end only."""

import contextlib
import fcntl
import itertools
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from drp_plugin.errors import UserError, refusal
from drp_plugin.experiment.stages import Marks, Stage, fraction, moved
from drp_plugin.experiment.time_left import TimeLeft
from drp_plugin.jsonl import alive, private
from drp_plugin.progress import duration

HOST = os.uname().nodename
WAIT_SECONDS = 20
PATIENCE_SECONDS = 10  # After each signal that asks a stage to end
POLL_SECONDS = 0.5
SETTLE_SECONDS = 0.2  # Until all that is ready has come to the queue
PLAIN_LINE_SECONDS = 30  # How often progress is said where there is no terminal to draw a bar in
KINDS = ("generate", "prune", "build", "train", "recipe", "export", "evaluate", "report")
# a model that runs on a CPU is several times faster on one thread than on many
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[IO[str]]:
    """Lock the folder by a file that running stages inherit. An experiment killed with -9 leaves
    stages running: the next one sees that it is gone and ends them. Raises UserError where another
    experiment is at work in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a+", encoding="utf-8", opener=private) as file:
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            file.seek(0)
            *numbers, host = file.read().split() or [HOST]
            owner, *groups = map(int, numbers or ["0"])
            if host != HOST or (owner and alive(owner)) or time.monotonic() > deadline:
                raise UserError(f"another experiment (process {owner} on {host}) is running here",
                                file=folder, fix="Wait for it, or give another folder with -o")
            for group in groups:
                _end(group)
            time.sleep(0.2)
        note(file)
        yield file


def note(lock: IO[str], groups: Iterable[int] = ()) -> None:
    """Write down our process, the process groups of the running stages, and the machine."""
    lock.seek(0)
    lock.truncate()
    lock.write(" ".join(map(str, (os.getpid(), *groups, HOST))) + "\n")
    lock.flush()


def _end(group: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


class StageFailed(Exception):
    """Stages ended badly; the text is for the user."""


class Runner:
    """Runs stages. `folder` holds logs and marks; `hours` are projected ones, by a stage's name."""

    def __init__(self, folder: Path, stages: list[Stage], console: Console, lock: IO[str], *,
                 jobs: int = 1, offline: bool = False,
                 hours: Mapping[str, float] | None = None) -> None:
        self.folder, self.stages, self.console, self.lock = folder, stages, console, lock
        self.jobs = jobs
        self.marks = Marks(folder / ".done", stages)
        self.failures: list[str] = []
        self._environment = {**ENVIRONMENT, **os.environ, **(
            {"HF_HUB_OFFLINE": "1"} if offline else {})}
        self._dropped: set[str] = set()
        self._begun = 0
        self._left = TimeLeft(stages, jobs, hours or {})
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._stop = threading.Event()
        self._guard = threading.Lock()
        self._free = threading.Condition()  # Guards the two below
        self._waiting: list[Stage] = []
        self._at_work = 0
        self._bars = Progress(TextColumn("{task.description}"), BarColumn(bar_width=24),
            TimeElapsedColumn(), TextColumn("[dim]{task.fields[left]}[/dim]"), console=console,
            transient=True, disable=not console.is_terminal)

    def run(self) -> None:
        """Run what is not done. Raises StageFailed, and KeyboardInterrupt after cleaning up."""
        from doit.cmd_base import ModuleTaskLoader
        from doit.doit_cmd import DoitMain

        # a scheduler's signal and a closed terminal end the stages, as Ctrl-C does
        before = {number: signal.signal(number, signal.default_int_handler)
                  for number in (signal.SIGTERM, signal.SIGHUP)
                  if signal.getsignal(number) is not signal.SIG_IGN}
        todo = set[str]()
        with contextlib.suppress(OSError):  # which the stage itself meets and tells
            for stage in self.stages:
                if stage.kind == "report" or todo & {*stage.needs} or not self.marks.done(stage):
                    todo.add(stage.name)
                else:
                    self._left.end(stage)
        with self._bars:
            try:
                code = DoitMain(ModuleTaskLoader(self._graph()), config_filenames=()).run(["run"])
            finally:
                self.stop()
                for number, handler in before.items():
                    signal.signal(number, handler)
        if code:
            raise StageFailed("\n".join(self.failures) or "the stages could not be run")

    def _graph(self) -> dict[str, Any]:
        from doit.reporter import ZeroReporter

        # in threads, which no signal interrupts; doit's own database is not needed
        return {"task_stages": lambda: (
            {"basename": stage.name, "actions": [(self.execute, [stage])],
             "task_dep": list(stage.needs), "io": {"capture": False}} for stage in self.stages
        ), "DOIT_CONFIG": {
            "backend": "sqlite3", "dep_file": ":memory:", "verbosity": 2,
            "reporter": ZeroReporter(StringIO(), {}), "continue": True, "par_type": "thread",
            "num_process": len(self.stages) if self.jobs > 1 else 1}}

    def stop(self) -> None:
        """End the running stages, politely at first; a signal meanwhile shortens the wait."""
        with self._guard:
            self._stop.set()
            running = list(self._running.values())
        with self._free:
            self._free.notify_all()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if signal.getsignal(number) is signal.SIG_IGN:  # by the stages too
                continue
            with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                for process in running:
                    if number == signal.SIGKILL or process.poll() is None:
                        _end(process.pid, number)
                deadline = time.monotonic() + PATIENCE_SECONDS
                for process in running:
                    process.wait(max(0.1, deadline - time.monotonic()))

    def skip(self, stage: Stage) -> bool:
        """Whether there is nothing to do, which the user is told. Called when its needs are met."""
        why = ""
        if stage.still and (set(stage.needs) & self._dropped or not moved(stage.still)):
            self._dropped.add(stage.name)
            why = "not needed: the curve no longer moves"
        elif stage.kind != "report" and self.marks.done(stage):
            why = "done before"
        if why:
            self._left.end(stage)
            self._say(stage, f"[dim]{why}[/dim]")
        return bool(why)

    def execute(self, stage: Stage) -> bool:
        """Run a stage unless there is nothing to do. What goes wrong is the stage's failure."""
        try:
            return self.skip(stage) or self._in_turn(stage)
        except Exception as error:
            self._fail(stage, refusal(error))
            self._ended(stage)
            return False

    def _in_turn(self, stage: Stage) -> bool:
        """Run it in one of the `jobs` places, once no ready one has a longer way to go."""
        with self._free:
            self._waiting.append(stage)
        time.sleep(SETTLE_SECONDS * (self.jobs > 1))
        ahead = self._left.ahead
        with self._free:
            self._free.wait_for(lambda: self._stop.is_set() or (self._at_work < self.jobs and
                                stage is max(self._waiting, key=lambda s: ahead[s.name])))
            self._waiting.remove(stage)
            self._at_work += 1
            self._free.notify_all()
        try:
            return self._execute(stage)
        finally:
            threading.Timer(SETTLE_SECONDS * bool(self._waiting), self._leave).start()

    def _leave(self) -> None:
        with self._free:
            self._at_work -= 1
            self._free.notify_all()

    def _execute(self, stage: Stage) -> bool:
        began = time.monotonic()
        log = self.folder / "logs" / f"{stage.name.replace('/', '__')}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with self._guard:  # `stop` finds it, or it does not begin
            if self._stop.is_set():
                return False
            self.marks.begin(stage)
            self._left.begin(stage)
            process = self._begin(stage, log)
        self._watch(process, stage, log)
        self._ended(stage)
        if process.returncode != 0 or not stage.made_all():
            end = log.read_text(errors="replace").splitlines()[-15:]
            self._fail(stage, f"exit code {process.returncode}, see {log}", *end)
            return False
        self._left.end(stage)
        self.marks.set(stage)
        self._say(stage, f"[green]done[/green] in {duration(time.monotonic() - began)}")
        return True

    def _begin(self, stage: Stage, log: Path) -> subprocess.Popen[bytes]:
        # the report's standard output is for the user rather than for the log
        with open(log, "wb", opener=private) as sink:
            process = self._running[stage.name] = subprocess.Popen(
                stage.command, cwd=stage.cwd, env=self._environment, stdin=subprocess.DEVNULL,
                stderr=sink, stdout=None if stage.kind == "report" else sink,
                start_new_session=True, pass_fds=(self.lock.fileno(),))
        note(self.lock, [p.pid for p in self._running.values()])
        if stage.kind == "evaluate":  # those that others wait for go first
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PGRP, process.pid, 10)
                Path(f"/proc/{process.pid}/autogroup").write_text("10")  # Linux's sessions
        return process

    def _ended(self, stage: Stage) -> None:
        """Nothing that a stage has started outlives it: it would hold the GPU and the lock."""
        with self._guard:
            if process := self._running.pop(stage.name, None):
                _end(process.pid)
                note(self.lock, [p.pid for p in self._running.values()])

    def _fail(self, stage: Stage, why: str, *end: str) -> None:
        self._left.end(stage, failed=True)
        if not self._stop.is_set():
            self.failures.append("\n    ".join([f"{stage.name} failed: {why}", *end]))
            self._say(stage, f"[red]failed[/red]: {escape(why)}")

    def _say(self, stage: Stage, what: str) -> None:
        with self._guard:
            self._begun += 1
            head = f"\\[{self._begun}/{len(self.stages)}] {escape(stage.title)}"
        self.console.print(f"{head} {what}", highlight=False, soft_wrap=True)

    def _watch(self, process: subprocess.Popen[bytes], stage: Stage, log: Path) -> None:
        told, title = time.monotonic(), escape(stage.title)
        task: TaskID = self._bars.add_task(title, total=1.0, left="")
        if plain := not self.console.is_terminal:
            self.console.print(f"{title} …", highlight=False)
        for turn in itertools.takewhile(lambda _: process.poll() is None, itertools.count()):
            time.sleep(POLL_SECONDS)
            part = fraction(log)
            if turn % 4 == 0:
                news = {stage.name: part} if part else {}
                left = f"about {duration(self._left.seconds(news))} left in all"
            self._bars.update(task, completed=part or 0.0, left=left)
            if plain and time.monotonic() - told > PLAIN_LINE_SECONDS:
                told = time.monotonic()
                percent = "" if part is None else f" {part:.0%},"
                self.console.print(f"{title}{percent} {left}", highlight=False)
        self._bars.remove_task(task)


def choose(stages: list[Stage], *, until: str | None = None,
           only: tuple[str, ...] = ()) -> list[Stage]:
    """The stages up to a kind, for some methods, and all that they need. Raises UserError."""
    known = sorted({s.method for s in stages if s.method})
    for name in set(only) - set(known):
        raise UserError(f"--only {name}: no such method", fix=f"They are: {', '.join(known)}")
    wanted = {s.name for s in stages if (not only or s.method in only)
              and (until is None or KINDS.index(s.kind) <= KINDS.index(until))}
    for stage in reversed(stages):
        if stage.name in wanted:
            wanted |= set(stage.needs)
    return [s for s in stages if s.name in wanted]
