"""Splitting a response R into its thinking T and its answer A, and putting it together (§3.1)."""

from __future__ import annotations

from typing import NamedTuple

OPEN = "<think>"
CLOSE = "</think>"


class Split(NamedTuple):
    """A response taken apart."""

    thinking: str
    """T, without tags, stripped."""
    answer: str
    """A, stripped; empty where the response was cut off before `</think>`."""
    complete: bool
    """Whether `</think>` was there."""


def split_response(response: str) -> Split:
    """Take a response apart at its last `</think>`.

    The last one counts, as for graders: text of the thinking that mentions the tag must not
    become the answer. A missing opening tag is normal, since chat templates prefill it. Without
    a closing tag everything is thinking that was cut off.
    """
    thinking, tag, answer = response.rpartition(CLOSE)
    if not tag:
        thinking, answer = response, ""
    thinking = thinking.strip()
    if thinking.startswith(OPEN):
        thinking = thinking[len(OPEN):].strip()
    return Split(thinking, answer.strip(), bool(tag))


def join_response(thinking: str, answer: str) -> str:
    """The exact shape that LLaMA-Factory's R1 template trains and R1 models produce.

    An empty thinking is one newline: prompts end with `<think>\\n`, and `\\n\\n` is another token.
    """
    body = f"{thinking.strip()}\n".lstrip()
    return f"{OPEN}\n{body}{CLOSE}\n\n{answer.strip()}"
