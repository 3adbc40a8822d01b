"""Sets of real numbers in one form: intervals, unions, inequalities, set builders."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import NamedTuple

from drp_plugin.grading.answer import Answer, Expression, Group, Relation, Words
from drp_plugin.grading.latex import Node, NotUnderstood, num
from drp_plugin.grading.value import evaluate, is_infinite, same, variables

_MINUS_INFINITY = Node("neg", (Node("const", name="inf"),))
_INFINITY = Node("const", name="inf")
MIRROR = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}
"""An inequality's sign, read from the other end."""


class Interval(NamedTuple):
    """From low to high; an open end is not part of it."""

    low: Node
    low_open: bool
    high: Node
    high_open: bool


def intervals(answer: Answer) -> list[Interval] | None:
    """The intervals that an answer denotes; None where it denotes none."""
    if isinstance(answer, Words):
        text = answer.text.strip().lower()
        everything = ("all real numbers", "real numbers", "all reals", "all real", "reals")
        return [Interval(_MINUS_INFINITY, True, _INFINITY, True)] if text in everything else None
    if isinstance(answer, Relation):
        return _from_relation(answer)
    if not isinstance(answer, Group):
        return None
    if answer.kind == "tuple":
        return _from_pair(answer)
    if answer.kind in ("union", "list"):
        return _from_several(answer)
    if len(answer.items) == 1 and isinstance(answer.items[0], Relation):
        return intervals(answer.items[0])
    return None


def _from_pair(pair: Group) -> list[Interval] | None:
    if len(pair.items) != 2 or len(pair.brackets) != 2:
        return None
    low, high = pair.items
    if not isinstance(low, Expression) or not isinstance(high, Expression):
        return None
    return [Interval(low.node, pair.brackets[0] == "(", high.node, pair.brackets[1] == ")")]


def _from_several(group: Group) -> list[Interval] | None:
    parts = []
    for item in group.items:
        found = intervals(item)
        if found is None:
            if group.kind == "union" and isinstance(item, Group) and item.kind == "set":
                points = [i.node for i in item.items if isinstance(i, Expression)]
                found = [Interval(p, False, p, False) for p in points]
            else:
                return None
        parts.append(found)
    if group.kind == "list" and all(len(p) == 1 for p in parts) and len(parts) == 2 \
            and _all_relations(group):
        both = _overlap(parts[0][0], parts[1][0])
        if both is not None:
            return [both]       # x > −2 and x < 7: the word was "and"
    found = [interval for part in parts for interval in part]
    # [1, 2], [2, 3] may be a list of two answers; a union is one set
    return _merged(found) if group.kind == "union" or _all_relations(group) else found


def _all_relations(group: Group) -> bool:
    return all(isinstance(item, Relation) for item in group.items)


def _merged(parts: list[Interval]) -> list[Interval]:
    """A union in its shortest form: intervals that overlap or touch are one."""
    try:
        ends = [(_number(part.low), _number(part.high)) for part in parts]
    except (ArithmeticError, NotUnderstood, KeyError, TypeError):
        return parts
    if any(variables(part.low) or variables(part.high) for part in parts) \
            or any(low > high for low, high in ends):
        return parts
    merged: list[Interval] = []
    for part in sorted(parts, key=lambda p: (_number(p.low), p.low_open)):
        last = merged[-1] if merged else None
        if last is None or not _joined(last, part):
            merged.append(part)
            continue
        high = max((last, part), key=lambda p: (_number(p.high), not p.high_open))
        merged[-1] = last._replace(high=high.high, high_open=high.high_open)
    return merged


def _joined(first: Interval, second: Interval) -> bool:
    """Whether the second, which begins no earlier, leaves no gap behind the first."""
    end, start = _number(first.high), _number(second.low)
    return start < end or (start == end and not (first.high_open and second.low_open))


def _overlap(a: Interval, b: Interval) -> Interval | None:
    """The intersection of two half-lines that face each other, else None."""
    low, high = (a, b) if is_infinite(a.high) else (b, a)
    if not (is_infinite(low.high) and is_infinite(high.low)) or is_infinite(low.low) \
            or is_infinite(high.high):
        return None
    if _number(low.low) < _number(high.high):
        return Interval(low.low, low.low_open, high.high, high.high_open)
    return None


def _from_relation(relation: Relation) -> list[Interval] | None:
    sides, signs = relation.sides, relation.signs
    if signs == ("\\in",):
        return intervals(sides[1])
    nodes = [side.node for side in sides if isinstance(side, Expression)]
    if len(nodes) != len(sides):
        return None
    absolute = next((i for i, node in enumerate(nodes) if node.op == "abs"), None)
    if absolute is not None and len(nodes) == 2 and signs[0] in MIRROR:
        return _from_absolute(nodes[absolute].args[0],
                              MIRROR[signs[0]] if absolute else signs[0], nodes[1 - absolute])
    places = [i for i, node in enumerate(nodes) if _unknown(node)]
    if len(places) != 1 or any(variables(n) for i, n in enumerate(nodes) if i != places[0]):
        return None
    if signs == ("\\ne",):
        point = nodes[1 - places[0]]
        return [Interval(_MINUS_INFINITY, True, point, True),
                Interval(point, True, _INFINITY, True)]
    if any(sign not in MIRROR for sign in signs) or len(nodes) > 3:
        return None
    low, high = (_MINUS_INFINITY, True), (_INFINITY, True)
    for i, sign in enumerate(signs):
        left_is_variable = i == places[0]
        if i not in (places[0], places[0] - 1):
            return None
        bound = nodes[i + 1] if left_is_variable else nodes[i]
        towards = sign if left_is_variable else MIRROR[sign]
        strict = towards in ("<", ">")
        if towards in ("<", "\\le"):
            high = (bound, strict)
        else:
            low = (bound, strict)
    return [Interval(low[0], low[1], high[0], high[1])]


def _from_absolute(inner: Node, sign: str, bound: Node) -> list[Interval] | None:
    """|s x + c| < b and its like, with rational s and c."""
    names = variables(inner)
    try:
        if len(names) != 1 or variables(bound) or _number(bound) < 0:
            return None
        at = [evaluate(inner, {name: Fraction(k)}) for name in names for k in range(4)]
    except (ArithmeticError, NotUnderstood, KeyError, TypeError):
        return None
    steps = {b - a for a, b in itertools.pairwise(at)}
    if not all(isinstance(value, Fraction) for value in at) or len(steps) != 1 or steps == {0}:
        return None
    slope, shift = abs(steps.pop()), at[0] if at[1] > at[0] else -at[0]
    low, high = (Node("div", (Node("add", (end, num(-shift))), num(slope)))
                 for end in (Node("neg", (bound,)), bound))
    strict = sign in ("<", ">")
    if sign in ("<", "\\le"):
        return [Interval(low, strict, high, strict)]
    return _merged([Interval(_MINUS_INFINITY, True, low, strict),
                    Interval(high, strict, _INFINITY, True)])


def _unknown(node: Node) -> bool:
    """x, or g(x), which reads as a product of letters."""
    return node.op == "var" or (node.op == "mul" and all(map(_unknown, node.args)))


def same_intervals(ours: list[Interval] | None, theirs: list[Interval] | None) -> bool | None:
    """Whether two unions are the same set; None where an end cannot be computed."""
    if ours is None or theirs is None or len(ours) != len(theirs):
        return False
    try:
        pairs = zip(sorted(ours, key=_order), sorted(theirs, key=_order), strict=True)
        return all(_same_end(a.low, b.low) and _same_end(a.high, b.high)
                   and (a.low_open == b.low_open or bool(is_infinite(a.low)))
                   and (a.high_open == b.high_open or bool(is_infinite(a.high)))
                   for a, b in pairs)
    except (ArithmeticError, NotUnderstood, KeyError, TypeError):
        return None


def _same_end(a: Node, b: Node) -> bool:
    if is_infinite(a) or is_infinite(b):
        return is_infinite(a) == is_infinite(b)
    return same(a, b)


def _order(interval: Interval) -> tuple[float, float]:
    return _number(interval.low), _number(interval.high)


def _number(node: Node) -> float:
    if is_infinite(node):
        return is_infinite(node) * float("inf")
    if variables(node):
        return 0.0
    return float(evaluate(node, {}).real)
