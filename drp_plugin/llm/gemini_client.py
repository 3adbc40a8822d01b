"""Gemini by the `google-genai` library: an AI Studio key, or Vertex AI."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from drp_plugin.errors import UserError
from drp_plugin.llm.addresses import find_key, uses_vertex
from drp_plugin.llm.limiter import seconds
from drp_plugin.llm.messages import Finish, Reply, Request, Teacher, TeacherError
from drp_plugin.llm.redact import redact
from drp_plugin.llm.retry import Persistent, Transient, Unusable, no_reply
from drp_plugin.records import Usage

if TYPE_CHECKING:
    from drp_plugin.llm.batch_api import BatchApi

_REFUSALS = {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE"}
_HARM = ("HARM_CATEGORY_HARASSMENT", "HARM_CATEGORY_HATE_SPEECH",
         "HARM_CATEGORY_SEXUALLY_EXPLICIT", "HARM_CATEGORY_DANGEROUS_CONTENT")


class GeminiTeacher(Teacher):
    """`gemini:MODEL`."""

    def __init__(self, model: str, *, base_url: str | None, persistent: Persistent,
                 api_key: str | None = None) -> None:
        from google import genai
        from google.genai import types

        self.model = model
        self.name = f"gemini:{model}"
        self.vertex = uses_vertex()
        self._key = api_key or find_key("GEMINI_API_KEY", "GOOGLE_API_KEY")
        if not self._key and not self.vertex:
            raise UserError(
                f"teacher {self.name} needs an API key",
                fix="Set the environment variable GEMINI_API_KEY (or, for Vertex AI, "
                    "GOOGLE_GENAI_USE_VERTEXAI=true and GOOGLE_CLOUD_PROJECT)")
        self.identity = {"kind": "gemini", "model": model}
        if base_url:
            self.identity["base_url"] = base_url.rstrip("/")
        self.persistent: Persistent = persistent
        options = types.HttpOptions(
            base_url=base_url, timeout=int(persistent.timeout_s * 1000),
            # batch mode and JSON schemas live in v1beta; behind a base_url the library would
            # otherwise leave it out
            api_version=None if self.vertex else "v1beta",
            retry_options=types.HttpRetryOptions(attempts=1))
        try:
            self.client = (genai.Client(vertexai=True, http_options=options) if self.vertex
                           else genai.Client(api_key=self._key, vertexai=False,
                                             http_options=options))
        except Exception as error:  # google-auth raises many kinds for missing credentials
            raise UserError(f"teacher {self.name}: {self._clean(str(error))}",
                            fix="Set GEMINI_API_KEY, or log in for Vertex AI") from None

    async def ask(self, request: Request) -> Reply:
        """Answer one request; see `Persistent.run` for what it raises."""
        contents, config = generation(request)
        return await self.persistent.run(lambda: self._once(contents, config), keep=True)

    async def _once(self, contents: Any, config: Any) -> Reply:
        from google.genai import errors

        try:
            response = await self.client.aio.models.generate_content(
                model=self.model, contents=contents, config=config)
        except errors.APIError as error:
            raise self._explain(error) from None
        except (TimeoutError, TeacherError, Transient):
            raise
        except Exception as error:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            # the library lets its HTTP client's own errors through (aiohttp or httpx), and
            # JSON errors for a body that was cut
            for parsing in (error, error.__cause__):
                if isinstance(parsing, json.JSONDecodeError):
                    raise no_reply(self._clean(parsing.doc[:2000])) from None
            unreachable = "connect" in type(error).__name__.lower()
            raise Transient(self._clean(f"{type(error).__name__}: {error}"),
                            unreachable=unreachable) from None
        reply = read_response(response.model_dump(mode="json", exclude_none=True, include={
            "candidates", "prompt_feedback", "usage_metadata"}))
        if reply is None:
            raise Transient("the reply holds no candidate")
        self.persistent.limiter.answered(
            None, reply.usage.prompt_tokens + reply.usage.completion_tokens)
        return reply

    def _clean(self, text: str) -> str:
        return redact(text, self._key)[:500]

    def _explain(self, error: Any) -> Exception:
        text = self._clean(f"HTTP {error.code} {error.status or ''}: {error.message or error}")
        if error.code in (401, 403) or "API key" in str(error.message):
            return Unusable(f"{self.name} refuses the key ({text})",
                            fix="Check the environment variable GEMINI_API_KEY")
        if error.code == 404:
            return Unusable(f"{self.name} is not there ({text})", fix="Check the model's name")
        if error.code == 402:
            return Unusable(f"{self.name}: the account's balance is spent ({text})",
                            fix="Add credit, then run the same command again")
        if error.code == 429 and "per day" in str(error.message).lower():
            return Unusable(f"{self.name}: the day's quota is spent ({text})",
                            fix="Run the same command again tomorrow, or raise the quota")
        if error.code in (408, 409, 429) or error.code >= 500:
            return Transient(text, after_s=retry_delay(error), throttled=error.code == 429)
        return TeacherError(text)

    def batch(self) -> BatchApi:
        """Gemini's batch mode. Raises UserError on Vertex AI, whose batches are other ones."""
        from drp_plugin.llm.gemini_batch import GeminiBatch

        if self.vertex:
            raise UserError("--batch with Gemini needs an AI Studio key, not Vertex AI",
                            fix="Set GEMINI_API_KEY and unset GOOGLE_GENAI_USE_VERTEXAI")
        return GeminiBatch(self)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aio.aclose()


def retry_delay(error: Any) -> float | None:
    """The wait that Gemini asks for, in its body's RetryInfo or in the header, in seconds."""
    details = error.details if isinstance(error.details, dict) else {}
    for detail in (details.get("error") or details).get("details") or []:
        if isinstance(detail, dict) and "retryDelay" in detail:
            return seconds(str(detail["retryDelay"]))
    headers = getattr(error.response, "headers", None)
    return seconds(headers.get("retry-after")) if headers is not None else None


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


def read_response(body: dict[str, Any]) -> Reply | None:
    """A generateContent response (snake or camel case) as a reply; None where it holds none."""
    def get(value: dict[str, Any], name: str) -> Any:
        head, *rest = name.split("_")
        return value.get(name, value.get(head + "".join(w.title() for w in rest)))

    counts = get(body, "usage_metadata") or {}
    usage = Usage(requests=1, prompt_tokens=get(counts, "prompt_token_count") or 0,
                  # thinking is billed as output
                  completion_tokens=(get(counts, "candidates_token_count") or 0)
                  + (get(counts, "thoughts_token_count") or 0))
    blocked = get(get(body, "prompt_feedback") or {}, "block_reason")
    candidates = body.get("candidates") or []
    if not candidates:
        return Reply(text=f"blocked: {blocked}", finish_reason="refusal", usage=usage) \
            if blocked else None
    parts = (candidates[0].get("content") or {}).get("parts") or []
    text = "".join(p.get("text") or "" for p in parts if not p.get("thought"))
    reason = str(get(candidates[0], "finish_reason") or "STOP")
    if reason in _REFUSALS:
        return Reply(text=text or f"blocked: {reason}", finish_reason="refusal", usage=usage)
    finish: Finish = "stop" if reason == "STOP" else "length" if reason == "MAX_TOKENS" \
        else "other"
    return Reply(text=text, finish_reason=finish, usage=usage)
