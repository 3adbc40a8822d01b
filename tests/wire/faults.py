"""What goes wrong on the loopback provider's wire, and which requests it happens to."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request as Http
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

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


class Cut(Response):
    """Promises more than it sends, then drops the connection."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200,
                    "headers": [(b"content-type", b"application/json"),
                                (b"content-length", b"5000")]})
        await send({"type": "http.response.body", "body": b'{"id": "chatcmpl-', "more_body": True})
        raise ConnectionAbortedError
