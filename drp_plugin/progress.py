"""What the user sees while a run goes on: a bar on a terminal, a line now and then elsewhere."""

import threading
import time
from collections.abc import Callable

from rich import progress as bars
from rich.console import Console

from drp_plugin.redact import redact
from drp_plugin.terminal import say

LINE_EVERY_S = 15.0
_LOOK_EVERY_S = 1.0


class Display:
    """Progress on stderr: rows, rate, cost, rejects, time left."""

    def __init__(self, what: str, total: int | None, *, status: Callable[[], str] = lambda: "",
                 clock: Callable[[], float] = time.monotonic, show: bool = True) -> None:
        self.what, self.total, self.done = what, total, 0
        self._status, self._clock, self._quiet = status, clock, not show
        self._last = self._started = clock()
        self._bar: bars.Progress | None = None
        self._noted = False
        self._ended, self._lock = threading.Event(), threading.Lock()
        self._watch = threading.Thread(target=self._look, daemon=True)
        console = Console(stderr=True)
        if console.is_terminal and show:
            # texts may come from servers and files: brackets in them are not markup
            name, rate, state = (bars.TextColumn(f"{{task.{of}}}", markup=False)
                                 for of in ("description", "fields[rate]", "fields[status]"))
            self._bar = bars.Progress(name, bars.BarColumn(), bars.MofNCompleteColumn(), rate,
                state, bars.TimeElapsedColumn(), bars.TextColumn("left"),
                bars.TimeRemainingColumn(), console=console, refresh_per_second=4)
            self._task = self._bar.add_task(self.what, total=self.total, rate="", status="")

    def __enter__(self) -> "Display":
        if self._bar is not None:
            self._bar.start()
        if not self._quiet:
            self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if not self._quiet:
            self._watch.join()
        if self._bar is not None:
            self._refresh()
            self._bar.stop()

    def advance(self, by: int = 1) -> None:
        with self._lock:
            self.done += by
        self._noted = False
        self._refresh(bar_every_s=0.2)

    def note(self, text: str) -> None:
        """What is awaited: in the bar, or a line now and then."""
        self._noted = True
        self._refresh(text)

    def line(self) -> str:
        of = f"/{self.total}" if self.total is not None else ""
        parts = [f"{self.what} {self.done}{of}", self._rate(), self._status()]
        if self.done and self.total is not None:
            left = (self._clock() - self._started) / self.done * (self.total - self.done)
            parts.append(f"{duration(left)} left")
        return ", ".join(filter(None, parts))

    def say(self, text: str) -> None:
        """One line of status on stderr, above the bar where there is one."""
        if self._bar is not None:
            self._bar.console.print(redact(text), highlight=False, markup=False)
        elif not self._quiet:
            say(text)

    def _refresh(self, note: str = "", bar_every_s: float = 0.0) -> None:
        now = self._clock()
        with self._lock:
            if now - self._last < (LINE_EVERY_S if self._bar is None else bar_every_s):
                return
            self._last = now
        if self._bar is None:
            self.say(note or self.line())
        else:
            self._bar.update(self._task, completed=self.done, status=note or self._status(),
                             rate="" if note else self._rate())

    def _look(self) -> None:
        """A run without progress reports its state too."""
        while not self._ended.wait(_LOOK_EVERY_S):
            if not self._noted:
                self._refresh(bar_every_s=0.2)

    def _rate(self) -> str:
        elapsed = self._clock() - self._started
        rate = self.done / elapsed if elapsed > 0 else 0.0
        return "" if not rate else f"{rate:.1f}/s" if rate >= 1 else f"{60 * rate:.1f}/min"


def duration(seconds: float) -> str:
    """`42 s`, `3 min 5 s`, `2 h 10 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
