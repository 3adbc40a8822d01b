"""SIGKILL at any moment, and two processes on one run directory."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from kill9 import FILES, Watch, run_trial, start, stored
from provider import Provider


@pytest.mark.parametrize("processes", [1, 2])
def test_kill_9_loses_nothing_and_asks_nothing_again(processes):
    assert run_trial(rows=40, kills=5, processes=processes, latency_s=0.3, concurrency=4,
                     longest_s=2.0, seed=processes, quiet=True) == []


def test_two_processes_share_the_work_and_the_bill(tmp_path):
    from small_runs import traces

    data, watch = traces(tmp_path / "t.jsonl", 40), Watch()
    with Provider(watch.answer, latency_s=0.05) as provider:
        watch.port = provider.port
        both = [start(data, tmp_path / "run", provider.url, 8) for _ in range(2)]
        assert [p.wait() for p in both] == [0, 0]
        assert watch.asked == 80 == len(stored(tmp_path / "run"))
        assert max(provider.answered.values()) == 1
        assert start(data, tmp_path / "alone", provider.url, 8).wait() == 0
    for file in FILES:
        assert (tmp_path / "run" / file).read_bytes() == (tmp_path / "alone" / file).read_bytes()
