"""The content of `\\boxed{…}`."""

from __future__ import annotations

import re

#: A box without braces holds no more than this; a longer box is not searched for boxes inside.
_BARE = 300
_NESTED = 20_000

_TOKENS = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])|\\.|[{}]", re.DOTALL)
_BARE_BOX = re.compile(r"\s*(-?\$?\d[\d.,/]*\d|-?\d|\\[dt]?frac\s*\d\s*\d|[^\s\\{}$&]+)")

#: Where a number could go on, were the text longer.
_OPEN_END = re.compile(r"[\d.,/]*")


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
    inner = last_box(found) if len(found) < _NESTED and re.search(r"\\f?box", found) else None
    return (inner or found).strip(), cut


def _bare(text: str, start: int, ended: bool) -> str | None:
    match = _BARE_BOX.match(text, start, start + _BARE)
    if match and not ended and _OPEN_END.fullmatch(text, match.end()):
        return None
    return match.group(1).rstrip(".,;") or None if match else None
