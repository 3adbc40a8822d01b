"""Equations and inequalities: which of them state a value, and when two are the same."""

from __future__ import annotations

import re
from collections.abc import Callable

from drp_plugin.grading.answer import Answer, Expression, Group, Relation, Words
from drp_plugin.grading.latex import Node, NotUnderstood, num
from drp_plugin.grading.value import (
    TooBig,
    Undefined,
    is_infinite,
    proportional,
    same,
    variables,
)

Verdict = bool | None
_FLIP = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le", "=": "=", "\\ne": "\\ne"}
_APPLIED = re.compile(r"([A-Za-z]'*(?:_\{?\w+\}?)?(?:\^\{?-1\}?)?)\s*"
                      r"\(((?:[^()]|\([^()]*\))*)\)")
_ANGLES = frozenset(("sin", "cos", "tan", "cot", "sec", "csc"))


def same_nodes(a: Node, b: Node) -> Verdict:
    """Equality of two expressions; None where they are outside of the grammar's reach."""
    infinite = is_infinite(a), is_infinite(b)
    if any(infinite):
        return infinite[0] == infinite[1]
    try:
        return same(a, b)
    except (TooBig, Undefined):
        return a == b       # too large to compute: the same only when written the same
    except NotUnderstood:
        return None


def names(side: Answer) -> bool:
    """Whether a left side only names what is on the right: x, f(x), AB, (x, y), x^*."""
    if isinstance(side, Words):
        return True
    if isinstance(side, Group):
        return all(map(names, side.items))
    if not isinstance(side, Expression):
        return False
    node = side.node
    if node.op == "mul" and all(part.op == "var" for part in node.args):
        return True
    return node.op == "var" or (node.op == "const" and node.name == "e") \
        or _applied(side.quantity.value)


def _applied(text: str) -> bool:
    """Whether this is a function applied to something: f(2), P(A), f^{-1}(x), f(f(3)).

    Not so x(x + 3): a letter that comes back inside the brackets is a factor.
    """
    match = _APPLIED.fullmatch(text.strip())
    if match is None:
        return False
    return match[1][0] not in re.sub(r"\\[A-Za-z]+", "", match[2]) or _applied(match[2])


def definition(relation: Relation) -> tuple[str, Node] | None:
    """A function's name and its right side in x: f(t) = t² + 1, or y = x² + 1."""
    left, right = relation.sides[0], relation.sides[-1]
    if not isinstance(left, Expression) or not isinstance(right, Expression):
        return None
    match = _APPLIED.fullmatch(left.quantity.value.strip())
    if match and re.fullmatch(r"\s*[a-z]\s*", match[2]):
        return re.sub(r"[{} ]", "", match[1]), substituted(
            right.node, {match[2].strip(): Node("var", name="x")})
    named = left.node.op == "var" and left.node.name == "y" and variables(right.node) == {"x"}
    return ("y", right.node) if named else None


def substituted(node: Node, values: dict[str, Node]) -> Node:
    """The expression with other nodes in the place of variables (of i, where it is among them)."""
    if node.op in ("var", "const") and node.name in values:
        return values[node.name]
    return node._replace(args=tuple(substituted(arg, values) for arg in node.args))


def states_no_value(relation: Relation) -> bool:
    """Whether this is an equation in one unknown, as 2x = 4 is, which states no value.

    A name, a number or several letters (m + n, |AB|) on the left say what the right side is, and
    so does a calculation: \\pi r^2 = 3^2 \\pi = 9\\pi.
    """
    sides, left = relation.sides, relation.sides[0]
    if not isinstance(left, Expression) or names(left):
        return False
    if len(sides) > 2 and not any(isinstance(side, Expression) and variables(side.node)
                                  for side in sides[1:]):
        return False
    node = left.node
    if node.op == "deg" or (node.op == "fn" and node.name in _ANGLES):
        node = node.args[0]
    return node.op != "var" and len(variables(node)) == 1


def same_zeros(candidate: Relation, gold: Relation) -> Verdict:
    """Whether two equations have the same solutions: one is a multiple of the other."""
    ours, theirs = _difference(candidate), _difference(gold)
    if ours is None or theirs is None:
        return None
    try:
        return proportional(ours, theirs)
    except (ArithmeticError, NotUnderstood):
        return None


def same_inequality(candidate: Relation, gold: Relation,
                    same_side: Callable[[Answer, Answer], Verdict]) -> Verdict:
    """Inequalities in several variables: one is a positive multiple of the other."""
    if len(candidate.signs) != 1 or len(gold.signs) != 1:
        # a < b < c and c > b > a: the same sides, read from either end
        backwards = tuple(_FLIP.get(sign, "") for sign in reversed(candidate.signs))
        for sides, signs in ((candidate.sides, candidate.signs),
                             (candidate.sides[::-1], backwards)):
            if signs == gold.signs and all(same_side(a, b) is True for a, b
                                           in zip(sides, gold.sides, strict=True)):
                return True
        return None
    ours, theirs = _difference(candidate), _difference(gold)
    if ours is None or theirs is None:
        return None
    try:
        if candidate.signs == gold.signs:
            return proportional(ours, theirs, positive=candidate.signs[0] != "\\ne")
        if _FLIP.get(candidate.signs[0]) == gold.signs[0]:
            return proportional(Node("neg", (ours,)), theirs, positive=True)
    except (ArithmeticError, NotUnderstood):
        return None
    return False


def _difference(relation: Relation) -> Node | None:
    left, right = relation.sides[0], relation.sides[-1]
    if isinstance(left, Expression) and isinstance(right, Expression):
        return Node("add", (left.node, Node("neg", (right.node,))))
    return None


def coordinates(node: Node, size: int) -> list[Node] | None:
    """The coefficients of 2i + 3j − k, where i, j and k are the unit vectors."""
    letters = ("i", "j", "k")[:size]
    zero, one, two = num(0), num(1), num(2)
    if not variables(node) & {"j", "k"} or not variables(node) <= set(letters):
        return None
    found = []
    for letter in letters:
        once, twice = (substituted(node, {**dict.fromkeys(letters, zero), letter: value})
                       for value in (one, two))
        if not same_nodes(twice, Node("mul", (two, once))):
            return None
        found.append(once)
    return found
