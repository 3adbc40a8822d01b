"""Finding the final answer in a completion, and saying how it was found."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

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
_SPECIAL = re.compile(r"(?:\s*(?:<[|\uff5c][^<>\s]{1,40}[|\uff5c]>|</?s>|<eos>"
                      r"|<end_of_turn>))+\s*$")
_TAGS = re.compile(r"<answer>\s*(.*?\S)\s*</answer>", re.DOTALL | re.IGNORECASE)
_TOKENS = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])|\\.|[{}]", re.DOTALL)
_BARE_BOX = re.compile(r"\s*(-?\$?\d[\d.,/]*\d|-?\d|\\[dt]?frac\s*\d\s*\d|[^\s\\{}$&]+)")

#: Where a number could go on, were the text longer.
_OPEN_END = re.compile(r"[\d.,/]*")


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


def last_box(text: str, *, ended: bool = True) -> str | None:
    """The content of the last balanced, non-empty `\\boxed{…}` (or `\\boxed 2`), else None.

    With `ended=False` a `\\boxed 1` without braces at the very end may go on, and is none.
    """
    return boxes(text, ended=ended)[0]


def boxes(text: str, *, ended: bool = True) -> tuple[str | None, bool]:
    """The last box (see `last_box`), and whether the text ends inside one.

    One pass, so that text made of a million braces takes no longer than other text.
    """
    if "\\boxed" not in text and "\\fbox" not in text:
        return None, False
    found: str | None = None
    opened: list[int] = []      # for each open brace: where a box's content begins, or -1
    pending = -1                # end of a \boxed that still waits for its brace
    for token in _TOKENS.finditer(text):
        mark = token.group()
        if pending >= 0 and not (mark == "{" and not text[pending:token.start()].strip()):
            found = _bare(text, pending, ended) or found
            pending = -1
        if mark == "{":
            opened.append(token.end() if pending >= 0 else -1)
            pending = -1
        elif mark == "}":
            begin = opened.pop() if opened else -1
            if begin >= 0 and text[begin:token.start()].strip():
                found = text[begin:token.start()]
        elif mark.startswith(("\\boxed", "\\fbox")):
            pending = token.end()
    if pending >= 0:
        found = _bare(text, pending, ended) or found
    cut = any(begin >= 0 for begin in opened)
    if found is None:
        return None, cut
    inner = last_box(found) if len(found) < _WINDOW and re.search(r"\\f?box", found) else None
    return (inner or found).strip(), cut


def _bare(text: str, start: int, ended: bool) -> str | None:
    match = _BARE_BOX.match(text, start, start + 300)
    if match and not ended and _OPEN_END.fullmatch(text, match.end()):
        return None
    return match.group(1).rstrip(".,;") or None if match else None
