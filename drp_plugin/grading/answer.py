"""The shapes that answers have: one value, an ordered tuple, a set, intervals, a matrix, words."""

from typing import NamedTuple

from drp_plugin.grading.latex import Node
from drp_plugin.grading.units import Quantity


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
    brackets: str = ""
    """Around a tuple, perhaps an interval; of the rows of a matrix: matrix, determinant, norm."""
    joint: str = ""  # The word or sign between the items: and, or, \setminus; '' for a comma


class Relation(NamedTuple):
    """left = right, or a chain of comparisons."""

    sides: "tuple[Answer, ...]"
    signs: tuple[str, ...]


class Ratio(NamedTuple):
    """a : b (: c …), which may be a time of day."""

    terms: tuple[Node, ...]
    clock: int | None = None  # Seconds since midnight where it is written like a time, as 3:30 is
    half: bool = False  # Whether a.m. or p.m. is told.


class Opaque(NamedTuple):
    """Mathematics that our grammar does not know; for the computer algebra system."""

    text: str


Answer = Expression | Words | Group | Relation | Ratio | Opaque
