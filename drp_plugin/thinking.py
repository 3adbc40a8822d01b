"""A response R: taken apart into its thinking T and its answer A, put together, and the exact shape
of a training target, `<think>\\n T̂ \\n</think>\\n\\n Â` (§3.1, §3.2)."""

from collections.abc import Iterable
from typing import NamedTuple

from drp_plugin.resources import Patterns, table

OPEN = "<think>"
CLOSE = "</think>"
CONTROL_TOKENS: tuple[str, ...] = tuple(table("thinking.yaml")["controls"])
"""Control tokens of the chat layouts that sets are built for."""

_P = Patterns("thinking.yaml", "patterns")
_ENDS = tuple(table("thinking.yaml")["ends"])


class Split(NamedTuple):
    """A response taken apart."""

    thinking: str  # T, without tags, stripped
    answer: str  # A, stripped; empty where the response was cut off before `</think>`
    complete: bool  # Whether `</think>` was there


def split_response(response: str) -> Split:
    """Take a response apart at its last `</think>`, as graders do. A missing opening tag is normal:
    chat templates prefill it. Without a closing tag everything is thinking that was cut off."""
    thinking, tag, answer = response.rpartition(CLOSE)
    if not tag:
        thinking, answer = response, ""
    return Split(thinking.strip().removeprefix(OPEN).strip(), answer.strip(), bool(tag))


def join_response(thinking: str, answer: str) -> str:
    """The exact shape that LLaMA-Factory's R1 template trains and R1 models produce. An empty
    thinking is one newline: prompts end with `<think>\\n`, and `\\n\\n` is another token."""
    body = f"{thinking.strip()}\n".lstrip()
    return f"{OPEN}\n{body}{CLOSE}\n\n{answer.strip()}"


def as_published(response: str) -> str:
    """A response of any family with R1's tags: `<think>T</think>A`. Tags of other families,
    gpt-oss's harmony and end tokens are read; text without any is unchanged."""
    text = _without_ends(response)
    if CLOSE in text:
        return text
    if "<|channel|>" in text:
        return _from_harmony(text)
    if bare := _P.bare_harmony.fullmatch(text.strip()):
        return join_response(*bare.groups())
    start = _P.opens.match(text.lstrip())
    ends = list(_P.closes.finditer(text))
    if not ends and (start is None or start[0] == OPEN):
        return text
    if len(ends) > 1:  # several blocks of thinking: refused later
        return _P.closes.sub(CLOSE, _P.opens.sub(OPEN, text))
    stop = ends[0] if ends else None
    thought = text[:stop.start()] if stop else text
    if start:
        thought = thought.lstrip()[start.end():]
    if stop is None:
        return f"{OPEN}\n{thought.strip()}"
    answer = text[stop.end():].strip()
    inside = _P.around_answer.fullmatch(answer)
    return join_response(thought, inside[1] if inside else answer)


def _without_ends(text: str) -> str:
    """The text without tokens that only mark its beginning or end."""
    for mark in table("thinking.yaml")["begins"]:
        text = text.removeprefix(mark)
    while mark := next((m for m in _ENDS if text.rstrip().endswith(m)), ""):
        text = text.rstrip().removesuffix(mark)
    return text


def _from_harmony(text: str) -> str:
    said: dict[str, str] = {}
    for channel, part in _P.harmony.findall(text):
        said[channel] = "\n\n".join(filter(None, (said.get(channel), part.strip())))
    if "final" not in said:
        return f"{OPEN}\n{said.get('analysis', '')}"
    return join_response(said.get("analysis", ""), said["final"])


class Unfit(Exception):
    """A text that cannot be trained on; `reason` is in the lists of both build and prune."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def shaped(response: str, *, thinking: bool = True) -> str:
    """The response in the one shape in which training and inference agree token by token. A missing
    opening tag is mended: chat templates prefill it. Raises Unfit when the thinking is not closed,
    is empty (unless `thinking` is off), or occurs twice, or no answer follows it."""
    text = response.strip()
    body = text.removeprefix(OPEN)
    if CLOSE not in body:
        raise Unfit("no_think_end", f"no {CLOSE}: the response was cut off")
    thought, _, answer = body.partition(CLOSE)
    if OPEN in body or CLOSE in answer:
        raise Unfit("think_twice", f"a second {OPEN} or {CLOSE} inside the response")
    if not thought.strip() and thinking:
        raise Unfit("empty_thinking", "nothing between the tags")
    if not answer.strip():
        raise Unfit("empty_answer", f"nothing after {CLOSE}")
    return join_response(thought, answer)


def check_texts(question: str, *others: str, marks: Iterable[str] = CONTROL_TOKENS) -> None:
    """Raises Unfit if a question holds a thinking tag, which the model would take for its own, or a
    text of its row a control token of the layout, which the tokenizer would obey."""
    for tag in (OPEN, CLOSE):
        if tag in question:
            raise Unfit("think_twice", f"{tag} in the question")
    for mark in marks:
        if any(mark in text for text in (question, *others)):
            raise Unfit("control_token", f"the text holds {mark}")
