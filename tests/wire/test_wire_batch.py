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
from starlette.responses import JSONResponse

from drp_plugin.llm.ledger import Ledger

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
            while not polled and time.monotonic() - begun < 600:
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
    from drp_plugin.llm.openai_batch import OpenAIBatch

    real = OpenAIBatch.create

    async def die(self, uploaded, label):
        raise KeyboardInterrupt

    with Provider(rules) as provider:
        command = batch(provider, data, run, "openai")
        monkeypatch.setattr(OpenAIBatch, "create", die)
        assert drp(*command).code == 130 and not provider.batches
        monkeypatch.setattr(OpenAIBatch, "create", real)
        assert drp(*command).code == 0
    assert len(provider.batches) == 2 and len(rows_of(run)[0]) == 3


@both
def test_where_there_is_no_batch_api_the_run_goes_on_live(tmp_path, drp, rules, kind):
    """Nothing was sent: nothing is noted, and neither way is barred."""
    data, run = traces(tmp_path / "t.jsonl", 3), tmp_path / "run"
    with Provider(rules) as provider:
        provider.no_batches = True
        command = batch(provider, data, run, kind)
        for _ in range(2):
            ran = drp(*command)
            assert ran.code == 2 and "has no batch API (HTTP 404" in ran.err
            assert ran.err.count("\n") == 1 and "Run without --batch" in ran.err
        assert not list((run / "batches").iterdir())
        live = drp(*[a for a in command if a != "--batch"])
        assert live.code == 0, live.err
    assert len(rows_of(run)[0]) == 3


@both
def test_a_note_of_a_batch_that_cannot_be_there_is_dropped(tmp_path, drp, rules, kind):
    """An earlier process died before it had an id, and the server knows of no batches at all."""
    data, run = traces(tmp_path / "t.jsonl", 2), tmp_path / "run"
    with Ledger(run / "ledger.sqlite") as ledger:
        ledger.note("batch/drp-x", {"file": "drp-x.jsonl", "size": 2, "id": None})
    with Provider(rules) as provider:
        provider.no_batches = True
        command = batch(provider, data, run, kind)
        assert "no batch API" in drp(*command).err
        assert drp(*[a for a in command if a != "--batch"]).code == 0


@both
def test_a_creation_that_was_refused_leaves_no_note(tmp_path, drp, rules, kind):
    data, run = traces(tmp_path / "t.jsonl", 3), tmp_path / "run"
    with Provider(rules) as provider:
        provider.create_faults = [400]
        command = batch(provider, data, run, kind)
        ran = drp(*command)
        assert ran.code == 2 and "no batch for you" in ran.err and ran.err.count("\n") == 1
        assert "Run without --batch" in ran.err and not provider.batches
        assert drp(*[a for a in command if a != "--batch"]).code == 0


@both
def test_a_creation_of_unknown_outcome_is_looked_for_first(tmp_path, drp, rules, kind):
    data, run = traces(tmp_path / "t.jsonl", 3), tmp_path / "run"
    with Provider(rules) as provider:
        provider.create_faults = [500]
        command = batch(provider, data, run, kind, "--retries", "0")
        ran = drp(*command)
        assert ran.code == 2 and ran.err.count("\n") == 1 and "fails" in ran.err
        live = drp(*[a for a in command if a != "--batch"])
        assert live.code == 2 and "are out in batches" in live.err, "it may have been begun"
        assert drp(*command).code == 0
    assert max(provider.answered.values()) == 1 and len(rows_of(run)[0]) == 3


@both
def test_refused_batches_end_the_run_when_the_others_are_in(tmp_path, drp, rules, kind):
    """Three chunks, two of them refused: one run says so, and the next may be live."""
    data, run = traces(tmp_path / "t.jsonl", 12), tmp_path / "run"
    with Provider(rules) as provider:
        def plan(job, number):
            fails = list(provider.batches).index(job.id) != 1
            provider.batch_end = "failed" if fails else "completed"
            return "missing" if fails else "ok"

        provider.batch_plan = plan
        command = batch(provider, data, run, kind, "--batch-size", "4")
        ran = drp(*command)
        assert ran.code == 2 and "was refused" in ran.err and "Run without --batch" in ran.err
        assert "4 answered" in ran.err
        live = drp(*[a for a in command if a != "--batch"])
        assert live.code == 0, live.err
    assert max(provider.answered.values()) == 1 and len(rows_of(run)[0]) == 12


@both
def test_a_chunk_that_is_refused_waits_for_those_before_it(tmp_path, drp, rules, kind):
    data, run = traces(tmp_path / "t.jsonl", 8), tmp_path / "run"
    with Provider(rules) as provider:
        def first_only():
            if not provider.batches:
                return None
            return JSONResponse({"error": {"message": "too many", "code": 400}}, 400)

        provider._no_creation = first_only
        command = batch(provider, data, run, kind, "--batch-size", "4")
        ran = drp(*command)
        assert ran.code == 2 and "4 answered" in ran.err
        assert drp(*[a for a in command if a != "--batch"]).code == 0
    assert max(provider.answered.values()) == 1 and len(rows_of(run)[0]) == 8


def test_a_budget_holds_for_batches(tmp_path, drp, rules):
    data, run = traces(tmp_path / "t.jsonl", 10), tmp_path / "run"
    with Provider(rules) as provider:
        command = batch(provider, data, run, "openai", "--price", "1,1", "--max-tokens", "1000")
        ran = drp(*command, "--max-cost", "0.005")
        assert ran.code == 3, ran.err
        _, _, summary = rows_of(run)
        assert 0 < summary["not_reached"] < 10 and not summary["complete"]
        assert 0 < summary["paid"]["cost_usd"] <= 0.005
        assert drp(*command, "--max-cost", "5").code == 0
    assert rows_of(run)[2]["complete"] and max(provider.answered.values()) == 1
