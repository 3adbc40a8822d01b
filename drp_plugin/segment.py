"""Cutting T into units: sentences, or clauses, that never break a formula.

The units are half-open spans that partition the text, white space (which belongs to the unit
before it) included. Every pass is linear in the length of the text.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import Literal, NamedTuple

Level = Literal["sentence", "clause"]


class Span(NamedTuple):
    """A half-open range of characters."""

    start: int
    end: int


_LONGEST_DISPLAY = 20_000  # Characters; a display formula that closes later than this was not one
_SHORTEST_CLAUSE = 15
"""Characters that must stand before a cut inside a sentence: `Okay, so` is not a clause."""

_BLANK_LINE = re.compile(r"\n[ \t]*(?=\n)")
_OPENER = re.compile(r"```|~~~|\$\$|\\\[|\\\(|\\begin\{([a-zA-Z]{1,20}\*?)\}|\\\$|\$|\\[\\{}]")
_END = re.compile(r"\\end\{([a-zA-Z]{1,20}\*?)\}")
_BRACKET = re.compile(r"[()\[\]]")

# The lookbehind keeps a long run of stops from being tried again at each of its characters.
_CANDIDATE = re.compile(
    r"\n\s*+"
    r"|(?<![.!?…])[.!?…]++[\"'”’)\]*_}]*+(?=\s)"
    r"|[;:](?=[ \t])"
    r"|,[ \t]++(?=(?:so|but|because|since|therefore|hence|thus|while|whereas|giving|resulting|"
    r"leaving|meaning|which (?:means|gives|is|simplifies|equals|leaves|makes|would)|"
    r"and (?:so|then|since|this|that|therefore|the|it))\b)"
)
_SPACE = re.compile(r"\s*+")
_LIST_MARKER = re.compile(r"\s*(?:[-*•>#]\s*)?\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{1,4})\Z")
_WORD_BEFORE = re.compile(r"[A-Za-z][A-Za-z.]*\Z")
_ABBREVIATIONS = re.compile(
    r"(?:e\.g|i\.e|eg|ie|vs|approx|cf|dr|mr|mrs|ms|prof|st|resp|w\.r\.t|eq|eqn|fig|sec|thm|ch|pp|"
    r"viz|ca|al|jr|sr)\Z", re.IGNORECASE)
_ENDING_ABBREVIATIONS = re.compile(
    r"(?:etc|a\.m|p\.m|u\.s|ft|oz|lb|lbs|hr|hrs|mins|secs)\Z", re.IGNORECASE)
"""These may end a sentence too: they do when a capital letter follows."""


class _Next:
    """The next place of `needle` at or after a position; positions must not go back."""

    def __init__(self, text: str, needle: str) -> None:
        self._text, self._needle, self._at = text, needle, -2

    def after(self, position: int) -> int:
        if self._at == -2 or -1 < self._at < position:
            self._at = self._text.find(self._needle, position)
        return self._at


def units(text: str, level: Level = "clause") -> tuple[Span, ...]:
    """Spans of the sentences or clauses of `text`, in order, that partition it.

    Not broken: formulas, environments, code fences, parentheses, decimals, abbreviations,
    factorials, chains of equations over lines. A list marker stays with its item.
    """
    if not text:
        return ()
    starts = [0]
    guarded = _Regions(protected(text))
    line = 0
    for match in _CANDIDATE.finditer(text):
        newline = text[match.start()] == "\n"
        line_before = line
        if newline:
            line = match.end()
        if guarded.inside(match.start()):
            continue
        start = line if newline else _SPACE.match(text, match.end()).end()  # type: ignore[union-attr]
        if start >= len(text) or start <= starts[-1] or guarded.inside(start, strictly=True):
            continue
        if newline:
            cut = _breaks_at_newline(text, match, line_before)
        elif text[match.start()] in ".!?…":
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
    breaks = [match.start() for match in _BLANK_LINE.finditer(text)]
    formulas = _formulas(text, breaks)
    return _merged(formulas + _brackets(text, breaks, formulas))


def _formulas(text: str, breaks: list[int]) -> list[Span]:
    ends: dict[str, list[int]] = {}
    for ending in _END.finditer(text):
        ends.setdefault(ending[1], []).append(ending.end())
    closers = {mark: _Next(text, mark) for mark in ("```", "~~~", "$$", r"\]", r"\)", "$")}
    openers = {mark: _Next(text, mark) for mark in (r"\[", r"\(")}
    found: list[Span] = []
    position = 0
    while (match := _OPENER.search(text, position)) is not None:
        mark, at = match[0], match.start()
        position = match.end()
        end = -1
        if match[1]:
            places = ends.get(match[1], [])
            index = bisect_right(places, position)
            end = places[index] if index < len(places) else -1
        elif mark in (r"\[", r"\("):
            closer = r"\]" if mark == r"\[" else r"\)"
            close, again = closers[closer].after(position), openers[mark].after(position)
            if close >= 0 and not 0 <= again < close:
                end = close + 2
        elif mark in closers:
            close = closers[mark].after(position)
            if close >= 0 and (mark != "$" or _is_inline(text, position, close)):
                end = close + len(mark)
        if end < 0 or end - at > _LONGEST_DISPLAY:
            continue
        if mark in ("$", r"\(") and _crosses(breaks, at, end):
            continue
        found.append(Span(at, end))
        position = end
    return found


def _is_inline(text: str, start: int, close: int) -> bool:
    """Whether `$…$` is a formula and not two sums of money (Pandoc's rule, spaced pairs too)."""
    if close == start:
        return False
    spaced = text[start].isspace(), text[close - 1].isspace()
    if spaced[0] != spaced[1] or text[close + 1 : close + 2].isdigit():
        return False
    return close - start <= 2000


def _crosses(breaks: list[int], start: int, end: int) -> bool:
    index = bisect_left(breaks, start)
    return index < len(breaks) and breaks[index] < end


def _brackets(text: str, breaks: list[int], formulas: list[Span]) -> list[Span]:
    """Pairs of round or square brackets within a paragraph, outermost ones."""
    guarded = _Regions(formulas)
    open_at: dict[str, list[int]] = {"(": [], "[": []}
    found: list[Span] = []
    paragraph = 0
    for bracket in _BRACKET.finditer(text):
        at, mark = bracket.start(), bracket[0]
        if guarded.inside(at) or (at and text[at - 1] == "\\"):
            continue
        index = bisect_left(breaks, at)
        if index != paragraph:
            paragraph = index
            open_at = {"(": [], "[": []}
        if mark in open_at:
            open_at[mark].append(at)
            continue
        stack = open_at["(" if mark == ")" else "["]
        if stack:
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


class _Regions:
    """Membership in sorted, disjoint spans."""

    def __init__(self, spans: list[Span]) -> None:
        self._spans = spans
        self._starts = [span.start for span in spans]

    def inside(self, position: int, *, strictly: bool = False) -> bool:
        """Whether a span holds the position (`strictly`: does not merely start there)."""
        index = bisect_right(self._starts, position) - 1
        if index < 0:
            return False
        span = self._spans[index]
        return position < span.end and (not strictly or position > span.start)


def _breaks_at_newline(text: str, match: re.Match[str], line: int) -> bool:
    after = text[match.end()]
    if after in "=≈≤≥<" and text[match.end() : match.end() + 4] != "</th":
        return False  # the chain of equations goes on
    before = text[line : match.start()].rstrip() if match.start() - line < 400 else "…" * 60
    if before[-1:] == "." and len(before) <= 8 and _LIST_MARKER.match(before[:-1]):
        return False
    if match[0].count("\n") > 1:
        return True
    # a soft-wrapped line of prose goes on in lower case
    wrapped = len(before) > 40 and after.islower() and (before[-1].isalpha() or before[-1] == ",")
    return not wrapped


def _breaks_at_stop(text: str, match: re.Match[str], start: int, line: int) -> bool:
    at, after = match.start(), text[start]
    stops = match[0].rstrip("\"'”’)]*_}")
    if after in "=+*/<>,;)≤≥≈×÷·^":
        return False
    if stops == ".":
        if at - line <= 12 and _LIST_MARKER.match(text[line:at]):
            return False
        if word := _WORD_BEFORE.search(text[max(0, at - 12) : at]):
            if _ABBREVIATIONS.match(word[0]):
                return False
            if _ENDING_ABBREVIATIONS.match(word[0]):
                return after.isupper()
        return True
    if stops in ("...", "…") or stops.startswith(".."):
        return after.isupper() or after in "\\$"
    if stops == "!" and at:
        if after.islower():
            return False
        before = text[at - 1]
        alone = before.isalpha() and not text[max(0, at - 2) : at - 1].isalpha()
        if before.isdigit() or before in ")}" or alone:
            return after.isupper()  # a factorial, unless a sentence starts after it
    return True


def _breaks_at_clause(text: str, match: re.Match[str], start: int, last: int) -> bool:
    if match.start() - last < _SHORTEST_CLAUSE:
        return False
    if match[0] == ":":
        before = text[match.start() - 1]
        return not (before.isspace() or (before.isdigit() and text[start].isdigit()))
    return True
