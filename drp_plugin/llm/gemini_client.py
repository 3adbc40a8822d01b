"""Gemini by the `google-genai` library: an AI Studio key, or Vertex AI; batches with a key."""

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.finish import ending
from drp_plugin.llm.addresses import find_key, uses_vertex
from drp_plugin.llm.batch_api import BatchApi, Limits, Status
from drp_plugin.llm.blame import explain, read_error
from drp_plugin.llm.messages import Reply, Request, Teacher, TeacherError, plain, usage_of
from drp_plugin.llm.openai_client import finish_of, http_client
from drp_plugin.llm.retry import Persistent, Transient, no_reply
from drp_plugin.redact import redact

KEY = "GEMINI_API_KEY"
_COUNTS = ("prompt_token_count", "candidates_token_count", "thoughts_token_count")
_HARM = ("HARM_CATEGORY_HARASSMENT", "HARM_CATEGORY_HATE_SPEECH",
         "HARM_CATEGORY_SEXUALLY_EXPLICIT", "HARM_CATEGORY_DANGEROUS_CONTENT")
_ENDED = {"JOB_STATE_SUCCEEDED", "JOB_STATE_EXPIRED", "JOB_STATE_CANCELLED",
          "JOB_STATE_PARTIALLY_SUCCEEDED"}
_RPC = {3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 9: 400, 13: 500, 14: 503, 16: 401}
"""The HTTP statuses of google.rpc's codes."""


class GeminiTeacher(Teacher):
    """`gemini:MODEL`."""

    def __init__(self, model: str, *, base_url: str | None, persistent: Persistent,
                 api_key: str | None = None) -> None:
        from google import genai
        from google.genai import types

        self.model, self.name = model, f"gemini:{model}"
        self.vertex = uses_vertex()
        self._key = api_key or find_key(KEY, "GOOGLE_API_KEY")
        if not self._key and not self.vertex:
            raise UserError(
                f"teacher {self.name} needs an API key",
                fix="Set the environment variable GEMINI_API_KEY (or, for Vertex AI, "
                    "GOOGLE_GENAI_USE_VERTEXAI=true and GOOGLE_CLOUD_PROJECT)")
        self.identity = {"kind": "gemini", "model": model}
        if base_url:
            self.identity["base_url"] = base_url.rstrip("/")
        self.persistent: Persistent = persistent
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
            self.client = genai.Client(vertexai=self.vertex, http_options=options,
                                       api_key=None if self.vertex else self._key)
        except Exception as error:  # google-auth raises many kinds for missing credentials
            raise UserError(f"teacher {self.name}: {self._clean(str(error))}",
                            fix="Set GEMINI_API_KEY, or log in for Vertex AI") from None

    async def ask(self, request: Request) -> Reply:
        """Answer one request; see `Persistent.run` for what it raises."""
        contents, config = generation(request)
        return await self.persistent.run(lambda: self._once(contents, config), keep=True)

    async def _once(self, contents: Any, config: Any) -> Reply:
        try:
            response = await self.client.aio.models.generate_content(
                model=self.model, contents=contents, config=config)
        except (TimeoutError, TeacherError, Transient):
            raise
        except Exception as error:  # the HTTP library's own errors come through as they are
            raise self._explain(error) from None
        reply = read_response(response.model_dump(mode="json", exclude_none=True, include={
            "candidates", "prompt_feedback", "usage_metadata"}))
        self.persistent.limiter.answered(
            None, reply.usage.prompt_tokens + reply.usage.completion_tokens)
        return reply

    def _clean(self, text: str) -> str:
        return redact(text, self._key)[:500]

    def _explain(self, error: Exception) -> Exception:
        """What a failure means for this request and for the run."""
        from google.genai import errors

        if isinstance(error, errors.APIError):
            body = error.details if isinstance(error.details, dict | list) else str(error)
            headers = getattr(error.response, "headers", None)
            return explain(read_error(error.code, body, headers), self.name, KEY)
        # JSON errors for a body that was cut, or another server's page
        for parsing in (error, error.__cause__):
            if isinstance(parsing, json.JSONDecodeError):
                return no_reply(self._clean(parsing.doc[:2000]))
        name = type(error).__name__
        return Transient(self._clean(f"{name}: {error}"), unreachable=any(
            word in name for word in ("Connect", "Protocol", "Url", "Unicode")))

    def batch(self) -> BatchApi:
        """Gemini's batch mode. Raises UserError on Vertex AI, whose batches are other ones."""
        if self.vertex:
            raise UserError("--batch with Gemini needs an AI Studio key, not Vertex AI",
                            fix="Set GEMINI_API_KEY and unset GOOGLE_GENAI_USE_VERTEXAI")
        return GeminiBatch(self)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aio.aclose()
        if self._http is not None:
            await self._http.aclose()


def generation(request: Request) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Contents and config of a generateContent call, for live and batch alike."""
    sampling = request.sampling
    contents = [{"role": "model" if m.role == "assistant" else "user",
                 "parts": [{"text": m.content}]}
                for m in request.messages if m.role != "system"]
    system = "\n\n".join(m.content for m in request.messages if m.role == "system")
    config: dict[str, Any] = {
        "temperature": sampling.temperature, "top_p": sampling.top_p, "seed": sampling.seed,
        "max_output_tokens": sampling.max_tokens, "system_instruction": system or None,
        # mathematics is no harm, and a blocked row is a lost row
        "safety_settings": [{"category": c, "threshold": "OFF"} for c in _HARM],
        **sampling.extra,
    }
    if request.json_schema is not None:
        config["response_mime_type"] = "application/json"
        config["response_json_schema"] = request.json_schema
    return contents, {key: value for key, value in config.items() if value is not None}


def camel(name: str) -> str:
    """`snake_case` as the API's own `camelCase`."""
    head, *rest = name.split("_")
    return head + "".join(word.title() for word in rest)


def read_response(body: dict[str, Any]) -> Reply:
    """A generateContent response (snake or camel case); raises Transient where it is no reply."""
    def get(value: dict[str, Any], name: str) -> Any:
        return value.get(name, value.get(camel(name)))

    counts = get(body, "usage_metadata") or {}
    # thinking is billed as output
    usage = usage_of({n: get(counts, n) for n in _COUNTS}, *_COUNTS)
    blocked = get(get(body, "prompt_feedback") or {}, "block_reason")
    candidates = body.get("candidates") or []
    if not candidates:
        if not blocked:
            raise Transient("the reply holds no candidate")
        return Reply(text=f"blocked: {blocked}", finish_reason="refusal", usage=usage)
    parts = (candidates[0].get("content") or {}).get("parts") or []
    text = plain("".join(p.get("text") or "" for p in parts if not p.get("thought")))
    said = get(candidates[0], "finish_reason")
    if ending(said) == "error":
        raise Transient(f"the reply ended with {said!r}")
    finish = finish_of(said)
    withheld = f"blocked: {said}" if finish == "refusal" else ""
    return Reply(text=text or withheld, finish_reason=finish, usage=usage)


class GeminiBatch(BatchApi):
    """The batches of a `GeminiTeacher`."""

    # the documentation: an input file of at most 2 GB; no number of requests is named
    limits = Limits(requests=100_000, bytes=1_900_000_000)
    key_field = "key"

    def line(self, key: str, request: Request) -> str:
        contents, config = generation(request)
        body: dict[str, Any] = {"contents": contents}
        if "safety_settings" in config:
            body["safetySettings"] = config.pop("safety_settings")
        if "system_instruction" in config:
            body["systemInstruction"] = {"parts": [{"text": config.pop("system_instruction")}]}
        body["generationConfig"] = {
            camel(name): value if name == "response_json_schema" else _camels(value)
            for name, value in config.items()}
        return json.dumps({"key": key, "request": body})

    async def _upload(self, file: Path, label: str) -> str:
        return str((await self._teacher.client.aio.files.upload(file=str(file), config={
            "display_name": label, "mime_type": "application/jsonl"})).name)

    async def _begin(self, uploaded: str, label: str) -> str:
        return str((await self._teacher.client.aio.batches.create(
            model=self._teacher.model, src=uploaded, config={"display_name": label})).name)

    async def _listed(self) -> AsyncIterator[tuple[str | None, str]]:
        pages = await self._teacher.client.aio.batches.list(config={"page_size": 100})
        async for job in pages:
            yield job.display_name, str(job.name)

    async def _get(self, batch_id: str) -> Any:
        return await self._teacher.client.aio.batches.get(name=batch_id)

    def _status(self, batch: Any) -> Status:
        state = batch.state.name if batch.state else "unknown"
        counts = getattr(batch, "completion_stats", None)
        done = (getattr(counts, "successful_count", 0) or 0) if counts else 0
        if state != "JOB_STATE_FAILED":
            return Status("ended" if state in _ENDED else "running", done,
                          state.removeprefix("JOB_STATE_").lower())
        text = redact(str(batch.error.message) if batch.error else "it failed",
                      self._teacher._key)
        quota = "quota" in text.lower() or "exhausted" in text.lower()
        return Status("too_large" if quota else "invalid", done, text)

    def _files(self, batch: Any) -> Sequence[str | None]:
        return [batch.dest.file_name] if batch.dest else []

    async def _download(self, name: str, target: Path) -> bool:
        target.write_bytes(await self._teacher.client.aio.files.download(file=name))
        return True

    def _read(self, row: dict[str, Any]) -> Reply | Exception:
        if row.get("response"):
            try:
                return read_response(row["response"])
            except Transient as fault:
                return fault
        error = row.get("error") or row.get("status") or {}
        code = error.get("code")
        status = _RPC.get(code, code) if isinstance(code, int) else None
        return explain(read_error(status, {"error": error}), self._teacher.name, KEY)


def _camels(value: Any) -> Any:
    if isinstance(value, dict):
        return {camel(str(k)): _camels(v) for k, v in value.items()}
    return [_camels(v) for v in value] if isinstance(value, list) else value
