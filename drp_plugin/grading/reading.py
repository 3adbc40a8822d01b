"""From the text of an answer to its shape; anything unknown comes out as Opaque."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import accumulate

from drp_plugin.grading.answer import Answer, Expression, Group, Opaque, Ratio, Relation, Words
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
_RELATION = r"\\(?:le|ge|ne|in|approx|lt|gt|equiv)(?![A-Za-z])|<=|>=|!=|:=|[<>=]"
_SIGNS = {"<=": "\\le", ">=": "\\ge", "!=": "\\ne", "\\lt": "<", "\\gt": ">", ":=": "=",
          "\\equiv": "="}
_BETWEEN = (r"[,;]|\x02\s*,?\s*(?:and|or)\s*,?\s*\x03|(?<![A-Za-z])(?:and|or)(?![A-Za-z])"
            r"|\\(?:lor|land|vee|wedge)(?![A-Za-z])")
_OF_SETS = r"\\cup(?![A-Za-z])", r"\\cap(?![A-Za-z])", r"\\setminus(?![A-Za-z])"
_WHEN = re.compile(r"^\s*(?:\x02\s*(?:if|for|when|where)\s*\x03|\x02?\s*(?:if|for|when)\b)?")
_SEGMENT = re.compile(r"\\overline\s*\{\s*([A-Z]\s*[A-Z])\s*\}")
_REVERSED = re.compile(r"(?!\[.*\]$)([\[\]])([^\[\]]*)([\[\]])")
_TRANSPOSED = re.compile(r"([(\[].*[)\]])\s*\^\s*\{?T\}?", re.DOTALL)
_BUILDER = re.compile(r"\s*[a-z](?:\s*\\in\s*\\mathbb\{R\})?\s*(?<!\|)[:|](?!\|)(.*)", re.DOTALL)
_TIMELIKE = re.compile(r"\s*(\d{1,2})\s*:\s*(\d\d)(?:\s*:\s*(\d\d))?\s*")
_PM = re.compile(r"\\(pm|mp)(?![A-Za-z])")
_REALS = {"": "(-\\infty,\\infty)", "^+": "(0,\\infty)", "^-": "(-\\infty,0)",
          "_>0": "(0,\\infty)", "_<0": "(-\\infty,0)", "_\\ge0": "[0,\\infty)",
          "_\\le0": "(-\\infty,0]"}
_OPEN, _CLOSE = ("(", "[", "{", "\\{"), (")", "]", "}", "\\}")


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
        return in_words(text)
    return _matrix(text, depth) or _several(text, depth) or _relation(text, depth) \
        or _enclosed(text, depth) or _plus_minus(text, depth) or _ratio(text) or _expression(text)


def _all(texts: list[str], depth: int) -> tuple[Answer, ...]:
    return tuple(_read(text, depth + 1) for text in texts[:MAX_ITEMS])


def split(text: str, pattern: str) -> tuple[list[str], list[str]]:
    """Parts of the text between matches that stand outside of all brackets, and the matches."""
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
    parts, marks = split(text, _BETWEEN)
    items = [part for part in parts if part.strip()]
    if marks and items:
        last = marks[-1] if len(items) > 1 else ""
        joint = re.sub("lor|vee", "or", re.sub("land|wedge", "and", last)).strip("\\,;\x02\x03 ")
        return Group("list", _flat(_all(items, depth)), joint=joint)
    for pattern in _OF_SETS:
        parts, marks = split(text, pattern)
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
    match = _MATRIX.fullmatch(text)
    if not match:
        return None
    rows = [row.split("&") for row in _COLUMN.split(match[2].replace("\\hline", " "))
            if row.strip()]
    if sum(map(len, rows)) > MAX_ITEMS:
        return Opaque(text)
    if match[1] == "cases":     # values with the conditions on which they hold, in any order
        return Group("list", tuple(Group("tuple", _all([part.strip(" ,;.") for part in (
            row[0], re.sub("[\x02\x03]", " ", _WHEN.sub("", "".join(row[1:]))))], depth), "cases")
            for row in rows))
    cells = [_all(row, depth) for row in rows]
    if match[3]:
        cells = list(zip(*cells, strict=False))
    kind = {"v": "determinant", "V": "norm"}.get(match[1][0], "matrix")
    if kind == "matrix" and len(cells) > 1 and all(len(row) == 1 for row in cells):
        return Group("tuple", tuple(row[0] for row in cells), "()")     # a column vector
    return Group("tuple", tuple(Group("tuple", row, "row") for row in cells), kind)


def _relation(text: str, depth: int) -> Answer | None:
    pieces, marks = split(text, _RELATION)
    signs = tuple(_SIGNS.get(mark, mark) for mark in marks)
    if all(piece.strip() for piece in pieces):
        return Relation(_all(pieces, depth), signs) if signs else None
    return _read(pieces[1], depth + 1) if signs in (("=",), ("\\approx",)) else Opaque(text)


def _enclosed(text: str, depth: int) -> Answer | None:
    """( … ), [ … ], \\{ … \\} around the whole answer, perhaps transposed."""
    transposed = _TRANSPOSED.fullmatch(text)
    if transposed:
        row = _enclosed(transposed[1], depth)
        return row._replace(brackets="()") if isinstance(row, Group) else None
    if text.startswith("\\{") and text.endswith("\\}"):
        builder = _BUILDER.fullmatch(text[2:-2])
        if builder:
            return _read(builder[1], depth + 1)
        items = [item for item in split(text[2:-2], "[,;]")[0] if item.strip()]
        return Group("set", _flat(_all(items, depth))) if items else Words("empty set")
    around, inner = text[:1] + text[-1:], text[1:-1]
    if _REVERSED.fullmatch(text):      # ]0, 1[ is open at both ends
        around = ("(" if around[0] == "]" else "[") + (")" if around[1] == "[" else "]")
    elif around[:1] not in _OPEN or around[1:] not in _CLOSE or _closes_early(inner):
        return None
    items = split(inner, "[,;]")[0]
    if len(items) > 1:
        return Group("tuple", _all(items, depth), around) if len(items) <= MAX_ITEMS \
            else Opaque(text)
    if around == "()":
        if re.fullmatch(r"\s*\x02?\s*[A-Z]\s*\x03?\s*", inner):
            return Words(plain(inner).lower())
        found = _read(inner, depth + 1)
        return found if not isinstance(found, Expression) else None
    return _matrix(inner.strip(), depth)


def _closes_early(inner: str) -> bool:
    return min(accumulate((c in _OPEN) - (c in _CLOSE) for c in inner), default=0) < 0


def _plus_minus(text: str, depth: int) -> Answer | None:
    if not _PM.search(text):
        return None
    signs = ({"pm": "+", "mp": "-"}, {"pm": "-", "mp": "+"})
    choices = [_PM.sub(lambda match, s=sign: s[match[1]], text) for sign in signs]  # type: ignore[misc]
    return Group("list", _all(choices, depth), joint="\\pm")


def _ratio(text: str) -> Answer | None:
    terms, marks = split(text, r":|(?<=\d)\s*\x02?\s*(?<![A-Za-z])to\s*\x03?(?=\s*\d)")
    if not marks or len(terms) > 6:
        return None
    time = _TIMELIKE.fullmatch(text)
    hour, minute, second = (int(part or 0) for part in time.groups()) if time else (99, 0, 0)
    try:
        return Ratio(tuple(parse(term) for term in terms),
                     (hour * 60 + minute) * 60 + second if hour < 25 and minute < 60 else None)
    except NotUnderstood:
        return None


def _expression(text: str) -> Answer:
    segment = _SEGMENT.fullmatch(text)
    text = segment[1] if segment else text
    found = quantity(text)
    for attempt in (found, Quantity(text, "", False)):
        try:
            # a formula whose \mathrm letters are letters again, one by one
            return Expression(parse(re.sub(r"\x02\s*([A-Za-z])\s*\x03", r"\1", attempt.value)),
                              attempt)
        except NotUnderstood:
            continue
    wordy = WORD_OPEN in text or WORD_CLOSE in text or re.search(r"[^\W\d_]", text)
    return Words(plain(text).lower()) if wordy and not re.search(r"\\[A-Za-z]|[\^_{}]", text) \
        else Opaque(text)
