"""The shapes that answers have: one value, an ordered tuple, a set, intervals, a matrix, words."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from drp_plugin.grading.latex import Node
from drp_plugin.grading.units import Quantity


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
    joint: str = ""
    """The word or sign between the items: and, or, \\setminus; '' for a comma."""


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
    clock: int | None = None
    """Seconds since midnight where it is written like a time of day, as 3:30 is."""


class Clock(NamedTuple):
    """A time of day, with a.m. or p.m."""

    seconds: int
    """Since midnight."""


class Opaque(NamedTuple):
    """Mathematics that our grammar does not know; for the computer algebra system."""

    text: str


Answer = Expression | Based | Words | Group | Matrix | Relation | Ratio | Clock | Opaque


def fraction(node: Node) -> Fraction | None:
    """The literal value of an expression that is a number, for quick decisions."""
    if node.op == "num":
        return node.value
    if node.op == "neg":
        inner = fraction(node.args[0])
        return None if inner is None else -inner
    return None
