"""Whose fault an error is: the account's, the run's, the row's or the moment's.

One table for every provider and server, for live requests, errors in a body with status 200, and
the lines of a batch's error file; docs/extending.md shows what becomes of each. A refusal that no
line of the table knows is the row's, until a server is seen to refuse everything (`Persistent`)."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from drp_plugin.jsonl import loads
from drp_plugin.llm.limiter import seconds
from drp_plugin.llm.messages import TeacherError, TooLong
from drp_plugin.llm.retry import Transient, Unusable
from drp_plugin.records import Reason
from drp_plugin.redact import redact
from drp_plugin.resources import table


@cache
def _table() -> tuple[dict[str, re.Pattern[str]], dict[str, dict[str, Any]], frozenset[str]]:
    """The patterns, the settings, and the fields of a body that are read."""
    patterns, settings, fields = map(table("faults.yaml").get, ("patterns", "settings", "fields"))
    found = {name: re.compile("|".join(parts), re.DOTALL if name == "over" else 0)
             for name, parts in patterns.items()}
    names = {*settings, *(n for s in settings.values() for n in s.get("names", ()))}
    one, no = "|".join(sorted(names, key=len, reverse=True)), found["not_taken"].pattern
    found["setting"] = re.compile(rf"(?:{no})\b.{{0,120}}?(?<![\w])(?P<one>{one})(?![\w])"
        rf"|(?<![\w])(?P<two>{one})(?![\w]).{{0,160}}?(?:{no})"
        r"|(?:unknown name|unrecognized request arguments? supplied:?|unknown parameter:?|"
        r"unexpected keyword argument) [\"'`]?(?P<three>[a-z_]\w*)", re.DOTALL)
    return found, settings, frozenset(fields)


class Said(NamedTuple):
    """What a server says about an error."""

    status: int | None
    words: str  # All that it says, in small letters, to be searched
    text: str  # For a person: no key in it
    after_s: float | None = None  # The wait that it asks for, in seconds
    param: str = ""  # The request's field that it names


def read_error(status: int | None, body: Any, headers: Mapping[str, str] | None = None) -> Said:
    """An error's body (JSON, text or bytes, in any provider's shape) taken apart."""
    if isinstance(body, bytes):
        body = body[:20_000].decode("utf-8", "replace")
    if isinstance(body, str):
        with contextlib.suppress(ValueError):
            body = loads(body)
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
    # an error page may mention anything: only its status counts
    words = "" if "page" in body else " ".join(_leaves(body))[:8000].lower()
    said = next((s for s in (error.get("message"), error.get("detail"), body.get("message"), words)
                 if s and isinstance(s, str)), "no words")
    quotas = re.findall(r"'quotaId': '([\w.-]+)'", str(error.get("details"))[:8000])
    named = " ".join(dict.fromkeys(str(x) for x in (
        code, error.get("type"), error.get("status"), *quotas[:2]) if x and not str(x).isdigit()))
    text = redact(f"HTTP {status}: {said}" if status else str(said))[:500]
    if named and named.lower() not in text.lower():
        text = f"{text} [{redact(named)[:160]}]"
    return Said(status, words, text, _wait(error, headers or {}), str(error.get("param") or ""))


def _leaves(value: Any, depth: int = 0) -> Iterator[str]:
    if isinstance(value, dict) and depth < 8:
        for key, inner in value.items():
            if str(key).lower() in _table()[2]:
                yield from _leaves(inner, depth + 1)
    elif isinstance(value, list) and depth < 8:
        for inner in value[:20]:
            yield from _leaves(inner, depth + 1)
    elif isinstance(value, str | int):
        yield str(value)[:2000]


def _wait(error: dict[str, Any], headers: Mapping[str, str]) -> float | None:
    """The wait that a provider asks for, in its headers or in Gemini's RetryInfo, in seconds."""
    for header, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        if (found := seconds(headers.get(header), headers.get("date"))) is not None:
            return found / unit
    details = error.get("details")
    for detail in details if isinstance(details, list) else []:
        if isinstance(detail, dict) and "retryDelay" in detail:
            return seconds(str(detail["retryDelay"]))
    return None


def explain(said: Said, name: str, variable: str,
            place: str = "the model's name and --base-url") -> Exception:
    """What an error means for its request and for the run. `name` is the teacher's, `variable` the
    one that holds its key, `place` what says where requests go."""
    status, words, text = said.status, said.words, said.text
    patterns, settings, _ = _table()

    def has(pattern: str) -> bool:
        return patterns[pattern].search(words) is not None

    def stop(why: str, fix: str = "") -> Unusable:
        what, advice = (part.format(name=name, variable=variable, place=place)
                        for part in table("faults.yaml")["stops"][why])
        return Unusable(f"{what} ({text})", fix=fix or advice,
                        runs=why not in ("spent", "day", "key"))

    if has("withheld") and status != 429:
        return TeacherError(text, Reason.REFUSED)
    passing, setting = has("passing"), _setting(said)
    if status == 413 or (setting != "max_tokens" and has("long")
                         and not (status == 429 and passing)):
        return TooLong(text)
    if has("spent") or status == 402:
        return stop("spent")
    if has("day") and status in (None, 403, 429):
        return stop("day")
    if (status in (401, 403, 407) and not has("busy") and not has("model")) or has("key"):
        return stop("key" if has("key") or status == 401 else "proxy" if status == 407 else
                    "forbidden" if words else "page")
    moment = passing or status in (None, 403, 408, 409, 424, 425, 429, 498, 499) or status >= 500
    if has("version") and status in (400, 404) and not has("model"):
        return stop("version")
    if has("model") or (status == 404 and not passing):
        return stop("absent")
    if setting and not (moment and status):
        known = settings.get(setting) or {"fix": f"Leave --extra {setting}=… out"}
        renamed = setting == "max_tokens" and re.search("use .?max_completion_tokens", words)
        return stop("setting", known["renamed" if renamed else "fix"])
    if (has("manner") and status != 429) or status in (405, 410, 501):
        return stop("manner")
    if status is not None and status < 400:
        return Transient(text, unreachable=True)  # no model's server says such a thing
    if moment:
        return Transient(text, after_s=said.after_s, throttled=status == 429 or has("busy"),
                         fix="The server itself fails: look at its log, or try again later")
    return TeacherError(text, understood=False)


def no_connection(error: BaseException | None) -> str:
    """Why there was no reply at all, in plain words, from a library's error and its causes."""
    raised = ""
    while error is not None:
        if isinstance(error, Transient):  # it says it itself
            return str(error)
        raised += f"{type(error).__name__}: {error}\n"
        error = error.__cause__ or error.__context__
    return next(str(words) for pattern, words in table("faults.yaml")["connections"]
                if re.search(pattern, raised))


def _setting(said: Said) -> str:
    """The sampling option that the server refuses; empty for another refusal."""
    if said.status is not None and not 400 <= said.status < 500:
        return ""
    patterns, settings, _ = _table()
    names = {name: setting for setting, known in settings.items()
             for name in (setting, *known.get("names", ()))}
    param = said.param.split(".")[0].lower()
    match = patterns["setting"].search(said.words)
    found = param if param in names else next(filter(None, match.groups()), "") if match else ""
    found = names.get(found, found)
    if found == "max_tokens" and patterns["long"].search(said.words):
        over = patterns["over"].search(said.words)  # more than the context: not the prompt's fault
        return found if over and int(over[1]) >= int(over[2]) else ""
    return found
