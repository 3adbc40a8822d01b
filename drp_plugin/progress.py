"""What the user sees while a run goes on: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_EVERY_S = 15.0
_LOOK_EVERY_S = 1.0


class Display:
    """Progress on stderr: rows, rate, cost, rejects, time left."""

    def __init__(self, what: str, total: int | None, *, status: Callable[[], str] = lambda: "",
                 clock: Callable[[], float] = time.monotonic, show: bool = True) -> None:
        self.what, self.total, self.done = what, total, 0
        self._status, self._clock, self._quiet = status, clock, not show
        self._started = clock()
        self._last = self._started
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._noted = False
        self._timer: asyncio.TimerHandle | None = None
        if self._console.is_terminal and show:
            self._bar = Progress(
                # texts come from servers and files too: brackets in them are no markup
                TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}", markup=False),
                TextColumn("{task.fields[status]}", markup=False),
                TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
                console=self._console, refresh_per_second=4)

    def __enter__(self) -> Display:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self.what, total=self.total, rate="", status="")
        with contextlib.suppress(RuntimeError):  # outside of a loop only `advance` shows anything
            self._look_later(asyncio.get_running_loop())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._bar is not None:
            self._show()
            self._bar.stop()

    def advance(self, by: int = 1) -> None:
        """So many more rows are done."""
        self.done += by
        self._noted = False
        self._refresh()

    def note(self, text: str) -> None:
        """What is being waited for: in the bar, or a line now and then."""
        now = self._clock()
        self._noted = True
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self.done, rate="", status=text)
        elif now - self._last >= LINE_EVERY_S:
            self._last = now
            self.say(text)

    def line(self) -> str:
        """The state in one line."""
        of = f"/{self.total}" if self.total is not None else ""
        parts = [f"{self.what} {self.done}{of}", self._rate(), self._status()]
        left = self.seconds_left()
        if left is not None:
            parts.append(f"{duration(left)} left")
        return ", ".join(p for p in parts if p)

    def seconds_left(self) -> float | None:
        """At the mean rate so far; None where nothing can be said."""
        if not self.done or self.total is None:
            return None
        return (self._clock() - self._started) / self.done * (self.total - self.done)

    def say(self, text: str) -> None:
        """One line of status on stderr, above the bar where there is one."""
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        elif not self._quiet:
            print(f"drp: {text}", file=sys.stderr, flush=True)

    def _refresh(self) -> None:
        now = self._clock()
        if self._bar is not None:
            if now - self._last >= 0.2:
                self._last = now
                self._show()
        elif now - self._last >= LINE_EVERY_S:
            self._last = now
            self.say(self.line())

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        """A run that gets nowhere says so, too: look at its state though no row is done."""
        def look() -> None:
            if not self._noted:
                self._refresh()
            self._look_later(loop)

        self._timer = loop.call_later(_LOOK_EVERY_S, look)

    def _rate(self) -> str:
        elapsed = self._clock() - self._started
        if not self.done or elapsed <= 0:
            return ""
        rate = self.done / elapsed
        return f"{rate:.1f}/s" if rate >= 1 else f"{60 * rate:.1f}/min"

    def _show(self) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self.done, rate=self._rate(),
                             status=self._status())


def duration(seconds: float) -> str:
    """`42 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
