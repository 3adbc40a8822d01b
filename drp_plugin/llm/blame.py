"""Whose fault an error is: the account's, the run's, the row's or the moment's.

One table for every provider and server, for live requests, errors in a body with status 200, and
the lines of a batch's error file.

| whose | becomes | what the run does |
|---|---|---|
| the account's (key, balance, a day's quota) | `Unusable` | stops, with a way on |
| the run's (model, a setting, what the server cannot do) | `Unusable` | stops, with a way on |
| the row's (too long, withheld) | `TooLong`, `TeacherError` | rejects the row, or shortens |
| the moment's | `Transient` | asks again, with growing waits |

A refusal that no line of the table knows is the row's, until a server is seen to refuse
everything (`Persistent`).
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from drp_plugin.llm.limiter import seconds
from drp_plugin.llm.messages import TeacherError, TooLong
from drp_plugin.llm.retry import Transient, Unusable
from drp_plugin.records import Reason
from drp_plugin.redact import redact

_ADVICE = {
    "temperature": "Leave it out with --temperature none",
    "top_p": "Leave --top-p out",
    "seed": "Leave --seed out",
    "max_tokens": "Give another --max-tokens",
    "json_schema": "Use another --decompose than indexed, or a server with structured output",
}
_NAMES = {"max_completion_tokens": "max_tokens", "max_output_tokens": "max_tokens",
          "maxoutputtokens": "max_tokens", "topp": "top_p", "response_format": "json_schema",
          "response_schema": "json_schema", "response_json_schema": "json_schema",
          "responsejsonschema": "json_schema", "structured output": "json_schema",
          "guided_json": "json_schema"}
_OTHER_SETTINGS = ("top_k", "reasoning_effort", "skip_special_tokens", "min_p",
                   "presence_penalty", "frequency_penalty", "logprobs", "chat_template_kwargs",
                   "repetition_penalty", "thinkingconfig")
_SETTING = "|".join(sorted((*_ADVICE, *_NAMES, *_OTHER_SETTINGS), key=len, reverse=True))
_NOT_TAKEN = (r"unsupported|unknown|unrecognized|unexpected|extra (?:inputs|fields)|not supported|"
              r"n[o']t support|isn't supported|not permitted|not allowed|forbid|deprecated|invalid|"
              r"must be|cannot (?:be used|both)|may not|too large|at most|only the default")
_REFUSED_SETTING = re.compile(
    rf"(?:{_NOT_TAKEN})\b.{{0,120}}?(?<![\w])(?P<one>{_SETTING})(?![\w])"
    rf"|(?<![\w])(?P<two>{_SETTING})(?![\w]).{{0,160}}?(?:{_NOT_TAKEN})"
    r"|(?:unknown name|unrecognized request arguments? supplied:?|unknown parameter:?|"
    r"unexpected keyword argument) [\"'`]?(?P<three>[a-z_]\w*)", re.DOTALL)
_OVER = re.compile(r"max(?:_completion)?_tokens\D{0,80}?too large: (\d+).*?context length is "
                   r"(\d+)", re.DOTALL)
# what is read of an error's body: not what else stands there, as the prompt that a server repeats
_READ = {"message", "msg", "code", "type", "status", "reason", "param", "detail", "details", "loc",
         "quotaid", "quotametric", "violations", "raw", "error", "errors", "error_type", "title",
         "innererror", "inner_error", "metadata", "reasons", "description", "ctx", "body"}

_WITHHELD = (r"content_?filter|content_policy|content management policy|responsibleai|"
             r"invalid_prompt|data_?inspection|content exists risk|flagged|moderation|"
             r"safety system|prohibited_content|usage polic")
_LONG = (r"context.?length|context.?window|context size|exceed_context|prompt (?:is )?too long|"
         r"input (?:length|is too long)|inputs? token|longer than the model|"
         r"maximum number of tokens|range of input length|"
         r"(?:request|payload|content|entity) too large|request_too_large|reduce the length|"
         r"max_new_tokens`? must be|too many (?:input )?tokens|string_above_max_length|"
         r"max_model_len|tokens? exceeds? ")
_DAY = r"per.?day|per.?month|daily|monthly|\b[rt]pd\b|_rpd\b|_tpd\b"
_SPENT = (r"insufficient_quota|insufficient.{0,8}(?:balance|credit|funds)|billing_hard|"
          r"billing_not_active|billing hard limit|out of credits|more credits|credit balance|"
          r"no credits|credits are depleted|payment.required|budget.{0,20}exceeded|"
          r"exceeded.?budget|key limit exceeded|"
          r"spend(?:ing)? limit|overdue|arrearage|credit_limit|usage.limit.reached")
_KEY = (r"invalid_api_key|incorrect api key|api.?key (?:is )?(?:not valid|expired|invalid|missing)"
        r"|invalid api.?key|api_key_invalid|no auth credentials|authentication_?error|"
        r"unauthenticated|account_deactivated|account.{0,20}(?:deactivated|suspended)|"
        r"invalid.subscription.key|token has expired")
_MODEL = (r"model_not_found|model.{0,80}(?:not found|not exist|unavailable in)|"
          r"(?:invalid|unknown|no such|not a valid) model|no endpoints found|deploymentnotfound|"
          r"unable to access model|not a chat model|decommissioned|has been (?:retired|removed)|"
          r"requires more system memory|no healthy deployments|model_not_supported")
_MANNER = (r"only supports? stream|stream mode|must be streamed|does not support|not support chat|"
           r"chat template|location is not supported|country, region|unsupported_country|"
           r"api.version|extra_forbidden|operation.{0,40}not support|is not supported")
_BUSY = r"rate.?limit|too many requests|throttl|slow down"


class Said(NamedTuple):
    """What a server says of an error."""

    status: int | None
    words: str
    """All that it says, in small letters, to be searched."""
    text: str
    """What a person is shown: no key in it."""
    after_s: float | None = None
    """The wait that it asks for, in seconds."""
    param: str = ""
    """The request's field that it names."""


def read_error(status: int | None, body: Any, headers: Mapping[str, str] | None = None) -> Said:
    """An error's body (JSON, text or bytes, in any provider's shape) taken apart."""
    if isinstance(body, bytes):
        body = body[:20_000].decode("utf-8", "replace")
    if isinstance(body, str):
        with contextlib.suppress(ValueError, RecursionError):
            body = json.loads(body)
    if isinstance(body, str):
        page = {"page": True} if body.lstrip().startswith("<") else {}
        body = {"message": body[:200 if page else 2000], **page}
    if isinstance(body, list):
        body = next((item for item in body if isinstance(item, dict)), {})
    body = body if isinstance(body, dict) else {"message": str(body)[:2000]}
    error = body.get("error", body)
    error = error if isinstance(error, dict) else {"message": error}
    code = error.get("code")
    if status is None and re.fullmatch(r"[1-5]\d\d", str(code)):
        status = int(str(code))
    # an error page speaks of anything: its status alone counts
    words = "" if "page" in body else " ".join(_leaves(body))[:8000].lower()
    said = next((s for s in (error.get("message"), error.get("detail"), body.get("message"), words)
                 if s and isinstance(s, str)), "no words")
    named = " ".join(dict.fromkeys(str(x) for x in (code, error.get("type"), error.get("status"))
                                   if x and not str(x).isdigit()))
    text = redact(f"HTTP {status}: {said}" if status else str(said))[:500]
    if named and named.lower() not in text.lower():
        text = f"{text} [{redact(named)[:80]}]"
    return Said(status, words, text, _wait(error, headers), str(error.get("param") or ""))


def _leaves(value: Any, depth: int = 0) -> Iterator[str]:
    if isinstance(value, dict) and depth < 8:
        for key, inner in value.items():
            if str(key).lower() in _READ:
                yield from _leaves(inner, depth + 1)
    elif isinstance(value, list) and depth < 8:
        for inner in value[:20]:
            yield from _leaves(inner, depth + 1)
    elif isinstance(value, str | int):
        yield str(value)[:2000]


def _wait(error: dict[str, Any], headers: Mapping[str, str] | None) -> float | None:
    """The wait that a provider asks for, in its headers or in Gemini's RetryInfo, in seconds."""
    if headers is not None:
        milliseconds = seconds(headers.get("retry-after-ms"))
        found = milliseconds / 1000 if milliseconds is not None else \
            seconds(headers.get("retry-after"))
        if found is not None:
            return found
    details = error.get("details")
    for detail in details if isinstance(details, list) else []:
        if isinstance(detail, dict) and "retryDelay" in detail:
            return seconds(str(detail["retryDelay"]))
    return None


def explain(said: Said, name: str, variable: str) -> Exception:
    """What an error means for its request and for the run.

    `name` is the teacher's, `variable` the one that holds its key.
    """
    status, words, text = said.status, said.words, said.text

    def has(pattern: str) -> bool:
        return re.search(pattern, words) is not None

    if has(_WITHHELD) and status != 429:
        return TeacherError(text, Reason.REFUSED)
    setting = _setting(said)
    if status == 413 or (setting != "max_tokens" and has(_LONG)):
        return TooLong(text)
    if has(_SPENT) or status == 402:
        return Unusable(f"{name}: the account's quota or balance is spent ({text})",
                        fix="Add credit, then run the same command again")
    if has(_DAY) and status in (None, 403, 429):
        return Unusable(f"{name}: the day's quota is spent ({text})",
                        fix="Run the same command again tomorrow, or raise the quota")
    if (status in (401, 403) and not has(_BUSY)) or has(_KEY):
        return Unusable(f"{name} refuses the key ({text})",
                        fix=f"Check the environment variable {variable}")
    moment = status in (None, 403, 408, 409, 425, 429, 499) or status >= 500
    if has(_MODEL) or status == 404:
        return Unusable(f"{name} is not there ({text})",
                        fix="Check the model's name and --base-url", runs=True)
    if setting and not (moment and status):
        fix = _ADVICE.get(setting, f"Leave --extra {setting}=… out")
        if setting == "max_tokens" and has("use .?max_completion_tokens"):
            fix = "Give --extra max_completion_tokens=N in place of --max-tokens"
        return Unusable(f"{name} does not take a setting ({text})", fix=fix, runs=True)
    if (has(_MANNER) and status != 429) or status in (405, 410, 501):
        return Unusable(f"{name} refuses every such request ({text})",
                        fix="Check the model's name and --base-url, or choose another teacher",
                        runs=True)
    if moment:
        return Transient(text, after_s=said.after_s, throttled=status == 429 or has(_BUSY),
                         fix="The server itself fails: look at its log, or try again later")
    return TeacherError(text, understood=False)


def _setting(said: Said) -> str:
    """The sampling option that the server refuses; empty where it is none."""
    if said.status is not None and not 400 <= said.status < 500:
        return ""
    param = said.param.split(".")[0].lower()
    match = _REFUSED_SETTING.search(said.words)
    found = param if param in (*_ADVICE, *_NAMES, *_OTHER_SETTINGS) else \
        next((g for g in match.groups() if g), "") if match else ""
    found = _NAMES.get(found, found)
    if found == "max_tokens" and re.search(_LONG, said.words):
        over = _OVER.search(said.words)  # more than the whole context is no matter of the prompt
        return found if over and int(over[1]) >= int(over[2]) else ""
    return found
