"""Gemini by the `google-genai` library: an AI Studio key, or Vertex AI; batches with a key."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.finish import ending
from drp_plugin.jsonl import encodable, loads
from drp_plugin.llm.addresses import find_key, uses_vertex
from drp_plugin.llm.blame import no_connection
from drp_plugin.llm.messages import Reply, Request, usage_of
from drp_plugin.llm.remote import BatchApi, Limits, RemoteTeacher, Status, finish_of
from drp_plugin.llm.retry import Persistent, Transient, no_reply
from drp_plugin.llm.transport import http_client

_COUNTS = ("prompt_token_count", "candidates_token_count", "thoughts_token_count")
_HARM = ("HARM_CATEGORY_HARASSMENT", "HARM_CATEGORY_HATE_SPEECH",
         "HARM_CATEGORY_SEXUALLY_EXPLICIT", "HARM_CATEGORY_DANGEROUS_CONTENT")
_RPC = {3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 9: 400, 13: 500, 14: 503, 16: 401}
"""The HTTP statuses of google.rpc's codes."""


class GeminiTeacher(RemoteTeacher):
    """`gemini:MODEL`."""

    kind, variable = "gemini", "GEMINI_API_KEY"

    def __init__(self, model: str, *, base_url: str | None, persistent: Persistent,
                 api_key: str | None = None) -> None:
        from google import genai
        from google.genai import types

        super().__init__(model, api_key or find_key(self.variable, "GOOGLE_API_KEY"), persistent)
        self.vertex = uses_vertex()
        if not self._key and not self.vertex:
            raise UserError(f"teacher {self.name} needs an API key",
                fix="Set the environment variable GEMINI_API_KEY (or, for Vertex AI, "
                "GOOGLE_GENAI_USE_VERTEXAI=true and GOOGLE_CLOUD_PROJECT)")
        if base_url:
            self.identity["base_url"] = base_url.rstrip("/")
        # the library's own transport would read a body of any length
        given = "httpx_async_client" in types.HttpOptions.model_fields and not self.vertex
        self._http = http_client() if given else None
        options = types.HttpOptions(
            **({"httpx_async_client": self._http} if given else {}),
            base_url=base_url, timeout=int(persistent.timeout_s * 1000),
            # batch mode and JSON schemas live in v1beta; behind a base_url the library would
            # otherwise leave it out
            api_version=None if self.vertex else "v1beta",
            retry_options=types.HttpRetryOptions(attempts=1))
        try:
            self._library = genai.Client(vertexai=self.vertex, http_options=options,
                                         api_key=None if self.vertex else self._key)
        except Exception as error:  # google-auth raises many kinds for missing credentials
            raise UserError(f"teacher {self.name}: {self.clean(str(error))}",
                            fix="Set GEMINI_API_KEY, or log in for Vertex AI") from None
        self.client = self._library.aio

    def body(self, request: Request) -> dict[str, Any]:
        sampling = request.sampling
        system = "\n\n".join(m.content for m in request.messages if m.role == "system")
        config: dict[str, Any] = {
            "temperature": sampling.temperature, "top_p": sampling.top_p, "seed": sampling.seed,
            "max_output_tokens": sampling.max_tokens, "system_instruction": system or None,
            # mathematics is harmless, and a blocked row is a lost row
            "safety_settings": [{"category": c, "threshold": "OFF"} for c in _HARM],
            **sampling.extra,
        }
        if request.json_schema is not None:
            config["response_mime_type"] = "application/json"
            config["response_json_schema"] = request.json_schema
        return {"contents": [{"role": "model" if m.role == "assistant" else "user",
            "parts": [{"text": m.content}]} for m in request.messages if m.role != "system"],
            "config": {key: value for key, value in config.items() if value is not None}}

    async def _send(self, body: Any) -> tuple[Any, None]:
        response = await self.client.models.generate_content(model=self.model, **body)
        return response.model_dump(mode="json", exclude_none=True, include={
            "candidates", "prompt_feedback", "usage_metadata"}), None

    def read(self, content: Any) -> Reply:
        """A generateContent response (snake or camel case); raises Transient for anything else."""
        def get(value: dict[str, Any], name: str) -> Any:
            return value.get(name, value.get(camel(name)))

        counts = get(content, "usage_metadata") or {}
        # thinking is billed as output
        usage = usage_of({n: get(counts, n) for n in _COUNTS}, *_COUNTS)
        blocked = get(get(content, "prompt_feedback") or {}, "block_reason")
        candidates = content.get("candidates") or []
        if not candidates:
            if not blocked:
                raise Transient("the reply holds no candidate")
            return Reply(text=f"blocked: {blocked}", finish_reason="refusal", usage=usage)
        parts = (candidates[0].get("content") or {}).get("parts") or []
        text = encodable("".join(p.get("text") or "" for p in parts if not p.get("thought")))
        said = get(candidates[0], "finish_reason")
        if ending(said) == "error":
            raise Transient(f"the reply ended with {said!r}")
        finish = finish_of(said)
        withheld = f"blocked: {said}" if finish == "refusal" else ""
        return Reply(text=text or withheld, finish_reason=finish, usage=usage)

    def _explain(self, error: Exception) -> Exception:
        from google.genai import errors

        if isinstance(error, errors.APIError):
            body = error.details if isinstance(error.details, dict | list) else str(error)
            return self.blame(error.code, body, getattr(error.response, "headers", None))
        # JSON errors for a body that was cut, or another server's page
        for parsing in (error, error.__cause__):
            if isinstance(parsing, json.JSONDecodeError):
                return no_reply(self.clean(parsing.doc[:2000]))
        return Transient(f"connection failed: {no_connection(error)}", unreachable=True)

    def batch(self) -> BatchApi:
        """Gemini's batch mode. Raises UserError on Vertex AI, whose batches work differently."""
        if self.vertex:
            raise UserError("--batch with Gemini needs an AI Studio key, not Vertex AI",
                            fix="Set GEMINI_API_KEY and unset GOOGLE_GENAI_USE_VERTEXAI")
        return GeminiBatch(self)

    async def close(self) -> None:
        await self.client.aclose()
        if self._http is not None:
            await self._http.aclose()


class GeminiBatch(BatchApi):
    """The batches of a `GeminiTeacher`."""

    # the documentation: an input file of at most 2 GB, without a limit on requests
    limits = Limits(requests=100_000, bytes=1_900_000_000)
    key_field, queue_full = "key", "quota|exhausted"

    def line(self, key: str, request: Request) -> str:
        asked = self._teacher.body(request)
        config, body = asked["config"], {"contents": asked["contents"]}
        if "safety_settings" in config:
            body["safetySettings"] = config.pop("safety_settings")
        if "system_instruction" in config:
            body["systemInstruction"] = {"parts": [{"text": config.pop("system_instruction")}]}
        body["generationConfig"] = {camel(name): value if name == "response_json_schema" else
                                    _camels(value) for name, value in config.items()}
        return json.dumps({"key": key, "request": body})

    async def _upload(self, file: Path, label: str) -> str:
        return str((await self._client.files.upload(file=str(file), config={
            "display_name": label, "mime_type": "application/jsonl"})).name)

    async def _begin(self, uploaded: str, label: str) -> str:
        return str((await self._client.batches.create(
            model=self._teacher.model, src=uploaded, config={"display_name": label})).name)

    async def _listed(self) -> AsyncIterator[tuple[str | None, str]]:
        async for job in await self._client.batches.list(config={"page_size": 100}):
            yield job.display_name, str(job.name)

    async def _get(self, batch_id: str) -> Status:
        job = await self._client.batches.get(name=batch_id)
        return self._status(
            job.state.name.removeprefix("JOB_STATE_").lower() if job.state else "unknown",
            getattr(getattr(job, "completion_stats", None), "successful_count", None),
            await self._errors(batch_id) if job.state and "FAILED" in job.state.name else [],
            [job.dest.file_name] if job.dest else [])

    async def _errors(self, batch_id: str) -> list[tuple[str, str]]:
        """Why a batch failed; the library (seen with 3.4.0) leaves that out of its batches."""
        with contextlib.suppress(Exception):  # the state alone is known then
            got = await self._client._api_client.async_request("get", batch_id, {}, None)
            return [("", str(loads(got.body)["error"]["message"]))]
        return []

    async def _download(self, name: str, target: Path) -> bool:
        target.write_bytes(await self._client.files.download(file=name))
        return True

    def _answer(self, row: dict[str, Any]) -> tuple[int | None, Any]:
        if row.get("response"):
            return 200, row["response"]
        error = row.get("error") or row.get("status") or {}
        code = error.get("code") if isinstance(error, dict) else None
        return _RPC.get(code, code) if isinstance(code, int) else None, {"error": error}


def camel(name: str) -> str:
    """`snake_case` as the API's own `camelCase`."""
    head, *rest = name.split("_")
    return head + "".join(word.title() for word in rest)


def _camels(value: Any) -> Any:
    if isinstance(value, dict):
        return {camel(str(k)): _camels(v) for k, v in value.items()}
    return [_camels(v) for v in value] if isinstance(value, list) else value
