"""Servers, keys, disks and input that are not what they should be: one line says what it is."""

from __future__ import annotations

import asyncio
import gc
import io
import itertools
import json
import re
import sqlite3
import time
from email.utils import formatdate
from typing import NamedTuple

import pytest
from faults import MESSAGES, Faults
from provider import Provider
from small_runs import KEY, everything_written, rows_of, traces

from drp_plugin import progress
from drp_plugin.llm import limiter, retry
from drp_plugin.llm.ledger import Ledger
from drp_plugin.llm.messages import Reply
from drp_plugin.records import Usage


class _Usage(NamedTuple):
    total: int
    used: int
    free: int


both = pytest.mark.parametrize("kind", ["openai", "gemini"])


def remote(provider, data, run, kind="openai", *more):
    url = provider.url if kind == "openai" else provider.gemini_url
    return ("prune", data, "-o", run, "--teacher", f"{kind}:rules", "--base-url", url, *more)


# -- servers -------------------------------------------------------------------------------


@both
def test_a_server_of_another_kind_stops_the_run(tmp_path, drp, rules, kind):
    data, run = traces(tmp_path / "t.jsonl", 3), tmp_path / "run"
    with Provider(rules, faults=Faults(rate=1.0, kinds=("html",))) as provider:
        ran = drp(*remote(provider, data, run, kind))
        assert ran.code == 2 and ran.err.count("\n") == 1
        assert f"127.0.0.1:{provider.port}" in ran.err and "<html>" in ran.err
        assert provider.received <= 12
        assert not (run / "rejects.jsonl").exists()


def test_the_address_is_named_also_where_the_environment_has_it(tmp_path, drp, rules, monkeypatch):
    data, run = traces(tmp_path / "t.jsonl", 1), tmp_path / "run"
    with Provider(rules, faults=Faults(rate=1.0, kinds=("html",))) as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        ran = drp("prune", data, "-o", run, "--teacher", "openai:rules")
        assert ran.code == 2 and f"no answer from {provider.url}" in ran.err


@both
def test_a_spent_balance_stops_the_run(tmp_path, drp, rules, kind):
    data, run = traces(tmp_path / "t.jsonl", 3), tmp_path / "run"
    with Provider(rules, faults=Faults(rate=1.0, kinds=("402",))) as provider:
        ran = drp(*remote(provider, data, run, kind))
        assert ran.code == 2 and "is spent" in ran.err and "Add credit" in ran.err
        assert not (run / "rejects.jsonl").exists() and provider.received <= 3


def test_a_row_that_no_attempt_mends_does_not_end_a_run_that_had_replies(tmp_path, drp, rules):
    """The server answers all but one request: also when that one is all that is left to ask."""
    data, run = traces(tmp_path / "t.jsonl", 8), tmp_path / "run"
    with Provider(rules) as provider:
        async def broken(fault, http, gemini):
            if b"Tom has 14 apples" in await http.body():
                return await Faults.response(provider.faults, "500", http, gemini)
            return None

        provider.faults.response = broken
        for _ in range(2):
            ran = drp(*remote(provider, data, run, "openai", "--retries", "5"))
            assert ran.code == 0, ran.err
            assert rows_of(run)[2]["rejects"] == {"request_failed": 1}


def test_a_run_that_gets_nowhere_says_why(tmp_path, drp, rules, monkeypatch):
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.6)
    monkeypatch.setattr(progress, "_LOOK_EVERY_S", 0.1)
    data, run = traces(tmp_path / "t.jsonl", 4), tmp_path / "run"
    faults = Faults(script=["429-after"] * 8, retry_after_s=0.9)
    with Provider(rules, faults=faults) as provider:
        ran = drp(*remote(provider, data, run))
    assert ran.code == 0
    said = [x for x in ran.err.splitlines() if "the last fault: HTTP 429: Rate limit" in x]
    assert said and "drp: prune 0/4" in said[0] and "4 waiting" in said[0]
    assert "fault" not in ran.err.splitlines()[-1]


def asks(command, data, out):
    if command == "judge":
        return ("judge", data.parent / "a", data.parent / "a", "-o", out, "--judge", "openai:m")
    if command == "generate":
        return ("generate", data, "-o", out)
    return (command, data, "-o", out, "--teacher", "openai:rules")


@pytest.mark.parametrize(("command", "wait"), [
    *((command, "date") for command in ("prune", "distill", "judge", "generate")),
    *(("generate", wait) for wait in ("86400", "1000000h", "none"))])
def test_a_wait_is_told_whoever_asks(tmp_path, drp, rules, monkeypatch, command, wait):
    """For as long as a header may ask it to wait, here 2.5 s."""
    for module in (limiter, retry):
        monkeypatch.setattr(module, "LONGEST_WAIT_S", 2.5)
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.4)
    monkeypatch.setattr(progress, "_LOOK_EVERY_S", 0.1)
    data = traces(tmp_path / "t.jsonl", 2)
    assert drp("prune", data, "-o", tmp_path / "a", "--teacher", "offline").code == 0
    monkeypatch.setattr(retry.Persistent, "_wait", lambda *_: 0.05 if wait != "none" else 1.2)
    asked = formatdate(time.time() + 3600, usegmt=True) if wait == "date" else wait
    monkeypatch.setitem(MESSAGES, "wait", (429, {"error": {"message": "slow down"}},
                                           {} if wait == "none" else {"retry-after": asked}))

    async def answer(request):
        return Reply(text="## REASONING\nI add.\n## ANSWER\nVersion A. \\boxed{20}",
                     usage=Usage(requests=1, prompt_tokens=9, completion_tokens=9))

    faults = Faults(script=[*[None] * (command == "generate"), "wait", "wait"])
    with Provider(rules if command == "prune" else answer, faults=faults) as provider:
        ran = drp(*asks(command, data, tmp_path / "out"), "--base-url", provider.url)
    assert ran.code == 0, ran.err
    assert "2 waiting" in ran.err and "the last fault: HTTP 429: slow down" in ran.err, ran.err
    assert wait == "none" or re.search("none goes out for [12] s", ran.err), ran.err
    assert "fault" not in ran.err.splitlines()[-1]


def test_generate_says_that_it_is_the_key(tmp_path, drp, rules):
    questions = tmp_path / "q.jsonl"
    questions.write_text('{"question": "1 + 1?", "answer": "2"}\n')
    with Provider(rules, faults=Faults(rate=1.0, kinds=("401",), quote_key=True)) as provider:
        ran = drp("generate", questions, "-o", tmp_path / "out.jsonl", "--backend", "openai",
                  "--base-url", provider.url)
    assert ran.code == 2 and ran.err.count("\n") == 1 and "VerySecret" not in ran.err
    assert "refuses the key (HTTP 401)" in ran.err and "OPENAI_API_KEY" in ran.err


# -- keys and addresses --------------------------------------------------------------------


@both
def test_white_space_around_a_key_is_no_part_of_it(tmp_path, drp, rules, kind, monkeypatch):
    for variable in ("OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(variable, f" {KEY}\n")
    with Provider(rules) as provider:
        ran = drp(*remote(provider, traces(tmp_path / "t.jsonl", 1), tmp_path / "run", kind),
                  "--strict")
    assert ran.code == 0, ran.err


@both
@pytest.mark.parametrize("key", ["sk-schlüssel-1234567", "sk-with\x07bell1234", "sk-two\nlines12"])
def test_a_key_that_cannot_be_one_is_said_at_the_start(tmp_path, drp, rules, kind, key,
                                                       monkeypatch):
    for variable in ("OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(variable, key)
    with Provider(rules) as provider:
        ran = drp(*remote(provider, traces(tmp_path / "t.jsonl", 1), tmp_path / "run", kind))
        assert ran.code == 2 and ran.err.count("\n") == 1 and provider.received == 0
    assert f"{kind.upper()}_API_KEY" in ran.err and key not in ran.err and key[3:8] not in ran.err


@pytest.mark.parametrize("url", ["http://user:hunter2@127.0.0.1:1/v1", "user:hunter2@h/v1",
                                 "ftp://user:hunter2@h"])
def test_a_password_in_an_address_is_refused_and_not_repeated(tmp_path, drp, url):
    data = traces(tmp_path / "t.jsonl", 1)
    questions = tmp_path / "q.jsonl"
    questions.write_text('{"question": "1 + 1?", "answer": "2"}\n')
    for arguments in (("prune", data, "-o", tmp_path / "run", "--teacher", "openai:m"),
                      ("prune", data, "-o", tmp_path / "run", "--teacher", "gemini:m"),
                      ("generate", questions, "-o", tmp_path / "out", "--backend", "openai")):
        ran = drp(*arguments, "--base-url", url)
        assert ran.code == 2 and ran.err.count("\n") == 1 and "--base-url" in ran.err
        assert "hunter2" not in ran.err
    assert b"hunter2" not in everything_written(tmp_path)


# -- disks ---------------------------------------------------------------------------------


def test_a_full_disk_is_one_line_and_the_run_goes_on(tmp_path, drp, rules, monkeypatch, caplog):
    data, run = traces(tmp_path / "t.jsonl", 40), tmp_path / "run"
    connect = Ledger._connect

    def small(self):
        connection = connect(self)
        connection.execute("PRAGMA max_page_count=12")
        return connection

    commit = Ledger._commit

    def slow(self, rows):  # so that others wait for the disk when the first one fails
        time.sleep(0.05)
        commit(self, rows)

    turn = itertools.count()

    async def staggered(request):
        await asyncio.sleep(next(turn) % 7 / 50)
        return await rules(request)

    monkeypatch.setattr(Ledger, "_commit", slow)
    with Provider(staggered) as provider:
        monkeypatch.setattr(Ledger, "_connect", small)
        ran = drp(*remote(provider, data, run))
        gc.collect()
        assert ran.code == 2 and ran.err.count("\n") == 1, ran.err
        assert "ledger.sqlite: cannot be written" in ran.err and "Free the disk" in ran.err
        assert "never retrieved" not in caplog.text
        monkeypatch.setattr(Ledger, "_connect", connect)
        with Ledger(run / "ledger.sqlite") as ledger:
            held = len(ledger)
        before = provider.received
        assert drp(*remote(provider, data, run)).code == 0
        assert provider.received - before == 80 - held > 0


def test_a_disk_that_is_still_full_is_no_reason_to_drop_replies(tmp_path, drp, rules, monkeypatch):
    def full(self):
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
        raise error

    monkeypatch.setattr(Ledger, "_connect", full)
    with Provider(rules) as provider:
        ran = drp(*remote(provider, traces(tmp_path / "t.jsonl", 1), tmp_path / "run"))
    assert ran.code == 2 and "Free the disk" in ran.err and "move the file" not in ran.err


def test_nothing_is_asked_on_a_disk_without_room(tmp_path, drp, rules, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: _Usage(10**9, 10**9, 5000))
    with Provider(rules) as provider:
        ran = drp(*remote(provider, traces(tmp_path / "t.jsonl", 1), tmp_path / "run"))
        assert provider.received == 0
    assert ran.code == 2 and ran.err.count("\n") == 1 and "Free the disk" in ran.err


def test_a_damaged_ledger_is_one_line(tmp_path, drp, rules):
    data, run = traces(tmp_path / "t.jsonl", 40), tmp_path / "run"
    file = run / "ledger.sqlite"
    with Provider(rules) as provider:
        assert drp(*remote(provider, data, run)).code == 0
        content = bytearray(file.read_bytes())
        content[4096:] = b"\x55" * (len(content) - 4096)
        file.write_bytes(content)
        ran = drp(*remote(provider, data, run))
        asked = provider.received
    assert ran.code == 2 and "Traceback" not in ran.err and ran.err.count("\n") == 1
    assert "ledger.sqlite: is damaged" in ran.err and asked == 80


# -- rows ----------------------------------------------------------------------------------


def test_a_request_that_rows_share_is_counted_once(tmp_path, drp, rules):
    data, run = traces(tmp_path / "t.jsonl", 3), tmp_path / "run"
    lines = data.read_text().splitlines()
    data.write_text("".join(json.dumps(json.loads(x) | {"id": f"{i}-{k}"}) + "\n"
                            for i, x in enumerate(lines) for k in range(4)))
    with Provider(rules) as provider:
        for more in ((), ("--batch", "--poll", "0.02")):
            folder = tmp_path / f"run{len(more)}"
            ran = drp(*remote(provider, data, folder, "openai", "--price", "1,1", *more))
            assert ran.code == 0 and "6 requests" in ran.err
            pruned, _, summary = rows_of(folder)
            assert summary["requests"] == summary["paid"]["requests"] == 6
            assert summary["cost_usd"] == pytest.approx(summary["paid"]["cost_usd"], abs=2e-6)
            assert [row["usage"]["requests"] for row in pruned] == [2] * 12
            assert summary["prompt_tokens"] * 4 == sum(r["usage"]["prompt_tokens"] for r in pruned)
    assert provider.received == 6 and run.exists() is False


def test_a_fault_of_ours_does_not_hide_what_was_paid(tmp_path, drp, rules, monkeypatch):
    from drp_plugin.pruning import flow

    def broken(*_):
        raise KeyError("a fault of ours")

    monkeypatch.setattr(flow, "join_response", broken)
    with Provider(rules) as provider:
        assert drp(*remote(provider, traces(tmp_path / "t.jsonl", 2), tmp_path / "run")).code == 2
        assert provider.received == 4
    _, rejects, summary = rows_of(tmp_path / "run")
    assert summary["rejects"] == {"internal_error": 2}
    assert summary["requests"] == summary["paid"]["requests"] == 4
    assert [r["usage"]["requests"] for r in rejects] == [2, 2]


def test_bytes_that_are_no_text_cost_their_row_only(tmp_path, drp, rules, monkeypatch):
    content = b"{\xff\xfe}\n" + traces(tmp_path / "t.jsonl", 2).read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8",
                                                      errors="surrogateescape"))
    with Provider(rules) as provider:
        ran = drp(*remote(provider, "-", tmp_path / "run"))
    assert ran.code == 0, ran.err
    pruned, rejects, _ = rows_of(tmp_path / "run")
    assert len(pruned) == 2 and [r["reason"] for r in rejects] == ["not_json"]
    assert "row 1" in rejects[0]["detail"] and "UTF-8" in rejects[0]["detail"]
