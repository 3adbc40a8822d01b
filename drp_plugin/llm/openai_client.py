"""OpenAI and every endpoint that speaks its chat completions API, by the `openai` library."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from drp_plugin.errors import UserError
from drp_plugin.llm.addresses import find_base_url, find_key, is_official
from drp_plugin.llm.limiter import seconds
from drp_plugin.llm.messages import Finish, Reply, Request, Teacher, TeacherError
from drp_plugin.llm.redact import redact
from drp_plugin.llm.retry import Persistent, Transient, Unusable, no_reply
from drp_plugin.records import Reason, Usage

if TYPE_CHECKING:
    from drp_plugin.llm.batch_api import BatchApi

KEY = "OPENAI_API_KEY"
CONNECT_S = 20.0
_FINISH: dict[str, Finish] = {"stop": "stop", "length": "length", "max_tokens": "length",
                             "content_filter": "refusal"}
_SETTINGS = {"temperature", "top_p", "seed", "max_tokens", "max_completion_tokens", "model",
             "response_format", "reasoning_effort"}
# what `with_raw_response` sends: the reply comes back with its headers, unparsed
RAW = {"X-Stainless-Raw-Response": "true"}


def _http_client() -> Any:
    """The library's aiohttp transport where aiohttp is installed: it takes half the CPU at many
    requests at once. None leaves the library its default."""
    try:
        from openai import DefaultAioHttpClient

        return DefaultAioHttpClient()
    except (ImportError, RuntimeError):
        return None


class OpenAITeacher(Teacher):
    """`openai:MODEL`, or any model behind an OpenAI-compatible `base_url`."""

    def __init__(self, model: str, *, base_url: str | None, persistent: Persistent,
                 api_key: str | None = None) -> None:
        from openai import AsyncOpenAI, Timeout

        self.model = model
        self.name = f"openai:{model}"
        self.base_url = find_base_url(self.name, base_url or None)
        self.official = is_official(self.name, self.base_url)
        key = api_key or find_key(KEY)
        if not key:
            if self.official:
                raise UserError(f"teacher {self.name} needs an API key",
                                fix=f"Set the environment variable {KEY}")
            key = "none"  # local servers take any, and the library wants one
        self._key = key
        self.identity = {"kind": "openai", "model": model}
        if not self.official:
            self.identity["base_url"] = str(self.base_url).rstrip("/")
        self.persistent: Persistent = persistent
        persistent.where = self.base_url or persistent.where
        self.client = AsyncOpenAI(api_key=self._key, base_url=self.base_url, max_retries=0,
                                  http_client=_http_client(), timeout=Timeout(
                                      persistent.timeout_s,
                                      connect=min(CONNECT_S, persistent.timeout_s)))

    async def ask(self, request: Request) -> Reply:
        """Answer one request; see `Persistent.run` for what it raises."""
        body = chat_body(self.model, request, official=self.official)
        body.update(body.pop("extra_body", {}))
        return await self.persistent.run(lambda: self._once(body), keep=True)

    async def _once(self, body: dict[str, Any]) -> Reply:
        import openai
        from openai.types.chat import ChatCompletion

        try:
            # the library's own way for a ready body: `chat.completions.create` walks through
            # every message against its type hints, which costs more than the rest of a request
            response: Any = await self.client.post(
                "/chat/completions", body=body, cast_to=ChatCompletion, options={"headers": RAW})
            content = response.http_response.content
        except openai.OpenAIError as error:
            raise self._explain(error) from None
        try:
            reply = read_completion(json.loads(content))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            text = content[:2000].decode("utf-8", "replace")
            raise no_reply(self._clean(text)) from None
        self.persistent.limiter.answered(
            response.headers, reply.usage.prompt_tokens + reply.usage.completion_tokens)
        return reply

    def _clean(self, text: str) -> str:
        return redact(text, self._key)[:500]

    def _explain(self, error: Exception) -> Exception:
        """What a failure means for this request and for the run."""
        import openai

        cause = error.__cause__ or error
        # through aiohttp a refused connection comes as a connect time-out: nobody is there either
        connecting = type(cause).__name__.startswith("Connect")
        if isinstance(error, openai.APITimeoutError) and not connecting:
            return Transient(f"no answer within {self.persistent.timeout_s:g} s")
        if isinstance(error, openai.APIConnectionError):
            return Transient(f"connection failed ({self._clean(str(cause))})", unreachable=True)
        if not isinstance(error, openai.APIStatusError):
            return Transient(self._clean(str(error)))
        status, headers = error.status_code, error.response.headers
        code = str(error.code or error.type or "")
        text = self._clean(f"HTTP {status}: {_message(error)}")
        if status in (401, 403):
            return Unusable(f"{self.name} refuses the key ({text})",
                            fix=f"Check the environment variable {KEY}")
        if status == 404:
            return Unusable(f"{self.name} is not there ({text})",
                            fix="Check the model's name and --base-url")
        if status == 402 or code in ("insufficient_quota", "billing_hard_limit_reached"):
            return Unusable(f"{self.name}: the account's quota is spent ({text})",
                            fix="Add credit, then run the same command again")
        if status in (408, 409, 429) or status >= 500:
            if headers.get("x-should-retry") == "false":
                return TeacherError(text)
            return Transient(text, after_s=retry_after(headers), throttled=status == 429)
        if code in ("content_filter", "content_policy_violation", "invalid_prompt"):
            return TeacherError(text, Reason.REFUSED)
        if error.param and str(error.param).split(".")[0] in _SETTINGS:
            return Unusable(f"{self.name} does not take a setting ({text})",
                            fix="Change it in the sampling options; null leaves one out")
        return TeacherError(text)

    def batch(self) -> BatchApi:
        """OpenAI's Batch API, or that of a compatible server."""
        from drp_plugin.llm.openai_batch import OpenAIBatch

        return OpenAIBatch(self)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()


def _message(error: Any) -> str:
    body = error.body
    if isinstance(body, dict) and body.get("message"):
        return str(body["message"])
    return str(getattr(error, "message", error))


def retry_after(headers: Any) -> float | None:
    """The wait that a provider asks for, in seconds."""
    milliseconds = seconds(headers.get("retry-after-ms"))
    return milliseconds / 1000 if milliseconds is not None else seconds(headers.get("retry-after"))


def chat_body(model: str, request: Request, *, official: bool) -> dict[str, Any]:
    """The JSON body of a chat completion, for live requests and batch lines alike."""
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": m.role, "content": m.content} for m in request.messages],
        "temperature": sampling.temperature, "top_p": sampling.top_p, "seed": sampling.seed,
        # OpenAI's newer models refuse max_tokens; most compatible servers know only that
        "max_completion_tokens" if official else "max_tokens": sampling.max_tokens,
    }
    if request.json_schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": {
            "name": "reply", "schema": request.json_schema, "strict": True}}
    known = {key: value for key, value in body.items() if value is not None}
    if sampling.extra:
        # anything that is no argument of the library's method travels as it is
        extra = {k: v for k, v in sampling.extra.items() if k not in known and v is not None}
        known = {k: sampling.extra.get(k, v) for k, v in known.items()
                 if sampling.extra.get(k, v) is not None}
        if extra:
            known["extra_body"] = extra
    return known


def read_completion(body: dict[str, Any]) -> Reply:
    """A chat completion as a reply. Raises KeyError, TypeError, … when it is none."""
    choice = body["choices"][0]
    message = choice["message"]
    refusal = message.get("refusal")
    text = message.get("content") or ""
    if not isinstance(text, str):
        raise TypeError("content is no text")
    usage = body.get("usage") or {}
    finish: Finish = _FINISH.get(choice.get("finish_reason") or "stop", "other")
    if refusal:
        finish = "refusal"
    return Reply(text=refusal or text, finish_reason=finish, usage=Usage(
        requests=1, prompt_tokens=usage.get("prompt_tokens") or 0,
        completion_tokens=usage.get("completion_tokens") or 0))
