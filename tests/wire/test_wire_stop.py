"""Ctrl-C, SIGTERM and errors that end a run: what was sent is waited for, stored and used."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest
from faults import Faults
from provider import Provider
from small_runs import rows_of, traces

from drp_plugin.llm.ledger import Ledger

LIVE = ("--concurrency", "16", "--price", "1,1")


def command(provider, data, run, *more):
    return ("prune", data, "-o", run, "--teacher", "openai:rules", "--base-url", provider.url,
            *LIVE, *more)


def start(*arguments) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "drp_plugin", *map(str, arguments)],
                            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
                            env={**os.environ, "OPENAI_API_KEY": "x" * 20})


def wait_until(true, process, within_s=600.0) -> None:
    begun = time.monotonic()
    while not true():
        assert process.poll() is None and time.monotonic() - begun < within_s
        time.sleep(0.01)


def stored(run) -> int:
    with Ledger(run / "ledger.sqlite") as ledger:
        return len(ledger)


@pytest.mark.parametrize(("how", "more"), [(signal.SIGINT, ()), (signal.SIGTERM, ()),
                                           (signal.SIGINT, ("--forecast", "--pilot", "40"))])
def test_one_signal_loses_no_request_in_flight(tmp_path, drp, rules, how, more):
    data, run = traces(tmp_path / "t.jsonl", 40), tmp_path / "run"
    with Provider(rules, latency_s=0.8) as provider:
        process = start(*command(provider, data, run, *more))
        wait_until(lambda: len(provider.answered) >= 8 and provider.in_flight >= 8, process)
        time.sleep(0.2)
        process.send_signal(how)
        said = process.communicate(timeout=600)[1].splitlines()
        assert process.returncode == 130, said
        waiting = [line for line in said if "waiting for" in line]
        assert len(waiting) == 1 and "Ctrl-C again to drop them" in waiting[0]
        assert "run the same command again" in said[-1]
        assert stored(run) == provider.received == len(provider.answered) < 80
        assert not (run / "pruned.jsonl").exists()
        provider.latency_s = 0.0
        assert drp(*command(provider, data, run)).code == 0
        assert drp(*command(provider, data, tmp_path / "calm")).code == 0
        again = [a for a in provider.answered.values() if a > 2]
        assert not again and provider.received == 160, "once for either run directory"
    for file in ("pruned.jsonl", "rejects.jsonl", "summary.json"):
        assert (run / file).read_bytes() == (tmp_path / "calm" / file).read_bytes()


def test_a_second_signal_ends_it_at_once(tmp_path, rules):
    data, run = traces(tmp_path / "t.jsonl", 20), tmp_path / "run"
    with Provider(rules, latency_s=1e5) as provider:
        process = start(*command(provider, data, run))
        wait_until(lambda: provider.in_flight >= 8, process)
        process.send_signal(signal.SIGINT)
        said = process.stderr.readline() + process.stderr.readline()  # behind what it begins with
        assert "waiting for 8 answers" in said
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=600)[1]
        assert process.returncode == 130
        assert said.strip() == "drp: interrupted; run the same command again to resume"


def test_a_request_that_waits_to_be_sent_again_is_not_waited_for(tmp_path, rules):
    data, run = traces(tmp_path / "t.jsonl", 20), tmp_path / "run"
    faults = Faults(rate=1.0, kinds=("429-after",), retry_after_s=3000)
    with Provider(rules, faults=faults) as provider:
        process = start(*command(provider, data, run))
        wait_until(lambda: provider.received >= 8, process)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=600)[1]
        assert process.returncode == 130 and "waiting" not in said
        assert provider.received == 8, "and nothing new was sent"


def test_an_error_that_ends_the_run_loses_no_request_in_flight(tmp_path, drp, rules):
    data, run = traces(tmp_path / "t.jsonl", 40), tmp_path / "run"

    async def slowly(request):
        await asyncio.sleep(0.7)
        return await rules(request)

    with Provider(slowly, faults=Faults(script=[None] * 20 + ["401"])) as provider:
        ran = drp(*command(provider, data, run))
        assert ran.code == 2 and "refuses the key" in ran.err.splitlines()[-1]
        assert "Traceback" not in ran.err and "never retrieved" not in ran.err
        assert stored(run) == len(provider.answered) == provider.received - 1
        provider.answer = rules
        assert drp(*command(provider, data, run)).code == 0
        assert max(provider.answered.values()) == 1 and provider.received == 81
    assert rows_of(run)[2]["complete"]


def test_a_batch_run_ends_at_once_and_goes_on(tmp_path, drp, rules):
    data, run = traces(tmp_path / "t.jsonl", 3), tmp_path / "run"
    with Provider(rules, polls=10**9) as provider:
        batch = command(provider, data, run, "--batch", "--poll", "0.05")
        process = start(*batch)
        wait_until(lambda: sum(j.polls for j in provider.batches.values()) > 2, process)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=600)[1]
        assert process.returncode == 130 and "Traceback" not in said
        provider.polls = 1
        assert drp(*batch).code == 0
    assert max(provider.answered.values()) == 1 and len(rows_of(run)[0]) == 3
