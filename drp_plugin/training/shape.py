"""The exact shape of a training target: `<think>\\n T̂ \\n</think>\\n\\n Â` (§3.2)."""

from __future__ import annotations

from drp_plugin.thinking import CLOSE, OPEN, join_response
from drp_plugin.training.sources import Why
from drp_plugin.training.templates import Family


class Unfit(Exception):
    """A response that cannot be trained on."""

    def __init__(self, reason: Why, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def shaped(response: str, *, thinking: bool = True) -> str:
    """The response in the one shape in which training and inference agree token for token.

    A missing opening tag is mended: chat templates prefill it, and samples come without. Without
    `thinking` it may be empty.

    Raises Unfit when the thinking is not closed, is empty, or is there twice, or when no answer
    follows it. Nothing is guessed: a row that would teach a broken layout is worth less than none.
    """
    text = response.strip()
    body = text[len(OPEN):] if text.startswith(OPEN) else text
    if CLOSE not in body:
        raise Unfit(Why.NO_THINK_END, f"no {CLOSE}: the response was cut off")
    thought, _, answer = body.partition(CLOSE)
    if OPEN in body or CLOSE in answer:
        raise Unfit(Why.THINK_TWICE, f"a second {OPEN} or {CLOSE} inside the response")
    if not thought.strip() and thinking:
        raise Unfit(Why.EMPTY_THINKING, "nothing between the tags")
    if not answer.strip():
        raise Unfit(Why.EMPTY_ANSWER, f"nothing after {CLOSE}")
    return join_response(thought, answer)


def check_question(question: str) -> None:
    """Raises Unfit when a question holds a thinking tag: the model would take it for its own."""
    for tag in (OPEN, CLOSE):
        if tag in question:
            raise Unfit(Why.THINK_TWICE, f"{tag} in the question")


def check_controls(layout: Family, *texts: str) -> None:
    """Raises Unfit when a text holds a control token of the layout, such as the end token.

    The tokenizer would encode it as the real token: a turn, or the end, in the midst of a text.
    """
    for text in texts:
        for mark in layout.marks():
            if mark in text:
                raise Unfit(Why.CONTROL_TOKEN, f"the text holds {mark}")
