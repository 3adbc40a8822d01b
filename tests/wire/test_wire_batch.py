"""Batch runs by the real clients: partial, expired, broken, resumed; one ledger with live."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from provider import Provider
from small_runs import batch, rows_of, traces, unbatched
from starlette.responses import JSONResponse

from drp_plugin import progress
from drp_plugin.llm.ledger import Ledger
from drp_plugin.llm.messages import Reply
from drp_plugin.records import Usage

both = pytest.mark.parametrize("kind", ["openai", "gemini"])


@both
def test_batch_and_live_give_the_same_and_answer_for_each_other(tmp_path, drp, rules, kind):
    data = traces(tmp_path / "t.jsonl", 12)
    with Provider(rules, polls=3) as provider:
        command = batch(provider, data, tmp_path / "batch", kind)
        ran = drp(*command)
        assert ran.code == 0, ran.err
        assert provider.received == 0 and len(provider.batches) == 2, "decompose, then revise"
        live = unbatched(batch(provider, data, tmp_path / "live", kind))
        assert drp(*live).code == 0
        for file in ("pruned.jsonl", "rejects.jsonl"):
            assert ((tmp_path / "batch" / file).read_bytes()
                    == (tmp_path / "live" / file).read_bytes())
        asked = provider.received
        # live in the batch's folder, and the other way round: nothing is asked
        assert drp(*unbatched(command)).code == 0
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
        refused = drp(*unbatched(command))
        assert refused.code == 2 and "--batch" in refused.err, "live would pay for them twice"
        provider.polls = 1
        assert drp(*command).code == 0
        assert len(provider.batches) == 2
    assert max(provider.answered.values()) == 1
    assert len(rows_of(run)[0]) == 6


def test_killed_between_note_and_creation(tmp_path, drp, rules, monkeypatch):
    """Nothing had reached the provider: it is submitted, once."""
    data, run = traces(tmp_path / "t.jsonl", 3), tmp_path / "run"
    from drp_plugin.llm.openai_client import OpenAIBatch

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
        assert not run.exists(), "nothing came of it"
        live = drp(*unbatched(command))
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
        assert drp(*unbatched(command)).code == 0


@both
def test_a_creation_that_was_refused_leaves_no_note(tmp_path, drp, rules, kind):
    data, run = traces(tmp_path / "t.jsonl", 3), tmp_path / "run"
    with Provider(rules) as provider:
        provider.create_faults = [400]
        command = batch(provider, data, run, kind)
        ran = drp(*command)
        assert ran.code == 2 and "no batch for you" in ran.err and ran.err.count("\n") == 1
        assert "Run without --batch" in ran.err and not provider.batches
        assert drp(*unbatched(command)).code == 0


def exhausted(period, wait):
    """Gemini's refusal of a batch, as it names a quota."""
    quota = {"quotaId": f"BatchTokensPer{period}PerProject-FreeTier"} if period else {}
    return {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "You exceeded your "
        "current quota, please check your plan and billing details. For more information on this "
        "error, head to the documentation of the rate limits.", "details": [
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [quota]},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": wait}]}}


def refuse(provider, times, body):
    left = [body] * times

    def no_creation():
        return JSONResponse(left.pop(), 429) if left else None

    provider._no_creation = no_creation
    return left


def test_a_quota_of_a_day_ends_a_batch_run_at_once(tmp_path, drp, rules):
    data, run = traces(tmp_path / "t.jsonl", 3), tmp_path / "run"
    with Provider(rules) as provider:
        left = refuse(provider, 9, exhausted("Day", "39837s"))
        ran = drp(*batch(provider, data, run, "gemini"))
        assert ran.code == 2 and len(left) == 8 and ran.err.count("\n") == 1, ran.err
        assert "BatchTokensPerDayPerProject-FreeTier" in ran.err and "tomorrow" in ran.err
        assert not run.exists() and not provider.batches


@pytest.mark.parametrize("period", ["Minute", ""])
def test_another_quota_is_told_and_waited_for(tmp_path, drp, rules, monkeypatch, period):
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.3)
    monkeypatch.setattr(progress, "_LOOK_EVERY_S", 0.1)
    data, run = traces(tmp_path / "t.jsonl", 3), tmp_path / "run"
    with Provider(rules) as provider:
        refuse(provider, 2, exhausted(period, "1.2s"))
        begun = time.monotonic()
        ran = drp(*batch(provider, data, run, "gemini"), "--strict")
        assert ran.code == 0 and time.monotonic() - begun >= 2.4, ran.err
    waits = [line for line in ran.err.splitlines() if "the last fault: HTTP 429" in line]
    assert waits and all(f"BatchTokensPer{period}" in line for line in waits if period)


@pytest.mark.parametrize("odd", ["a state in capitals", "answers without a status"])
def test_gateways_that_write_a_batch_in_their_own_way(tmp_path, drp, rules, odd):
    data, run = traces(tmp_path / "t.jsonl", 3), tmp_path / "run"
    with Provider(rules) as provider:
        store, shown = provider._store, provider._openai_batch
        if odd == "a state in capitals":
            provider._openai_batch = lambda job: {**shown(job),
                                                  "status": shown(job)["status"].upper()}
        else:
            provider._store = lambda lines: store([x.replace('"status_code": 200, ', "")
                                                   for x in lines])
        ran = drp(*batch(provider, data, run, "openai", "--strict"))
        assert ran.code == 0 and len(provider.batches) == 2, ran.err
    assert max(provider.answered.values()) == 1


@both
def test_a_creation_of_unknown_outcome_is_looked_for_first(tmp_path, drp, rules, kind):
    data, run = traces(tmp_path / "t.jsonl", 3), tmp_path / "run"
    with Provider(rules) as provider:
        provider.create_faults = [500]
        command = list(batch(provider, data, run, kind, "--retries", "0"))
        ran = drp(*command)
        assert ran.code == 2 and ran.err.count("\n") == 1 and "fails" in ran.err
        assert drp(*unbatched(command)).code == 0, "it had not been begun"
        provider.polls = 10 ** 9
        provider.lose_create_reply = 1
        command[3] = run = tmp_path / "begun"
        assert "fails" in drp(*command).err
        live = drp(*unbatched(command))
        assert live.code == 2 and "are out in batches" in live.err
        provider.polls = 1
        assert drp(*command).code == 0
        assert len(provider.batches) == 2
    assert sum(provider.answered.values()) == 2 * 3 * 2
    assert len(rows_of(run)[0]) == 3


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
        assert ran.code == 2 and "Run without --batch" in ran.err
        assert ("was refused" if kind == "openai" else "failed") in ran.err
        assert "4 answered" in ran.err
        live = drp(*unbatched(command))
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
        assert drp(*unbatched(command)).code == 0
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


@both
@pytest.mark.parametrize("way", [("--batch",), (), ("--anew",), ("--batch", "--anew")])
def test_a_batch_that_the_provider_does_not_know_any_more_is_no_dead_end(tmp_path, drp, rules,
                                                                         kind, way):
    """Expired, deleted, or its files are: what was answered is kept, the rest is asked again."""
    data, run = traces(tmp_path / "t.jsonl", 4), tmp_path / "run"
    with Provider(rules, polls=1) as provider:
        provider.batch_plan = lambda job, number: "ok" if number < 2 else "missing"
        live = [a for a in batch(provider, data, run, kind) if a not in ("--batch", "--poll",
                                                                         "0.02")]
        assert drp(*live, "--limit", "1").code == 0
        held = provider.received
        with Ledger(run / "ledger.sqlite") as ledger:
            for number in range(2):
                ledger.note(f"batch/drp-{number}", {"file": f"drp-{number}.jsonl", "size": 2,
                                                    "id": f"batches/gone{number}"
                                                    if kind == "gemini" else f"batch_{number}"})
        provider.batch_plan = None
        ran = drp(*live, *way, *(("--poll", "0.02") if "--batch" in way else ()))
        assert ran.code == 0 and "does not know it" in ran.err, ran.err
        asked = sum(provider.answered.values())
    assert len(rows_of(run)[0]) == 4
    assert max(provider.answered.values()) == 1 and asked == 8 and held == 2


def test_files_of_an_ended_batch_that_are_deleted_are_no_dead_end(tmp_path, drp, rules):
    data, run = traces(tmp_path / "t.jsonl", 2), tmp_path / "run"
    with Provider(rules) as provider:
        advance = provider._advance

        async def deleted(job, *, gemini):
            await advance(job, gemini=gemini)
            if len(provider.batches) == 1:
                provider.files.clear()

        provider._advance = deleted
        assert drp(*batch(provider, data, run, "openai")).code == 0
    assert len(rows_of(run)[0]) == 2 and len(provider.batches) == 3


def test_a_running_batch_is_given_up_with_anew_and_only_so(tmp_path, drp, rules):
    data, run = traces(tmp_path / "t.jsonl", 2), tmp_path / "run"
    with Provider(rules, polls=10 ** 9) as provider:
        live = [a for a in batch(provider, data, run, "openai") if a not in ("--batch", "--poll",
                                                                            "0.02")]
        lines = [{"custom_id": "x"}]
        from provider import BatchJob
        provider.batches["batch_7"] = BatchJob("batch_7", lines, "{}")
        with Ledger(run / "ledger.sqlite") as ledger:
            ledger.note("batch/drp-7", {"file": "drp-7.jsonl", "size": 1, "id": "batch_7"})
        ran = drp(*live)
        assert ran.code == 2 and "--anew" in ran.err and provider.received == 0
        ran = drp(*live, "--anew")
        assert ran.code == 0 and "batch_7 is given up" in ran.err, ran.err
    assert len(rows_of(run)[0]) == 2


def test_a_harvest_that_is_repeated_is_charged_once(tmp_path, drp, rules, monkeypatch):
    """Killed between the answers' commit and the note's end, with the money for one harvest."""
    from drp_plugin.runner.batch_files import BatchFiles

    data, run = traces(tmp_path / "t.jsonl", 4), tmp_path / "run"
    with Provider(rules) as provider:
        command = list(batch(provider, data, run, "openai", "--price", "1000,1000"))
        forget, held = BatchFiles.forget, []

        def die(self, sent):
            held.append(sent)
            raise KeyboardInterrupt

        monkeypatch.setattr(BatchFiles, "forget", die)
        assert drp(*command).code == 130
        monkeypatch.setattr(BatchFiles, "forget", forget)
        with Ledger(run / "ledger.sqlite") as ledger:
            once = ledger.totals().cost_usd
        assert once and drp(*command).code == 0
        with Ledger(run / "ledger.sqlite") as ledger:
            whole = ledger.totals().cost_usd
        # again from the killed one's state, with room for what it takes and not for twice
        second = tmp_path / "second"
        command[3] = second
        monkeypatch.setattr(BatchFiles, "forget", die)
        assert drp(*command).code == 130
        monkeypatch.setattr(BatchFiles, "forget", forget)
        from drp_plugin.llm.prices import Budget
        monkeypatch.setattr(Budget, "most", lambda self, request: (whole - once) / 2)
        monkeypatch.setattr("drp_plugin.runner.session._check_budget", lambda *_: None)
        ran = drp(*command, "--max-cost", str(once + (whole - once) * 1.01))
    assert ran.code == 0, ran.err


@pytest.mark.parametrize(("body", "code", "says"), [
    ({"status_code": 429, "body": {"error": {"code": "insufficient_quota", "message": "quota"}}},
     2, "Add credit"),
    ({"status_code": 400, "body": {"error": {"message": "This model only support stream mode"}}},
     2, "another teacher"),
    ({"status_code": 400, "body": {"error": {"message": "odd"}}}, 2, "request_failed: HTTP 400"),
])
def test_a_batch_in_which_every_line_is_refused_is_no_success(tmp_path, drp, rules, body, code,
                                                             says):
    data, run = traces(tmp_path / "t.jsonl", 3), tmp_path / "run"
    with Provider(rules) as provider:
        provider.batch_plan = lambda job, number: body
        ran = drp(*batch(provider, data, run, "openai"))
        assert ran.code == code and says in ran.err, ran.err
        assert len(provider.batches) == 1, "it is not sent three times"


def test_a_name_of_the_server_is_no_path(tmp_path, drp, rules):
    data, run = traces(tmp_path / "t.jsonl", 1), tmp_path / "run"
    with Provider(rules) as provider:
        store = provider._store

        def elsewhere(lines):
            name = store(lines)
            provider.files["../../evil"] = provider.files[name]
            return "../../evil"

        provider._store = elsewhere
        drp(*batch(provider, data, run, "openai"))
    assert not list(tmp_path.glob("**/*evil*")) and not list(tmp_path.parent.glob("evil*"))


def answered(body):
    return {"status_code": body[0], "body": {"error": {"message": body[1]}}}


LINES = [(404, "The model `x` does not exist"), (400, "Unsupported parameter: 'temperature'"),
         (403, "Forbidden"), (400, "This operation is not supported")]


@pytest.mark.parametrize("line", LINES)
def test_what_is_said_of_one_request_of_many_ends_no_run(tmp_path, drp, rules, line):
    """Neither now nor when only that request is left; of all of them it is the run's fault."""
    data, run = traces(tmp_path / "t.jsonl", 5), tmp_path / "run"
    with Provider(rules) as provider:
        provider.batch_plan = lambda job, n: (
            answered(line) if "Tom has 14 apples" in json.dumps(job.lines[n]) else "ok")
        for batches in (2, 3):
            ran = drp(*batch(provider, data, run, "openai"))
            pruned, rejects, _ = rows_of(run)
            assert ran.code == 0 and len(pruned) == 4, ran.err
            assert rejects[0]["reason"] == "request_failed" and line[1] in rejects[0]["detail"]
            assert len(provider.batches) == batches
        provider.batch_plan = lambda job, n: answered(line)
        ran = drp(*batch(provider, data, tmp_path / "other", "openai"))
        assert ran.code == 2 and line[1] in ran.err.splitlines()[-1], ran.err


# the batch's state, its errors, how many lines are answered, and what the run says
STATES = [
    ("failed", [("invalid_json_line", "This line is not JSON.")], 0, "Run without --batch"),
    ("failed", [], 0, "does not say why"),
    ("failed", [("billing_hard_limit_reached", "Billing hard limit has been reached.")], 0,
     "Add credit"),
    ("failed", [("token_limit_exceeded", "Enqueued token limit reached")], 0, "other batches"),
    ("failed", [("internal", "stopped half way")], 2, "the same command sends the rest"),
    ("cancelled", [], 2, "Run the same command again to send the rest"),
]


@pytest.mark.parametrize(("state", "errors", "done", "says"), STATES)
def test_a_batch_that_ends_badly_is_paid_once_and_said(tmp_path, drp, rules, state, errors, done,
                                                       says):
    """What it answered is kept, and the next run, without batches, asks for the rest alone."""
    data, run = traces(tmp_path / "t.jsonl", 4), tmp_path / "run"
    with Provider(rules) as provider:
        made = provider._openai_batch

        def shown(job):
            body = made(job)
            if body["status"] == "completed":
                body |= {"status": state, "errors": {"object": "list", "data": [
                    {"code": code, "message": text} for code, text in errors]}}
                if not done:
                    body |= {"output_file_id": None, "error_file_id": None}
            return body

        provider._openai_batch = shown
        provider.batch_plan = lambda job, n: "ok" if n < done else "missing"
        ran = drp(*batch(provider, data, run, "openai"))
        assert ran.code == 2 and says in ran.err.splitlines()[-1], ran.err
        assert len(provider.batches) == 1 or "token_limit" in str(errors)
        assert drp(*unbatched(batch(provider, data, run, "openai"))).code == 0
    assert len(rows_of(run)[0]) == 4 and max(provider.answered.values()) == 1
    assert provider.received == 8 - done


@pytest.mark.parametrize(("error", "says"), [
    ({"code": 3, "message": "The input file has a bad line 7"}, "a bad line 7"),
    ({"code": 8, "message": "Resource exhausted: enqueued tokens"}, "2 requests at a time"),
    (None, "does not say why"), ("text", "does not say why")])
def test_why_gemini_failed_is_said(tmp_path, drp, rules, error, says):
    data = traces(tmp_path / "t.jsonl", 4)
    with Provider(rules) as provider:
        made = provider._gemini_batch

        def shown(job):
            body = made(job)
            body["metadata"]["state"] = "BATCH_STATE_FAILED"
            body["metadata"].pop("output", None)
            return body | {"error": error}

        provider._gemini_batch = shown
        ran = drp(*batch(provider, data, tmp_path / "run", "gemini"))
    assert ran.code == 2 and says in ran.err, ran.err


def test_odd_results_and_counts_lose_nothing(tmp_path, drp, rules):
    """An error before the answer to the same request, an error in text, no counts at all."""
    for kind in ("openai", "gemini"):
        data, run = traces(tmp_path / "t.jsonl", 4), tmp_path / kind
        with Provider(rules) as provider:
            store, made = provider._store, provider._openai_batch

            def doubled(lines, store=store):
                rows = [json.loads(line) for line in lines]
                return store([json.dumps({k: row[k] for k in ("custom_id", "key") if k in row}
                                         | {"error": "boom"}) for row in rows] + lines)

            provider._store = doubled
            provider._openai_batch = lambda job, made=made: made(job) | {
                "request_counts": {"total": 4}}
            ran = drp(*batch(provider, data, run, kind, "--strict"))
            assert ran.code == 0 and len(provider.batches) == 2, ran.err
        assert max(provider.answered.values()) == 1


def test_a_provider_that_is_away_does_not_end_the_wait(tmp_path, drp, rules):
    data = traces(tmp_path / "t.jsonl", 2)
    with Provider(rules, polls=3) as provider:
        get, asked = provider.get_batch, [0]

        async def away(http):
            asked[0] += 1
            return JSONResponse({"error": {"message": "no", "code": 500}}, 500) \
                if 1 < asked[0] < 8 else await get(http)

        provider.get_batch = away
        provider.__exit__()
        provider.__enter__()
        ran = drp(*batch(provider, data, tmp_path / "run", "openai", "--retries", "2"))
        assert ran.code == 0 and asked[0] > 8 and len(provider.batches) == 2, ran.err


@pytest.mark.parametrize("way", ["batch", "live"])
def test_batches_and_live_requests_do_not_pay_for_the_same(tmp_path, drp, rules, way):
    data, run = traces(tmp_path / "t.jsonl", 2), tmp_path / "run"
    with Provider(rules) as provider, Ledger(run / "ledger.sqlite") as other:
        assert other.claim("batch-runner", shared=way == "batch")
        command = batch(provider, data, run, "openai")
        ran = drp(*(a for a in command if a != "--batch" or way == "batch"))
        assert ran.code == 2 and "asks in this run" in ran.err, ran.err
        assert not provider.batches and not provider.received
        if way == "batch":  # live ones go together
            assert drp(*unbatched(command)).code == 0


def test_replies_without_text_are_not_paid_for_again_and_again(tmp_path, drp):
    data = traces(tmp_path / "t.jsonl", 40)

    async def silent(request):
        return Reply(text="", usage=Usage(prompt_tokens=9, completion_tokens=900))

    with Provider(silent) as provider:
        for way in ("--batch", "live"):
            command = batch(provider, data, tmp_path / way, "openai", "--concurrency", "2")
            ran = drp(*(a for a in command if a != "--batch" or a == way))
            assert ran.code == 2 and "without text" in ran.err and "--max-tokens" in ran.err
        assert len(provider.batches) == 1 and provider.received < 20
