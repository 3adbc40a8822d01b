"""The time that an experiment says is left: the demo's stages with the times that they took."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from drp_plugin.experiment.stages import Stage
from drp_plugin.experiment.time_left import SECONDS, TimeLeft

# name: kind, seconds that it takes alone, what it needs; two cores, 486 s in all
DEMO = {
    "init": ("build", 1, ""), "generate": ("generate", 74, ""), "before": ("evaluate", 97, ""),
    "prune": ("prune", 7, "generate"), "build": ("build", 2, "prune"),
    "check": ("build", 16, "init build"), "train": ("train", 81, "check"),
    "export": ("export", 21, "train"), "after": ("evaluate", 90, "export"),
    "generate2": ("generate", 93, "train"), "prune2": ("prune", 5, "generate2"),
    "build2": ("build", 2, "prune2"), "check2": ("build", 17, "build2"),
    "train2": ("train", 78, "check2"), "export2": ("export", 21, "train2"),
    "after2": ("evaluate", 70, "export2"), "report": ("report", 14, "before after after2")}
SILENT = {"generate": 0.15, "train": 0.3, "evaluate": 0.15}  # shares until progress is told


class Acted:
    """Stages that take their time on a clock of their own; evaluations beside others at a third."""

    def __init__(self, stages=DEMO, jobs=2, factor=1.0, hours=None, slow=0.3):
        self.now, self.jobs, self.slow = 0.0, jobs, slow
        self.stages = {name: Stage(name, name, ("x",), (Path("x"),), kind=kind, asked=(
            "x", name.rstrip("2")), needs=tuple(needs.split()))
            for name, (kind, _, needs) in stages.items()}
        self.work = {name: factor * work for name, (_, work, _) in stages.items()}
        self.left = dict(self.work)
        self.told = TimeLeft([*self.stages.values()], jobs, hours or {}, lambda: self.now)
        self.running: list[str] = []

    def step(self, seconds):
        """Returns what is told once the time has passed."""
        ready = [n for n in self.left if n not in self.running
                 and not set(self.stages[n].needs) & set(self.left)]
        for name in sorted(ready, key=lambda n: -self.told.ahead[n])[
                :self.jobs - len(self.running)]:
            self.running.append(name)
            self.told.begin(self.stages[name])
        busy = any(self.stages[n].kind != "evaluate" for n in self.running)
        parts = {}
        for name in self.running:
            kind = self.stages[name].kind
            self.left[name] -= seconds * (self.slow if busy and kind == "evaluate" else 1.0)
            done = 1 - self.left[name] / self.work[name]
            if kind in SILENT and done > SILENT[kind]:
                parts[name] = min(1.0, (done - SILENT[kind]) / (1 - SILENT[kind]))
        self.now += seconds
        said = self.told.seconds(parts)
        for name in [n for n in self.running if self.left[n] <= 0]:
            self.running.remove(name)
            del self.left[name]
            self.told.end(self.stages[name])
        return said

    def run(self, seconds=2.0):
        """When, and the seconds left as told then and as it came."""
        said = []
        while self.left:
            said.append((self.now, self.step(seconds)))
        return [(at, told, self.now - at) for at, told in said]


@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_the_demo_counts_down_steadily_to_its_end(jobs):
    said = Acted(jobs=jobs).run()
    if jobs == 2:
        assert 480 <= said[-1][0] <= 490, "as the demo took"
    assert all(later <= told + 0.5 for (_, told, _), (_, later, _) in itertools.pairwise(said))
    assert max(abs(told - left) for _, told, left in said) < 50
    assert all(told < 45 for _, told, left in said if left < 25)


@pytest.mark.parametrize("factor", [0.3, 3.0, 60.0])
def test_on_another_machine_it_learns_from_the_first_stages(factor):
    said = Acted(factor=factor).run(2.0 * factor)
    whole = said[0][2]
    assert all(abs(told - left) < 0.3 * whole for at, told, left in said if at > 0.5 * whole)
    assert all(told < 0.15 * whole for _, told, left in said if left < 0.06 * whole)


def test_where_evaluations_are_not_slowed_it_stays_near():
    said = Acted(slow=1.0).run()
    assert max(abs(told - left) for _, told, left in said) < 120


def test_projected_hours_count_from_the_start_and_are_scaled_by_what_is_seen():
    stages = {"generate": ("generate", 7200, ""), "train": ("train", 3600, "generate"),
              "generate2": ("generate", 28800, "train")}
    hours = {"generate": 1.0, "train": 1.0, "generate2": 4.0}
    said = Acted(stages, jobs=1, hours=hours).run(60.0)
    assert said[0][1] == pytest.approx(6 * 3600, rel=0.02)
    after = next(told for at, told, _ in said if at > 7200 + 600)
    assert after == pytest.approx(3600 - 600 + 8 * 3600, rel=0.05)


def test_done_failed_and_dropped_stages_do_not_count():
    acted = Acted()
    for name in ("init", "generate", "prune", "build", "check", "train"):
        acted.told.end(acted.stages[name])
    assert acted.told.seconds({}) < Acted().told.seconds({}) - 100
    acted.told.end(acted.stages["generate2"], failed=True)
    acted.now += 1000  # long enough to be told in full
    assert acted.told.seconds({}) == pytest.approx(SECONDS["evaluate"] + SECONDS["export"], rel=0.1)
    acted.told.begin(acted.stages["init"])  # made again after all
    assert acted.told.seconds({"init": 0.5}) > 0
    for name in acted.stages:
        acted.told.end(acted.stages[name])
    acted.now += 1000
    assert acted.told.seconds({}) == 0


def test_many_stages_are_quickly_counted():
    import time

    stages = {f"s{i}": ("train", 10, f"s{i - 3}" if i > 2 else "") for i in range(200)}
    acted = Acted(stages, jobs=8)
    began = time.process_time()
    acted.told.seconds({})
    assert time.process_time() - began < 0.5
