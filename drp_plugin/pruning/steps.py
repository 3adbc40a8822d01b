"""The teacher's decomposition: its steps read (`Step n: …`, `Skill: …`) and found in T.

How much of T they hold is measured, since a teacher may leave text out, change it or make it up.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import NamedTuple

from drp_plugin.pruning.dialogue import FormatError, unbraced

_STEP = re.compile(r"^[ \t]{0,8}[#>*_\-]{0,6}[ \t]{0,2}[*_]{0,3}Step[ \t]{1,3}(\d{1,6})"
                   r"[*_]{0,3}[ \t]{0,2}[:.)][*_]{0,3}[ \t]{0,2}", re.MULTILINE | re.IGNORECASE)
_SKILL = re.compile(r"^[ \t]{0,8}[>*_\-]{0,6}[ \t]{0,2}[*_]{0,3}Skills?[*_]{0,3}[ \t]{0,2}[:：]"
                    r"[ \t*_]{0,8}(.*)$", re.MULTILINE | re.IGNORECASE)
_WORD = re.compile(r"\S+")
_LOOKAHEAD = 2000
"""Non-space characters that may be missing before a step; a short text found further on is
taken for another place's text."""
_LIKE = 0.6
"""Least share of a reworded step's characters that must be found in T, in order."""
_FUZZY_LIMIT = 4000
_FUZZY_TRIES = 200
_QUOTES = str.maketrans("“”‘’`", "\"\"'''")


class Labelled(NamedTuple):
    """A step as the teacher wrote it."""

    text: str
    skill: str | None


def parse_steps(reply: str, *, skills: bool) -> list[Labelled]:
    """The steps of a reply, in order.

    Markers count only in their turn (1, 2, 3 …), because the reasoning itself may say
    "Step 2:". Bold marks, headings and the braces of the format are taken off. Raises
    FormatError for a reply without steps, a step without text, or (`skills`) without skills.
    """
    turns: list[re.Match[str]] = []
    for match in _STEP.finditer(reply):
        number = int(match[1])
        if number == len(turns) + 1:
            turns.append(match)
    if not turns:
        raise FormatError('it has no line that starts with "Step 1:".')
    steps: list[Labelled] = []
    ends = [match.start() for match in turns[1:]] + [len(reply)]
    for number, (match, end) in enumerate(zip(turns, ends, strict=True), start=1):
        step = _labelled(reply[match.end() : end], skills)
        if not step.text:
            raise FormatError(f"step {number} has no text.")
        steps.append(step)
    if skills and sum(step.skill is None for step in steps) > len(steps) / 2:
        raise FormatError('the steps have no "Skill:" lines.')
    return steps


def _labelled(chunk: str, skills: bool) -> Labelled:
    skill = None
    if skills:
        lines = list(_SKILL.finditer(chunk))
        if lines:
            name = lines[-1][1].strip().strip("*_.{} ")
            skill = name[:200] or None
            chunk = chunk[: lines[-1].start()]
    return Labelled(unbraced(chunk), skill)


class Located(NamedTuple):
    """A step and where it stands in T."""

    text: str
    skill: str | None
    start: int | None
    """None where it could not be found."""
    end: int | None
    held: int
    """Non-space characters of T that it holds, in order."""


class _Compact:
    """A text without white space (and with plain quotes), and the way back."""

    def __init__(self, text: str) -> None:
        words = [(match.start(), match[0]) for match in _WORD.finditer(text)]
        self.text = "".join(word for _, word in words).translate(_QUOTES)
        self.places: list[int] = []
        for start, word in words:
            self.places.extend(range(start, start + len(word)))


def locate(text: str, steps: list[Labelled]) -> list[Located]:
    """Find the steps in `text` one after another.

    A step that is there but for white space gets its exact span and the text's own wording. A
    reworded one gets the span from its first to its last common word, keeps its wording, and
    holds only the characters that are common. Spans never overlap and never go back.
    """
    source = _Compact(text)
    found: list[Located] = []
    cursor, tries = 0, _FUZZY_TRIES
    for piece, skill in steps:
        wanted = "".join(piece.split()).translate(_QUOTES)
        at = _exact(source.text, wanted, cursor)
        if at >= 0:
            start, end = source.places[at], source.places[at + len(wanted) - 1] + 1
            cursor = at + len(wanted)
            found.append(Located(text[start:end], skill, start, end, len(wanted)))
            continue
        like = None
        if wanted and tries > 0 and cursor < len(source.places):
            tries -= 1
            like = _reworded(text, piece, skill, source.places[cursor])
        if like is None:
            found.append(Located(piece, skill, None, None, 0))
            continue
        while cursor < len(source.places) and source.places[cursor] < like.end:  # type: ignore[operator]
            cursor += 1
        found.append(like)
    return found


def _exact(source: str, wanted: str, cursor: int) -> int:
    if not wanted:
        return -1
    if source.startswith(wanted, cursor):
        return cursor
    reach = len(source) if len(wanted) > 80 else cursor + _LOOKAHEAD + len(wanted)
    return source.find(wanted, cursor, reach)


def _reworded(text: str, piece: str, skill: str | None, start: int) -> Located | None:
    if len(piece) > _FUZZY_LIMIT:
        return None
    theirs = [match[0] for match in _WORD.finditer(piece)]
    ours = list(_WORD.finditer(text, start, start + 2 * len(piece) + 300))
    matcher = SequenceMatcher(None, [_plain(m[0]) for m in ours], [_plain(w) for w in theirs],
                              autojunk=False)
    blocks = [b for b in matcher.get_matching_blocks() if b.size]
    held = sum(len(ours[b.a + i][0]) for b in blocks for i in range(b.size))
    if not blocks or held < _LIKE * sum(map(len, theirs)):
        return None
    last = blocks[-1].a + blocks[-1].size - 1
    return Located(piece, skill, ours[blocks[0].a].start(), ours[last].end(), held)


def _plain(word: str) -> str:
    return word.translate(_QUOTES).strip("*_#.,:;!?\"'").lower() or word


def visible(text: str) -> int:
    """Non-space characters."""
    return sum(map(len, text.split()))


def coverage(text: str, located: list[Located]) -> float:
    """Share of `text`'s non-space characters that the steps hold, in order; 1.0 is a partition."""
    total = visible(text)
    return sum(step.held for step in located) / total if total else 1.0


def first_gap(text: str, located: list[Located]) -> str:
    """The start of the longest passage that no step holds, to be named to the teacher."""
    at, gaps = 0, []
    for step in located:
        if step.start is not None and step.end is not None:
            gaps.append(text[at : step.start].strip())
            at = step.end
    gaps.append(text[at:].strip())
    longest = max(gaps, key=len)
    return longest[:160] + ("…" if len(longest) > 160 else "")
