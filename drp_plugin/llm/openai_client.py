"""OpenAI and every endpoint that speaks its chat completions API, by the `openai` library, live
and in batches; several such servers of one model, which share the work."""

import json
import os
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from drp_plugin.errors import UserError
from drp_plugin.finish import ending
from drp_plugin.jsonl import encodable, loads
from drp_plugin.llm import addresses
from drp_plugin.llm.blame import no_connection
from drp_plugin.llm.ledger_client import EMPTY_ATTEMPTS, to_value, usable
from drp_plugin.llm.messages import Reply, Request, Teacher, TeacherError, usage_of
from drp_plugin.llm.remote import BatchApi, Limits, RemoteTeacher, Status, finish_of
from drp_plugin.llm.retry import Persistent, Transient, Unusable, no_reply, stopping
from drp_plugin.llm.transport import http_client

KEY = "OPENAI_API_KEY"
CONNECT_S = 20.0
_ENDPOINT = "/v1/chat/completions"  # Of a batch's requests
# where a body without an answer says why
_ERRORS = ("error", "errors", "detail", "message", "error_msg", "base_resp")
# what `with_raw_response` sends: the reply is returned unparsed, with its headers
RAW = {"X-Stainless-Raw-Response": "true"}
S = TypeVar("S", bound="OpenAITeacher")
T = TypeVar("T")


class OpenAITeacher(RemoteTeacher):
    """`openai:MODEL`, or any model behind an OpenAI-compatible `base_url`."""

    kind, variable = "openai", KEY

    def __init__(self, model: str, *, base_url: str | None, persistent: Persistent,
                 api_key: str | None = None) -> None:
        super().__init__(model, api_key or addresses.find_key(self.variable), persistent)
        self.base_url = addresses.find_base_url(self.name, base_url or None)
        self.official = addresses.is_official(self.name, self.base_url)
        if not self._key and (self.official or self.kind == "azure"):
            raise UserError(f"teacher {self.name} needs an API key",
                            fix=f"Set the environment variable {self.variable}")
        self._key = self._key or "none"  # local servers take any, and the library wants one
        if not self.official:
            self.identity["base_url"] = str(self.base_url).rstrip("/")
        persistent.where = self.base_url or persistent.where
        self.client = self._client()

    def _client(self, **more: Any) -> Any:
        from openai import AsyncAzureOpenAI, AsyncOpenAI, Timeout

        timeout = Timeout(self.persistent.timeout_s,
                          connect=min(CONNECT_S, self.persistent.timeout_s))
        made = AsyncAzureOpenAI if more else AsyncOpenAI
        return made(api_key=self._key, max_retries=0, http_client=http_client(), timeout=timeout,
                    **(more or addresses.client_address(self.base_url)))

    def body(self, request: Request) -> dict[str, Any]:
        return chat_body(self.model, request, official=self.official)

    async def _send(self, body: Any) -> tuple[Any, Any]:
        from openai.types.chat import ChatCompletion

        # the library's way to send a finished body: `chat.completions.create` checks every message
        # against its type hints, which costs more than the rest of a request
        response = await self.client.post("/chat/completions", body=body, cast_to=ChatCompletion,
                                          options={"headers": RAW})
        return response.http_response.content, response.headers

    def read(self, content: bytes | dict[str, Any]) -> Reply:
        """A body with status 200 as a reply; raises what the error in it means."""
        try:
            body = loads(content) if isinstance(content, bytes) else content
            if not body.get("choices") and any(map(body.get, _ERRORS)) and "done" not in body:
                fault = body
            elif error := body["choices"][0].get("error") or body.get("error"):
                fault = {"error": error}
            elif ending(said := body["choices"][0].get("finish_reason")) == "error":
                fault = {"message": f"the reply ended with {said!r}"}
            else:
                return self._completion(body)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            raw = content if isinstance(content, bytes) else json.dumps(content).encode()
            raise no_reply(self.clean(raw[:2000].decode("utf-8", "replace"))) from None
        raise self.blame(None, fault)

    def _completion(self, body: dict[str, Any]) -> Reply:
        return read_completion(body)

    def _explain(self, error: Exception) -> Exception:
        import openai

        if isinstance(error, openai.APIStatusError):
            body = error.body if isinstance(error.body, dict | list) else error.response.text
            return self.blame(error.status_code, body, error.response.headers)
        cause = error.__cause__ or error
        # through aiohttp a refused connection looks like a connect time-out: no server is there
        # either
        connecting = type(cause).__name__.startswith("Connect")
        if isinstance(error, openai.APITimeoutError) and not connecting:
            return Transient(f"no answer within {self.persistent.timeout_s:g} s",
                             fix="Give a higher --timeout, or look at the server's log")
        if isinstance(cause, Transient):
            return cause
        return Transient(f"connection failed: {no_connection(error)}", unreachable=True)

    def batch(self) -> BatchApi:
        return OpenAIBatch(self)

    async def close(self) -> None:
        await self.client.close()


class AzureTeacher(OpenAITeacher):
    """`azure:DEPLOYMENT`: Azure OpenAI, at `base_url` or AZURE_OPENAI_ENDPOINT."""

    kind, variable = "azure", "AZURE_OPENAI_API_KEY"
    place = "the deployment's name, OPENAI_API_VERSION, and AZURE_OPENAI_ENDPOINT or --base-url"

    def _client(self) -> Any:  # type: ignore[override]
        if not self.base_url:
            raise UserError(f"teacher {self.name} needs the resource's address",
                            fix="Set the environment variable AZURE_OPENAI_ENDPOINT")
        endpoint, version = addresses.azure_address(self.base_url)
        version = version or os.environ.get("OPENAI_API_VERSION", "").strip()
        if not version:
            raise UserError(f"teacher {self.name} needs the API's version", fix="Set the "
                            "environment variable OPENAI_API_VERSION, for example 2024-10-21")
        return super()._client(azure_endpoint=endpoint, azure_deployment=self.model,
                               api_version=version)

    batch = Teacher.batch  # It has none: Azure's batches need a deployment of their own kind


class Servers(Generic[S]):
    """Shares requests out. Each goes to the least busy server; if that one is gone or fails at it,
    to another one. A server that was gone is tried again after a while, by one request first. If
    all are gone, the last one is tried as patiently as if it were the only one."""

    def __init__(self, servers: Sequence[S]) -> None:
        self.servers = deque(servers)
        for server in servers:
            server.persistent.elsewhere = partial(self._elsewhere, server)

    async def ask(self, attempt: Callable[[S], Awaitable[T]], tried: Sequence[S] = ()) -> T:
        """The result of `attempt` at a server; those that failed at it before are `tried`. Raises
        what it raises at the last one."""
        hops = 2 * len(self.servers)
        while True:
            server, hops = self._next(tried), hops - 1
            try:
                return await attempt(server)
            except (TeacherError, Unusable) as error:
                if stopping() or not hops or not server.persistent.gives_way(error):
                    raise
            tried = [*tried, server]

    def _next(self, tried: Sequence[S]) -> S:
        chosen = min(self.servers, key=lambda server: (
            server.persistent.away, tried.count(server), server.persistent.running))
        self.servers.rotate(-1)  # equally busy servers take turns
        if chosen.persistent.gone:  # the others wait for the outcome of this one
            chosen.persistent.stay_away(CONNECT_S)
        return chosen

    def _elsewhere(self, asked: S) -> bool:
        return not all(server is asked or server.persistent.away for server in self.servers)


class SharedTeacher(Teacher):
    """One model behind several servers, which the ledger does not tell apart."""

    def __init__(self, servers: Sequence[OpenAITeacher]) -> None:
        self.name = servers[0].name
        self.identity = {**servers[0].identity, "base_url": addresses.SEVERAL}
        self.connections = [server.persistent for server in servers]
        self._servers = Servers(servers)
        self._empty: dict[int, list[OpenAITeacher]] = {}  # Who sent no text, by a request's id()

    async def ask(self, request: Request) -> Reply:
        """Answer one request, by any of the servers; raises as `OpenAITeacher.ask`."""
        empty = self._empty.pop(id(request), [])

        async def attempt(server: OpenAITeacher) -> Reply:
            reply = await server.ask(request)
            if not usable(to_value(reply, None)) and len(empty) + 1 < EMPTY_ATTEMPTS:
                self._empty[id(request)] = [*empty, server]  # the next attempt goes elsewhere
            return reply

        return await self._servers.ask(attempt, empty)

    async def close(self) -> None:
        for server in self._servers.servers:
            await server.close()


def chat_body(model: str, request: Request, *, official: bool) -> dict[str, Any]:
    """The JSON body of a chat completion, for live requests and batch lines alike."""
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": m.role, "content": encodable(m.content)} for m in request.messages],
        "temperature": sampling.temperature, "top_p": sampling.top_p, "seed": sampling.seed,
        # OpenAI's newer models refuse max_tokens; most compatible servers know only that
        "max_completion_tokens" if official else "max_tokens": sampling.max_tokens,
    }
    if request.json_schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": {
            "name": "reply", "schema": request.json_schema, "strict": True}}
    body.update(sampling.extra)
    return {key: value for key, value in body.items() if value is not None}


def read_completion(body: dict[str, Any]) -> Reply:
    """A chat completion as a reply. Raises KeyError, TypeError, … for anything else."""
    choice = body["choices"][0]
    message = choice["message"]
    refusal = message.get("refusal")
    text = _text(message.get("content"))
    finish = finish_of(choice.get("finish_reason"))
    if refusal or (finish == "refusal" and not text):
        text, finish = str(refusal or "withheld by a filter"), "refusal"
    return Reply(text=encodable(text), finish_reason=finish,
                 usage=usage_of(body.get("usage"), "prompt_tokens", "completion_tokens"))


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
    key_field, unknown, queue_full = "custom_id", (400, 404), "token_limit"

    def line(self, key: str, request: Request) -> str:
        return json.dumps({"custom_id": key, "method": "POST", "url": _ENDPOINT,
                           "body": self._teacher.body(request)})

    async def _upload(self, file: Path, label: str) -> str:
        return str((await self._client.files.create(file=file, purpose="batch")).id)

    async def _begin(self, uploaded: str, label: str) -> str:
        return str((await self._client.batches.create(input_file_id=uploaded, endpoint=_ENDPOINT,
            completion_window="24h", metadata={"drp": label})).id)

    async def _listed(self) -> AsyncIterator[tuple[str | None, str]]:
        async for batch in self._client.batches.list(limit=100):
            yield (batch.metadata or {}).get("drp"), str(batch.id)

    async def _get(self, batch_id: str) -> Status:
        batch = await self._client.batches.retrieve(batch_id)
        counts, errors = batch.request_counts, (batch.errors.data if batch.errors else None) or []
        done = sum(getattr(counts, name, None) or 0 for name in ("completed", "failed"))
        return self._status(batch.status, done, [(str(e.code), str(e.message)) for e in errors],
                            (batch.output_file_id, batch.error_file_id))

    async def _download(self, name: str, target: Path) -> bool:
        async with self._client.files.with_streaming_response.content(name) as response:
            await response.stream_to_file(target)
        return True

    def _answer(self, row: dict[str, Any]) -> tuple[int | None, Any]:
        response = row.get("response") or {}
        body = response.get("body") or row.get("error") or {}
        return response.get("status_code") or (200 if "choices" in body else None), body
