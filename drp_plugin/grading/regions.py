"""Sets of real numbers: intervals, unions, inequalities and set builders, compared point by point.

Whatever way a set is written, it comes down to the question whether a number belongs to it. Two
sets are the same when they agree at all their ends, close beside them, and between.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from drp_plugin.grading.answer import Answer, Expression, Group, Relation, Words
from drp_plugin.grading.latex import Node, NotUnderstood
from drp_plugin.grading.value import (
    Undefined,
    Value,
    add,
    as_float,
    close,
    is_infinite,
    multiply,
    value_at,
    variables,
)

INEQUALITIES = ("<", ">", "\\le", "\\ge", "\\ne")
_EVERYTHING = ("all real numbers", "real numbers", "all reals", "all real", "reals")
_BESIDE = Fraction(1, 10**6)


class Region(NamedTuple):
    """A set of reals."""

    holds: Callable[[Value], bool]
    """Whether a number belongs to it."""
    ends: tuple[Value, ...]
    """Where it may begin and end."""
    exact: bool = True
    """Whether it begins and ends nowhere else."""


def is_range(answer: Answer) -> bool:
    """Whether an answer can be nothing but a set of reals: [a, b), A ∪ B, x < 3."""
    if isinstance(answer, Relation):
        return any(sign in INEQUALITIES for sign in answer.signs) \
            or ("\\in" in answer.signs and is_range(answer.sides[-1]))
    if not isinstance(answer, Group):
        return False
    if answer.kind in ("list", "set"):
        return any(isinstance(item, Relation) and is_range(item) for item in answer.items)
    return answer.kind == "union" or answer.brackets in ("[)", "(]", "[]")


def same_region(ours: Answer, theirs: Answer) -> bool | None:
    """Whether two answers are the same set of reals; None where one of them cannot be read so."""
    try:
        one, two = region(ours), region(theirs)
        if one is None or two is None or not (one.exact or two.exact):
            return None
        places = _places((*one.ends, *two.ends))
        verdicts = [(one.holds(x), two.holds(x)) for x in places]
    except (ArithmeticError, NotUnderstood, KeyError, TypeError):
        return None
    return any(a for a, _ in verdicts) and all(a == b for a, b in verdicts)


def region(answer: Answer) -> Region | None:
    """The set of reals that an answer denotes; None where it denotes none."""
    if isinstance(answer, Words):
        return Region(lambda x: True, ()) if answer.text.strip() in _EVERYTHING else None
    if isinstance(answer, Relation):
        return _from_relation(answer)
    if not isinstance(answer, Group):
        return None
    if answer.kind == "tuple":
        return _from_pair(answer)
    if answer.kind == "set" and not any(isinstance(i, Relation) for i in answer.items):
        nodes = [item.node for item in answer.items if isinstance(item, Expression)]
        if len(nodes) < len(answer.items) or any(map(variables, nodes)):
            return None
        points = tuple(value_at(node, {}) for node in nodes)
        return Region(lambda x: any(close(x, p) for p in points), points)
    if answer.kind == "list" and not all(isinstance(i, Relation) for i in answer.items):
        return None
    return _combined(answer)


def _combined(group: Group) -> Region | None:
    parts = [part for part in map(region, group.items) if part is not None]
    if len(parts) < len(group.items):
        return None
    ends = tuple(end for part in parts for end in part.ends)
    exact = all(part.exact for part in parts)

    def in_any(x: Value) -> bool:
        return any(part.holds(x) for part in parts)

    def in_all(x: Value) -> bool:
        return all(part.holds(x) for part in parts)

    if group.joint == "\\setminus":
        return Region(lambda x: parts[0].holds(x) and not any(p.holds(x) for p in parts[1:]), ends,
                      exact)
    if group.joint in ("and", "\\cap"):
        return Region(in_all, ends, exact)
    # a comma says "and" where that is possible: x ≥ 1, x ≤ 5, but not x < 1, x > 5
    both = group.kind == "list" and not group.joint and any(map(in_all, _places(ends)))
    return Region(in_all if both else in_any, ends, exact)


def _from_pair(pair: Group) -> Region | None:
    if len(pair.items) != 2 or len(pair.brackets) != 2:
        return None
    low, high = pair.items
    if not isinstance(low, Expression) or not isinstance(high, Expression):
        return None
    x = Node("var", name="x")
    return _from_chain((low.node, x, high.node), tuple(
        "<" if bracket in "()" else "\\le" for bracket in pair.brackets))


def _from_relation(relation: Relation) -> Region | None:
    if relation.signs == ("\\in",):
        return region(relation.sides[1])
    nodes = [side.node for side in relation.sides if isinstance(side, Expression)]
    if len(nodes) != len(relation.sides) or not set(relation.signs) <= {*INEQUALITIES, "="}:
        return None
    return _from_chain(tuple(nodes), relation.signs)


def _from_chain(nodes: tuple[Node, ...], signs: tuple[str, ...]) -> Region | None:
    """a < x ≤ b and the like, in one unknown: x, or g(x), which reads as a product of letters."""
    unknown = Node("var", name="x")
    nodes = tuple(unknown if _applied(node) else node for node in nodes)
    names = set().union(*map(variables, nodes))
    if len(names) != 1:
        return None
    name = names.pop()
    links = [(a, sign, b) for (a, b), sign in zip(itertools.pairwise(nodes), signs, strict=True)]

    def holds(x: Value) -> bool:
        try:
            return all(_compare(a, sign, b, {name: x}) for a, sign, b in links)
        except Undefined:
            return False

    ends = [_ends(a, b, name) for a, _, b in links if not (is_infinite(a) or is_infinite(b))]
    return Region(holds, tuple(end for part in ends for end in part or ()), None not in ends)


def _applied(node: Node) -> bool:
    return node.op == "mul" and all(arg.op == "var" or _applied(arg) for arg in node.args)


def _compare(a: Node, sign: str, b: Node, at: dict[str, Value]) -> bool:
    x = is_infinite(a) * float("inf") if is_infinite(a) else value_at(a, at)
    y = is_infinite(b) * float("inf") if is_infinite(b) else value_at(b, at)
    if isinstance(x, float) or isinstance(y, float):
        return (as_float(x) < as_float(y)) == (sign in ("<", "\\le")) and sign != "="
    if getattr(x, "imag", 0) or getattr(y, "imag", 0):
        return False
    if close(x, y):
        return sign in ("\\le", "\\ge", "=")
    if sign in ("=", "\\ne"):
        return sign == "\\ne"
    return bool(add(x, -y) < 0) == (sign in ("<", "\\le"))


def _ends(a: Node, b: Node, name: str) -> list[Value] | None:
    """Where a = b, on either side of 0; None where a − b is not linear there, far from 0.

    Far out |2x − 3| is linear as well.
    """
    found = []
    for sign in (1, -1):
        try:
            at = [add(value_at(a, point), -value_at(b, point)) for point in (
                {name: Fraction(sign * k)} for k in (1000, 1001, 1003))]
        except Undefined:
            return None
        slope = add(at[1], -at[0])
        if not close(add(at[2], -at[1]), 2 * slope):
            return None
        if not close(slope, Fraction(0)):
            found.append(sign * add(Fraction(1000), -multiply(at[0], 1 / slope)).real)
    return found


def _places(ends: tuple[Value, ...]) -> list[Value]:
    """The numbers at which two sets are compared."""
    fixed = [Fraction(k, 2) for k in range(-21, 22)] + [Fraction(10**6), Fraction(-10**6)]
    beside = [add(end, step) for end in ends for step in (Fraction(0), _BESIDE, -_BESIDE)]
    between = [multiply(add(a, b), Fraction(1, 2))
               for a, b in itertools.pairwise(sorted(ends, key=as_float))]
    return fixed + beside + between
