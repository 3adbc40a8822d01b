"""Numbers in text, and the arithmetic that makes new ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from math import factorial

NUMBER = re.compile(r"(?<![\w.])(?:\d{1,3}(?:,\d{3})++(?!\d)|\d++)(?:\.\d++)?|(?<![\w.])\.\d++"
                    r"|(?<=[A-Za-z_^{])\d++(?:\.\d++)?")
_MARKER = re.compile(r"^[ \t]*(?:[-*#>]{1,3}[ \t]*)?(?:\*\*)?(?:(?:Step|Case|Part)[ \t]+\d+\b"
                     r"|\d{1,3}[.)](?=[ \t*]))", re.MULTILINE | re.IGNORECASE)
_WORDS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7,
    "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14,
    "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20,
    "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80,
    "ninety": 90, "hundred": 100, "thousand": 1000, "million": 1000000, "dozen": 12,
    "single": 1, "once": 1, "twice": 2, "double": 2, "doubled": 2, "doubles": 2, "half": 2,
    "halves": 2, "halved": 2, "pair": 2, "pairs": 2, "both": 2, "squared": 2, "square": 2,
    "squares": 2, "cubed": 3, "cube": 3, "cubes": 3, "triple": 3, "tripled": 3, "thrice": 3,
    "quarter": 4, "quarters": 4, "first": 1, "second": 2, "third": 3, "thirds": 3, "fourth": 4,
    "fourths": 4, "fifth": 5, "fifths": 5, "sixth": 6, "sixths": 6, "seventh": 7, "eighth": 8,
    "eighths": 8, "ninth": 9, "tenth": 10, "tenths": 10, "twelfth": 12, "twelfths": 12,
    "percent": 100, "quadratic": 2, "cubic": 3, "triangle": 3, "quadrilateral": 4, "pentagon": 5,
    "hexagon": 6, "heptagon": 7, "octagon": 8, "week": 7, "weeks": 7,
}  # fmt: skip
_WORD = re.compile(r"[A-Za-z]+")
_VERBAL = (
    (re.compile(r"\b(?:add|adding|added|sum|plus|total|together|more|combined?)\b", re.I), "+"),
    (re.compile(r"\b(?:subtract\w*|minus|difference|less|fewer|left|remain\w*|from|take|taking)\b",
                re.I), "-"),
    (re.compile(r"\b(?:times|multipl\w+|product|of|each|per|twice|doubl\w+|tripl\w+)\b",
                re.I), "*"),
    (re.compile(r"\b(?:divid\w+|quotient|ratio|half|third|quarter|per|each|split|shar\w+|over)\b",
                re.I), "/"),
)
_POWER = re.compile(r"\^\{?([23])(?![\d.])")
_SPACING = re.compile(r"(?<=\d)(?:\{,\}|\\,|\\!|\\ |[\u00a0\u2009\u202f])(?=\d)")
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]{1,80})\}\{([^{}]{1,80})\}")
_SHORT_FRACTION = re.compile(r"\\[dt]?frac(\d)(\d)")
_UNIT = re.compile(r"(?<=[\d}])[ \t]*(?:\\text\{[^{}]{0,40}\}|[A-Za-z]{2,20}(?: [a-z]{2,20})?)"
                   r"(?=[ \t]*(?:[-+*/×÷·=≈]|\\times|\\cdot|\\div))")
_SIGNS = (("\\left", ""), ("\\right", ""), ("\\times", "*"), ("\\cdot", "*"), ("\\div", "/"),
          ("×", "*"), ("·", "*"), ("⋅", "*"), ("÷", "/"), ("−", "-"), ("–", "-"), ("\\%", "%"),
          ("\\approx", "≈"), ("$", " "), ("\\(", " "), ("\\)", " "), ("\\[", " "), ("\\]", " "),
          ("&=", "="), ("&", " "), ("\\\\", " "), ("\\$", " "))
_CHAIN = re.compile(r"[\d.,+\-*/^()!% \t≈=]{3,400}")
_TOKEN = re.compile(r"\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+|[-+*/^()!%]|\s+|.")


def values(text: str) -> set[Fraction]:
    """Every number that the text holds, words for small numbers and both readings of `1,234`."""
    found: set[Fraction] = set()
    text = _SPACING.sub("", text)
    for match in NUMBER.finditer(text):
        found.update(_readings(match[0]))
    for match in re.finditer(r"\d+", text):
        found.add(Fraction(int(match[0][:40])))
    found.update(Fraction(_WORDS[word]) for word in map(str.lower, _WORD.findall(text))
                 if word in _WORDS)
    return found


def _readings(literal: str) -> Iterator[Fraction]:
    literal = literal[:60]
    yield Fraction(literal.replace(",", "") if literal[0] != "." else "0" + literal)
    if "," in literal:
        yield from (Fraction(part) for part in literal.split(",") if part.strip("."))


def new_numbers(text: str, known_text: str) -> list[str]:
    """Numbers in `text` that `known_text` does not hold and no right step of arithmetic gives.

    A step of arithmetic is an equation whose sides evaluate to the same (`8 \\times 3 = 24`), or
    a sentence that names the operation (`dividing 120 by 24 gives 5`), over numbers that are
    known. Numbers of list items do not count. In the order of the text, each once.
    """
    known = values(known_text)
    text = _MARKER.sub(" ", _SPACING.sub("", text))
    known |= {Fraction(power) for power in _POWER.findall(text)}  # squares and cubes are notation
    unknown: dict[str, Fraction] = {}
    for match in NUMBER.finditer(text):
        readings = list(_readings(match[0]))
        if readings[0] in known or (len(readings) > 1 and all(r in known for r in readings[1:])):
            continue
        unknown.setdefault(match[0], readings[0])
    if not unknown:
        return []
    known |= _derived(text, known)
    if "%" in text + known_text or "percent" in known_text:
        known |= {value / 100 for value in known} | {value * 100 for value in known}
    return [literal for literal, value in unknown.items() if value not in known]


def _derived(text: str, known: set[Fraction]) -> set[Fraction]:
    """Numbers that right arithmetic in `text` makes out of known ones."""
    made: set[Fraction] = set()
    chains = [sides for sides in equations(text)]
    sentences = re.split(r"(?<=[.!?\n])\s", text)
    for _ in range(4):
        before = len(made)
        for sides in chains:
            valid = [(value, used) for value, used in sides if used <= (known | made)]
            for value, _ in valid:
                for other, used in sides:
                    if other == value or (other and abs(value - other) <= abs(other) / 100
                                          and len(used) == 1 and other.denominator < 10_000
                                          and value.denominator > 100):
                        made |= used | {other}
        for sentence in sentences:
            made |= _spoken(sentence, known | made)
        if len(made) == before:
            break
    return made


def _spoken(sentence: str, known: set[Fraction]) -> set[Fraction]:
    """Results in a sentence that names its operation in words."""
    if len(sentence) > 600:
        return set()
    here = {r for match in NUMBER.finditer(sentence) for r in [next(_readings(match[0]))]}
    here |= {Fraction(_WORDS[w]) for w in map(str.lower, _WORD.findall(sentence)) if w in _WORDS}
    asked, given = here - known, here & known
    if not asked or len(given) > 30:
        return set()
    signs = {sign for pattern, sign in _VERBAL if pattern.search(sentence)}
    return {c for c in asked for a in given for b in given
            if ("+" in signs and a + b == c) or ("-" in signs and a - b == c)
            or ("*" in signs and a * b == c) or ("/" in signs and b and a / b == c)}


def plain(text: str) -> str:
    """LaTeX arithmetic in plain signs: `\\frac{3}{12}` becomes `((3)/(12))`."""
    text = _SPACING.sub("", text)
    for _ in range(4):
        text, done = _FRACTION.subn(r"((\1)/(\2))", text)
        if not done:
            break
    text = _SHORT_FRACTION.sub(r"((\1)/(\2))", text)
    for sign, new in _SIGNS:
        text = text.replace(sign, new)
    return _UNIT.sub("", text)


def equations(text: str) -> Iterator[list[tuple[Fraction, set[Fraction]]]]:
    """Chains like `3 + 4 = 7`: each side that is plain arithmetic, its value and its numbers."""
    for match in _CHAIN.finditer(plain(text)):
        if "=" not in match[0] and "≈" not in match[0]:
            continue
        sides = []
        for side in re.split(r"[=≈]", match[0]):
            result = evaluate(side.strip(" \t.,"))
            if result is not None:
                sides.append(result)
        if len(sides) > 1:
            yield sides


def evaluate(expression: str) -> tuple[Fraction, set[Fraction]] | None:
    """The exact value of plain arithmetic and the numbers in it; None for anything else."""
    if not expression or len(expression) > 300:
        return None
    tokens = [t for t in _TOKEN.findall(expression) if not t.isspace()]
    try:
        reader = _Reader(tokens)
        value = reader.sum(0)
        return (value, reader.used) if reader.at == len(tokens) else None
    except (ValueError, ZeroDivisionError, IndexError, OverflowError):
        return None


class _Reader:
    """Recursive descent over sum, product, power, atom."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.at = tokens, 0
        self.used: set[Fraction] = set()

    def _peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def sum(self, depth: int) -> Fraction:
        if depth > 30:
            raise ValueError("too deep")
        value = self._product(depth)
        while self._peek() in ("+", "-"):
            sign = self.tokens[self.at]
            self.at += 1
            right = self._product(depth)
            value = value + right if sign == "+" else value - right
        return self._small(value)

    def _product(self, depth: int) -> Fraction:
        value = self._power(depth)
        while self._peek() in ("*", "/", "("):
            sign = self.tokens[self.at]
            self.at += sign != "("
            right = self._power(depth)
            value = self._small(value / right if sign == "/" else value * right)
        return value

    def _power(self, depth: int) -> Fraction:
        if self._peek() == "-":
            self.at += 1
            return -self._power(depth + 1) if depth < 30 else self._fail()
        base = self._atom(depth)
        while self._peek() in ("!", "%"):
            if self.tokens[self.at] == "%":
                base /= 100
            elif base.denominator == 1 and 0 <= base <= 30:
                base = Fraction(factorial(int(base)))
            else:
                self._fail()
            self.at += 1
        if self._peek() == "^":
            self.at += 1
            exponent = self._power(depth + 1) if depth < 30 else self._fail()
            if exponent.denominator != 1 or abs(exponent) > 64:
                self._fail()
            base = self._small(base ** int(exponent))
        return base

    def _atom(self, depth: int) -> Fraction:
        token = self.tokens[self.at]
        self.at += 1
        if token == "(":
            value = self.sum(depth + 1)
            if self._peek() != ")":
                self._fail()
            self.at += 1
            return value
        literal = token.replace(",", "")
        value = self._small(Fraction("0" + literal if literal.startswith(".") else literal))
        self.used.add(value)
        return value

    @staticmethod
    def _small(value: Fraction) -> Fraction:
        if value.numerator.bit_length() > 400 or value.denominator.bit_length() > 400:
            raise OverflowError("number too large to follow")
        return value

    @staticmethod
    def _fail() -> Fraction:
        raise ValueError("not plain arithmetic")
