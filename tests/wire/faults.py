"""What goes wrong on the loopback provider's wire, and which requests it happens to."""

from __future__ import annotations

import asyncio
import functools
import random
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request as Http
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

MESSAGES = {
    # what servers say of one request, or of the moment: (status, body, headers)
    "body-429": (200, {"error": {"code": 429, "message": "Rate limit exceeded"}}, {}),
    "body-502": (200, {"error": {"code": 502, "message": "Provider returned error",
                                 "metadata": {"raw": "upstream connect error"}}}, {}),
    "detail-503": (503, {"detail": "no worker is free"}, {}),
    "list-503": (503, [{"error": {"code": 503, "message": "The model is overloaded",
                                  "status": "UNAVAILABLE"}}], {}),
    "529": (529, {"type": "error", "error": {"type": "overloaded_error",
                                             "message": "Overloaded"}}, {}),
    "429-zero": (429, {"error": {"message": "slow down"}}, {"retry-after": "0"}),
    "429-date": (429, {"message": "Too many requests"},
                 {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    "html-502": (502, "<html><h1>Bad gateway: model not found, insufficient_quota</h1></html>", {}),
    "no-choices": (200, {"id": "x", "choices": [], "usage": None}, {}),
    "null-choices": (200, {"choices": None}, {}),
    "stream": (200, 'data: {"choices": [{"delta": {"content": "hi"}}]}\n\ndata: [DONE]\n\n', {}),
    "deep": (200, "[" * 100_000, {}),
    "latin": (200, b'{"choices": [{"message": {"content": "\xff\xfe"', {}),
    "not-gzip": (200, "this is no gzip", {"content-encoding": "gzip"}),
    "circle": (302, "", {"location": "/v1/chat/completions"}),
    "brackets": (500, {"error": {"message": "[/INST] [red]boom[/] \x1b[31m"}}, {}),
    "flagged": (403, {"error": {"code": 403, "message": "Your input was flagged",
                                "metadata": {"reasons": ["odd"], "flagged_input": "apples"}}}, {}),
    "odd-400": (400, {"error": {"message": "I do not like this one"}}, {}),
    "tpm": (429, {"error": {"message": "Request too large for m on tokens per min (TPM): Limit "
                            "30000, Requested 45000", "code": "rate_limit_exceeded"}}, {}),
}
SHORT = tuple(MESSAGES)
# what is odd in a body that holds an answer, or a part of one
BODIES = ("error-finish", "resource", "parts", "eos", "null-finish", "new-word", "surrogate",
          "echo", "negative", "absurd", "no-usage", "text-usage")


def alter(fault: str | None, body: dict[str, Any], key: str) -> dict[str, Any]:
    """A completion with something odd in it."""
    choice = body["choices"][0]
    message, usage = choice["message"], body.get("usage")
    text = message["content"] or ""
    if fault == "error-finish":
        choice.update(finish_reason="error", error={"code": 502, "message": "upstream"})
        message["content"] = text[:len(text) // 2]
    elif fault == "resource":
        choice["finish_reason"] = "insufficient_system_resource"
        message["content"] = text[:len(text) // 2]
    elif fault == "parts":
        message["content"] = [
            {"type": "thinking", "thinking": [{"type": "text", "text": "let me see"}]},
            {"type": "text", "text": text[:9]}, {"type": "text", "text": text[9:]}]
    elif fault in ("eos", "null-finish", "new-word"):
        choice["finish_reason"] = {"eos": "eos_token", "new-word": "bravo"}.get(fault)
    elif fault == "surrogate":
        message["content"] = text + "\ud83d"
    elif fault == "echo":
        message["content"] = f"{text}\n{key}"
    elif fault == "negative":
        usage.update(prompt_tokens=-5, completion_tokens=-100_000)
    elif fault == "absurd":
        usage.update(prompt_tokens=10 ** 15, completion_tokens=1)
    elif fault == "no-usage":
        del body["usage"]
    elif fault == "text-usage":
        body["usage"] = "12 tokens"
    return body


TRANSPORT = ("429", "429-after", "500", "503", "cut", "half", "silence")
CONTENT = ("empty", "refusal", "length", "format")


@dataclass
class Faults:
    """Which requests fail, and how."""

    rate: float = 0.0
    kinds: tuple[str, ...] = TRANSPORT + CONTENT
    seed: int = 0
    silence_s: float = 60.0
    retry_after_s: float = 0.2
    script: list[str | None] = field(default_factory=list)
    """The first requests' faults, one by one; None is no fault. The rate holds after them."""
    quote_key: bool = False
    """Error messages quote the API key, as providers do."""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self.injected: Counter[str] = Counter()

    def next(self) -> str | None:
        if self.script:
            kind = self.script.pop(0)
        else:
            kind = (self._random.choice(self.kinds) if self._random.random() < self.rate
                    else None)
        if kind:
            self.injected[kind] += 1
        return kind

    async def response(self, fault: str | None, http: Http, gemini: bool) -> Response | None:
        """The response of a transport fault; None where the request is to be answered."""
        key = http.headers.get("x-goog-api-key") or http.headers.get("authorization", "")
        quoted = f" (key {key})" if self.quote_key else ""

        def error(status: int, text: str, headers: dict[str, str] | None = None,
                  details: list[Any] | None = None) -> Response:
            body: dict[str, Any] = {"message": text + quoted}
            if gemini:
                body |= {"code": status, "status": "RESOURCE_EXHAUSTED" if status == 429
                         else "UNAVAILABLE", "details": details or []}
            else:
                body |= {"type": "requests" if status == 429 else "server_error",
                         "param": None, "code": None}
            return JSONResponse({"error": body}, status, headers)

        if fault in MESSAGES:
            status, content, headers = MESSAGES[fault]
            if isinstance(content, str | bytes):
                return Response(content, status, headers, "application/json")
            return JSONResponse(content, status, headers)
        if fault == "bomb":
            return Response(bomb(), 200, {"content-encoding": "gzip"}, "application/json")
        if fault == "429":
            return error(429, "Rate limit reached")
        if fault == "429-after":
            wait = self.retry_after_s
            return error(429, "Rate limit reached", {"retry-after": str(wait)},
                         [{"@type": "type.googleapis.com/google.rpc.RetryInfo",
                           "retryDelay": f"{wait}s"}])
        if fault in ("500", "503"):
            return error(int(fault), "The server had an error")
        if fault == "401":
            return error(401, "Incorrect API key provided")
        if fault == "402":
            return error(402, "Insufficient balance")
        if fault == "html":
            return HTMLResponse("<html><head><title>Sign in</title></head></html>")
        if fault == "cut":
            return Cut()
        if fault == "half":
            return PlainTextResponse('{"id": "chatcmpl-1", "choices": [{"index": 0, "mess',
                                     media_type="application/json")
        if fault == "silence":
            await asyncio.sleep(self.silence_s)
            return error(500, "too late")
        return None


@functools.cache
def bomb(mebibytes: int = 300) -> bytes:
    """Spaces, packed to a thousandth."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join([*(packer.compress(b" " * 2 ** 20) for _ in range(mebibytes)),
                     packer.flush()])


class Cut(Response):
    """Promises more than it sends, then drops the connection."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200,
                    "headers": [(b"content-type", b"application/json"),
                                (b"content-length", b"5000")]})
        await send({"type": "http.response.body", "body": b'{"id": "chatcmpl-', "more_body": True})
        raise ConnectionAbortedError
