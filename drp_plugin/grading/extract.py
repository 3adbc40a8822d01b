"""Finding the final answer in a completion, and saying how it was found."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from drp_plugin.grading.boxes import boxes, last_box
from drp_plugin.grading.phrases import concluded, stated
from drp_plugin.thinking import CLOSE, OPEN

How = Literal["boxed", "stated", "last_number"]


class Extraction(NamedTuple):
    """The final answer of a completion, as it was written."""

    text: str | None
    """None where there is no answer."""
    how: How | None
    """`\\boxed{}`, a phrase such as "The answer is", or the last number or formula of the answer
    part."""
    truncated: bool
    """No `</think>`: the completion was cut off before its answer part began."""


#: Without a box, the answer is looked for in this many characters at the end.
_WINDOW = 20_000
#: What an engine may leave behind the answer: <|im_end|>, </s>.
_SPECIAL = re.compile(r"(?:\s*(?:<[|\uff5c][^<>\s]{1,40}[|\uff5c]>|</?s>|<(?:eos|end_of_turn)>))+\s*$")
_TAGS = re.compile(r"<answer>\s*(.*?\S)\s*</answer>", re.DOTALL | re.IGNORECASE)


def answer_part(completion: str, thinking: bool = True) -> str | None:
    """What follows the last `</think>`; None where the completion was cut off before it.

    With `thinking=False` (models that do not think) a completion without any tag is all answer.
    """
    _, tag, answer = completion.rpartition(CLOSE)
    if tag:
        return answer
    if thinking or completion.lstrip().startswith(OPEN):
        return None
    return completion


def extract(completion: str, *, thinking: bool = True, ended: bool = True) -> Extraction:
    """The final answer of a completion.

    The last balanced, non-empty `\\boxed{}` after the last `</think>`, else `<answer>` tags, else
    what follows the last "The answer is", else the last number or formula. Never anything from
    inside the thinking, and nothing else where the text ends inside a box. With `ended=False` the
    text stops in the middle (a cutoff): an answer counts only when it is complete, so that "The
    answer is 12" is none (it may go on as 120), and no last number is guessed at.
    """
    answer = answer_part(completion, thinking)
    if answer is None:
        return Extraction(None, None, True)
    tail = answer[-_WINDOW:]
    special = _SPECIAL.search(tail[-500:])
    if special:
        cut = len(special.group())
        answer, tail = answer[:-cut], tail[:-cut]
    box, cut_inside = boxes(answer, ended=ended)
    if box is not None or cut_inside:
        return Extraction(box, "boxed" if box else None, False)
    tagged = _TAGS.findall(tail)
    if tagged:
        return Extraction(stated(tagged[-1], True) or tagged[-1], "stated", False)
    said = stated(tail, ended)
    if said is not None:
        return Extraction(said, "stated", False)
    last = concluded(tail) if ended else None
    return Extraction(last, "last_number" if last else None, False)


__all__ = ["Extraction", "How", "answer_part", "extract", "last_box"]
