"""Splitting a response R into its thinking T and its answer A, and putting it together (§3.1)."""

import re
from typing import NamedTuple

OPEN = "<think>"
CLOSE = "</think>"

_NAMES = (r"(?i:think|thinking|thoughts?|thinking_process|thought_process|reasoning|reason|"
          r"analysis|scratchpad|seed:think|longcat_think)\s*")
_TOKENS = "begin_of_thought|START_THINKING|inner_prefix", "end_of_thought|END_THINKING|inner_suffix"
_OTHERS = (rf"<{_NAMES}>|\[THINK\]|◁think▷|<\|(?:{_TOKENS[0]})\|>",
           rf"</{_NAMES}>|\[/THINK\]|◁/think▷|<\|(?:{_TOKENS[1]})\|>")
_OPENS, _CLOSES = (re.compile(marks) for marks in _OTHERS)
_AROUND_ANSWER = re.compile(r"<\|(?:begin_of_solution|START_RESPONSE)\|>(.*?)"
                            r"(?:<\|(?:end_of_solution|END_RESPONSE)\|>)?", re.DOTALL)
_HARMONY = re.compile(r"<\|channel\|>(\w+)[^<]*<\|message\|>(.*?)"
                      r"(?=<\|(?:end|return|call|start|channel)\|>|\Z)", re.DOTALL)
_BARE_HARMONY = re.compile(r"analysis(.*?)assistantfinal(.*)", re.DOTALL)
"""Harmony decoded without its special tokens."""
_BEGINS = ("<｜begin▁of▁sentence｜>", "<|begin_of_text|>", "<s>")
_ENDS = ("<｜end▁of▁sentence｜>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>",
         "<end_of_turn>", "<|END_OF_TURN_TOKEN|>", "</s>", "<eos>")


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
    thinking = thinking.strip()
    if thinking.startswith(OPEN):
        thinking = thinking[len(OPEN):].strip()
    return Split(thinking, answer.strip(), bool(tag))


def join_response(thinking: str, answer: str) -> str:
    """The exact shape that LLaMA-Factory's R1 template trains and R1 models produce. An empty
    thinking is one newline: prompts end with `<think>\\n`, and `\\n\\n` is another token."""
    body = f"{thinking.strip()}\n".lstrip()
    return f"{OPEN}\n{body}{CLOSE}\n\n{answer.strip()}"


def as_published(response: str) -> str:
    """A response of any family with R1's tags: `<think>T</think>A`. Tags of other families,
    gpt-oss's harmony and end tokens are read; what has none stays as it is."""
    text = _without_ends(response)
    if CLOSE in text:
        return text
    if "<|channel|>" in text:
        return _from_harmony(text)
    if bare := _BARE_HARMONY.fullmatch(text.strip()):
        return join_response(*bare.groups())
    start = _OPENS.match(text.lstrip())
    ends = list(_CLOSES.finditer(text))
    if start is None and not ends:
        return text
    if len(ends) > 1:  # several blocks of thinking: left for others to refuse
        return _CLOSES.sub(CLOSE, _OPENS.sub(OPEN, text))
    stop = ends[0] if ends else None
    thought = text[:stop.start()] if stop else text
    if start:
        thought = thought.lstrip()[start.end():]
    if stop is None:
        return f"{OPEN}\n{thought.strip()}"
    answer = text[stop.end():].strip()
    inside = _AROUND_ANSWER.fullmatch(answer)
    return join_response(thought, inside[1] if inside else answer)


def _without_ends(text: str) -> str:
    """The text without tokens that only say that it begins or ends."""
    for mark in _BEGINS:
        text = text.removeprefix(mark)
    while mark := next((m for m in _ENDS if text.rstrip().endswith(m)), ""):
        text = text.rstrip().removesuffix(mark)
    return text


def _from_harmony(text: str) -> str:
    said: dict[str, str] = {}
    for channel, part in _HARMONY.findall(text):
        said[channel] = "\n\n".join(filter(None, (said.get(channel), part.strip())))
    if "final" not in said:
        return f"{OPEN}\n{said.get('analysis', '')}"
    return join_response(said.get("analysis", ""), said["final"])
