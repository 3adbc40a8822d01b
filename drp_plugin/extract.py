"""Finding the final answer in a completion, and saying how it was found."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from drp_plugin.thinking import CLOSE, OPEN

How = Literal["boxed", "stated", "last_number"]


class Extraction(NamedTuple):
    """The final answer of a completion, as it was written."""

    text: str | None
    """None where there is no answer."""
    how: How | None
    """`\\boxed{}`, a phrase such as "The answer is", or the last number of the answer part."""
    truncated: bool
    """No `</think>`: the completion was cut off before its answer part began."""


#: A phrase cannot run on for longer than this; the search window at the end of a huge answer.
_PHRASE = 300
_WINDOW = 20_000

_BOX_TOKENS = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])|\\.|[{}]", re.DOTALL)
_BARE_BOX = re.compile(r"\s*(-?\$?\d[\d.,/]*\d|-?\d|\\[dt]?frac\s*\d\s*\d|[^\s\\{}$&]+)")

#: Where a number could go on, were the text longer.
_OPEN_END = re.compile(r"[\d.,/]*")

_STATED = re.compile(
    r"""(?:
        \b(?:final\s+|correct\s+)?(?:answer|result)\s*(?:\*\*|__)?\s*
            (?:\s(?:to|of|for)\s[^.:\n]{1,80}?\s)?
            (?:(?:is|are|was|would\s+be|should\s+be|must\s+be|=|:|：|\b(?=\s*\$|\s*\\\())
               (?:\*\*|__)?\s*
               (?:(?:therefore|thus|indeed|then|simply|just|hence|also|still)\s*,?\s+)?:?)
      | (?:^|\n)\s*\#{4}(?!\#)
      # a heading of its own, with a value below it
      | (?:^|\n)[ \t#*_]*(?:the\s)?(?:final\s|correct\s)?(?:answer|result)[ \t*_]*\n
            (?=\s*(?:\*\*|__)?(?:\$|\\\(|\\\[|[-\u2212]?\d))
    )\s*(?P<rest>\S[^\n]{0,300})""",
    re.IGNORECASE | re.VERBOSE)

_NUMBER = re.compile(
    r"""(?<![\w.\\])            # not within a word, a decimal or a command
        (?P<sign>(?<![\d)\]}]\s)(?<![\d)\]}])[-\u2212])?
        \\?\$?\s?
        (?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)
        (?:\.\d+)?
        (?:\s?/\s?\d+(?!\d|\.\d))?
        (?:\s?\\?%)?""",
    re.VERBOSE)
_FRACTION = re.compile(r"[-\u2212]?\s?\\[dt]?frac\s*"
                       r"(?:\{[^{}]{1,40}\}|\d)\s*(?:\{[^{}]{1,40}\}|\d)")
_NEGATED = re.compile(r"not\s[^.\n]{1,80}?\bbut\s+(?:rather\s+|instead\s+)?"
                      r"(?=[-\u2212$\\*(\d])", re.IGNORECASE)
_MATH = re.compile(r"\$\$(.+?)\$\$|(?<!\\)\$(.+?)(?<!\\)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)


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

    The last balanced, non-empty `\\boxed{}` after the last `</think>`, else what follows the last
    "The answer is", else the last number. Never anything from inside the thinking. With
    `ended=False` the text stops in the middle (a cutoff): an answer counts only when it is
    complete, so that "The answer is 12" is none (it may go on as 120), and no last number is
    guessed at.
    """
    answer = answer_part(completion, thinking)
    if answer is None:
        return Extraction(None, None, True)
    box = last_box(answer, ended=ended)
    if box is not None:
        return Extraction(box, "boxed", False)
    tail = answer[-_WINDOW:]
    stated = _stated(tail, ended)
    if stated is not None:
        return Extraction(stated, "stated", False)
    if ended:
        number = _last_number(tail)
        if number is not None:
            return Extraction(number, "last_number", False)
    return Extraction(None, None, False)


def last_box(text: str, *, ended: bool = True) -> str | None:
    """The content of the last balanced, non-empty `\\boxed{…}` (or `\\boxed 2`), else None.

    With `ended=False` a `\\boxed 1` without braces at the very end may go on, and is none.
    One pass, so that text made of a million braces takes no longer than other text.
    """
    if "\\boxed" not in text and "\\fbox" not in text:
        return None
    found: str | None = None
    opened: list[int] = []      # for each open brace: where a box's content begins, or -1
    pending = -1                # end of a \boxed that still waits for its brace
    for token in _BOX_TOKENS.finditer(text):
        mark = token.group()
        if pending >= 0 and not (mark == "{" and not text[pending:token.start()].strip()):
            found = _bare_box(text, pending, ended) or found
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
        found = _bare_box(text, pending, ended) or found
    if found is None:
        return None
    inner = last_box(found) if len(found) < _WINDOW and re.search(r"\\f?box", found) else None
    return (inner or found).strip()


def _bare_box(text: str, start: int, ended: bool) -> str | None:
    match = _BARE_BOX.match(text, start, start + _PHRASE)
    if match and not ended and _OPEN_END.fullmatch(text, match.end()):
        return None
    return match.group(1).rstrip(".,;") or None if match else None


def _stated(text: str, ended: bool) -> str | None:
    last = None
    for last in _STATED.finditer(text):  # noqa: B007 - the last one is wanted
        pass
    if last is None:
        return None
    rest = last.group("rest")
    touches_end = last.end() == len(text)
    negated = _NEGATED.match(rest)
    if negated:     # "not 11 but 12"
        rest = rest[negated.end():]
    if rest.startswith(("\\[", "$$")):      # a display may run over several lines
        rest = text[last.start("rest"):last.start("rest") + _PHRASE]
    math = _MATH.search(rest)
    if math and not re.search(r"\d", rest[:math.start()]):
        return _tidy(next(part for part in math.groups() if part is not None))
    # to the end of the sentence: a dot inside a number does not end one
    sentence = re.split(r"(?<=[^\s.])[.!?;](?=\s|\*|$)|\s\(|,\s(?=[a-z])", rest, maxsplit=1)
    if not ended and touches_end and len(sentence) == 1:
        return None
    phrase = _tidy(sentence[0])
    if not phrase:
        return None
    number = _NUMBER.match(phrase)
    if number:
        after = phrase[number.end():]
        # a unit or a few words may follow; another number means that this was a sentence
        return phrase if not re.search(r"\d", after) or re.match(r"\s*[-+*/^,:\\]", after) \
            else number.group().strip()
    if len(phrase.split()) > 4 and not re.search(r"[\\^_=]", phrase):
        numbers = list(_NUMBER.finditer(phrase))
        if numbers:
            return numbers[-1].group().strip()
    return phrase


def _tidy(text: str) -> str:
    text = text.strip().strip("*_ ").strip()
    return text.rstrip(".,;: ").strip()


def _last_number(text: str) -> str | None:
    best: tuple[int, str] | None = None
    for pattern in (_NUMBER, _FRACTION):
        for match in pattern.finditer(text):
            if best is None or match.end() > best[0]:
                best = (match.end(), match.group())
    return best[1].strip() if best else None
