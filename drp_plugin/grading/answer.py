"""The shapes that answers have: one value, an ordered tuple, a set, intervals, a matrix, words."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from drp_plugin.grading.latex import Node, NotUnderstood, parse
from drp_plugin.grading.normal import WORD_CLOSE, WORD_OPEN, plain
from drp_plugin.grading.units import Quantity, quantity

MAX_ITEMS = 200


class Expression(NamedTuple):
    """A number or formula, perhaps with a unit."""

    node: Node
    quantity: Quantity


class Based(NamedTuple):
    """A numeral in a stated base, such as 4210_5."""

    digits: str
    base: int


class Words(NamedTuple):
    """An answer in words."""

    text: str


class Group(NamedTuple):
    """Several answers: `kind` is tuple (ordered; two in brackets may be an interval), list or
    set (both unordered), or union (of intervals)."""

    kind: str
    items: tuple[Answer, ...]
    brackets: str = ""


class Matrix(NamedTuple):
    """Rows of entries."""

    rows: tuple[tuple[Answer, ...], ...]
    bars: str = ""
    """v for a determinant, V for a norm; neither is the matrix itself."""


class Relation(NamedTuple):
    """left = right, or a chain of comparisons."""

    sides: tuple[Answer, ...]
    signs: tuple[str, ...]


class Ratio(NamedTuple):
    """a : b (: c …)."""

    terms: tuple[Node, ...]


class Clock(NamedTuple):
    """A time of day, with a.m. or p.m."""

    seconds: int
    """Since midnight."""


class Opaque(NamedTuple):
    """Mathematics that our grammar does not know; for the computer algebra system."""

    text: str


Answer = Expression | Based | Words | Group | Matrix | Relation | Ratio | Clock | Opaque

_BASED = re.compile(r"(-?)\s*\(?\s*([0-9A-F]+(?:\.[0-9A-F]+)?)\s*\)?\s*_\s*"
                    r"(?:\{?\s*(\d+)\s*\}?|\(\s*(\d+)\s*\)|\{?\s*\x02\s*(\w+)\s*\x03\s*\}?"
                    r"|\{\s*([a-z]{3,})\s*\})")
_NUMERALS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
     "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
     "nineteen", "twenty")
_MATRIX = re.compile(r"\\begin\{([pbvBV]?(?:small)?matrix|array)\}(?:\{[^{}]*\})?(.*)\\end\{\1\}",
                     re.DOTALL)
#: The end of a row, with the extra space that may follow it.
_COLUMN = re.compile(r"\\\\(?:\s*\[\s*-?[\d.]+\s*(?:em|ex|pt|mm|cm|in|mu|bp)\s*\])?"
                     r"|\\cr(?![A-Za-z])")
_RELATION = re.compile(r"\\le(?![A-Za-z])|\\ge(?![A-Za-z])|\\ne(?![A-Za-z])|\\in(?![A-Za-z])"
                       r"|\\approx(?![A-Za-z])|\\lt(?![A-Za-z])|\\gt(?![A-Za-z])|<=|>=|!=|:="
                       r"|[<>=]")
_SIGNS = {"<=": "\\le", ">=": "\\ge", "!=": "\\ne", "\\lt": "<", "\\gt": ">", ":=": "="}
_AND = re.compile(r"\s*(?:,\s*)?(?:\x02\s*,?\s*(?:and|or)\s*\x03|"
                  r"(?<![A-Za-z])(?:and|or)(?![A-Za-z])"
                  r"|\\(?:lor|land|vee|wedge)(?![A-Za-z]))\s*")
_TIME = re.compile(r"(\d{1,2})(?::(\d\d))?(?::(\d\d))? ?([ap])\.? ?m\.?", re.IGNORECASE)
_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september",
           "october", "november", "december")
_DATE = re.compile(r"(?:(?P<first>\d{1,2})(?:st|nd|rd|th)?(?: of)? )?(?P<month>[a-z]{3,9})\.?"
                   r"(?(first)| (?P<last>\d{1,2})(?:st|nd|rd|th)?)(?:,? (?P<year>\d{4}))?",
                   re.IGNORECASE)
_BASE_WORD = re.compile(r"(-?)([0-9A-F]+(?:\.[0-9A-F]+)?) ?,? ?(?:in )?base[ -]?(\d+|[a-z]+)")
_SEGMENT = re.compile(r"\\overline\s*\{\s*([A-Z]\s*[A-Z])\s*\}")
_REALS = {"\\mathbb{R}": "(-\\infty,\\infty)", "\\mathbb{R}^+": "(0,\\infty)",
          "\\mathbb{R}^-": "(-\\infty,0)", "\\mathbb{R}_>0": "(0,\\infty)",
          "\\mathbb{R}_<0": "(-\\infty,0)", "\\mathbb{R}_\\ge0": "[0,\\infty)",
          "\\mathbb{R}_\\le0": "(-\\infty,0]"}
_INFINITE = {"infinity": "\\infty", "+infinity": "\\infty", "positive infinity": "\\infty",
             "-infinity": "-\\infty", "negative infinity": "-\\infty",
             "minus infinity": "-\\infty"}
_REVERSED = re.compile(r"(?!\[.*\]$)([\[\]])([^\[\]]*)([\[\]])")
_OPEN, _CLOSE = "([{", ")]}"
_WORD = re.compile(r"[A-Za-z][A-Za-z'.-]*")
_FUNCTIONS = re.compile(r"(?:sin|cos|tan|cot|sec|csc|arc\w+|log|ln|exp|sqrt|frac|pi|lim|max|min|"
                        r"gcd|lcm|mod|deg|det|dim)$")


@lru_cache(maxsize=20_000)
def read(text: str) -> Answer:
    """The shape of a tidied answer; anything unknown comes out as Opaque."""
    return _read(text, 0)


def _read(text: str, depth: int) -> Answer:
    text = text.strip()
    if depth > 6 or not text:
        return Opaque(text)
    based = _BASED.fullmatch(text)
    if based:
        return _based(based)
    letters = _letter_list(text) if WORD_OPEN in text else None
    if letters is not None:
        return letters
    named = _named(text, depth) if re.search("[A-Za-z]", text) else None
    if named is not None:
        return named
    if _is_words(text):
        return _number_word(text)
    matrix = _matrix(text, depth)
    if matrix is not None:
        return matrix
    parts = split(text, ",;")
    joined = [piece for part in parts for piece in _AND.split(part)] if _AND.search(text) else parts
    if len(joined) > 1:
        items = [item for item in joined if item.strip()]
        if len(items) <= MAX_ITEMS and items:
            return _list(items, depth)
    union = _split_command(text, "\\cup")
    if len(union) > 1:
        return Group("union", tuple(_read(part, depth + 1) for part in union))
    relation = _relation(text, depth)
    if relation is not None:
        return relation
    return _enclosed(text, depth) or _plus_minus(text, depth) or _ratio(text) or _expression(text)


def _list(items: list[str], depth: int) -> Answer:
    # "1,000, 2,000" was cut at every comma: three digits after one belong to it
    shapes = [_read(item, depth + 1) for item in items]
    flat: list[Answer] = []
    for shape in shapes:
        flat += shape.items if isinstance(shape, Group) and shape.kind == "list" else (shape,)
    return Group("list", tuple(flat))


def _named(text: str, depth: int) -> Answer | None:
    """What has a notation of its own: times, dates, bases in words, segments, sets of reals."""
    if text == "\\emptyset":
        return Words("empty set")
    if text.startswith("\\mathbb"):
        reals = _REALS.get(re.sub(r"(?<=[\^_])\{([^{}]*)\}", r"\1", text.replace(" ", "")))
        return _read(reals, depth + 1) if reals else None
    segment = _SEGMENT.fullmatch(text)
    if segment:
        return _expression(segment.group(1))
    if "\\" in text:
        return None     # a formula
    inner = plain(re.sub(r"[\^_{}()]", " ", text))
    time = _TIME.fullmatch(inner)
    if time:
        return _clock(time)
    based = _BASE_WORD.fullmatch(inner)
    if based and (based.group(3).isdecimal() or based.group(3) in _NUMERALS):
        return _in_base(based.group(1), based.group(2), based.group(3))
    date = _DATE.fullmatch(inner)
    return _date(date) if date else None


def _clock(match: re.Match[str]) -> Clock | None:
    hour, minute, second = (int(part or 0) for part in match.groups()[:3])
    if not 1 <= hour <= 12 or minute > 59 or second > 59:
        return None
    half = 12 * (match.group(4).lower() == "p")
    return Clock(((hour % 12 + half) * 60 + minute) * 60 + second)


def _date(match: re.Match[str]) -> Words | None:
    """The month, the day and perhaps the year, in this order however they were written."""
    word = match["month"].lower()
    month = next((m for m in _MONTHS if word in (m, m[:3], m[:4] if m[0] == "s" else m)), None)
    if month is None:
        return None
    day = int(match["first"] or match["last"])
    return Words(" ".join(filter(None, (month, str(day), match["year"]))))


def _based(match: re.Match[str]) -> Answer:
    sign, digits, number, bracketed, wrapped, bare = match.groups()
    return _in_base(sign, digits, number or bracketed or wrapped or bare)


def _in_base(sign: str, digits: str, name: str) -> Based:
    name = name.lower()
    base = int(name) if name.isdecimal() else _NUMERALS.index(name) if name in _NUMERALS else 0
    return Based(sign + (digits.lstrip("0") or "0"), base)


def _is_words(text: str) -> bool:
    """Whether the answer is words rather than a formula."""
    inner = plain(text)
    marked = WORD_OPEN in text
    outside = re.sub(r"\x02[^\x02\x03]*\x03", "", text).strip(" ()")
    if marked and not outside:
        return not re.fullmatch(r"[\s\d.,/%$+-]*", inner) and not _numeric_words(inner)
    if re.search(r"[\\^_=<>{}+*/|]|\d", outside):
        return False
    words = _WORD.findall(inner)
    if inner.lower() in ("no", "yes", "am", "pm", "dne"):
        return True
    return any(len(w) >= 4 or (len(w) == 3 and w.islower()) for w in words) \
        and not any(_FUNCTIONS.match(w) for w in words)


def _numeric_words(inner: str) -> bool:
    """\\text{5 hours}, \\text{A, B}: not one word, but an answer with a unit or several."""
    return bool(re.match(r"[-$]?\s*\d", inner)) or "," in inner


def _letter_list(text: str) -> Answer | None:
    """\\text{A, C and F}: which statements hold, in any order."""
    letters = [part.strip(" ()") for part in re.split(r",|\band\b", plain(text)) if part.strip()]
    if len(letters) < 2 or not all(re.fullmatch(r"[A-Z]", letter) for letter in letters):
        return None
    return Group("list", tuple(Words(letter.lower()) for letter in letters))


def _number_word(text: str) -> Answer:
    inner = plain(text).strip(" .").lower()
    if inner in _NUMERALS:
        value = str(_NUMERALS.index(inner))
        return Expression(parse(value), Quantity(value, "", False))
    if inner in _INFINITE:
        return Expression(parse(_INFINITE[inner]), Quantity(_INFINITE[inner], "", False))
    return Words(inner)


def _matrix(text: str, depth: int) -> Answer | None:
    match = _MATRIX.fullmatch(text)
    if not match:
        return None
    body = re.sub(r"\\hline", " ", match.group(2))
    rows = [row for row in _COLUMN.split(body) if row.strip()]
    if sum(row.count("&") + 1 for row in rows) > MAX_ITEMS:
        return Opaque(text)
    return Matrix(tuple(tuple(_read(cell, depth + 1) for cell in row.split("&")) for row in rows),
                  match.group(1)[0] if match.group(1)[0] in "vV" else "")


def _relation(text: str, depth: int) -> Answer | None:
    pieces, signs = _split_relations(text)
    if not signs:
        return None
    if any(not piece.strip() for piece in pieces):
        if not pieces[0].strip() and len(pieces) == 2 and signs[0] in ("=", "\\approx"):
            return _read(pieces[1], depth + 1)
        return Opaque(text)
    return Relation(tuple(_read(piece, depth + 1) for piece in pieces), tuple(signs))


def _enclosed(text: str, depth: int) -> Answer | None:
    """( … ), [ … ], \\{ … \\}, \\langle … \\rangle around the whole answer."""
    if text.startswith("\\{") and text.endswith("\\}"):
        return _set(text[2:-2], depth)
    reversed_ = _REVERSED.fullmatch(text)
    if reversed_ and len(split(reversed_.group(2), ",;")) == 2:
        left, inner, right = reversed_.groups()      # ]0, 1[ is open at both ends
        return _tuple(inner, ("(" if left == "]" else "[") + (")" if right == "[" else "]"), depth)
    if len(text) < 2 or text[0] not in "([" or text[-1] not in ")]":
        return None
    inner = text[1:-1]
    if _closes_early(inner):
        return None
    if len(split(inner, ",;")) > 1:
        return _tuple(inner, text[0] + text[-1], depth)
    if text[0] + text[-1] == "()":
        letter = re.fullmatch(r"\s*\x02?\s*([A-Z])\s*\x03?\s*", inner)
        if letter:
            return Words(letter.group(1).lower())
        found = _read(inner, depth + 1)
        return found if not isinstance(found, Expression) else None
    return _matrix(inner.strip(), depth)


def _closes_early(inner: str) -> bool:
    depth = 0
    for sign in inner:
        depth += (sign in _OPEN) - (sign in _CLOSE)
        if depth < 0:
            return True
    return False


def _tuple(inner: str, brackets: str, depth: int) -> Answer:
    items = split(inner, ",;")
    if len(items) > MAX_ITEMS:
        return Opaque(inner)
    return Group("tuple", tuple(_read(item, depth + 1) for item in items), brackets)


def _set(inner: str, depth: int) -> Answer:
    builder = re.split(r"(?<!\|)[:|](?!\|)", inner, maxsplit=1)
    if len(builder) == 2 and re.fullmatch(r"\s*[a-z](\s*\\in\s*\\mathbb\{R\})?\s*", builder[0]):
        return _read(builder[1], depth + 1)
    items = [item for item in split(inner, ",;") if item.strip()]
    if not items:
        return Words("empty set")
    shapes: list[Answer] = []
    for item in items[:MAX_ITEMS]:
        shape = _read(item, depth + 1)
        shapes += shape.items if isinstance(shape, Group) and shape.kind == "list" else (shape,)
    return Group("set", tuple(shapes))


def _plus_minus(text: str, depth: int) -> Answer | None:
    match = re.search(r"\\pm(?![A-Za-z])", text)
    if not match:
        return None
    opposite = {"+": "-", "-": "+"}
    choices = []
    for sign in "+-":
        chosen = re.sub(r"\\pm(?![A-Za-z])", sign, text)
        choices.append(re.sub(r"\\mp(?![A-Za-z])", opposite[sign], chosen))
    return Group("list", tuple(_read(choice, depth + 1) for choice in choices))


def _ratio(text: str) -> Answer | None:
    terms = split(text, ":")
    if len(terms) == 1 and re.search(r"\d\s*\x02\s*to\s*\x03\s*\d|\d\s+to\s+\d", text):
        terms = re.split(r"\x02\s*to\s*\x03|to", text)
    if len(terms) < 2 or len(terms) > 6:
        return None
    try:
        return Ratio(tuple(parse(term) for term in terms))
    except NotUnderstood:
        return None


def _expression(text: str) -> Answer:
    found = quantity(text)
    for attempt in (found.value, text):
        try:
            return Expression(parse(_bare(attempt)), found if attempt is found.value
                              else Quantity(text, "", False))
        except NotUnderstood:
            continue
    if WORD_OPEN in text or _WORD.search(plain(text)):
        return _lone_words(text)
    return Opaque(text)


def _bare(text: str) -> str:
    """A formula whose \\mathrm letters are letters again, one by one."""
    return re.sub(r"\x02\s*([A-Za-z])\s*\x03", r"\1", text)


def _lone_words(text: str) -> Answer:
    return Opaque(text) if re.search(r"\\[A-Za-z]|[\^_{}]", text) else Words(plain(text).lower())


def split(text: str, separators: str) -> list[str]:
    """Parts of the text at separators that stand outside of all brackets."""
    parts, depth, start, i = [], 0, 0, 0
    while i < len(text):
        sign = text[i]
        if sign == "\\":
            following = text[i + 1:i + 2]
            depth += (following == "{") - (following == "}")
            i += 2
            continue
        if sign == WORD_OPEN:
            i = text.find(WORD_CLOSE, i)
            if i < 0:
                break
        elif sign in _OPEN:
            depth += 1
        elif sign in _CLOSE:
            depth -= 1
        elif sign in separators and depth == 0:
            parts.append(text[start:i])
            start = i + 1
        i += 1
    parts.append(text[start:])
    return parts


def _split_command(text: str, command: str) -> list[str]:
    return [part for part in re.split(re.escape(command) + r"(?![A-Za-z])", text) if part.strip()]


def _split_relations(text: str) -> tuple[list[str], list[str]]:
    pieces, signs, start = [], [], 0
    for match in _RELATION.finditer(text):
        before = text[start:match.start()]
        if sum(before.count(c) for c in "{(") != sum(before.count(c) for c in "})"):
            continue
        pieces.append(before)
        signs.append(_SIGNS.get(match.group(), match.group()))
        start = match.end()
    pieces.append(text[start:])
    return pieces, signs


def fraction(node: Node) -> Fraction | None:
    """The literal value of an expression that is a number, for quick decisions."""
    if node.op == "num":
        return node.value
    if node.op == "neg":
        inner = fraction(node.args[0])
        return None if inner is None else -inner
    return None
