"""A row as it is published: which of its fields hold what (data/layouts.yaml)."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from drp_plugin import resources
from drp_plugin.finish import told
from drp_plugin.reading.golds import gold, written
from drp_plugin.resources import Patterns
from drp_plugin.thinking import CLOSE, OPEN, as_published, join_response

_ASSISTANT, _USER = ("assistant", "gpt", "model", "bot"), ("user", "human")
_P = Patterns("layouts.yaml", "patterns")
FIELDS: dict[str, list[str]] = resources.layouts("fields")
"""What each field of the contract is called elsewhere, itself first."""
CONVERSATIONS: list[str] = resources.layouts("conversations")  # Fields in which messages stand
TURNS = "a conversation of several turns: its last question needs the earlier ones"
NOT_GOLD = frozenset([*resources.layouts("never_gold"), *resources.layouts("end_fields"),
                      *(name for field, names in FIELDS.items() if field != "answer"
                        for name in names)])
IMAGE = "the question shows an image or sound, and only text is read"
_SHOWN: dict[str, list[str]] = resources.layouts("shown")


class Response(NamedTuple):
    """One completion, and its reason for ending."""

    text: str
    finish: Any = None


class Published(NamedTuple):
    """What a published row holds."""

    fields: dict[str, Any]  # The row, with id, question, answer, dataset and model by these names
    said: list[Response]  # Its responses as `<think>T</think>A`
    found: dict[str, str]  # Where each field of the contract was found
    gold: Any  # The gold answer as it was published


class Unreadable(Exception):
    """The row is of a known layout, but what it holds cannot be used."""


def read(value: Mapping[str, Any], columns: Mapping[str, str], answers: bool) -> Published:
    """Take a row apart; `columns` names fields by hand, `answers` asks for responses too. Missing
    fields are left out; a field of a wrong type is kept as it is. Raises Unreadable."""
    row = {**{name.lower(): part for name, part in value.items()}, **value}
    row |= {name: _unpacked(part) for name, part in row.items()
            if isinstance(part, str) and part.startswith(("[{", "{"))}
    if row.get("history") or any(map(row.get, _SHOWN["fields"])):
        raise Unreadable(TURNS if row.get("history") else IMAGE)
    found: dict[str, str] = {}

    def first(field: str) -> Any:
        for name in (columns[field],) if field in columns else FIELDS[field]:
            part = at(row, name)
            if part not in (None, "", []):
                found[field] = name
                return part
        return None

    talk, spoken = _conversation(row, columns)
    question = first("question")
    if isinstance(question, list):
        _check_turns(question, columns)
        question = _question_of(question)
    if question is None and talk:
        found["question"] = spoken
        question = _question_of(talk)
    elif found.get("question") == "instruction" and isinstance(row.get("input"), str):
        question = f"{question}\n\n{row['input']}".rstrip()
    said = _responses(row, first, found, talk, spoken, columns) if answers else []
    published = _published_gold(row, first, found, columns)
    fields = {**value, "question": _bare(question), "answer": gold(published)}
    fields |= {name: first(name) for name in ("id", "dataset", "model")}
    if question is None:
        fields.pop("question")
    if found.get("question") == "prompt" or not isinstance(fields.get("prompt"), str):
        fields.pop("prompt", None)  # no template's name, as a trace has it there
    return Published(fields, said, found, published)


def at(value: Any, path: str) -> Any:
    """The value under a path, or None; `response_*` is a list of response_1, response_2 …"""
    if isinstance(value, dict) and path in value:
        return value[path]
    if isinstance(value, dict) and path.endswith("*"):
        return [part for name, part in value.items()
                if name.startswith(path[:-1]) and name[len(path) - 1:].isdecimal()]
    for part in path.split("."):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def _responses(row: dict[str, Any], first: Any, found: dict[str, str], talk: list[Any],
               spoken: str, columns: Mapping[str, str]) -> list[Response]:
    answered = first("response")
    thoughts = first("thinking")
    if not _is_thought(thoughts):
        thoughts = None
        found.pop("thinking", None)
    said = completions(answered)
    if not said and answered is None and talk:
        said = completions(talk)
        if said:
            found["response"] = spoken
    if not said and answered is None and "answer" not in columns:
        # a thought and the student's own answer, or both in one field: no gold, then
        name = next((n for n in ("answer", "solution") if CLOSE in str(row.get(n))), "answer")
        if thoughts is not None or CLOSE in str(row.get(name)):
            said = completions(row.get(name)) or [Response("")]
            found["response"] = name
    whole = all(CLOSE in one.text for one in said)
    if whole and found.get("response") in ("response", *CONVERSATIONS):
        thoughts = None
    failed = row.get("error") or at(row, "response.body.error")
    if not said and failed:
        raise Unreadable(f"the request failed: {at(failed, 'message') or failed}"[:300])
    ends = at(row, columns["finish"]) if "finish" in columns else told(row)
    if ends is None and isinstance(made := at(row, "drp.completions"), list):
        ends = [part.get("finish") for part in made if isinstance(part, dict)]
    each = _spread(thoughts, len(said)), _spread(ends, len(said))
    if thoughts is None:
        found.pop("thinking", None)
    return [Response(_joined(thought, one.text), one.finish if one.finish is not None else end)
            for one, thought, end in zip(said, *each, strict=True)]


def _spread(value: Any, n: int) -> list[Any]:
    if not isinstance(value, list):
        return [value] * n
    return value if len(value) == n else [value[0] if len(value) == 1 else None] * n


def completions(value: Any) -> list[Response]:
    """Every completion in a text, a message, a list of them, or a server's reply."""
    if isinstance(value, str):
        return [Response(as_published(value))]
    if isinstance(value, list):
        roles = {_role(part) for part in value}
        if any(_is_part(part) for part in value) and roles <= {"", *_ASSISTANT}:
            return completions({"content": value})
        if roles - {""}:
            return completions(value[-1]) if _role(value[-1]) in _ASSISTANT else []
        return [one for part in value for one in completions(part)]
    if not isinstance(value, dict):
        return []
    for inner in ("body", "choices", "candidates", "message", "output"):
        if value.get(inner):
            return [one if one.finish is not None else one._replace(finish=told(value))
                    for one in completions(value[inner])]
    thought = next((value[n] for n in FIELDS["thinking"] if _is_thought(value.get(n))), None)
    content = next((value[n] for n in ("content", "text", "value", "prompt", "generated_text",
                                       "response") if value.get(n) is not None), None)
    parts = value.get("parts", content)  # Gemini's are parts without a type
    if isinstance(parts, list) and ("parts" in value or any(_is_part(part) for part in parts)):
        thought, content = _of_parts(parts, thought)
    if content is None and thought is None:
        return []
    texts = [one.text for one in completions("" if content is None else content)]
    return [Response(_joined(part, text), told(value))
            for part, text in zip(_spread(thought, len(texts)), texts, strict=True)]


def _joined(thought: Any, text: str) -> str:
    if isinstance(thought, list | dict):
        thought = "".join(one.text for one in completions(thought))
    if not isinstance(thought, str) or not thought.strip() or CLOSE in text:
        return text
    thought = thought.strip().removeprefix(OPEN).removesuffix(CLOSE)
    return join_response(thought, text) if text.strip() else f"{OPEN}\n{thought.strip()}"


def _is_thought(value: Any) -> bool:
    """Whether a field holds thinking, not the setting that switches it."""
    return bool(completions(value)) if isinstance(value, list | dict) else (
        isinstance(value, str) and not _P.switch.fullmatch(value.strip()))


def _is_part(value: Any) -> bool:
    return isinstance(value, dict) and (isinstance(value.get("thought"), bool) or value.get(
        "type") in (*_SHOWN["parts"], *_SHOWN["texts"]))


def _of_parts(parts: Sequence[Any], thought: Any) -> tuple[Any, str | None]:
    thoughts, texts = [thought] if isinstance(thought, str) else [], []
    for part in parts:
        if not isinstance(part, dict):
            texts.append(str(part))
        elif part.get("type") in _SHOWN["parts"] or any(map(part.get, _SHOWN["parts"])):
            raise Unreadable(IMAGE)
        elif part.get("thought") is True or part.get("type") in ("thinking", "reasoning"):
            inner = next((part[n] for n in ("thinking", "reasoning", "text", "content", "summary")
                          if part.get(n)), "")
            thoughts += [inner] if isinstance(inner, str) else \
                [str(p.get("text", "")) for p in inner if isinstance(p, dict)]
        elif isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif part.get("type") == "message":  # OpenAI's Responses
            texts += [one.text for one in completions(part)]
    return "\n\n".join(filter(None, thoughts)) or None, "".join(texts) if texts else None


def is_message(part: Any) -> bool:
    return bool(_role(part)) or _is_part(part)


def _role(part: Any) -> str:
    if not isinstance(part, dict):
        return ""
    role = part.get("role", part.get("from"))
    # a reply of a server holds its role beside its index
    return role.lower() if isinstance(role, str) and "choices" not in part else ""


def _conversation(row: Mapping[str, Any], columns: Mapping[str, str]) -> tuple[list[Any], str]:
    """The row's messages and the field they stand in; raises Unreadable for several turns."""
    for name in CONVERSATIONS:
        talk = row.get(name)
        if isinstance(talk, list) and talk and all(_role(part) for part in talk):
            if not row.get("question") and not row.get("problem"):
                _check_turns(talk, columns)
            return talk, name
    return [], ""


def _check_turns(talk: Sequence[Any], columns: Mapping[str, str]) -> None:
    if "question" not in columns and any(_role(part) in _ASSISTANT for part in talk[:-1]):
        raise Unreadable(TURNS)


def _unpacked(text: Any) -> Any:
    """Messages or a reply that stand as text, as CSV and some Parquet files have them."""
    found = written(text)
    if isinstance(found, list):
        return found if found and all(map(is_message, found)) else text
    return found if isinstance(found, dict) and found.keys() & set(_SHOWN["replies"]) else text


def _question_of(talk: Sequence[Any]) -> str | None:
    asked = [part for part in talk if _role(part) in _USER]
    said = completions([{**asked[-1], "role": "assistant"}]) if asked else []
    return said[0].text if said else None


def _published_gold(row: Mapping[str, Any], first: Any, found: dict[str, str],
                    columns: Mapping[str, str]) -> Any:
    choices, right = at(row, "doc.choices"), at(row, "doc.gold_index")
    if "model_response" in row and isinstance(choices, list):  # lighteval
        if isinstance(right, list) and len(right) == 1:
            right = right[0]
        found["answer"] = "doc.choices"
        return choices[right] if isinstance(right, int) and right < len(choices) else None
    if found.get("response") in FIELDS["answer"]:
        return next((row[name] for name in FIELDS["answer"]
                     if row.get(name) and name != found["response"]), None)
    published = first("answer")
    name = found.get("answer")
    if name != "answer" and "answer" not in columns and (
            isinstance(published, bool) or (name == "label" and "predict" not in row)):
        found.pop("answer", None)  # whether the response is right, not the right answer
        return None
    return published


def _bare(question: Any) -> Any:
    if not isinstance(question, str) or not ("<" in question or "[INST]" in question
                                             or question.rstrip().endswith(("assistant", OPEN))):
        return question
    asked = [next(part for part in match.groups() if part is not None)
             for match in _P.in_template.finditer(question)]
    return asked[-1].strip() if asked else question
