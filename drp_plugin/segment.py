"""Cutting T into units: sentences, or clauses, that never break a formula.

The units are half-open spans that partition the text, white space (which belongs to the unit
before it) included. Every pass is linear in the length of the text."""

import re
import string
import sys
from bisect import bisect_left
from collections.abc import Iterable
from typing import Literal, NamedTuple

from drp_plugin.resources import Patterns, table

Level = Literal["sentence", "clause"]


class Span(NamedTuple):
    """A half-open range of characters."""

    start: int
    end: int


_LONGEST_DISPLAY = 20_000  # Characters; a display formula that closes later than this was not one
_SHORTEST_CLAUSE = 15  # Characters before a cut in a sentence: `Okay, so` is no clause

_END = Span(sys.maxsize, sys.maxsize)  # Behind every region
_P = Patterns("segment.yaml", "patterns")
_WORD = string.ascii_letters + "."
_ABBREVIATIONS, _ENDING_ABBREVIATIONS = (
    frozenset(words.split()) for words in table("segment.yaml")["abbreviations"].values())


def _next(places: list[int], position: int) -> int:
    """The first of the places that is not before the position; -1 where there is none."""
    index = bisect_left(places, position)
    return places[index] if index < len(places) else -1


def units(text: str, level: Level = "clause") -> tuple[Span, ...]:
    """Spans of the sentences or clauses of `text`, in order, that partition it. Not broken:
    formulas, environments, code fences, parentheses, decimals, abbreviations, factorials, chains of
    equations over lines. A list marker stays with its item."""
    if not text:
        return ()
    starts, size = [0], len(text)
    last = size - len(text.lstrip())  # White space is no unit of its own
    guarded = iter([*protected(text), _END])
    opens, closes = next(guarded)
    line = 0
    for match in _P.candidate.finditer(text):
        at, start = match.start(), match.end(match.lastindex or 0)
        mark, line_before = text[at], line
        if mark == "\n":
            line = start
        while closes <= at:
            opens, closes = next(guarded)
        if opens <= at or start <= last or start >= size:
            continue
        if mark == "\n":
            cut = _breaks_at_newline(text, match, line_before)
        elif mark in ".!?…":
            cut = _breaks_at_stop(text, match, start, line)
        else:
            cut = level == "clause" and _breaks_at_clause(text, match, start, starts[-1])
        if cut:
            starts.append(start)
            last = start
    return tuple(map(Span, starts, [*starts[1:], size]))


def texts(text: str, spans: Iterable[Span]) -> list[str]:
    return [text[start:end] for start, end in spans]


def protected(text: str) -> list[Span]:
    """Regions that must not be cut, in order and apart: formulas, code, parentheses."""
    breaks = [match.start() for match in _P.blank_line.finditer(text)]
    formulas = _formulas(text, breaks)
    return _merged(formulas + _brackets(text, breaks, formulas))


def _formulas(text: str, breaks: list[int]) -> list[Span]:
    ends: dict[str, list[int]] = {}     # of environments, by name
    for ending in _P.end.finditer(text):
        ends.setdefault(ending[1], []).append(ending.end())
    marks = {mark: [match.start() for match in re.finditer(
        f"{re.escape(mark[0])}(?={re.escape(mark[1:])})", text)]
        for mark in ("```", "~~~", "$$", r"\]", r"\)", "$", r"\[", r"\(") if mark in text}
    found: list[Span] = []
    position = 0
    while (match := _P.opener.search(text, position)) is not None:
        mark, at = match[0], match.start()
        position = match.end()
        end = -1
        if match[1]:
            end = _next(ends.get(match[1], []), position)
        elif mark in (r"\[", r"\("):
            close = _next(marks.get(r"\]" if mark == r"\[" else r"\)", []), position)
            again = _next(marks[mark], position)
            if close >= 0 and not 0 <= again < close:
                end = close + 2
        elif mark in marks:
            close = _next(marks[mark], position)
            if close >= 0 and (mark != "$" or _is_inline(text, position, close)):
                end = close + len(mark)
        if end < 0 or end - at > _LONGEST_DISPLAY:
            continue
        if mark in ("$", r"\(") and 0 <= _next(breaks, at) < end:
            continue
        found.append(Span(at, end))
        position = end
    return found


def _is_inline(text: str, start: int, close: int) -> bool:
    """Whether `$…$` is a formula and not two sums of money (Pandoc's rule, spaced pairs too)."""
    return 0 < close - start <= 2000 and text[start].isspace() == text[close - 1].isspace() \
        and not text[close + 1 : close + 2].isdigit()


def _brackets(text: str, breaks: list[int], formulas: list[Span]) -> list[Span]:
    """Pairs of round or square brackets within a paragraph, outermost ones."""
    open_at: dict[str, list[int]] = {}
    found: list[Span] = []
    paragraph_ends, paragraph_end = [*breaks, sys.maxsize], -1
    ahead = iter([*formulas, _END])
    begins, ends = next(ahead)
    for bracket in _P.bracket.finditer(text):
        at = bracket.start()
        while ends <= at:
            begins, ends = next(ahead)
        if begins <= at:
            continue
        if at > paragraph_end:
            paragraph_end, open_at = _next(paragraph_ends, at), {"(": [], "[": []}
        mark = text[at]
        if mark in open_at:
            open_at[mark].append(at)
        elif stack := open_at["(" if mark == ")" else "["]:
            found.append(Span(stack.pop(), at + 1))
    return found


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.start < merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def _breaks_at_newline(text: str, match: re.Match[str], line: int) -> bool:
    after = text[match.end()]
    if after in "=≈≤≥<" and text[match.end() : match.end() + 4] != "</th":
        return False  # the chain of equations goes on
    before = text[line : match.start()].rstrip() if match.start() - line < 400 else "…" * 60
    if before[-1:] == "." and len(before) <= 8 and _P.list_marker.match(before[:-1]):
        return False
    # a soft-wrapped line of prose goes on in lower case
    return match[0].count("\n") > 1 or not (
        len(before) > 40 and after.islower() and (before[-1].isalpha() or before[-1] == ","))


def _breaks_at_stop(text: str, match: re.Match[str], start: int, line: int) -> bool:
    at, after = match.start(), text[start]
    stops = match[0].rstrip("\"'”’)]*_}")
    if after in "=+*/<>,;)≤≥≈×÷·^":
        return False
    if stops == ".":
        if at - line <= 12 and _P.list_marker.match(text[line:at]):
            return False
        before = text[max(0, at - 12) : at]
        word = before[len(before.rstrip(_WORD)) :].lstrip(".").lower()
        return word not in _ABBREVIATIONS and (word not in _ENDING_ABBREVIATIONS or after.isupper())
    if stops in ("...", "…") or stops.startswith(".."):
        return after.isupper() or after in "\\$"
    if stops == "!" and at:
        before = text[at - 1]
        alone = before.isalpha() and not text[max(0, at - 2) : at - 1].isalpha()
        if after.islower() or before.isdigit() or before in ")}" or alone:
            return after.isupper()  # a factorial, unless a sentence starts after it
    return True


def _breaks_at_clause(text: str, match: re.Match[str], start: int, last: int) -> bool:
    before = text[match.start() - 1]
    return match.start() - last >= _SHORTEST_CLAUSE and not (match[0] == ":" and (
        before.isspace() or (before.isdigit() and text[start].isdigit())))
