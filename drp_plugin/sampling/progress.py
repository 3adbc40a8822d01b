"""Progress of sampling on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from drp_plugin.sampling.completions import Completion, Outcome

_EVERY_S = 20.0


class Progress:
    """Completions done, tokens a second and time left; call it with each outcome."""

    def __init__(self, total: int, title: str, *, show: bool = True) -> None:
        self.total, self.title, self.show = total, title, show
        self.done = self.failed = self.tokens = 0
        self._bar: object = None
        self._last = 0.0

    def __enter__(self) -> Progress:
        self._start = self._last = time.monotonic()
        if self.show and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Rich

            rich = Rich(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
                        console=Console(stderr=True))
            self._task = rich.add_task(self.title, total=self.total, rate="")
            rich.start()
            self._bar = rich
        elif self.show:
            self._line(self._start)
        return self

    def __call__(self, index: int, outcome: Outcome) -> None:
        self.done += 1
        if isinstance(outcome, Completion):
            self.tokens += outcome.tokens
        else:
            self.failed += 1
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done,  # type: ignore[attr-defined]
                             rate=self._rate(now))
        elif self.show and now - self._last > _EVERY_S:
            self._last = now
            self._line(now)

    def _rate(self, now: float) -> str:
        rate = f"{self.tokens / max(now - self._start, 1e-3):,.0f} tokens/s"
        return rate + (f", {self.failed} failed" if self.failed else "")

    def _line(self, now: float) -> None:
        left = (now - self._start) / max(self.done, 1) * (self.total - self.done)
        told = f", {self._rate(now)}, about {left:.0f} s left" if self.done else ""
        print(f"{self.title}: {self.done}/{self.total} completions "
              f"({self.done / max(self.total, 1):.0%}){told}", file=sys.stderr, flush=True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()  # type: ignore[attr-defined]
        elif self.show and kind is None:
            self._line(time.monotonic())
