"""Batch runs by the real clients: partial, expired, broken, resumed; one ledger with live."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import rows_of, traces
from provider import Provider

both = pytest.mark.parametrize("kind", ["openai", "gemini"])


def batch(provider, data, run, kind, *more):
    url = provider.url if kind == "openai" else provider.gemini_url
    return ("prune", data, "-o", run, "--teacher", f"{kind}:rules", "--base-url", url, "--batch",
            "--poll", "0.02", *more)


@both
def test_batch_and_live_give_the_same_and_answer_for_each_other(tmp_path, drp, rules, kind):
    data = traces(tmp_path / "t.jsonl", 12)
    with Provider(rules, polls=3) as provider:
        command = batch(provider, data, tmp_path / "batch", kind)
        ran = drp(*command)
        assert ran.code == 0, ran.err
        assert provider.received == 0 and len(provider.batches) == 2, "decompose, then revise"
        live = [a for a in batch(provider, data, tmp_path / "live", kind) if a != "--batch"]
        assert drp(*live).code == 0
        for file in ("pruned.jsonl", "rejects.jsonl"):
            assert ((tmp_path / "batch" / file).read_bytes()
                    == (tmp_path / "live" / file).read_bytes())
        asked = provider.received
        # live in the batch's folder, and the other way round: nothing is asked
        assert drp(*[a for a in command if a != "--batch"]).code == 0
        assert drp(*live, "--batch").code == 0
        assert provider.received == asked and len(provider.batches) == 2
    assert not list((tmp_path / "batch" / "batches").iterdir()), "nothing is left lying about"


@both
def test_batches_keep_to_the_limits(tmp_path, drp, rules, kind):
    data = traces(tmp_path / "t.jsonl", 25)
    with Provider(rules) as provider:
        assert drp(*batch(provider, data, tmp_path / "run", kind, "--batch-size", "10")).code == 0
        sizes = [len(j.lines) for j in provider.batches.values()]
    assert sizes == [10, 10, 5] * 2


@both
def test_what_a_batch_leaves_out_is_asked_again(tmp_path, drp, rules, kind):
    """Errors, lines that are missing, half a line: row by row, and only those."""
    data = traces(tmp_path / "t.jsonl", 20)
    fates = {1: "error", 4: "missing", 7: "half"}
    with Provider(rules) as provider:
        provider.batch_plan = lambda job, n: (
            fates.get(n, "ok") if job is next(iter(provider.batches.values())) else "ok")
        ran = drp(*batch(provider, data, tmp_path / "run", kind))
        sizes = [len(j.lines) for j in provider.batches.values()]
    assert ran.code == 0, ran.err
    assert sizes == [20, 20, 3], "17 rows go on to revise while 3 are asked again; then those 3"
    pruned, _, summary = rows_of(tmp_path / "run")
    assert len(pruned) == 20 and summary["balanced"]


@both
def test_an_expired_batch_keeps_what_it_answered(tmp_path, drp, rules, kind):
    data = traces(tmp_path / "t.jsonl", 10)
    with Provider(rules) as provider:
        def plan(job, number):
            first = job is next(iter(provider.batches.values()))
            provider.batch_end = "expired" if first else "completed"
            return "missing" if first and number >= 6 else "ok"

        provider.batch_plan = plan
        ran = drp(*batch(provider, data, tmp_path / "run", kind))
    assert ran.code == 0 and "expired" in ran.err
    assert len(rows_of(tmp_path / "run")[0]) == 10
    assert max(provider.answered.values()) == 1


@both
def test_a_request_that_never_succeeds_rejects_its_row(tmp_path, drp, rules, kind):
    data = traces(tmp_path / "t.jsonl", 5)
    bad = "Tom has 14 apples"
    with Provider(rules) as provider:
        provider.batch_plan = lambda job, n: (
            "error" if bad in json.dumps(job.lines[n]) else "ok")
        ran = drp(*batch(provider, data, tmp_path / "run", kind))
    assert ran.code == 0, ran.err
    pruned, rejects, _ = rows_of(tmp_path / "run")
    assert len(pruned) == 4 and [(r["id"], r["reason"]) for r in rejects] == [
        ("q1", "request_failed")]


@both
def test_refusals_and_cut_replies_of_a_batch_are_named(tmp_path, drp, rules, kind):
    data = traces(tmp_path / "t.jsonl", 3)
    with Provider(rules) as provider:
        provider.batch_plan = lambda job, n: ("refusal" if n == 0 else "ok")
        assert drp(*batch(provider, data, tmp_path / "run", kind)).code == 0
    assert "refused" in {r["reason"] for r in rows_of(tmp_path / "run")[1]}


@both
def test_a_lost_reply_to_a_creation_does_not_pay_twice(tmp_path, drp, rules, kind):
    """The batch exists, but the connection broke before its id came back."""
    data = traces(tmp_path / "t.jsonl", 4)
    with Provider(rules) as provider:
        provider.lose_create_reply = 1
        ran = drp(*batch(provider, data, tmp_path / "run", kind))
        assert ran.code == 0, ran.err
        assert len(provider.batches) == 2
    assert max(provider.answered.values()) == 1


@both
def test_kill_9_while_a_batch_is_out(tmp_path, drp, rules, kind):
    """Killed again and again, it never submits what is out already."""
    data, run = traces(tmp_path / "t.jsonl", 6), tmp_path / "run"
    environment = {**os.environ, "OPENAI_API_KEY": "x" * 20, "GEMINI_API_KEY": "x" * 20}
    with Provider(rules, polls=10**9) as provider:
        command = [str(a) for a in batch(provider, data, run, kind)]
        for _ in range(2):
            process = subprocess.Popen([sys.executable, "-m", "drp_plugin", *command],
                                       env=environment, stderr=subprocess.PIPE)
            begun, polled = time.monotonic(), 0
            while not polled and time.monotonic() - begun < 60:
                time.sleep(0.02)
                polled = sum(j.polls for j in provider.batches.values())
            assert polled and process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.wait()
            for job in provider.batches.values():
                job.polls = 0
        refused = drp(*[a for a in command if a != "--batch"])
        assert refused.code == 2 and "--batch" in refused.err, "live would pay for them twice"
        provider.polls = 1
        assert drp(*command).code == 0
        assert len(provider.batches) == 2
    assert max(provider.answered.values()) == 1
    assert len(rows_of(run)[0]) == 6


def test_killed_between_note_and_creation(tmp_path, drp, rules, monkeypatch):
    """Nothing had reached the provider: it is submitted, once."""
    data, run = traces(tmp_path / "t.jsonl", 3), tmp_path / "run"
    from drp_plugin.teacher.openai_batch import OpenAIBatch

    real = OpenAIBatch.submit

    async def die(self, file, label):
        raise KeyboardInterrupt

    with Provider(rules) as provider:
        command = batch(provider, data, run, "openai")
        monkeypatch.setattr(OpenAIBatch, "submit", die)
        assert drp(*command).code == 130 and not provider.batches
        monkeypatch.setattr(OpenAIBatch, "submit", real)
        assert drp(*command).code == 0
    assert len(provider.batches) == 2 and len(rows_of(run)[0]) == 3


def test_a_budget_holds_for_batches(tmp_path, drp, rules):
    data, run = traces(tmp_path / "t.jsonl", 10), tmp_path / "run"
    with Provider(rules) as provider:
        command = batch(provider, data, run, "openai", "--price", "1,1", "--max-tokens", "1000")
        ran = drp(*command, "--max-cost", "0.005")
        assert ran.code == 0, ran.err
        _, _, summary = rows_of(run)
        assert 0 < summary["not_reached"] < 10 and not summary["complete"]
        assert 0 < summary["paid"]["cost_usd"] <= 0.005
        assert drp(*command, "--max-cost", "5").code == 0
    assert rows_of(run)[2]["complete"] and max(provider.answered.values()) == 1
