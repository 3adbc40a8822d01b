"""Numbers in text, and the arithmetic that makes new ones."""

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

from drp_plugin.grading.latex import Node, NotUnderstood, parse
from drp_plugin.grading.value import value_of, variables
from drp_plugin.resources import Patterns, table

_TABLES = table("words.yaml")
_WORDS = {word: Fraction(number) for number, words in _TABLES["numbers"].items()
          for word in words.split()}
_VERBAL = [(re.compile(rf"\b(?:{words})\b", re.IGNORECASE), sign)
           for sign, words in _TABLES["operations"].items()]
_P = Patterns("words.yaml", "arithmetic")
_MOST_BITS = 400


def values(text: str) -> set[Fraction]:
    """Every number in the text, including words for small numbers and both readings of `1,234`."""
    text = _P.spacing.sub("", text)
    found = {value for literal in set(_P.number.findall(text)) for value in _readings(literal)}
    found.update(Fraction(int(digits[:40])) for digits in set(re.findall(r"\d+", text)))
    return found | _worded(text)


def _worded(text: str) -> set[Fraction]:
    return {_WORDS[word] for word in map(str.lower, set(_P.word.findall(text))) if word in _WORDS}


@lru_cache(maxsize=1 << 14)
def _readings(literal: str) -> tuple[Fraction, ...]:
    literal = literal[:60]
    first = Fraction(literal.replace(",", "") if literal[0] != "." else "0" + literal)
    return (first, *(Fraction(part) for part in literal.split(",") if part.strip(".")
                     and "," in literal))


def new_numbers(text: str, known_text: str) -> list[str]:
    """Numbers in `text` that `known_text` does not hold and no right step of arithmetic gives.

    A step of arithmetic is an equation whose sides evaluate to the same (`8 \\times 3 = 24`), or
    a sentence that names the operation (`dividing 120 by 24 gives 5`), over numbers that are
    known. Numbers of list items do not count. In the order of the text, each once."""
    text = _P.marker.sub("\n ", "\n" + _P.spacing.sub("", text))
    literals = dict.fromkeys(_P.number.findall(text))
    if literals.keys() <= set(_P.number.findall(_P.spacing.sub("", known_text))):
        return []  # written in the same way: most rows need no further search
    # squares and cubes are notation
    known = values(known_text) | {Fraction(power) for power in _P.power.findall(text)}
    unknown: dict[str, Fraction] = {}
    for literal in literals:
        first, *others = _readings(literal)
        if first not in known and not (others and known.issuperset(others)):
            unknown.setdefault(literal, first)
    if not unknown:
        return []
    known |= _derived(text, known)
    if "%" in text + known_text or "percent" in known_text:
        known |= {value / 100 for value in known} | {value * 100 for value in known}
    return [literal for literal, value in unknown.items() if value not in known]


def _derived(text: str, known: set[Fraction]) -> set[Fraction]:
    """Numbers that correct arithmetic in `text` makes from known ones."""
    made: set[Fraction] = set()
    chains = list(equations(text))
    sentences = re.split(r"(?<=[.!?\n])\s", text)
    for _ in range(4):
        before = len(made)
        for sides in chains:
            held = known | made
            for value in [value for value, used in sides if used <= held]:
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
    here = {_readings(literal)[0] for literal in _P.number.findall(sentence)} | _worded(sentence)
    asked, given = here - known, here & known
    if not asked or len(given) > 30:
        return set()
    signs = {sign for pattern, sign in _VERBAL if pattern.search(sentence)}
    return {c for c in asked for a in given for b in given
            if ("+" in signs and a + b == c) or ("-" in signs and a - b == c)
            or ("*" in signs and a * b == c) or ("/" in signs and b and a / b == c)}


def plain(text: str) -> str:
    """LaTeX arithmetic in plain signs: `\\frac{3}{12}` becomes `((3)/(12))`."""
    text = _P.spacing.sub("", text)
    for _ in range(4):
        text = _P.fraction.sub(r"((\1)/(\2))", text)
    text = _P.short_fraction.sub(r"((\1)/(\2))", text)
    for sign, new in _TABLES["signs"]:
        text = text.replace(sign, new)
    return _P.unit.sub("", text)


def equations(text: str) -> Iterator[list[tuple[Fraction, set[Fraction]]]]:
    """Chains like `3 + 4 = 7`: each side that is plain arithmetic, its value and its numbers."""
    for match in _P.chain.finditer(plain(text)):
        if "=" not in match[0] and "≈" not in match[0]:
            continue
        sides = [result for side in re.split(r"[=≈]", match[0])
                 if (result := evaluate(side.strip(" \t.,"))) is not None]
        if len(sides) > 1:
            yield sides


def evaluate(expression: str) -> tuple[Fraction, set[Fraction]] | None:
    """The exact value of plain arithmetic and its numbers; None for all else and huge values."""
    if len(expression) > 300 or expression.startswith("+"):  # its left operand is missing
        return None
    try:
        node = parse(_P.thousands.sub("", expression))
        value = value_of(node, {}) if not variables(node) else None
    except (NotUnderstood, ArithmeticError):
        return None
    if not isinstance(value, Fraction) \
            or max(value.numerator.bit_length(), value.denominator.bit_length()) > _MOST_BITS:
        return None
    return value, set(_literals(node))


def _literals(node: Node) -> Iterator[Fraction]:
    if node.value is not None:
        yield node.value
    for part in node.args:
        yield from _literals(part)
