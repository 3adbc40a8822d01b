"""The final answer that a gold answer states, as sets publish it."""

import ast
import contextlib
import json
import re
from typing import Any

from drp_plugin.grading.extract import extract
from drp_plugin.thinking import CLOSE

_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


def gold(value: Any) -> Any:
    """The final answer as text; None if unknown, another value if it is not an answer.

    A number is its text. A worked solution is cut down to the answer that it marks: after `####`
    (GSM8K), in its last `\\boxed{}`, in `<answer>` or after "The answer is". A list with several
    answers does not say whether all or any of them are asked for, and is not known."""
    if isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, list) and all(isinstance(v, str | int | float | None) for v in value):
        found = list(dict.fromkeys(answer for answer in map(gold, value) if answer))
        return found[0] if len(found) == 1 else None
    return _final(value) if isinstance(value, str) else value


def is_open(value: Any) -> bool:
    """Whether a list does not say which of several answers it means."""
    return isinstance(value, list) and len(value) > 1 and gold(value) is None


def is_prose(answer: Any) -> bool:
    """Whether an answer is a text in which no final answer was found."""
    return isinstance(answer, str) and len(answer) > 60 and (
        "\n" in answer or len(re.findall(r"[A-Za-z]{2,}", answer)) > 8)


def written(text: str) -> Any:
    """The value that a text writes out, as JSON or as Python prints it; None where it is none."""
    for parse in (json.loads, ast.literal_eval):
        with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            return parse(text)
    return None


def _final(text: str) -> str | None:
    text = text.strip()
    if text.startswith(('["', "['")) and (parsed := written(text)) is not None:
        found = gold(parsed)
        return found if isinstance(found, str) else None
    text = text.rpartition(CLOSE)[2].strip()
    if "####" in text:
        return text.rpartition("####")[2].strip() or None
    if tagged := _TAGGED.findall(text):
        text = tagged[-1].strip()
    found = extract(text, thinking=False)
    return (found.text if found.how in ("boxed", "stated") else text) or None
