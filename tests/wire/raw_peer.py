"""A server below HTTP's rules: it answers as the provider does, but some replies are bytes that no
web framework would send."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import Callable
from typing import Any

from faults import Faults
from provider import Answer

from drp_plugin.teachers.serve import read_request

Lie = Callable[["RawPeer", dict[str, Any]], bytes]


def http(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """A response."""
    head = [f"HTTP/1.1 {status}", "content-type: application/json", *headers,
            f"content-length: {len(body) if length is None else length}", "connection: close"]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def packed(content: Any) -> bytes:
    return json.dumps(content).encode()


def usage(text: str) -> Lie:
    """The right answer, with these figures of tokens in the body, which json would not write."""
    return lambda _, reply: http(packed(reply | {"usage": "@"}).replace(b'"@"', text.encode()))


def changed(**choice: Any) -> Lie:
    """The right answer with these fields of its choice."""
    return lambda _, reply: http(packed(
        reply | {"choices": [reply["choices"][0] | choice]}))


def headed(*headers: str) -> Lie:
    """The right answer under these headers."""
    return lambda _, reply: http(packed(reply), *headers)


def chunked(_: RawPeer, reply: dict[str, Any]) -> bytes:
    """Cut off within the second chunk."""
    body = packed(reply)
    return (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n"
            b"\r\n%x\r\n%s\r\n%x\r\n" % (9, body[:9], len(body) - 9) + body[9:30])


def anothers(peer: RawPeer, reply: dict[str, Any]) -> bytes:
    """What the request before this one was answered with."""
    before, peer.last = peer.last or reply, reply
    return http(packed(before))


LIES: dict[str, Lie] = {
    "chunk-cut": chunked,
    "two-bodies": lambda _, reply: http(packed(reply) * 2),
    "two-responses": lambda _, reply: http(packed(reply)).replace(
        b"connection: close\r\n", b"") * 2,
    "length-short": lambda _, reply: http(packed(reply), length=len(packed(reply)) // 2),
    "length-long": lambda _, reply: http(packed(reply), length=len(packed(reply)) + 9),
    "lengths": lambda _, reply: http(packed(reply), "content-length: 7"),
    "hints": lambda _, reply: b"HTTP/1.1 103 Early Hints\r\nx: y\r\n\r\n" * 400
    + http(packed(reply)),
    "elsewhere": lambda peer, _: http(b"", f"location: {peer.elsewhere}", status="307 Go"),
    "elsewhere-get": lambda peer, _: http(b"", f"location: {peer.elsewhere}", status="303 Look"),
    "no-place": lambda _, __: http(b"", "location: http://[::1", status="308 Gone"),
    "loop": lambda peer, _: http(b"", "location: /v1/chat/completions?again", status="307 Again"),
    "cookies": headed(*(f"set-cookie: c{n}={'x' * 900}" for n in range(90))),
    "http-0.9": lambda _, reply: packed(reply),
    "zip-lie": headed("content-encoding: br"),
    "zip-twice": lambda _, reply: http(gzip.compress(packed(reply)),
                                       "content-encoding: gzip, gzip"),
    "utf-16": lambda _, reply: http(json.dumps(reply).encode("utf-16")),
    "bom": lambda _, reply: http(b"\xef\xbb\xbf" + packed(reply)),
    "twice-a-key": lambda _, reply: http(
        b'{"choices": [{"message": 7}], "usage": 7, ' + packed(reply)[1:]),
    "digits": usage('{"prompt_tokens": ' + "9" * 5000 + ', "completion_tokens": 1}'),
    "many-digits": usage('{"prompt_tokens": ' + "9" * 4000 + ', "completion_tokens": 1}'),
    "nan": usage('{"prompt_tokens": NaN, "completion_tokens": -Infinity}'),
    "huge": usage('{"prompt_tokens": 1e400, "completion_tokens": 1e-400}'),
    "usage-text": usage('{"prompt_tokens": "12", "completion_tokens": ["3"]}'),
    "usage-list": usage("[[12]]"),
    "anothers": anothers,
    "headers": headed("x-\x1b]0;owned\x07: 1", "retry-after: 0\r\nx-note: \x9b31m"),
    "limits": headed("x-ratelimit-remaining-requests: nan", "x-ratelimit-reset-requests: 1e999s",
                     "x-ratelimit-remaining-tokens: " + "9" * 5000),
    "wait-text": lambda _, __: http(b"{}", "retry-after: nan", status="429 Slow"),
    "wait-digits": lambda _, __: http(b"{}", "retry-after: -" + "9" * 5000, status="503 No"),
    "nothing": lambda _, __: http(b"", status="204 No Content"),
    "status": lambda _, __: http(b"{}", status="999 \x1b[31mred"),
    "no-message": changed(message=None),
    "tools": changed(message={"role": "assistant", "content": None, "tool_calls": [{"id": "x"}]}),
    "content-tree": changed(message={"content": {"text": {"text": []}}}),
    "finish-list": changed(finish_reason=["stop", {"length": 1}]),
    "choices-map": lambda _, reply: http(packed(reply | {"choices": {"0": reply["choices"]}})),
    "just-true": lambda _, __: http(b"true"),
}


class RawPeer:
    """The server; `elsewhere` is where it sends requests that it redirects."""

    def __init__(self, answer: Answer, faults: Faults | None = None, elsewhere: str = "") -> None:
        self.answer, self.faults, self.elsewhere = answer, faults or Faults(), elsewhere
        self.received = self.port = 0
        self.last: dict[str, Any] | None = None
        self.heard = b""
        """Everything that came in."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> RawPeer:
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2 ** 22), self._loop).result()
        self.port = server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n")
                           if line.startswith(b"content-length:")), 0)
            body = await reader.readexactly(length)
            self.received += 1
            self.heard += head + body
            fault = self.faults.next()
            writer.write(await self._says(json.loads(body), fault) if body else http(
                packed({"object": "list", "data": [{"id": "rules", "object": "model"}]})))
            await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    async def _says(self, body: dict[str, Any], fault: str | None) -> bytes:
        reply = await self.answer(read_request(body))
        content = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1,
                   "model": body["model"], "choices": [{
                       "index": 0, "finish_reason": reply.finish_reason,
                       "message": {"role": "assistant", "content": reply.text}}],
                   "usage": {"prompt_tokens": reply.usage.prompt_tokens,
                             "completion_tokens": reply.usage.completion_tokens}}
        return LIES[fault](self, content) if fault else http(packed(content))
