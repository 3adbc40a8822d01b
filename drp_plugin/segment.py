"""Cutting T into units: sentences, or clauses, that never break a formula.

The units are half-open spans that partition the text, white space (which belongs to the unit
before it) included. Every pass is linear in the length of the text.
"""

import re
import sys
from bisect import bisect_left
from collections.abc import Iterable
from typing import Literal, NamedTuple

from drp_plugin.resources import Patterns

Level = Literal["sentence", "clause"]


class Span(NamedTuple):
    """A half-open range of characters."""

    start: int
    end: int


_LONGEST_DISPLAY = 20_000  # Characters; a display formula that closes later than this was not one
_SHORTEST_CLAUSE = 15
"""Characters that must stand before a cut inside a sentence: `Okay, so` is not a clause."""

_END = Span(sys.maxsize, sys.maxsize)  # Behind every region
_P = Patterns("segment.yaml", "patterns")


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
    starts = [0]
    guarded = iter([*protected(text), _END])
    region = next(guarded)
    line = 0
    for match in _P.candidate.finditer(text):
        at, start = match.span()
        newline = text[at] == "\n"
        line_before = line
        if newline:
            line = start
        while region.end <= at:
            region = next(guarded)
        if region.start <= at:
            continue
        while not newline and text[start : start + 1].isspace():
            start += 1
        if start >= len(text) or start <= starts[-1]:
            continue
        if newline:
            cut = _breaks_at_newline(text, match, line_before)
        elif text[at] in ".!?…":
            cut = _breaks_at_stop(text, match, start, line)
        else:
            cut = level == "clause" and _breaks_at_clause(text, match, start, starts[-1])
        if cut and text[starts[-1] : start].strip():
            starts.append(start)
    return tuple(Span(a, b) for a, b in zip(starts, [*starts[1:], len(text)], strict=True))


def texts(text: str, spans: Iterable[Span]) -> list[str]:
    """What the spans hold."""
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
    paragraph = -1
    ahead = iter([*formulas, _END])
    formula = next(ahead)
    for bracket in _P.bracket.finditer(text):
        at, mark = bracket.start(), bracket[0]
        while formula.end <= at:
            formula = next(ahead)
        if formula.start <= at:
            continue
        index = bisect_left(breaks, at)
        if index != paragraph:
            paragraph, open_at = index, {"(": [], "[": []}
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
        word = _P.word_before.search(text[max(0, at - 12) : at])
        if word and _P.abbreviations.match(word[0]):
            return False
        return not (word and _P.ending_abbreviations.match(word[0])) or after.isupper()
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
