"""How long an experiment will still take: what is left, run ahead in thought in its places."""

import threading
import time
from collections.abc import Callable, Mapping
from statistics import mean

from drp_plugin.experiment.stages import Stage
from drp_plugin.resources import table

SECONDS, BESIDE = table("seconds.yaml").values()
SETTLE_SECONDS = 20


def _sort(stage: Stage) -> str:
    """What takes about as long: a command of `drp`, else the stage's kind."""
    return next((word for word in stage.task[1:2] if word in SECONDS), stage.kind)


class TimeLeft:
    """Is told which stages begin and end. The projected `hours` of some count until one of the sort
    has ended, and say then how the others compare with it."""

    def __init__(self, stages: list[Stage], jobs: int, hours: Mapping[str, float],
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._jobs, self._hours, self._clock, self._now = jobs, hours, clock, clock()
        self._left = {stage.name: stage for stage in stages}
        self._work: dict[str, float] = {}  # seconds of the running ones, as if each ran alone
        self._part: dict[str, float] = {}  # what they say that they have done, 0 to 1
        self._seen: dict[str, list[float]] = {}  # seconds, for each projected one where they are
        self._told: tuple[float, float] | None = None  # when, and the seconds left then
        self._lock = threading.RLock()
        self.ahead: dict[str, float] = {}  # Seconds to the end, by the longest way from a stage
        for stage in reversed(stages):
            way = self._expected(stage) + self.ahead.get(stage.name, 0.0)
            self.ahead |= {stage.name: way, **{
                need: max(way, self.ahead.get(need, 0.0)) for need in stage.needs}}

    def begin(self, stage: Stage) -> None:
        with self._lock:
            self._tick()
            self._left[stage.name], self._work[stage.name] = stage, 0.0

    def end(self, stage: Stage, *, failed: bool = False) -> None:
        """It ran, or there was nothing to do; what needs one that failed is never begun."""
        with self._lock:
            self._tick()
            work, _ = self._work.pop(stage.name, 0.0), self._part.pop(stage.name, None)
            if self._left.pop(stage.name, None) and work and not failed:
                self._seen.setdefault(_sort(stage), []).append(work / self._size(stage))
            for other in [s for s in self._left.values() if failed and stage.name in s.needs]:
                self.end(other, failed=True)

    def seconds(self, parts: Mapping[str, float]) -> float:
        """Until the last stage ends; `parts` is news of the running ones. What is learnt comes in
        within some seconds, so that the figure falls rather than jumps."""
        with self._lock:
            self._tick()
            self._part |= parts
            found = self._until_the_end()
            since, shown = self._told or (self._now - SETTLE_SECONDS, found + SETTLE_SECONDS)
            passed = self._now - since
            shown = max(0.0, shown - passed)
            shown += (found - shown) * min(1.0, passed / SETTLE_SECONDS)
            self._told = self._now, shown
            return shown

    def _until_the_end(self) -> float:
        left = {name: self._remaining(stage) for name, stage in self._left.items()}
        running, total = [*self._work], 0.0
        while left:
            ready = [name for name in left if name not in running
                     and not any(need in left for need in self._left[name].needs)]
            ready.sort(key=lambda name: -self.ahead[name])
            running += ready[:max(0, self._jobs - len(running))]
            speed = self._speeds(running)
            step = min(left[name] / speed[name] for name in running)
            total += step
            left = {name: rest for name, seconds in left.items()
                    if (rest := seconds - step * speed.get(name, 0.0)) > 1e-6}
            running = [name for name in running if name in left]
        return total

    def _speeds(self, running: list[str]) -> dict[str, float]:
        """Evaluations leave the processor to other stages."""
        last = [name for name in running if self._left[name].kind == "evaluate"]
        return {name: BESIDE if name in last and last != running else 1.0 for name in running}

    def _tick(self) -> None:
        passed, self._now = self._clock() - self._now, self._clock()
        for name, speed in self._speeds([*self._work]).items():
            self._work[name] += passed * speed

    def _size(self, stage: Stage) -> float:
        return 3600 * self._hours.get(stage.name, 0.0) or 1.0

    def _expected(self, stage: Stage) -> float:
        if (seen := self._seen.get(_sort(stage))) or stage.name in self._hours:
            return mean(seen or [1.0]) * self._size(stage)
        scale = [mean(times) / SECONDS[sort] for sort, times in self._seen.items()
                 if SECONDS.get(sort, 0.0) >= 20 and not self._hours]
        return SECONDS.get(_sort(stage), 60.0) * mean(scale or [1.0])

    def _remaining(self, stage: Stage) -> float:
        expected, work = self._expected(stage), self._work.get(stage.name, 0.0)
        if not (part := self._part.get(stage.name, 0.0)):
            return max(expected - work, work / 10)
        # its beginning is no measure of the rest, unless nothing better is known
        trust = min(1.0, (part / 0.7) ** 2) if work < expected else 1.0
        return trust * work * (1 - part) / part + (1 - trust) * (expected - work)
