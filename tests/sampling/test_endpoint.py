"""OpenAI-compatible servers over real HTTP, with faults."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from drp_plugin.errors import UserError
from drp_plugin.llm.messages import Message
from drp_plugin.llm.retry import Persistent, Unusable
from drp_plugin.sampling.completions import Completion, Failed, SampleRequest
from drp_plugin.sampling.endpoint import EndpointSampler


class Server(ThreadingHTTPServer):
    """Answers with the question in capitals; `rules` can change that by question."""

    daemon_threads = True

    def __init__(self, card: dict[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.card, self.bodies, self.keys = card, [], []
        self.rules: dict[str, Any] = {}
        self.refused, self.wait_s = "", 0.0
        """A field that is refused, and how long each answer takes."""
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def _send(self, code: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._send(200, {"object": "list", "data": [self.server.card]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        self.server.keys.append(self.headers.get("Authorization"))
        text = body["messages"][-1]["content"]
        rule = self.server.rules.get(text, {})
        time.sleep(rule.get("wait_s", self.server.wait_s))
        if self.server.refused and self.server.refused in body:
            return self._send(400, {"error": {"message": f"no field {self.server.refused}"}})
        if rule.get("codes"):
            return self._send(rule["codes"].pop(0), {"error": {
                "message": rule.get("said", "too bad")}})
        if rule.get("drip_s"):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            for _ in range(20):
                with contextlib.suppress(OSError):
                    self.wfile.write(b" ")
                time.sleep(rule["drip_s"])
            return None
        if rule.get("gone"):
            self.connection.close()
            return None
        message = {"role": "assistant", "content": text.upper(), **rule.get("message", {})}
        return self._send(200, {
            "id": "1", "object": "chat.completion", "created": 0, "model": body["model"],
            "choices": [{"index": 0, "message": message,
                         "finish_reason": rule.get("finish", "stop")}],
            "usage": {"prompt_tokens": 3, "completion_tokens": rule.get("tokens", 5),
                      "total_tokens": 8}})


CARD = {"id": "student", "object": "model", "created": 0, "owned_by": "x", "root": "/weights",
        "max_model_len": 1000}


@contextmanager
def serving(card: dict[str, Any] = CARD) -> Iterator[Server]:
    server = Server(card)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def asked(text: str, **settings: Any) -> SampleRequest:
    return SampleRequest(messages=(Message(role="user", content=text),), **settings)


def test_two_servers_share_the_work() -> None:
    with serving() as a, serving() as b:
        sampler = EndpointSampler([a.url, b.url])
        requests = [asked(f"q{i}", seed=i, max_new_tokens=10) for i in range(40)]
        outcomes = dict(sampler.sample(requests))
        assert [outcomes[i].text for i in range(40)] == [f"Q{i}" for i in range(40)]
        assert len(a.bodies) == len(b.bodies) == 20
        assert {body["seed"] for body in a.bodies + b.bodies} == set(range(40))
        assert all(body["max_tokens"] == 10 and not body["skip_special_tokens"]
                   for body in a.bodies)
        assert outcomes[0] == Completion(text="Q0", tokens=4, prompt_tokens=3, finish="stop")


def test_a_limit_beyond_the_context_is_left_to_the_server() -> None:
    with serving() as server:
        dict(EndpointSampler([server.url]).sample([asked("q", max_new_tokens=131072)]))
        assert "max_tokens" not in server.bodies[0]


def test_faults() -> None:
    with serving() as server:
        server.rules = {
            "busy": {"codes": [429, 503]}, "bad": {"codes": [400]},
            "cut": {"finish": "length", "tokens": 7}, "odd": {"finish": "content_filter"},
            "parsed": {"message": {"content": "A", "reasoning_content": "T"}}}
        requests = [asked(t, max_new_tokens=7) for t in server.rules]
        found = dict(EndpointSampler([server.url]).sample(requests))
        busy, bad, cut, odd, parsed = (found[i] for i in range(5))
        assert isinstance(busy, Completion) and busy.text == "BUSY"
        assert isinstance(bad, Failed) and "HTTP 400" in bad.error
        assert isinstance(cut, Completion) and (cut.finish, cut.tokens) == ("length", 7)
        assert isinstance(odd, Failed)
        assert isinstance(parsed, Completion)
        assert parsed.text == "<think>\nT\n</think>\n\nA"


@pytest.mark.parametrize(("word", "tokens", "finish"), [
    ("eos", 5, "stop"), ("eos_token", 5, "stop"), ("end_turn", 5, "stop"), (None, 5, "stop"),
    (None, 7, "length"), ("max_tokens", 7, "length"), ("model_length", 5, "length"),
    ("error", 5, "asked again"), ("insufficient_system_resource", 5, "asked again"),
    ("something new", 5, None)])
def test_words_of_other_servers(word: str | None, tokens: int, finish: str | None,
                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Persistent, "_wait", lambda *_: 0.01)
    with serving() as server:
        server.rules = {"q": {"finish": word, "tokens": tokens}}
        if finish == "asked again":
            with pytest.raises(Unusable, match=word):
                dict(EndpointSampler([server.url]).sample([asked("q")]))
            return
        (found,) = dict(EndpointSampler([server.url]).sample(
            [asked("q", max_new_tokens=7)])).values()
        assert getattr(found, "finish", None) == finish, found


def test_another_server_takes_over() -> None:
    with serving() as a, serving() as b:
        b.rules = {"q": {"gone": True}}
        sampler = EndpointSampler([a.url, b.url], retries=0)
        outcomes = dict(sampler.sample([asked("q", seed=i) for i in range(4)]))
        assert all(isinstance(o, Completion) for o in outcomes.values())
        b.rules["q"] = a.rules["q"] = {"gone": True}
        assert isinstance(dict(sampler.sample([asked("q")]))[0], Failed)


def test_the_model_is_looked_up() -> None:
    with serving() as a, serving({**CARD, "root": "/other"}) as b:
        assert EndpointSampler([a.url], "/weights").model == "student"
        with pytest.raises(UserError, match=r"does not serve 'x'.*student"):
            EndpointSampler([a.url], "x")
        with pytest.raises(UserError, match="different models"):
            EndpointSampler([a.url, b.url])
    with pytest.raises(UserError, match="does not answer"):
        EndpointSampler(["http://127.0.0.1:9/v1"])


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-mine")
    with serving() as server:
        sampler = EndpointSampler([server.url])
        dict(sampler.sample([asked("q")]))
        assert server.keys == ["Bearer sk-of-mine"]
        assert "sk-of-mine" not in json.dumps(sampler.identity)


def test_a_key_that_a_server_quotes_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-mine-0123456789")
    with serving() as server:
        server.rules = {"q": {"codes": [400], "said": "bad key sk-of-mine-0123456789, sk-of***789"}}
        (_, outcome), = EndpointSampler([server.url]).sample([asked("q")])
    assert isinstance(outcome, Failed) and "bad key" in outcome.error
    assert "0123456789" not in outcome.error and "sk-of" not in outcome.error


def test_a_server_that_takes_openais_fields_alone(capsys: pytest.CaptureFixture) -> None:
    """It refuses ours once, and is asked without it from then on."""
    with serving() as server:
        server.refused = "skip_special_tokens"
        sampler = EndpointSampler([server.url], concurrency=1)
        outcomes = dict(sampler.sample([asked("q", seed=i) for i in range(5)]))
        assert all(isinstance(o, Completion) for o in outcomes.values())
        assert len(server.bodies) == 6
    assert capsys.readouterr().err.count("takes no skip_special_tokens") == 1


def test_a_request_has_a_limit_of_time_in_all() -> None:
    """A byte now and then keeps a connection alive, and no request with it."""
    with serving() as server:
        server.rules = {"q": {"drip_s": 0.2}}
        sampler = EndpointSampler([server.url], timeout_s=1.0, retries=0)
        (_, outcome), = sampler.sample([asked("q")])
    assert isinstance(outcome, Failed) and "no answer within 1 s" in outcome.error


def test_a_refused_key_ends_the_run_and_what_was_in_flight_is_kept() -> None:
    with serving() as server:
        server.rules = {"slow": {"wait_s": 1.0}, "no": {"codes": [401] * 300, "wait_s": 0.3}}
        seen = []
        with pytest.raises(Unusable, match="refuses the key"):
            for _, outcome in EndpointSampler([server.url]).sample(
                    [asked("slow"), asked("no"), *(asked("no", seed=i) for i in range(200))]):
                seen.append(outcome)
        assert [o.text for o in seen if isinstance(o, Completion)] == ["SLOW"]
        assert len(server.bodies) <= 64


def _generate(server: Server, folder: Path, *more: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "drp_plugin", "generate", str(folder / "q.jsonl"), "-o",
         str(folder / "t.jsonl"), "--prompt", "eval_plain", "--base-url", server.url, *more],
        stderr=subprocess.PIPE, text=True)


def _questions(folder: Path, n: int) -> None:
    (folder / "q.jsonl").write_text("".join(
        json.dumps({"id": f"q{i}", "question": f"q{i}"}) + "\n" for i in range(n)))


def _rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "t.jsonl").read_text().splitlines()]


def test_two_processes_on_one_output_ask_for_each_completion_once(tmp_path: Path) -> None:
    _questions(tmp_path, 60)
    with serving() as server:
        server.wait_s = 0.3
        both = [_generate(server, tmp_path, "--engine-arg", "concurrency=4") for _ in range(2)]
        for process in both:
            said = process.communicate(timeout=300)[1]
            assert process.returncode == 0, said
        assert sorted(b["messages"][0]["content"] for b in server.bodies) == sorted(
            f"q{i}" for i in range(60))
    assert [row["id"] for row in _rows(tmp_path)] == [f"q{i}" for i in range(60)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_keeps_what_is_in_flight(tmp_path: Path, number: int) -> None:
    _questions(tmp_path, 40)
    with serving() as server:
        server.wait_s = 1.5
        process = _generate(server, tmp_path, "--engine-arg", "concurrency=4")
        while len(server.bodies) < 4 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        said = process.communicate(timeout=300)[1]
        assert process.returncode == 130, said
        assert "waiting for 4 answers" in said
        asked_for, server.wait_s = len(server.bodies), 0.0
        assert asked_for < 12 and not (tmp_path / "t.jsonl").exists()
        again = _generate(server, tmp_path)
        assert again.wait(timeout=300) == 0
        assert len(server.bodies) == 40  # what was in flight is not asked for again


def test_a_refusing_server_leaves_good_traces_alone(tmp_path: Path) -> None:
    _questions(tmp_path, 3)
    (tmp_path / "t.jsonl").write_text('{"id": "good"}\n' * 6)
    with serving() as server:
        server.rules = {f"q{i}": {"codes": [400] * 9} for i in range(3)}
        process = _generate(server, tmp_path)
        said = process.communicate(timeout=300)[1]
    assert process.returncode == 2 and "none of 3 completions succeeded: HTTP 400" in said
    assert len(_rows(tmp_path)) == 6
