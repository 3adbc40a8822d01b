"""The real openai and google-genai clients against real HTTP, with faults."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time

import pytest
from faults import Faults
from provider import Provider

from drp_plugin.errors import UserError
from drp_plugin.llm.ledger import Ledger
from drp_plugin.llm.ledger_client import LedgerClient
from drp_plugin.llm.messages import Message, Reply, Request, Sampling, TeacherError
from drp_plugin.llm.retry import Retries, Unusable
from drp_plugin.records import Reason, Usage
from drp_plugin.teachers.registry import make_teacher

QUICK = Retries(attempts=8, base_s=0.02)
KEY = "sk-proj-VerySecretKey1234567890abcdefXYZ"


async def echo(request: Request) -> Reply:
    return Reply(text=request.messages[-1].content.upper(),
                 usage=Usage(requests=1, prompt_tokens=7, completion_tokens=3))


def question(text: str = "hello", **sampling: object) -> Request:
    return Request(messages=(Message(role="system", content="Be brief."),
                             Message(role="user", content=text)),
                   sampling=Sampling(**sampling))


def teacher_at(provider: Provider, kind: str, monkeypatch: pytest.MonkeyPatch, **options):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    options.setdefault("retries", QUICK)
    return make_teacher(f"{kind}:m", base_url=provider.url if kind == "openai"
                        else provider.gemini_url, **options)


def run(teacher, request):
    """The reply; connections are closed within the loop that they belong to."""
    async def main():
        try:
            return await teacher.ask(request)
        finally:
            await teacher.close()

    return asyncio.run(main())


both = pytest.mark.parametrize("kind", ["openai", "gemini"])


@both
def test_a_reply_arrives_with_its_usage(kind, monkeypatch):
    with Provider(echo) as provider:
        teacher = teacher_at(provider, kind, monkeypatch)
        reply = run(teacher, question(temperature=0.5, seed=3, max_tokens=99,
                                                 top_p=0.9))
    assert reply.text == "HELLO" and reply.finish_reason == "stop"
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (7, 3)
    sent = provider.bodies[0] if kind == "openai" else provider.bodies[0]["generationConfig"]
    assert sent["temperature"] == 0.5 and sent["seed"] == 3
    assert 99 in (sent.get("max_tokens"), sent.get("maxOutputTokens"))
    assert 0.9 in (sent.get("top_p"), sent.get("topP"))


@both
def test_what_was_not_set_is_not_sent(kind, monkeypatch):
    with Provider(echo) as provider:
        run(teacher_at(provider, kind, monkeypatch), question(temperature=None))
    sent = json.dumps(provider.bodies[0])
    assert not any(word in sent for word in ("temperature", "seed", "max", "topP", "top_p"))


@both
@pytest.mark.parametrize("fault", ["429", "429-after", "500", "503", "cut", "half", "silence"])
def test_what_can_be_retried_is(kind, fault, monkeypatch):
    faults = Faults(script=[fault, fault, None], silence_s=5)
    with Provider(echo, faults=faults) as provider:
        # patience ends where the server is silent, and nowhere else on a busy machine
        teacher = teacher_at(provider, kind, monkeypatch, timeout_s=2 if fault == "silence" else 60)
        reply = run(teacher, question())
    assert reply.text == "HELLO"
    assert provider.received == 3


@both
@pytest.mark.parametrize(("fault", "finish"), [("refusal", "refusal"), ("length", "length"),
                                               ("empty", "stop")])
def test_odd_endings_are_named_and_not_retried(kind, fault, finish, monkeypatch):
    with Provider(echo, faults=Faults(script=[fault])) as provider:
        reply = run(teacher_at(provider, kind, monkeypatch), question())
    assert reply.finish_reason == finish and provider.received == 1
    assert fault != "empty" or reply.text == ""


@both
def test_attempts_are_bounded(kind, monkeypatch):
    with Provider(echo, faults=Faults(rate=1, kinds=("500",))) as provider:
        teacher = teacher_at(provider, kind, monkeypatch,
                             retries=Retries(attempts=3, base_s=0.01))
        with pytest.raises(TeacherError) as caught:
            run(teacher, question())
    assert provider.received == 3 and caught.value.reason is Reason.REQUEST_FAILED


@both
def test_retry_after_is_kept(kind, monkeypatch):
    faults = Faults(script=["429-after"], retry_after_s=0.6)
    with Provider(echo, faults=faults) as provider:
        # a wait of the client's own would be one of 5 to 20 seconds
        teacher = teacher_at(provider, kind, monkeypatch, retries=Retries(base_s=20, cap_s=20))
        begun = time.monotonic()
        run(teacher, question())
    assert 0.6 <= time.monotonic() - begun < 5


@both
def test_a_wrong_key_stops_at_once_and_is_never_shown(kind, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    faults = Faults(rate=1, kinds=("401",), quote_key=True)
    with Provider(echo, faults=faults) as provider, pytest.raises(Unusable) as caught:
        run(teacher_at(provider, kind, monkeypatch), question())
    assert provider.received == 1
    assert "API_KEY" in str(caught.value) and "\n" not in str(caught.value)
    assert KEY not in str(caught.value) and "VerySecret" not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    assert "VerySecret" not in caplog.text


@both
def test_a_key_quoted_by_the_provider_is_not_in_the_error(kind, monkeypatch):
    faults = Faults(rate=1, kinds=("500",), quote_key=True)
    with Provider(echo, faults=faults) as provider, pytest.raises(TeacherError) as caught:
        run(teacher_at(provider, kind, monkeypatch,
                               retries=Retries(attempts=2, base_s=0.01)), question())
    assert "server had an error" in str(caught.value) and "VerySecret" not in str(caught.value)


@pytest.mark.parametrize(("kind", "variable"), [("openai", "OPENAI_API_KEY"),
                                                ("gemini", "GEMINI_API_KEY")])
def test_no_key_is_one_line_that_names_the_variable(kind, variable):
    with pytest.raises(UserError, match=variable):
        make_teacher(f"{kind}:m")


def test_a_local_server_needs_no_key():
    with Provider(echo) as provider:
        teacher = make_teacher("openai:m", base_url=provider.url)
        assert run(teacher, question()).text == "HELLO"


def test_nobody_there_is_said_soon():
    with socket.socket() as held:  # bound, so that nobody else gets it, and listening to nobody
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        teacher = make_teacher("openai:m", base_url=f"http://127.0.0.1:{port}/v1",
                               retries=Retries(attempts=50, base_s=0.01))
        with pytest.raises(Unusable, match=f"127.0.0.1:{port}"):
            run(teacher, question())


def test_concurrency_adapts_to_429(monkeypatch):
    """A server that takes 4 at once is neither hammered nor left idle."""
    refused = 0

    with Provider(echo, latency_s=0.02) as provider:
        original = provider.faults.next

        def next_fault():
            nonlocal refused
            if provider.in_flight > 4:
                refused += 1
                return "429-after"
            return original()

        provider.faults.next = next_fault
        provider.faults.retry_after_s = 0.05
        teacher = teacher_at(provider, "openai", monkeypatch, concurrency=64)

        async def all_of_them():
            return await asyncio.gather(*[teacher.ask(question(str(i))) for i in range(150)])

        replies = asyncio.run(all_of_them())
    assert sorted(r.text for r in replies) == sorted(str(i) for i in range(150))
    assert refused < 150, "it goes on running into the limit"
    assert teacher.persistent.limiter.limit < 64


def test_rate_limit_headers_hold_requests_back(monkeypatch):
    """With one request left for 0.3 s, the next ones wait instead of being refused."""
    with Provider(echo, headers=lambda: {
            "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "300ms",
            "x-ratelimit-remaining-tokens": "100000", "x-ratelimit-reset-tokens": "1ms",
    }) as provider:
        teacher = teacher_at(provider, "openai", monkeypatch, concurrency=1)

        async def three():
            for i in range(3):
                await teacher.ask(question(str(i)))

        begun = time.monotonic()
        asyncio.run(three())
    assert provider.received == 3
    assert time.monotonic() - begun >= 0.5


def test_the_ledger_keeps_the_client_from_asking_twice(tmp_path, monkeypatch):
    with Provider(echo, latency_s=0.05) as provider, Ledger(tmp_path / "l.sqlite") as ledger:
        teacher = teacher_at(provider, "openai", monkeypatch)

        async def ask_all():
            client = LedgerClient(teacher, ledger)
            # the same question by ten rows at once: one request
            replies = await asyncio.gather(*[client(question()) for _ in range(10)])
            assert {r.text for r in replies} == {"HELLO"}
            await client(question(temperature=0.7))
            await client(question())
            return client

        client = asyncio.run(ask_all())
    assert provider.received == 2 and client.asked == 2 and client.found == 10
