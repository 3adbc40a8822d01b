"""OpenAI and every endpoint that speaks its chat completions API, by the `openai` library, live
and in batches."""

import json
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.finish import ending
from drp_plugin.llm.addresses import client_address, find_base_url, find_key, is_official
from drp_plugin.llm.batch_api import BatchApi, Limits, Status
from drp_plugin.llm.blame import explain, read_error
from drp_plugin.llm.messages import Finish, Reply, Request, Teacher, plain, usage_of
from drp_plugin.llm.retry import Persistent, Transient, no_reply
from drp_plugin.redact import redact

KEY = "OPENAI_API_KEY"
CONNECT_S = 20.0
_ENDPOINT = "/v1/chat/completions"  # Of a batch's requests
LONGEST_BODY = 32 * 2 ** 20  # Bytes, unpacked: many times what a model's longest text takes
# what `with_raw_response` sends: the reply comes back with its headers, unparsed
RAW = {"X-Stainless-Raw-Response": "true"}


class _Endless(Exception):
    """A reply is longer than any of a model."""


async def _bounded(response: Any) -> None:
    """Read a reply's body, unpacked piece by piece, as long as it is no longer than it may be;
    batches' files, which may be long, go to the disk."""
    if response.request.url.path.endswith(("/content", ":download")):
        return
    parts, size = [], 0
    async for part in response.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > LONGEST_BODY:
            await response.aclose()
            raise _Endless(f"the reply is longer than {LONGEST_BODY >> 20} MiB")
    response._content = b"".join(parts)  # what the library's own `aread` leaves there


def http_client() -> Any:
    """The library's aiohttp transport, which takes half the CPU of its other one."""
    from openai import DefaultAioHttpClient

    return DefaultAioHttpClient(event_hooks={"response": [_bounded]})


class OpenAITeacher(Teacher):
    """`openai:MODEL`, or any model behind an OpenAI-compatible `base_url`."""

    kind, variable = "openai", KEY

    def __init__(self, model: str, *, base_url: str | None, persistent: Persistent,
                 api_key: str | None = None) -> None:
        self.model = model
        self.name = f"{self.kind}:{model}"
        self.base_url = find_base_url(self.name, base_url or None)
        self.official = is_official(self.name, self.base_url)
        key = api_key or find_key(self.variable)
        if not key:
            if self.official or self.kind == "azure":
                raise UserError(f"teacher {self.name} needs an API key",
                                fix=f"Set the environment variable {self.variable}")
            key = "none"  # local servers take any, and the library wants one
        self._key = key
        self.identity = {"kind": self.kind, "model": model}
        if not self.official:
            self.identity["base_url"] = str(self.base_url).rstrip("/")
        self.persistent: Persistent = persistent
        persistent.where = self.base_url or persistent.where
        self.client = self._client()

    def _client(self, **more: Any) -> Any:
        from openai import AsyncAzureOpenAI, AsyncOpenAI, Timeout

        timeout = Timeout(self.persistent.timeout_s,
                          connect=min(CONNECT_S, self.persistent.timeout_s))
        made = AsyncAzureOpenAI if more else AsyncOpenAI
        return made(api_key=self._key, max_retries=0, http_client=http_client(), timeout=timeout,
                    **(more or client_address(self.base_url)))

    async def ask(self, request: Request) -> Reply:
        """Answer one request; see `Persistent.run` for what it raises."""
        body = chat_body(self.model, request, official=self.official)
        return await self.persistent.run(lambda: self._once(body), keep=True)

    async def _once(self, body: dict[str, Any]) -> Reply:
        from openai.types.chat import ChatCompletion

        try:
            # the library's own way for a ready body: `chat.completions.create` walks through
            # every message against its type hints, which costs more than the rest of a request
            response: Any = await self.client.post(
                "/chat/completions", body=body, cast_to=ChatCompletion, options={"headers": RAW})
            content = response.http_response.content
        except Exception as error:  # a peer that is no HTTP server raises whatever it likes
            raise self._explain(error) from None
        reply = self.read(content)
        self.persistent.limiter.answered(
            response.headers, reply.usage.prompt_tokens + reply.usage.completion_tokens)
        return reply

    def read(self, content: bytes | dict[str, Any]) -> Reply:
        """A body with status 200 as a reply; raises what the error in it means."""
        try:
            body = json.loads(content) if isinstance(content, bytes) else content
            fault = error_within(body)
            if fault is None:
                return read_completion(body)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
            raw = content if isinstance(content, bytes) else json.dumps(content).encode()
            raise no_reply(self._clean(raw[:2000].decode("utf-8", "replace"))) from None
        raise explain(read_error(None, fault), self.name, self.variable)

    def _clean(self, text: str) -> str:
        return redact(text, self._key)[:500]

    def _explain(self, error: Exception) -> Exception:
        """What a failure means for this request and for the run."""
        import openai

        if isinstance(error, openai.APIStatusError):
            body = error.body if isinstance(error.body, dict | list) else error.response.text
            return explain(read_error(error.status_code, body, error.response.headers),
                           self.name, self.variable)
        cause = error.__cause__ or error
        # through aiohttp a refused connection comes as a connect time-out: nobody is there either
        connecting = type(cause).__name__.startswith("Connect")
        if isinstance(error, openai.APITimeoutError) and not connecting:
            return Transient(f"no answer within {self.persistent.timeout_s:g} s",
                             fix="Give a higher --timeout, or look at the server's log")
        if isinstance(cause, _Endless):
            return Transient(str(cause))
        text = self._clean(str(cause) or type(cause).__name__)
        return Transient(f"connection failed ({text})", unreachable=True)

    def batch(self) -> BatchApi:
        """OpenAI's Batch API, or that of a compatible server."""
        return OpenAIBatch(self)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()


class AzureTeacher(OpenAITeacher):
    """`azure:DEPLOYMENT`: Azure OpenAI, at `base_url` or AZURE_OPENAI_ENDPOINT."""

    kind, variable = "azure", "AZURE_OPENAI_API_KEY"

    def _client(self) -> Any:  # type: ignore[override]
        version = os.environ.get("OPENAI_API_VERSION", "").strip()
        if not self.base_url:
            raise UserError(f"teacher {self.name} needs the resource's address",
                            fix="Set the environment variable AZURE_OPENAI_ENDPOINT")
        if not version:
            raise UserError(f"teacher {self.name} needs the API's version", fix="Set the "
                            "environment variable OPENAI_API_VERSION, for example 2024-10-21")
        return super()._client(azure_endpoint=self.base_url, azure_deployment=self.model,
                               api_version=version)

    batch = Teacher.batch  # It has none: Azure's batches need a deployment of their own kind


def chat_body(model: str, request: Request, *, official: bool) -> dict[str, Any]:
    """The JSON body of a chat completion, for live requests and batch lines alike."""
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": m.role, "content": plain(m.content)} for m in request.messages],
        "temperature": sampling.temperature, "top_p": sampling.top_p, "seed": sampling.seed,
        # OpenAI's newer models refuse max_tokens; most compatible servers know only that
        "max_completion_tokens" if official else "max_tokens": sampling.max_tokens,
    }
    if request.json_schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": {
            "name": "reply", "schema": request.json_schema, "strict": True}}
    body.update(sampling.extra)
    return {key: value for key, value in body.items() if value is not None}


def error_within(body: Any) -> Any:
    """The error that a body with status 200 holds instead of a whole answer; None where it holds
    none. Raises KeyError, TypeError, … for what is no completion."""
    if not body.get("choices") and any(map(body.get, ("error", "errors", "detail", "message"))):
        return body
    choice = body["choices"][0]
    error = choice.get("error") or body.get("error")
    if error:
        return {"error": error}
    said = choice.get("finish_reason")
    return {"message": f"the reply ended with {said!r}"} if ending(said) == "error" else None


def read_completion(body: dict[str, Any]) -> Reply:
    """A chat completion as a reply. Raises KeyError, TypeError, … when it is none."""
    choice = body["choices"][0]
    message = choice["message"]
    refusal = message.get("refusal")
    text = _text(message.get("content"))
    finish = finish_of(choice.get("finish_reason"))
    if refusal or (finish == "refusal" and not text):
        text, finish = str(refusal or "withheld by a filter"), "refusal"
    return Reply(text=plain(text), finish_reason=finish,
                 usage=usage_of(body.get("usage"), "prompt_tokens", "completion_tokens"))


def finish_of(said: Any) -> Finish:
    """How a reply ended: `stop` too for no word or one that nobody knows; `other` is no end."""
    ends: dict[str, Finish] = {"length": "length", "refusal": "refusal", "error": "other"}
    return ends.get(ending(said), "stop")


def _text(content: Any) -> str:
    """A message's text, without parts that show the model's thinking."""
    if isinstance(content, list):
        return "".join(part if isinstance(part, str) else str(part.get("text") or "")
                       for part in content if isinstance(part, str)
                       or part.get("type", "text") in ("text", "output_text"))
    if content is not None and not isinstance(content, str):
        raise TypeError("content is no text")
    return content or ""


class OpenAIBatch(BatchApi):
    """The batches of an `OpenAITeacher`."""

    # the API reference: 50,000 requests and 200 MB a file
    limits = Limits(requests=50_000, bytes=200_000_000)
    key_field, unknown = "custom_id", (400, 404)

    def line(self, key: str, request: Request) -> str:
        body = chat_body(self._teacher.model, request, official=self._teacher.official)
        return json.dumps({"custom_id": key, "method": "POST", "url": _ENDPOINT, "body": body})

    async def _upload(self, file: Path, label: str) -> str:
        return str((await self._teacher.client.files.create(file=file, purpose="batch")).id)

    async def _begin(self, uploaded: str, label: str) -> str:
        return str((await self._teacher.client.batches.create(
            input_file_id=uploaded, endpoint=_ENDPOINT, completion_window="24h",
            metadata={"drp": label})).id)

    async def _listed(self) -> AsyncIterator[tuple[str | None, str]]:
        async for batch in self._teacher.client.batches.list(limit=100):
            yield (batch.metadata or {}).get("drp"), str(batch.id)

    async def _get(self, batch_id: str) -> Any:
        return await self._teacher.client.batches.retrieve(batch_id)

    def _status(self, batch: Any) -> Status:
        counts = batch.request_counts
        done = (counts.completed + counts.failed) if counts else 0
        if batch.status != "failed":
            ended = batch.status in ("completed", "expired", "cancelled")
            return Status("ended" if ended else "running", done, batch.status)
        errors = (batch.errors.data if batch.errors else None) or []
        too_large = any("token_limit" in str(e.code) for e in errors)
        return Status("too_large" if too_large else "invalid", done,
                      redact("; ".join(str(e.message) for e in errors) or "it failed"))

    def _files(self, batch: Any) -> Sequence[str | None]:
        return batch.output_file_id, batch.error_file_id

    async def _download(self, name: str, target: Path) -> bool:
        streaming = self._teacher.client.files.with_streaming_response
        async with streaming.content(name) as response:
            await response.stream_to_file(target)
        return True

    def _read(self, row: dict[str, Any]) -> Reply | Exception:
        response = row.get("response") or {}
        status = response.get("status_code")
        try:
            if status == 200:
                return self._teacher.read(response["body"])  # type: ignore[no-any-return]
        except Exception as fault:
            return fault
        return explain(read_error(status, response.get("body") or row.get("error") or {}),
                       self._teacher.name, self._teacher.variable)
