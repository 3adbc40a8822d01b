"""Servers that misbehave: every row ends with a true reason, and a second run mends it."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import tracemalloc

import pytest
from faults import BODIES, CONTENT, MESSAGES, SHORT, Faults, bomb
from provider import Provider
from raw_peer import RawPeer
from small_runs import KEY, everything_written, rows_of, traces

from drp_plugin.llm import ledger_client, ledger_disk
from drp_plugin.llm.ledger import Entry, Ledger
from drp_plugin.llm.ledger_client import LedgerClient, key_of, usable
from drp_plugin.llm.messages import Message, Reply, Request, TeacherError
from drp_plugin.llm.retry import Retries
from drp_plugin.records import Usage
from drp_plugin.teachers.registry import make_teacher


def remote(provider, data, run, *more):
    return ("prune", data, "-o", run, "--teacher", "openai:rules", "--base-url", provider.url,
            *more)


def identity(provider):
    return {"kind": "openai", "model": "rules", "base_url": provider.url}


def stored(run):
    with Ledger(run / "ledger.sqlite") as ledger:
        rows = ledger._reader.execute("SELECT key FROM replies").fetchall()
        return {key for (key,) in rows if "/" not in key and usable(ledger.get(key))}


class Memory:
    """Answers by the rules, and knows what was asked although it had been stored."""

    def __init__(self, rules):
        self.rules, self.safe, self.again, self.provider = rules, set(), 0, None

    async def __call__(self, request):
        self.again += key_of(identity(self.provider), request) in self.safe
        return await self.rules(request)


def mixed(drp, memory, data, run, *more):
    """A run with 30 % of replies of every kind, then the same command with a server that has
    come to its senses."""
    kinds = (*SHORT, *BODIES, *CONTENT, "429", "500", "cut", "half")
    faults = Faults(rate=0.3, kinds=kinds, script=[None] * 9 + [
        fault for kind in kinds for fault in (kind, None, None)])
    with Provider(memory, faults=faults) as provider:
        memory.provider = provider
        command = remote(provider, data, run, "--concurrency", "16", "--retries", "3", *more)
        ran = drp(*command)
        assert ran.code == 0 and "Traceback" not in ran.err, ran.err[-2000:]
        first = rows_of(run)
        assert not set(faults.kinds) - set(faults.injected), "every kind happened"
        memory.safe = stored(run)
        provider.faults = Faults()
        ran = drp(*command)
        assert ran.code == 0, ran.err
    return first, rows_of(run)


def check(first, second, memory, run, rows):
    for pruned, rejects, summary in (first, second):
        assert len(pruned) + len(rejects) == rows and summary["balanced"]
        assert "internal_error" not in summary["rejects"], [
            r["detail"] for r in rejects if r["reason"] == "internal_error"][:3]
        assert all(r["detail"] for r in rejects)
    assert memory.again == 0, "what was answered is not asked again"
    assert not {"request_failed", "empty_reply"} & set(second[2]["rejects"])
    assert len(second[0]) >= len(first[0])
    assert KEY.encode() not in everything_written(run)


def test_every_kind_of_reply_mixed_in(tmp_path, drp, rules):
    data, run, memory = traces(tmp_path / "t.jsonl", 200), tmp_path / "run", Memory(rules)
    first, second = mixed(drp, memory, data, run)
    check(first, second, memory, run, 200)
    assert len(second[0]) > 100


def test_every_kind_of_reply_mixed_into_real_traces(tmp_path, drp, rules, data_dir):
    run, memory = tmp_path / "run", Memory(rules)
    first, second = mixed(drp, memory, data_dir / "traces_math_train_r1distill.jsonl", run,
                          "--keep-wrong", "--limit", "240")
    check(first, second, memory, run, 240)


# -- what counts as an answer ----------------------------------------------------------------


@pytest.mark.parametrize("fault", ["error-finish", "resource", "empty", "body-502", "no-choices"])
def test_what_is_no_answer_is_asked_again_and_never_stored_as_one(tmp_path, drp, rules, fault):
    data, run = traces(tmp_path / "t.jsonl", 1), tmp_path / "run"
    with Provider(rules, faults=Faults(script=[fault])) as provider:
        assert drp(*remote(provider, data, run, "--strict")).code == 0
        assert provider.received == 3
    assert len(rows_of(run)[0]) == 1


def test_an_empty_reply_is_given_up_for_now_and_asked_by_the_next_run(tmp_path, drp, rules):
    data, run = traces(tmp_path / "t.jsonl", 2), tmp_path / "run"

    async def answer(request):
        if "Tom has 14 apples" in request.messages[0].content and provider.latency_s == 0:
            return Reply(text="  ", usage=Usage(prompt_tokens=9, completion_tokens=1))
        return await rules(request)

    with Provider(answer) as provider:
        assert drp(*remote(provider, data, run, "--price", "1,1")).code == 0
        summary = rows_of(run)[2]
        assert summary["rejects"] == {"empty_reply": 1}
        assert summary["paid"]["requests"] == provider.received, "paid is paid"
        provider.latency_s = 0.001
        assert drp(*remote(provider, data, run, "--price", "1,1", "--strict")).code == 0


def test_what_earlier_releases_stored_without_a_good_end_is_asked_again(tmp_path, rules):
    request = Request(messages=(Message(role="user", content="hi"),))
    with Provider(lambda r: asyncio.sleep(0, Reply(text="yes"))) as provider, \
            Ledger(tmp_path / "l.sqlite") as ledger:
        teacher = make_teacher("openai:m", base_url=provider.url)
        key = key_of(teacher.identity, request)
        ledger.put(Entry(key, {"text": "half", "finish_reason": "other", "prompt_tokens": 1,
                         "completion_tokens": 1}, cost_usd=2.0))

        async def ask():
            return await LedgerClient(teacher, ledger)(request)

        assert asyncio.run(ask()).text == "yes"
        assert ledger.totals().cost_usd == 2.0 and len(ledger) == 2


@pytest.mark.parametrize("fault", ["parts", "eos", "null-finish", "new-word", "negative",
                                   "absurd", "text-usage", "no-usage"])
def test_an_answer_in_another_dress_is_one(tmp_path, drp, rules, fault):
    data, run = traces(tmp_path / "t.jsonl", 2), tmp_path / "run"
    with Provider(rules, faults=Faults(rate=1.0, kinds=(fault,))) as provider:
        command = remote(provider, data, run, "--price", "1,1")
        ran = drp(*command)
        assert ran.code == 0 and provider.received == 4, ran.err
        assert "$-" not in ran.err
        assert drp(*command).code == 0 and provider.received == 4
    pruned, _, summary = rows_of(run)
    assert len(pruned) == 2 and (summary["cost_usd"] or 0) >= 0


def test_half_a_character_costs_no_row_for_good(tmp_path, drp, rules):
    """Of the reply, and of the trace that is asked about."""
    data, run = traces(tmp_path / "t.jsonl", 2), tmp_path / "run"
    data.write_text(data.read_text().replace("Okay, so", "Okay \\ud83d, so"))

    async def answer(request):
        reply = await rules(request)
        return reply.model_copy(update={"text": reply.text.replace("Let me", "\ud83d Let me", 1)})

    with Provider(answer) as provider:
        for _ in range(2):
            assert drp(*remote(provider, data, run)).code in (0, 2)
            _, rejects, summary = rows_of(run)
            assert "internal_error" not in summary["rejects"], rejects


# -- whose fault ------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "body", "advice"), [
    (400, {"error": {"message": "This model only support stream mode"}}, "another teacher"),
    (400, {"error": {"message": "no"}}, "sampling options"),
    (200, {"error": {"code": 402, "message": "no credits"}}, "Add credit"),
    (422, {"detail": [{"loc": ["body", "temperature"], "msg": "Extra inputs are not permitted"}]},
     "--temperature none"),
])
def test_a_server_that_refuses_everything_stops_the_run_in_its_words(tmp_path, drp, rules, status,
                                                                    body, advice, monkeypatch):
    """And the advice works: a run that no reply was had for has not begun."""
    monkeypatch.setitem(MESSAGES, "all", (status, body, {}))
    data, run = traces(tmp_path / "t.jsonl", 30), tmp_path / "run"
    with Provider(rules, faults=Faults(rate=1.0, kinds=("all",))) as provider:
        ran = drp(*remote(provider, data, run))
        assert ran.code == 2 and ran.err.count("\n") == 1 and advice in ran.err, ran.err
        assert provider.received < 30 and not run.exists(), "no half-made folder is left"
        provider.faults = Faults()
        assert drp(*remote(provider, data, run, "--temperature", "none")).code == 0


def test_a_run_in_which_nothing_was_gained_says_so(tmp_path, drp, rules):
    data, run = traces(tmp_path / "t.jsonl", 2), tmp_path / "run"
    with Provider(rules, faults=Faults(rate=1.0, kinds=("odd-400",))) as provider:
        ran = drp(*remote(provider, data, run))
    assert ran.code == 2 and "I do not like this one" in ran.err
    assert rows_of(run)[2]["rejects"] == {"request_failed": 2}


def test_a_prompt_over_the_context_is_asked_in_parts(tmp_path, drp, rules, data_dir):
    async def small(fault, http, gemini):
        if len(await http.body()) > 9000:
            return await Faults.response(provider.faults, "tpm", http, gemini)
        return None

    run = tmp_path / "run"
    with Provider(rules) as provider:
        provider.faults.response = small
        for mode in ("skill", "indexed"):
            ran = drp(*remote(provider, data_dir / "traces_math_train_r1distill.jsonl",
                              run / mode, "--limit", "12", "--keep-wrong", "--decompose", mode))
            assert ran.code == 0, ran.err
            pruned, rejects, summary = rows_of(run / mode)
            assert "request_failed" not in summary["rejects"] and len(pruned) > 4
            assert all("so long" in r["detail"] for r in rejects if r["reason"] == "cut_reply")


def test_a_page_of_500_is_not_a_server_that_does_not_run(tmp_path, drp, rules):
    data = traces(tmp_path / "t.jsonl", 1)
    with Provider(rules, faults=Faults(rate=1.0, kinds=("brackets",))) as provider:
        ran = drp(*remote(provider, data, tmp_path / "run"))
    assert ran.code == 2 and "Is the server running" not in ran.err and "its log" in ran.err
    assert "[/INST] [red]boom[/] ⟨U+001B⟩[31m" in ran.err


# -- peers that are no servers -------------------------------------------------------------------


class Peer:
    """Says the same to everybody who connects."""

    def __init__(self, says: bytes) -> None:
        self.says = says

    def __enter__(self) -> str:
        self.socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}/v1"

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self.socket.accept()
                with peer:
                    peer.recv(65536)
                    peer.sendall(self.says)
            except OSError:
                if self.socket.fileno() < 0:
                    return

    def __exit__(self, *_: object) -> None:
        self.socket.close()


OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


PEERS = {
    b"SSH-2.0-OpenSSH_9.6\r\n": "proper HTTP", b"": "without a reply",
    b"\x00" * 4096: "proper HTTP",
    OK + b"x-big: " + b"a" * 200_000 + b"\r\n\r\n": "headers of its reply are too long",
    OK + b"content-length: -5\r\n\r\n{}": "proper HTTP",
    OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n": "proper HTTP",
    OK + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}": "not packed as it says",
    OK + b"content-length: 99999999999999999999\r\n\r\n{": "",
    b"HTTP/9.9 abc\r\n\r\n": "proper HTTP", OK + b"content-length: 50\r\n\r\n{": "broke off",
    b"HTTP/1.1 200 \x9b31m\r\n\r\n": "proper HTTP",
    OK + b"x-half": "without a reply", b"HTTP/1.1 200 OK\r\ncontent-type: appl": "without a reply",
    b"HTTP/1.1 302 x\r\nlocation: http://[::bad\r\ncontent-length: 0\r\n\r\n": "no address"}
INTERNAL = re.compile(r"Error\b|Errno|\bb'|codec|message[:=]|ssl:|_ssl\.c| object at |\w+\.\w+\(")


@pytest.mark.parametrize("says", PEERS, ids=[
    "ssh", "nothing", "zeros", "headers", "length", "chunks", "gzip", "huge", "version", "short",
    "status", "half", "half-type", "place"])
@pytest.mark.parametrize("kind", ["openai", "gemini"])
def test_a_peer_that_is_no_server_is_one_line(tmp_path, drp, says, kind):
    with Peer(says) as url:
        ran = drp("prune", traces(tmp_path / "t.jsonl", 2), "-o", tmp_path / "run", "--teacher",
                  f"{kind}:m", "--base-url", url, "--timeout", "5")
    said = [line for line in ran.err.splitlines() if not line.startswith("drp: waiting for ")]
    assert ran.code == 2 and len(said) == 1 and "Traceback" not in ran.err, ran.err
    assert "127.0.0.1" in ran.err and not (tmp_path / "run").exists()
    assert PEERS[says] in ran.err and not INTERNAL.search(ran.err), ran.err


@pytest.mark.parametrize(("url", "why"), [
    ("http://127.0.0.1:9/v1", "nothing listens there"),
    ("http://no-such-host.invalid/v1", "no host has this name"), ("https://127.0.0.1:0/v1", "")])
@pytest.mark.parametrize("kind", ["openai", "gemini", "generate"])
def test_why_there_is_no_server_is_said_in_plain_words(tmp_path, drp, url, why, kind):
    data, out = traces(tmp_path / "t.jsonl", 1), ("-o", tmp_path / "out")
    ran = drp(*(("generate", data, *out) if kind == "generate" else
                ("prune", data, *out, "--teacher", f"{kind}:m")), "--base-url", url)
    assert ran.code == 2 and ran.err.count("\n") == 1, ran.err
    assert why in ran.err and not INTERNAL.search(ran.err), ran.err


@pytest.mark.parametrize("says", [*(OK + b"\r\n" + body for body in (b"[]", b"7", b"<p>", b"{}")),
                                  *PEERS])
def test_generate_says_that_it_is_no_server_in_plain_words(tmp_path, drp, says):
    with Peer(says) as url:
        ran = drp("generate", traces(tmp_path / "t.jsonl", 1), "-o", tmp_path / "out",
                  "--base-url", url)
    assert ran.code == 2 and ran.err.count("\n") == 1, ran.err
    assert "does not answer as an OpenAI" in ran.err and not INTERNAL.search(ran.err), ran.err


@pytest.mark.parametrize("url", ["http://" + "a" * 300 + "/v1", "http://a..b/v1", "http://:80/v1",
                                 "http://h:port/v1", "http://[::1/v1", "h:80/v1", "file:///x"])
def test_an_address_that_is_none_is_one_line(tmp_path, drp, url):
    for kind in ("openai", "gemini"):
        ran = drp("prune", traces(tmp_path / "t.jsonl", 1), "-o", tmp_path / "run", "--teacher",
                  f"{kind}:m", "--base-url", url)
        assert ran.code == 2 and ran.err.count("\n") == 1 and "--base-url" in ran.err


@pytest.mark.parametrize("kind", ["openai", "azure", "gemini"])
def test_a_key_does_not_travel_to_another_host(tmp_path, drp, rules, kind, monkeypatch):
    """Neither it nor the question; each provider's key stands in a header of its own."""
    for name, value in (("AZURE_OPENAI_API_KEY", KEY), ("OPENAI_API_VERSION", "2024-10-21")):
        monkeypatch.setenv(name, value)
    with Provider(rules) as other, Provider(rules, faults=Faults(rate=1.0, kinds=("away",))) as at:
        place = other.url.replace("127.0.0.1", "localhost") + "/chat/completions?key=SeCrEt12345"
        monkeypatch.setitem(MESSAGES, "away", (307, b"", {"location": place}))
        ran = drp("prune", traces(tmp_path / "t.jsonl", 1), "-o", tmp_path / "run", "--teacher",
                  f"{kind}:rules", "--base-url", at.url if kind == "openai" else at.gemini_url)
    assert ran.code == 2 and ran.err.count("\n") == 1, ran.err
    assert "sends requests on to http://localhost" in ran.err and "SeCrEt" not in ran.err
    assert at.received and not other.received


@pytest.mark.parametrize("asked", ["the models", "a completion"])
def test_nor_does_that_of_generate(tmp_path, drp, rules, monkeypatch, asked):
    with RawPeer(rules) as other, Provider(rules, faults=Faults(
            script=["away" if asked == "the models" else None], rate=1.0, kinds=("away",))) as at:
        monkeypatch.setitem(MESSAGES, "away", (307, b"", {
            "location": other.url.replace("127.0.0.1", "localhost") + "/models"}))
        ran = drp("generate", traces(tmp_path / "t.jsonl", 1), "-o", tmp_path / "out",
                  "--base-url", at.url)
    assert ran.code == 2 and ran.err.count("\n") <= 4, ran.err
    assert "sends requests on to http://localhost" in ran.err
    assert KEY.encode() not in other.heard and b"apples" not in other.heard


@pytest.mark.parametrize("kind", ["openai", "gemini"])
def test_a_reply_without_an_end_is_not_read_to_it(kind, monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    bomb()
    with Provider(None, faults=Faults(rate=1.0, kinds=("bomb",))) as provider:
        teacher = make_teacher(f"{kind}:m", retries=Retries(attempts=1), base_url=provider.url
                               if kind == "openai" else provider.gemini_url)

        async def ask():
            try:
                await teacher.ask(Request(messages=(Message(role="user", content="hi"),)))
            finally:
                await teacher.close()

        tracemalloc.start()
        try:
            with pytest.raises(TeacherError, match="longer than 32 MiB"):
                asyncio.run(ask())
            assert tracemalloc.get_traced_memory()[1] < 150 * 2 ** 20
        finally:
            tracemalloc.stop()


# -- files, processes ----------------------------------------------------------------------------


def test_nobody_else_reads_what_was_paid_for(tmp_path, drp, rules):
    run = tmp_path / "run"
    with Provider(rules) as provider:
        command = remote(provider, traces(tmp_path / "t.jsonl", 1), run)
        assert drp(*command).code == 0
        modes = {f.name: stat.S_IMODE(f.stat().st_mode) for f in run.iterdir()}
        assert set(modes.values()) == {0o600}, modes
        (run / "pruned.jsonl").chmod(0o644)
        assert drp(*command).code == 0
        assert stat.S_IMODE((run / "pruned.jsonl").stat().st_mode) == 0o644, "the user's choice"


def test_good_rows_are_not_replaced_by_failures(tmp_path, drp, rules):
    data, run = traces(tmp_path / "t.jsonl", 6), tmp_path / "run"
    with Provider(rules) as provider:
        assert drp(*remote(provider, data, run)).code == 0
        good = (run / "pruned.jsonl").read_bytes()
        assert len(good.splitlines()) == 6
        provider.faults = Faults(script=[None], rate=1.0, kinds=("odd-400",))
        ran = drp(*remote(provider, data, run, "--temperature", "0.5", "--anew"))
        assert ran.code == 2 and "pruned before" in ran.err and "Traceback" not in ran.err
        assert (run / "pruned.jsonl").read_bytes() == good


_LEDGER = "from drp_plugin.llm.ledger import Ledger\nledger = Ledger(sys.argv[1])\n"
HOLD = {"key": _LEDGER + "ledger.claim(sys.argv[2])", "opening": _LEDGER + "ledger._take(0)",
        "file": "import fcntl\nf = open(sys.argv[1], 'a')\nfcntl.flock(f, fcntl.LOCK_EX)"}


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells who holds a lock")
@pytest.mark.parametrize(("command", "held"), [
    ("prune", "key"), ("distill", "key"), ("judge", "key"), ("generate", "key"),
    ("prune", "opening"), ("generate", "opening"), ("build", "file")])
def test_who_is_waited_for_is_said(tmp_path, drp, rules, monkeypatch, command, held):
    for module in (ledger_client, ledger_disk):
        monkeypatch.setattr(module, "SAY_AFTER_S", 0.2)
    claim = ledger_disk.Claims.claim

    def noted(self, key, **how):
        if not how:  # a run's own claim is shared
            keys.append(key)
        return claim(self, key, **how)

    monkeypatch.setattr(ledger_disk.Claims, "claim", noted)
    keys, data, out = [], traces(tmp_path / "t.jsonl", 1), tmp_path / "out"
    assert drp("prune", data, "-o", tmp_path / "a", "--teacher", "offline").code == 0

    async def answer(request):
        return Reply(text="## REASONING\nI add.\n## ANSWER\nVersion A. \\boxed{20}",
                     usage=Usage(requests=1, prompt_tokens=9, completion_tokens=9))

    ledger = tmp_path / "out.ledger.sqlite" if command == "generate" else out / "ledger.sqlite"
    place = ledger if held != "file" else out / ".dataset_info.json.lock"
    with Provider(rules if command == "prune" else answer) as provider:
        line = {
            "build": ("build", tmp_path / "a", "-o", out, "--name", "x", "--replace"),
            "judge": ("judge", tmp_path / "a", tmp_path / "a", "-o", out, "--judge", "openai:r"),
            "generate": ("generate", data, "-o", out)}.get(
                command, (command, data, "-o", out, "--teacher", "openai:rules"))
        line = line if command == "build" else (*line, "--base-url", provider.url)
        keys.clear()
        ran = drp(*line)
        assert ran.code == 0, ran.err
        ledger.unlink(missing_ok=True)
        holder = subprocess.Popen(
            [sys.executable, "-c", f"import sys, time\n{HOLD[held]}\nprint(flush=True)\n"
             "time.sleep(60)", str(place), *keys[:1]], stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
        try:
            assert holder.stdout.readline() == b"\n"
            holder.send_signal(signal.SIGSTOP)
            threading.Timer(2, holder.kill).start()
            ran = drp(*line)
        finally:
            holder.kill()
            holder.wait()
    assert ran.code == 0, ran.err
    assert f"waiting for process {holder.pid}, which is stopped (`kill -CONT" in ran.err, ran.err


def test_a_folder_with_a_run_in_it_is_not_removed(tmp_path, rules):
    """Two processes: the one that fails removes nothing that the other one holds."""
    with Ledger(tmp_path / "l.sqlite") as one:
        other = Ledger(tmp_path / "l.sqlite")
        assert not other.discard() and (tmp_path / "l.sqlite").exists()
        one.put(Entry("k", {}))
    last = Ledger(tmp_path / "l.sqlite")
    assert not last.discard(), "it holds a reply"
    empty = Ledger(tmp_path / "e.sqlite")
    assert empty.discard() and not list(tmp_path.glob("e.sqlite*"))


@pytest.mark.parametrize("command", ["prune", "distill", "judge", "generate", "merge", "build"])
def test_a_command_that_fails_before_it_has_anything_leaves_nothing(tmp_path, drp, rules, command):
    data, before = traces(tmp_path / "t.jsonl", 2), tmp_path / "a"
    assert drp("prune", data, "-o", before, "--teacher", "offline").code == 0
    with Ledger(before / "ledger.sqlite") as ledger:
        ledger.note("batch/drp-x", {"file": "drp-x.jsonl", "size": 2, "id": "b"})
    out = tmp_path / "out" if command != "generate" else tmp_path / "out.jsonl"
    there = set(tmp_path.rglob("*"))
    words = {"judge": (before, before, "--judge", "openai:m"), "generate": (data,),
             "merge": (before,), "build": (data, "--name", "x", "--size", "0")}.get(
                 command, (data, "--teacher", "openai:rules"))

    async def refused(fault, http, gemini):
        fault = "401" if command != "generate" else "odd-400" if http.method == "POST" else None
        return await Faults.response(provider.faults, fault, http, gemini)

    with Provider(rules) as provider:
        provider.faults.response = refused
        asks = () if command in ("merge", "build") else ("--base-url", provider.url)
        for _ in range(2):
            ran = drp(command, *words, "-o", out, *asks)
            assert ran.code == 2, ran.err
            assert set(tmp_path.rglob("*")) == there
        if command == "judge":  # beside the run, where no -o is given
            assert drp(command, *words, *asks).code == 2 and set(tmp_path.rglob("*")) == there


def test_openings_and_removals_side_by_side(tmp_path):
    path, lost = tmp_path / "l.sqlite", []

    def work(number):
        chance = random.Random(number)
        for turn in range(15):
            ledger = Ledger(path)
            if chance.random() < 0.5:
                ledger.discard()
                continue
            ledger.put(Entry(f"{number}-{turn}", {}))
            ledger.close()
            with Ledger(path) as again:
                if again.get(f"{number}-{turn}") is None:
                    lost.append((number, turn))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not lost


# -- Azure, and addresses with a query ----------------------------------------------------------


def test_azure_is_a_provider(tmp_path, drp, rules, monkeypatch):
    data, run = traces(tmp_path / "t.jsonl", 2), tmp_path / "run"
    command = ("prune", data, "-o", run, "--teacher", "azure:my-4o")
    for missing in ("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", "OPENAI_API_VERSION"):
        ran = drp(*command)
        assert ran.code == 2 and ran.err.count("\n") == 1 and missing in ran.err
        with Provider(rules) as provider:
            monkeypatch.setenv(missing, {"AZURE_OPENAI_API_KEY": "azure-Secret-123456",
                                         "AZURE_OPENAI_ENDPOINT": provider.gemini_url,
                                         "OPENAI_API_VERSION": "2024-10-21"}[missing])
    with Provider(rules) as provider:
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", provider.gemini_url)
        ran = drp(*command, "--strict")
        assert ran.code == 0, ran.err
        assert set(provider.urls) == {
            "/openai/deployments/my-4o/chat/completions?api-version=2024-10-21"}
    assert b"azure-Secret" not in everything_written(run)
    assert drp(*command, "--batch").code == 2


@pytest.mark.parametrize("tail", ["/", "/openai", "/openai/v1/", "?api-version=2025-01-01-preview",
                                  "/openai/deployments/x/chat/completions?api-version=2025-01-01"])
def test_azure_takes_the_address_that_its_portal_shows(tmp_path, drp, rules, monkeypatch, tail):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-Secret-123456")
    version = tail.partition("api-version=")[2]
    with Provider(rules) as provider:
        if not version:
            monkeypatch.setenv("OPENAI_API_VERSION", version := "2024-10-21")
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", provider.gemini_url + tail)
        ran = drp("prune", traces(tmp_path / "t.jsonl", 1), "-o", tmp_path / "run", "--teacher",
                  "azure:my-4o", "--strict")
        assert ran.code == 0, ran.err
        assert set(provider.urls) == {
            f"/openai/deployments/my-4o/chat/completions?api-version={version}"}


def test_the_query_of_an_address_goes_with_every_request(tmp_path, drp, rules):
    data, run = traces(tmp_path / "t.jsonl", 1), tmp_path / "run"
    with Provider(rules) as provider:
        ran = drp("prune", data, "-o", run, "--teacher", "openai:m", "--base-url",
                  f"{provider.url}?api-version=preview&x=1", "--strict")
        assert ran.code == 0, ran.err
        assert set(provider.urls) == {"/v1/chat/completions?api-version=preview&x=1"}


@pytest.mark.parametrize(("option", "value"), [("--max-cost", "nan"), ("--max-cost", "inf"),
                                               ("--timeout", "nan"), ("--price", "nan,1")])
def test_what_is_no_number_stops_nothing_but_the_run(tmp_path, drp, rules, option, value):
    with Provider(rules) as provider:
        ran = drp(*remote(provider, traces(tmp_path / "t.jsonl", 1), tmp_path / "run",
                          *(("--price", "1,1") if option == "--max-cost" else ()), option, value))
        assert ran.code == 2 and ran.err.count("\n") == 1 and provider.received == 0
    assert option in ran.err
