"""What servers and the environment bring before the first reply, and the files of a batch."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from drp_plugin.errors import UserError
from drp_plugin.llm.ledger import Entry, Ledger
from drp_plugin.llm.limiter import Limiter
from drp_plugin.llm.messages import Message, Reply
from drp_plugin.llm.openai_client import OpenAITeacher
from drp_plugin.llm.retry import Persistent, Transient
from drp_plugin.llm.transport import http_client
from drp_plugin.redact import redact
from drp_plugin.sampling import endpoint
from drp_plugin.sampling.completions import SampleRequest
from drp_plugin.sampling.endpoint import EndpointSampler

NESTED = "[" * 100_000 + "]" * 100_000
CHOICE = {"message": {"content": "7"}, "finish_reason": "stop"}


@contextmanager
def peer(models: str, reply: str = "", status: int = 200, location: str = "",
         drip_s: float = 0.0) -> Iterator[tuple[str, list[str]]]:
    """The address of a server that says this, and the paths that it was asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = (reply if self.command == "POST" else models).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) + bool(drip_s)))
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(body)
            if drip_s:
                over.wait(drip_s)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    over, server = threading.Event(), ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        over.set()
        server.shutdown()
        server.server_close()


def cards(*found: object) -> str:
    return json.dumps({"object": "list", "data": found})


@pytest.mark.parametrize(("card", "context"), [
    ('"max_model_len": "x"', None), ('"max_model_len": 1e999', None),
    ('"max_model_len": NaN', None),
    ('"max_model_len": -5', None), ('"max_model_len": true', None), ('"max_model_len": [9]', None),
    ('"max_model_len": 9', 9), ('"id": "m", "root": ["../x"]', None)])
def test_what_a_server_says_of_its_model_may_be_odd(card: str, context: int | None) -> None:
    with peer(f'{{"data": [{{"id": 5}}, {{"id": "m", {card}}}]}}') as (url, _):
        assert EndpointSampler([url], "m").context == context


@pytest.mark.parametrize(("models", "says"), [
    (NESTED, "no reply"), ("[" * 100_000, "no reply"), ('{"data": {"a": 1}}', "no reply"),
    ('{"data": [7]}', "no reply"), ("null", "no reply"), ("", "no reply"),
    (" " * (33 << 20), "longer than 32 MiB"),
    (cards({"id": "\ud800"}, {"id": "\x1b]0;x\x07"}), "It serves: ⟨U+D800⟩, ⟨U+001B⟩]0;x")])
def test_a_list_of_models_that_is_none_is_refused(models: str, says: str) -> None:
    with peer(models) as (url, _), pytest.raises(UserError) as caught:
        EndpointSampler([url], "m")
    assert says in str(caught.value) and url in str(caught.value)


def test_a_long_list_of_models_is_told_in_part() -> None:
    with peer(cards(*({"id": f"m{n}"} for n in range(50_000)))) as (url, _), \
            pytest.raises(UserError) as caught:
        EndpointSampler([url], "m")
    assert len(str(caught.value)) < 400


def test_the_look_at_a_server_is_not_sent_on_to_another_host() -> None:
    with peer(cards({"id": "m"})) as (other, heard), \
            peer("", status=307, location=other.replace("127.0.0.1", "localhost") + "/models"
                 ) as (url, _), pytest.raises(UserError, match="sends requests on to"):
        EndpointSampler([url], "m")
    assert heard == []


def test_the_look_at_a_server_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "_LOOK_S", 0.5)
    with peer(cards({"id": "m"}), drip_s=600) as (url, _), pytest.raises(UserError, match="time"):
        EndpointSampler([url], "m")


@pytest.mark.parametrize("reply", [
    NESTED, '{"choices": ' + NESTED + "}",
    json.dumps({"choices": [CHOICE | {"message": {"content": None, "reasoning_content": 5}}]})])
def test_a_reply_that_cannot_be_read_is_a_failed_one(reply: str) -> None:
    asked = SampleRequest(messages=(Message(role="user", content="q"),), max_new_tokens=9)
    with peer(cards({"id": "m"}), reply) as (url, _):
        (found,) = dict(EndpointSampler([url], "m", retries=0).sample([asked])).values()
    assert "not a model's" in found.error


def teacher() -> OpenAITeacher:
    return OpenAITeacher("m", base_url="http://127.0.0.1:9/v1", persistent=Persistent(Limiter(1)))


def line(key: str, status: object = 200) -> str:
    return json.dumps({"custom_id": key, "response": {
        "status_code": status, "body": {"choices": [CHOICE]}}})


def test_every_line_of_a_batch_that_can_be_read_counts(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text("\ufeff" + "\n".join([
        line("a"), NESTED, line("b", "200"), '{"custom_id": "x", "response": ' + NESTED + "}",
        "<p>", line("c", 500), line("d", [200]), line("e", "many")]))
    found = dict(teacher().batch().results(file))
    assert [key for key, value in found.items() if isinstance(value, Reply)] == ["a", "b"]
    assert set(found) == {"a", "b", "c", "d", "e"}
    assert not any("instance" in str(value) for value in found.values()), "Python's own words"


@pytest.mark.parametrize(("content", "fetched"), [
    ("<html>wait</html>", None), (NESTED, None), ("", True), ("\n", True), (line("a"), True),
    ("<p>\n" + line("a"), True)])
def test_a_page_in_place_of_a_batchs_file_is_not_taken_for_it(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, fetched: bool | None
        ) -> None:
    batch = teacher().batch()

    async def download(name: str, target: Path) -> bool:
        target.write_text(content)
        return True

    monkeypatch.setattr(batch, "_download", download)
    if fetched:
        assert asyncio.run(batch._fetched("x", tmp_path / "f"))
    else:
        with pytest.raises(Transient, match="not a file"):
            asyncio.run(batch._fetched("x", tmp_path / "f"))


@pytest.mark.parametrize(("name", "value", "says"), [
    ("HTTP_PROXY", "http://u:password12@[::1", "HTTP_PROXY"),
    ("https_proxy", "odd://u:password12@h", "HTTPS_PROXY"), ("ALL_PROXY", "::::", "ALL_PROXY"),
    ("http_proxy", "http://u:password12@h:port", "HTTP_PROXY"),
    ("SSL_CERT_FILE", "/absent.pem", "SSL_CERT_FILE"),
    ("SSL_CERT_FILE", __file__, "SSL_CERT_FILE")])
def test_an_environment_that_cannot_be_used_is_told(monkeypatch: pytest.MonkeyPatch, name: str,
                                                    value: str, says: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=says) as caught:
        http_client()
    assert "password12" not in str(caught.value) and "unset it" in str(caught.value)


@pytest.mark.parametrize("address", [
    "http://user:p4ssword!@proxy:80", "user:p4ssword!@proxy", "http://user:p4ss%77ord%21@proxy",
    "socks5h://user:p4ssword!@[::1]:1"])
def test_a_proxys_login_is_a_secret(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("ALL_PROXY", address)
    for said in ("p4ssword!", "user:p4ssword!", base64.b64encode(b"user:p4ssword!").decode()):
        clean = redact(f"the proxy got {said} ")
        assert "[key]" in clean and said[:-2] not in clean, said  # the last bits are not the key's
    assert redact("git@host:path and user") == "git@host:path and user"


@pytest.mark.parametrize("value", [NESTED, b"\xff\x00", "9" * 5000, "{"])
def test_a_damaged_value_of_a_ledger_is_told(tmp_path: Path, value: str | bytes) -> None:
    ledger = Ledger(tmp_path / "l.sqlite")
    ledger.put(Entry("k", {"text": "x"}, "t", None))
    ledger._change("UPDATE replies SET value=?", value)
    with pytest.raises(UserError, match="is damaged"):
        ledger.get("k")
    ledger.close()


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="this system has no such file")
def test_a_file_that_cannot_be_read_is_named_and_no_folder_is_left(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-P", "-m", "drp_plugin", "prune", "/proc/self/mem",
                           "-o", "run", "--teacher", "offline"], cwd=tmp_path,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "drp: /proc/self/mem: Input/output error" in done.stderr
    assert "Traceback" not in done.stderr and not list(tmp_path.iterdir())


def test_the_next_command_can_be_pasted(tmp_path: Path) -> None:
    """It names the folder as a shell takes it."""
    (tmp_path / "a b;c").mkdir()
    (tmp_path / "a b;c" / "pruned.jsonl").touch()
    (tmp_path / "a b;c" / "rejects.jsonl").touch()
    done = subprocess.run([sys.executable, "-P", "-m", "drp_plugin", "stats", "a b;c"],
                          cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "next: drp inspect 'a b;c' --serve" in done.stderr
