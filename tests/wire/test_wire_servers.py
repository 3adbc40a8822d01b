"""`drp prune` with several servers of one model: the work is shared, and survives one of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial

import pytest
from provider import Provider
from small_runs import rows_of, traces
from starlette.responses import JSONResponse

from drp_plugin.llm.ledger import Ledger
from drp_plugin.llm.ledger_client import LedgerClient
from drp_plugin.llm.limiter import Limiter
from drp_plugin.llm.messages import Message, Reply, Request
from drp_plugin.llm.openai_client import OpenAITeacher, SharedTeacher
from drp_plugin.llm.retry import Persistent
from drp_plugin.records import Usage


class Mortal(Provider):
    """Dies, connections and all, over its request of this number."""

    dies_at = 9

    async def chat(self, http):
        if self.received + 1 == self.dies_at:
            self.lost = self.in_flight + 1
            self._server.should_exit = self._server.force_exit = True
            for server in self._server.servers:
                server.close()
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()
        elif self.received >= self.dies_at:  # it had been read when the connections went
            self.lost += 1
        return await super().chat(http)


def shared(run, *servers):
    return ("-o", run, "--teacher", "openai:rules", "--concurrency", "4", "--decompose", "indexed",
            *(part for server in servers for part in ("--base-url", server.url)))


def test_one_of_three_servers_dies_and_no_row_is_lost_or_asked_twice(tmp_path, drp, rules):
    data, run = traces(tmp_path / "t.jsonl", 60), tmp_path / "run"
    a, b, c = (kind(rules, latency_s=0.05) for kind in (Provider, Provider, Mortal))
    with a, b, c:
        ran = drp("prune", data, *shared(run, a, b, c), "--strict")
        assert ran.code == 0, ran.err
        pruned, _, summary = rows_of(run)
        assert [row["id"] for row in pruned] == [f"q{n}" for n in range(60)]
        assert summary["requests"] == summary["paid"]["requests"] == 60
        assert ran.err.count(f"{c.url} has failed") == 1
        assert max((a.answered + b.answered).values()) == 1
        assert 60 <= a.received + b.received + c.received <= 60 + c.lost <= 64
        assert min(a.received, b.received) > 15  # both take what the third had to do
        before = Counter(a.answered + b.answered)
        again = drp("prune", data, *shared(run, b, a), "--strict")  # servers may come and go
        assert again.code == 0 and a.answered + b.answered == before, again.err


def test_a_slow_server_gets_less_to_do(tmp_path, drp, rules):
    data = traces(tmp_path / "t.jsonl", 40)
    with Provider(rules) as quick, Provider(rules, latency_s=1.0) as slow:
        assert drp("prune", data, *shared(tmp_path / "run", quick, slow)).code == 0
    assert quick.received + slow.received == 40 and slow.received < 14


def test_no_server_at_all_ends_the_run(tmp_path, drp, rules):
    data = traces(tmp_path / "t.jsonl", 3)
    with Provider(rules) as a, Provider(rules) as b:
        pass
    ran = drp("prune", data, *shared(tmp_path / "run", a, b), "--retries", "4")
    assert ran.code == 2 and "Is the server running" in ran.err and "Traceback" not in ran.err
    assert not (tmp_path / "run").exists()


def test_a_server_that_comes_back_is_asked_again(tmp_path, drp, rules, monkeypatch):
    data = traces(tmp_path / "t.jsonl", 60)
    stay_away = Persistent.stay_away
    monkeypatch.setattr(Persistent, "stay_away",
                        lambda self, wait_s: stay_away(self, wait_s / 100))
    with Provider(rules) as gone:
        pass
    back = Provider(rules, latency_s=0.05)
    back.port = gone.port
    with back, Provider(rules, latency_s=0.05) as there:
        back.__exit__()
        seen = 0

        async def answer(request):
            nonlocal seen
            seen += 1
            if seen == 10:
                back.__enter__()
            return await rules(request)

        there.answer = answer
        ran = drp("prune", data, *shared(tmp_path / "run", back, there), "--strict")
    assert ran.code == 0 and back.received > 5, ran.err


@pytest.mark.parametrize("teacher", ["offline", "gemini:rules"])
def test_several_servers_are_for_openai(tmp_path, drp, teacher):
    ran = drp("prune", traces(tmp_path / "t.jsonl", 2), "-o", tmp_path / "run", "--teacher",
              teacher, "--base-url", "http://a/v1", "--base-url", "http://b/v1")
    assert ran.code == 2 and "one --base-url at most" in ran.err and "Traceback" not in ran.err


REFUSALS = {"another model": (404, "The model `rules` does not exist."),
            "a key": (401, "Invalid key"), "a fault": (500, "EngineDeadError"),
            "nobody knows why": (400, "odd"),
            "a quota": (429, "You exceeded your current quota, insufficient_quota"),
            "no text": (200, "")}


@pytest.mark.parametrize("why", REFUSALS)
@pytest.mark.parametrize("command", ["prune", "generate"])
def test_what_one_server_refuses_the_others_answer(tmp_path, drp, rules, why, command):
    data, out = traces(tmp_path / "t.jsonl", 30), tmp_path / "out"
    status, words = REFUSALS[why]

    async def student(request):
        return Reply(text="<think>\nx\n</think>\n\n1", usage=Usage(prompt_tokens=9,
                                                                completion_tokens=9))

    class Refusing(Provider):
        async def chat(self, http):
            self.received += 1
            return JSONResponse({"error": {"message": words}} if words else {"choices": [
                {"finish_reason": "stop", "message": {"content": ""}}]}, status)

    answer = rules if command == "prune" else student
    with Provider(answer, latency_s=0.01) as a, Provider(answer, latency_s=0.01) as b, \
            Refusing(answer) as c:
        urls = [part for server in (c, a, b) for part in ("--base-url", server.url)]
        ran = drp("generate", data, "-o", out, *urls) if command == "generate" else \
            drp("prune", data, *shared(out, c, a, b))
        assert ran.code == 0 and c.received, ran.err
        assert max((a.answered + b.answered).values()) == 1
    done = len(rows_of(out)[0]) if command == "prune" else len(out.open().readlines())
    assert done == 30, ran.err
    if why != "no text":
        assert ran.err.count(f"{c.url} has failed") == 1, ran.err


class Silent(Provider):
    """Answers at once, without text."""

    async def chat(self, http):
        self.received += 1
        return JSONResponse({"choices": [{"finish_reason": "stop", "message": {"content": ""}}]})


@pytest.mark.parametrize("concurrency", [1, 4, 32])
def test_a_row_is_asked_at_every_server_before_it_is_given_up(tmp_path, drp, rules, concurrency):
    """Two of three send no text, and are far quicker than the third."""
    data, out = traces(tmp_path / "t.jsonl", 24), tmp_path / "out"
    with Silent(rules) as a, Silent(rules) as b, Provider(rules, latency_s=0.1) as c:
        ran = drp("prune", data, *shared(out, a, b, c), "--strict", "--concurrency", concurrency)
    assert ran.code == 0 and len(rows_of(out)[0]) == 24, ran.err
    assert set(c.answered.values()) == {1} and a.received + b.received <= 48


def test_servers_that_are_all_silent_leave_nothing_behind(tmp_path):
    """Neither in memory, for the next request, nor after a cut reply without text."""
    def ask(reply):
        async def answered():
            with Ledger(tmp_path / f"{reply.finish_reason}.sqlite") as ledger:
                client = LedgerClient(shared_teacher, ledger)
                client.found = 1  # it has answered others
                for number in range(6):
                    await client(Request(messages=(Message(role="user", content=str(number)),)))
        for server in servers:
            server.ask = partial(answer, reply)
        asyncio.run(answered())

    async def answer(reply, request):
        return reply

    servers = [OpenAITeacher("m", base_url=f"http://h{n}/v1", persistent=Persistent(Limiter(1)))
               for n in range(2)]
    shared_teacher = SharedTeacher(servers)
    for finish, text in (("stop", ""), ("stop", " \n"), ("length", ""), ("other", "x")):
        ask(Reply(text=text, finish_reason=finish))
        assert not shared_teacher._empty, finish


def test_what_all_servers_refuse_ends_the_run(tmp_path, drp, rules):
    async def refused(http):
        return JSONResponse({"error": {"message": "The model `rules` does not exist."}}, 404)

    with Provider(rules) as a, Provider(rules) as b:
        pass
    for server in (a, b):
        server.chat = refused
    with a, b:
        ran = drp("prune", traces(tmp_path / "t.jsonl", 9), *shared(tmp_path / "run", a, b))
    assert ran.code == 2 and "is not there" in ran.err.splitlines()[-1], ran.err
