"""From the text of an answer to its shape: one value, an ordered tuple, a set, intervals, a matrix,
words. Anything unknown comes out as Opaque."""

import re
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from drp_plugin.grading.latex import Node, NotUnderstood, num, parse
from drp_plugin.grading.normal import WORD_CLOSE, WORD_OPEN, plain
from drp_plugin.grading.units import Quantity, quantity
from drp_plugin.grading.wording import number_of
from drp_plugin.resources import Patterns, table

MAX_ITEMS = 200
_TABLES = table("grading.yaml")["tables"]
_P = Patterns("grading.yaml", "reading")
_OF_SETS = r"\\cup(?![A-Za-z])", r"\\cap(?![A-Za-z])", r"\\setminus(?![A-Za-z])"
_OPEN, _CLOSE = ("(", "[", "{", "\\{"), (")", "]", "}", "\\}")


class Expression(NamedTuple):
    """A number or formula, perhaps with a unit."""

    node: Node
    quantity: Quantity


class Words(NamedTuple):
    """An answer in words, or in a notation that is compared as words are: 4210_5, June 20."""

    text: str


class Group(NamedTuple):
    """Several answers: `kind` is tuple (ordered), list or set (both not), or union (of sets)."""

    kind: str
    items: "tuple[Answer, ...]"
    brackets: str = ""  # Around a tuple, perhaps an interval; a matrix's: matrix, determinant, norm
    joint: str = ""  # The word or sign between the items: and, or, \setminus; '' for a comma


class Relation(NamedTuple):
    """left = right, or a chain of comparisons."""

    sides: "tuple[Answer, ...]"
    signs: tuple[str, ...]


class Ratio(NamedTuple):
    """a : b (: c …), which may be a time of day."""

    terms: tuple[Node, ...]
    clock: int | None = None  # Seconds since midnight where it is written like a time, as 3:30 is
    half: bool = False  # Whether a.m. or p.m. is given.


class Opaque(NamedTuple):
    """Mathematics that our grammar does not know; for the computer algebra system."""

    text: str


Answer = Expression | Words | Group | Relation | Ratio | Opaque


@lru_cache(maxsize=4_000)
def read(text: str) -> Answer:
    return _read(text, 0)


def _read(text: str, depth: int) -> Answer:
    text = text.strip()
    if depth > 6 or not text:
        return Opaque(text)
    if text.startswith("\\mathbb{R}"):
        text = _TABLES["reals"].get(re.sub(r"[{} ]", "", text[len("\\mathbb{R}"):]), text)
    if (found := _named(text)) is not None:
        return found
    if _is_words(text):
        return _in_words(text)
    return _matrix(text, depth) or _several(text, depth) or _relation(text, depth) \
        or _enclosed(text, depth) or _plus_minus(text, depth) or _ratio(text) or _expression(text)


def _all(texts: list[str], depth: int) -> tuple[Answer, ...]:
    return tuple(_read(text, depth + 1) for text in texts[:MAX_ITEMS])


def _split(text: str, pattern: str) -> tuple[list[str], list[str]]:
    """Parts of the text between matches outside all brackets, and the matches."""
    parts, marks, depth, start = [], [], 0, 0
    for token in re.finditer(rf"(?P<mark>{pattern})|\\.|\x02[^\x03]*\x03|.", text, re.DOTALL):
        if token["mark"] is None:
            depth += (token[0] in _OPEN) - (token[0] in _CLOSE)
        elif depth == 0:
            parts.append(text[start:token.start()])
            marks.append(token[0])
            start = token.end()
    return [*parts, text[start:]], marks


def _several(text: str, depth: int) -> Answer | None:
    """Items between commas, semicolons, and, or; unions and differences of sets."""
    parts, marks = _split(text, _P.between.pattern)
    items = [part for part in parts if part.strip()]
    if marks and items:
        last = marks[-1] if len(items) > 1 else ""
        joint = re.sub("lor|vee", "or", re.sub("land|wedge", "and", last)).strip("\\,;\x02\x03 ")
        return Group("list", _flat(_all(items, depth)), joint=joint)
    for pattern in _OF_SETS:
        parts, marks = _split(text, pattern)
        if marks and all(part.strip() for part in parts):
            found = _all(parts, depth)
            if marks[0] == "\\cup" and all(isinstance(i, Group) and i.kind == "set" for i in found):
                return Group("set", _flat(found, "set"))
            return Group("union", found, joint=marks[0])
    return None


def _flat(shapes: tuple[Answer, ...], kind: str = "list") -> tuple[Answer, ...]:
    return tuple(item for shape in shapes for item in (
        shape.items if isinstance(shape, Group) and shape.kind == kind else (shape,)))


def _matrix(text: str, depth: int) -> Answer | None:
    if not (match := _P.matrix.fullmatch(text)):
        return None
    rows = [row.split("&") for row in _P.column.split(match[2].replace("\\hline", " "))
            if row.strip()]
    if sum(map(len, rows)) > MAX_ITEMS:
        return Opaque(text)
    if match[1] == "cases":     # values with the conditions on which they hold, in any order
        return Group("list", tuple(Group("tuple", _all([part.strip(" ,;.") for part in (
            row[0], re.sub("[\x02\x03]", " ", _P.when.sub("", "".join(row[1:]))))], depth), "cases")
            for row in rows))
    cells = [_all(row, depth) for row in rows]
    if match[3]:
        cells = list(zip(*cells, strict=False))
    kind = {"v": "determinant", "V": "norm"}.get(match[1][0], "matrix")
    if kind == "matrix" and len(cells) > 1 and all(len(row) == 1 for row in cells):
        return Group("tuple", tuple(row[0] for row in cells), "()")     # a column vector
    return Group("tuple", tuple(Group("tuple", row, "row") for row in cells), kind)


def _relation(text: str, depth: int) -> Answer | None:
    pieces, marks = _split(text, _P.relation.pattern)
    signs = tuple(_TABLES["relations"].get(mark, mark) for mark in marks)
    if all(piece.strip() for piece in pieces):
        return Relation(_all(pieces, depth), signs) if signs else None
    return _read(pieces[1], depth + 1) if signs in (("=",), ("\\approx",)) else Opaque(text)


def _enclosed(text: str, depth: int) -> Answer | None:
    """( … ), [ … ], \\{ … \\} around the whole answer, perhaps transposed."""
    if transposed := _P.transposed.fullmatch(text):
        row = _enclosed(transposed[1], depth)
        return row._replace(brackets="()") if isinstance(row, Group) else None
    if text.startswith("\\{") and text.endswith("\\}"):
        if builder := _P.builder.fullmatch(text[2:-2]):
            return _read(builder[1], depth + 1)
        items = [item for item in _split(text[2:-2], "[,;]")[0] if item.strip()]
        return Group("set", _flat(_all(items, depth))) if items else Words("empty set")
    around, inner = text[:1] + text[-1:], text[1:-1]
    if _P.reversed.fullmatch(text):      # ]0, 1[ is open at both ends
        around = ("(" if around[0] == "]" else "[") + (")" if around[1] == "[" else "]")
    elif around[:1] not in _OPEN or around[1:] not in _CLOSE or min(accumulate(
            (c in _OPEN) - (c in _CLOSE) for c in inner), default=0) < 0:  # it closes early
        return None
    items = _split(inner, "[,;]")[0]
    if len(items) > 1:
        return Group("tuple", _all(items, depth), around) if len(items) <= MAX_ITEMS \
            else Opaque(text)
    if around == "()":
        found = _read(inner, depth + 1)
        return found if not isinstance(found, Expression) else None
    return _matrix(inner.strip(), depth)


def _plus_minus(text: str, depth: int) -> Answer | None:
    if not _P.pm.search(text):
        return None
    upper = _P.pm.sub(lambda match: "+" if match[1] == "pm" else "-", text)
    lower = _P.pm.sub(lambda match: "-" if match[1] == "pm" else "+", text)
    return Group("list", _all([upper, lower], depth), joint="\\pm")


def _ratio(text: str) -> Answer | None:
    terms, marks = _split(text, r":|(?<=\d)\s*\x02?\s*(?<![A-Za-z])to\s*\x03?(?=\s*\d)")
    if not marks or len(terms) > 6:
        return None
    time = _P.timelike.fullmatch(text)
    hour, minute, second = (int(part or 0) for part in time.groups()) if time else (99, 0, 0)
    try:
        return Ratio(tuple(parse(term) for term in terms),
                     (hour * 60 + minute) * 60 + second if hour < 25 and minute < 60 else None)
    except NotUnderstood:
        return None


def _expression(text: str) -> Answer:
    segment = _P.segment.fullmatch(text)
    text = segment[1] if segment else text
    found = quantity(text)
    for attempt in (found, Quantity(text, "", False)):
        try:
            # a formula whose \mathrm letters are single letters again
            return Expression(parse(re.sub(r"\x02\s*([A-Za-z])\s*\x03", r"\1", attempt.value)),
                              attempt)
        except NotUnderstood:
            continue
    wordy = WORD_OPEN in text or WORD_CLOSE in text or re.search(r"[^\W\d_]", text)
    return Words(plain(text).lower()) if wordy and not re.search(r"\\[A-Za-z]|[\^_{}]", text) \
        else Opaque(text)


def _named(text: str) -> Answer | None:
    """What the text names, if it is one of these notations."""
    based = _P.based.fullmatch(re.sub(r"\x02(\w+)\x03(?=\s*_)", r"\1", text)
                             if "_" in text else plain(re.sub("[()]", " ", text)))
    if based:
        return _based(based)
    if text == "\\emptyset":
        return Words("empty set")
    if "\\" in text or not re.search(r"[^\W\d_]", text):
        return None     # a formula
    parts = [part.strip(" ()") for part in re.split(r",|\band\b", plain(text)) if part.strip()]
    if len(parts) > 1 and all(map(str.isalpha, parts)) and (WORD_OPEN in text or _is_words(text)):
        return Group("list", tuple(map(_in_words, parts)))      # Alice and Bob; A, C and F
    inner = plain(re.sub(r"[\^_{}()]", " ", text))
    if time := _P.time.fullmatch(inner):
        hour, minute, second = (int(part or 0) for part in time.groups()[:3])
        half = 12 * (time[4].lower() == "p")
        return Ratio((), ((hour % 12 + half) * 60 + minute) * 60 + second, half=True) \
            if 1 <= hour <= 12 and minute < 60 and second < 60 else None
    date, numbered = _P.date.fullmatch(inner), _P.numbered.fullmatch(inner.lower())
    return (_date(date) if date else None) or (
        _bare(int(numbered[1] or numbered[2])) if numbered else None)


def _date(match: re.Match[str]) -> Words | None:
    """The month, the day and perhaps the year, in this order however they were written."""
    word = match["month"].lower()
    month = next((m for m in _TABLES["months"].split()
                  if word in (m, m[:3], m[:4] if m[0] == "s" else m)), None)
    day = str(int(match["first"] or match["last"]))
    return Words(" ".join(filter(None, (month, day, match["year"])))) if month else None


def _based(match: re.Match[str]) -> Words | None:
    name = next(group for group in match.groups()[2:] if group).lower()
    base = int(name) if name.isdecimal() else int(number_of(name) or 0)
    digits = match[1].replace("-", "minus ") + (match[2].lstrip("0") or "0")
    return Words(f"{digits} base {base}".lower()) if base or "_" in match[0] else None


def _is_words(text: str) -> bool:
    inner = plain(text)
    outside = re.sub(r"\x02[^\x02\x03]*\x03", "", text).strip(" ()")
    if WORD_OPEN in text and not outside:
        return not re.fullmatch(r"[\s\d.,/%$+-]*", inner) \
            and not re.match(r"[-$]?\s*\d|.*,", inner)   # \text{5 hours}, \text{A, B}
    if re.search(r"[\\^_=<>{}+*/|]|\d", outside):
        return False
    return inner.lower() in ("no", "yes", "am", "pm", "dne") or bool(_P.word.search(inner))


def _in_words(text: str) -> Answer:
    inner = plain(text).strip(" .").lower()
    value = number_of(inner)
    return Words(inner) if value is None else _bare(value)


def _bare(value: int | Fraction) -> Expression:
    return Expression(num(value), Quantity(str(value), "", False))
