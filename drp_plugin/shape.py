"""The exact shape of a training target: `<think>\\n T̂ \\n</think>\\n\\n Â` (§3.2)."""

from collections.abc import Iterable

from drp_plugin.thinking import CLOSE, OPEN, join_response

CONTROL_TOKENS = ("<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>",
                  "<｜end▁of▁sentence｜>", "<|im_start|>", "<|im_end|>")
"""Control tokens of every chat layout that a set can be built for."""


class Unfit(Exception):
    """A text that cannot be trained on; `reason` stands in the lists of build and prune alike."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def shaped(response: str, *, thinking: bool = True) -> str:
    """The response in the one shape in which training and inference agree token for token. A
    missing opening tag is mended: chat templates prefill it. Raises Unfit when the thinking is not
    closed, is empty (unless `thinking` is off), or is there twice, or no answer follows it."""
    text = response.strip()
    body = text[len(OPEN):] if text.startswith(OPEN) else text
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


def check_question(question: str, marks: Iterable[str] = CONTROL_TOKENS) -> None:
    """Raises Unfit when a question holds a thinking tag: the model would take it for its own."""
    for tag in (OPEN, CLOSE):
        if tag in question:
            raise Unfit("think_twice", f"{tag} in the question")
    check_controls(marks, question)


def check_controls(marks: Iterable[str], *texts: str) -> None:
    """Raises Unfit for a control token of the layout, which the tokenizer would take for real."""
    for text in texts:
        for mark in marks:
            if mark in text:
                raise Unfit("control_token", f"the text holds {mark}")
