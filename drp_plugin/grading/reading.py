"""From the text of an answer to its shape; anything unknown comes out as Opaque."""

from __future__ import annotations

import re
from functools import lru_cache

from drp_plugin.grading.answer import (
    Answer,
    Expression,
    Group,
    Opaque,
    Ratio,
    Relation,
    Words,
)
from drp_plugin.grading.latex import NotUnderstood, parse
from drp_plugin.grading.named import in_words, is_words, named
from drp_plugin.grading.normal import WORD_CLOSE, WORD_OPEN, plain
from drp_plugin.grading.units import Quantity, quantity

MAX_ITEMS = 200
_MATRIX = re.compile(r"\\begin\{([pbvBV]?(?:small)?matrix|array|cases)\}(?:\{[^{}]*\})?(.*)"
                     r"\\end\{\1\}\s*(\^\s*\{?T\}?)?", re.DOTALL)
#: The end of a row, with the extra space that may follow it.
_COLUMN = re.compile(r"\\\\(?:\s*\[\s*-?[\d.]+\s*(?:em|ex|pt|mm|cm|in|mu|bp)\s*\])?"
                     r"|\\cr(?![A-Za-z])")
_RELATION = re.compile(r"\\(?:le|ge|ne|in|approx|lt|gt|equiv)(?![A-Za-z])|<=|>=|!=|:=|[<>=]")
_SIGNS = {"<=": "\\le", ">=": "\\ge", "!=": "\\ne", "\\lt": "<", "\\gt": ">", ":=": "=",
          "\\equiv": "="}
_JOINT = re.compile(r"\s*(?:,\s*)?(?:\x02\s*,?\s*(and|or)\s*,?\s*\x03|(?<![A-Za-z])(and|or)"
                    r"(?![A-Za-z])|\\(lor|land|vee|wedge)(?![A-Za-z]))\s*")
_WHEN = re.compile(r"^\s*(?:\x02\s*(?:if|for|when|where)\s*\x03|\x02?\s*(?:if|for|when)\b)?")
_SEGMENT = re.compile(r"\\overline\s*\{\s*([A-Z]\s*[A-Z])\s*\}")
_REVERSED = re.compile(r"(?!\[.*\]$)([\[\]])([^\[\]]*)([\[\]])")
_TIMELIKE = re.compile(r"\s*(\d{1,2})\s*:\s*(\d\d)(?:\s*:\s*(\d\d))?\s*")
_PM = re.compile(r"\\(pm|mp)(?![A-Za-z])")
_REALS = {"": "(-\\infty,\\infty)", "^+": "(0,\\infty)", "^-": "(-\\infty,0)",
          "_>0": "(0,\\infty)", "_<0": "(-\\infty,0)", "_\\ge0": "[0,\\infty)",
          "_\\le0": "(-\\infty,0]"}
_OPEN, _CLOSE = "([{", ")]}"


@lru_cache(maxsize=20_000)
def read(text: str) -> Answer:
    """The shape of a tidied answer."""
    return _read(text, 0)


def _read(text: str, depth: int) -> Answer:
    text = text.strip()
    if depth > 6 or not text:
        return Opaque(text)
    if text.startswith("\\mathbb{R}"):
        text = _REALS.get(re.sub(r"[{} ]", "", text[len("\\mathbb{R}"):]), text)
    found = named(text)
    if found is not None:
        return found
    if is_words(text):
        names = [part for part in re.split(r"\band\b|,", plain(text)) if part.strip()]
        if len(names) > 1 and all(len(part.split()) == 1 for part in names):
            return Group("list", tuple(in_words(part) for part in names))     # Alice and Bob
        return in_words(text)
    return _matrix(text, depth) or _several(text, depth) or _relation(text, depth) \
        or _enclosed(text, depth) or _plus_minus(text, depth) or _ratio(text) or _expression(text)


def _several(text: str, depth: int) -> Answer | None:
    """Items between commas, semicolons, and, or; unions and differences of sets."""
    items: list[str] = []
    joint = ""
    for part in split(text, ",;"):
        start = 0
        for match in _JOINT.finditer(part):
            items.append(part[start:match.start()])
            start = match.end()
            word = match[1] or match[2] or match[3]
            joint = {"lor": "or", "vee": "or", "land": "and", "wedge": "and"}.get(word, word)
        items.append(part[start:])
    if len(items) > 1:
        items = [item for item in items if item.strip()]
        if 0 < len(items) <= MAX_ITEMS:
            shapes = tuple(_read(item, depth + 1) for item in items)
            return Group("list", _flat(shapes), joint=joint)
    for command in ("\\cup", "\\cap", "\\setminus"):
        parts = [p for p in re.split(re.escape(command) + r"(?![A-Za-z])", text) if p.strip()]
        if 1 < len(parts) <= MAX_ITEMS:
            items_ = tuple(_read(part, depth + 1) for part in parts)
            if command == "\\cup" and all(isinstance(i, Group) and i.kind == "set"
                                          for i in items_):
                return Group("set", tuple(j for i in items_ for j in i.items))  # type: ignore[union-attr]
            return Group("union", items_, joint=command)
    return None


def _flat(shapes: tuple[Answer, ...]) -> tuple[Answer, ...]:
    flat: list[Answer] = []
    for shape in shapes:
        flat += shape.items if isinstance(shape, Group) and shape.kind == "list" else (shape,)
    return tuple(flat)


def _matrix(text: str, depth: int) -> Answer | None:
    match = _MATRIX.fullmatch(text)
    if not match:
        return None
    body = re.sub(r"\\hline", " ", match.group(2))
    rows = [row for row in _COLUMN.split(body) if row.strip()]
    if sum(row.count("&") + 1 for row in rows) > MAX_ITEMS:
        return Opaque(text)
    if match[1] == "cases":
        return _cases(rows, depth)
    cells = [tuple(_read(cell, depth + 1) for cell in row.split("&")) for row in rows]
    if match[3]:
        cells = list(zip(*cells, strict=False))
    kind = {"v": "determinant", "V": "norm"}.get(match[1][0], "matrix")
    if kind == "matrix" and len(cells) > 1 and all(len(row) == 1 for row in cells):
        return Group("tuple", tuple(row[0] for row in cells), "()")     # a column vector
    return Group("tuple", tuple(Group("tuple", row, "row") for row in cells), kind)


def _cases(rows: list[str], depth: int) -> Answer:
    """A function in pieces: values with the conditions on which they hold, in any order."""
    pieces = []
    for row in rows:
        value, _, condition = row.partition("&")
        condition = _WHEN.sub("", condition).replace(WORD_CLOSE, " ").replace(WORD_OPEN, " ")
        pieces.append(Group("tuple", (_read(value.strip(" ,;"), depth + 1),
                                      _read(condition.strip(" ,;."), depth + 1)), "cases"))
    return Group("list", tuple(pieces))


def _relation(text: str, depth: int) -> Answer | None:
    pieces, signs, start = [], [], 0
    for match in _RELATION.finditer(text):
        before = text[start:match.start()]
        if sum(before.count(c) for c in "{(") != sum(before.count(c) for c in "})"):
            continue
        pieces.append(before)
        signs.append(_SIGNS.get(match.group(), match.group()))
        start = match.end()
    pieces.append(text[start:])
    if not signs:
        return None
    if any(not piece.strip() for piece in pieces):
        if not pieces[0].strip() and len(pieces) == 2 and signs[0] in ("=", "\\approx"):
            return _read(pieces[1], depth + 1)
        return Opaque(text)
    return Relation(tuple(_read(piece, depth + 1) for piece in pieces), tuple(signs))


def _enclosed(text: str, depth: int) -> Answer | None:
    """( … ), [ … ], \\{ … \\} around the whole answer, perhaps transposed."""
    transposed = re.fullmatch(r"([(\[].*[)\]])\s*\^\s*\{?T\}?", text, re.DOTALL)
    if transposed:
        row = _enclosed(transposed[1], depth)
        return row._replace(brackets="()") if isinstance(row, Group) else None
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
    return Group("set", _flat(tuple(_read(item, depth + 1) for item in items[:MAX_ITEMS])))


def _plus_minus(text: str, depth: int) -> Answer | None:
    if not _PM.search(text):
        return None
    choices = [_PM.sub(lambda m, s=signs: s[m[1] == "mp"], text) for signs in ("+-", "-+")]  # type: ignore[misc]
    return Group("list", tuple(_read(choice, depth + 1) for choice in choices), joint="\\pm")


def _ratio(text: str) -> Answer | None:
    terms = split(text, ":")
    if len(terms) == 1 and re.search(r"\d\s*\x02\s*to\s*\x03\s*\d|\d\s+to\s+\d", text):
        terms = re.split(r"\x02\s*to\s*\x03|to", text)
    if len(terms) < 2 or len(terms) > 6:
        return None
    time = _TIMELIKE.fullmatch(text)
    seconds = None
    if time and int(time[1]) < 25 and int(time[2]) < 60:
        seconds = (int(time[1]) * 60 + int(time[2])) * 60 + int(time[3] or 0)
    try:
        return Ratio(tuple(parse(term) for term in terms), seconds)
    except NotUnderstood:
        return None


def _expression(text: str) -> Answer:
    segment = _SEGMENT.fullmatch(text)
    text = segment[1] if segment else text
    found = quantity(text)
    for attempt in (found.value, text):
        try:
            # a formula whose \mathrm letters are letters again, one by one
            node = parse(re.sub(r"\x02\s*([A-Za-z])\s*\x03", r"\1", attempt))
        except NotUnderstood:
            continue
        return Expression(node, found if attempt is found.value else Quantity(text, "", False))
    if (WORD_OPEN in text or re.search(r"[^\W\d_]", plain(text))) \
            and not re.search(r"\\[A-Za-z]|[\^_{}]", text):
        return Words(plain(text).lower())
    return Opaque(text)


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
