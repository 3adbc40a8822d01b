"""Equations and inequalities: which of them state a value, and when two are the same."""

import re

from drp_plugin.grading.latex import Node
from drp_plugin.grading.reading import Answer, Expression, Group, Relation, Words
from drp_plugin.grading.value import proportional, same, variables
from drp_plugin.resources import Patterns

Verdict = bool | None
_P = Patterns("grading.yaml", "relations")
_FLIP = {">": "<", "\\ge": "\\le"}
_ANGLES = frozenset(("sin", "cos", "tan", "cot", "sec", "csc"))


def names(side: Answer) -> bool:
    """Whether a left side only names what is on the right: x, f(x), AB, (x, y), x^*."""
    if isinstance(side, Group):
        return all(map(names, side.items))
    return isinstance(side, Words) or (isinstance(side, Expression) and (
        side.node.op == "var" or side.node == Node("const", name="e")
        or (side.node.op == "mul" and all(part.op == "var" for part in side.node.args))
        or _applied(side.quantity.value)))


def _applied(text: str) -> bool:
    """Whether this is a function applied to something: f(2), P(A), f^{-1}(x), f(f(3)). Not so x(x +
    3): a letter that comes back inside the brackets is a factor."""
    match = _P.applied.fullmatch(text.strip())
    return match is not None and (
        match[1][0] not in re.sub(r"\\[A-Za-z]+", "", match[2]) or _applied(match[2]))


def definition(relation: Relation) -> tuple[str, Node] | None:
    """A function's name and its right side in x: f(t) = t² + 1, or y = x² + 1."""
    left, right = relation.sides[0], relation.sides[-1]
    if not isinstance(left, Expression) or not isinstance(right, Expression):
        return None
    match = _P.applied.fullmatch(left.quantity.value.strip())
    if match and re.fullmatch(r"\s*[a-z]\s*", match[2]) and (
            match[2].strip() == "x" or "x" not in variables(right.node)):
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

    A name, a number or several letters (m + n, |AB|) on the left name the right side, and so does a
    calculation: \\pi r^2 = 3^2 \\pi = 9\\pi."""
    sides, left = relation.sides, relation.sides[0]
    if not isinstance(left, Expression) or names(left):
        return False
    if len(sides) > 2 and not any(isinstance(side, Expression) and variables(side.node)
                                  for side in sides[1:]):
        return False
    node = left.node
    if node.op == "deg" or (node.op == "fn" and node.name in _ANGLES) or (
            node.op == "abs" and node.args[0].name.isupper()):      # |S|, the size of a set
        node = node.args[0]
    return node.op != "var" and len(variables(node)) == 1


def same_zeros(candidate: Relation, gold: Relation) -> Verdict:
    """Whether equations or inequalities have the same solutions: (positive) multiples."""
    (ours, sign), (theirs, wanted) = _forward(candidate), _forward(gold)
    if not len(ours) == len(theirs) == 2:
        # a < b < c and c > b > a: the same sides, read from either end
        return None if not len(ours) == len(theirs) > 0 else sign == wanted and all(
            same(a, b) is True for a, b in zip(ours, theirs, strict=True))
    difference = [Node("add", (a, Node("neg", (b,)))) for a, b in (ours, theirs)]
    return sign == wanted and proportional(*difference, positive=sign[0] in ("<", "\\le"))


def _forward(relation: Relation) -> tuple[tuple[Node, ...], tuple[str, ...]]:
    """The sides with the signs, from the smaller to the larger; of a = b = c, the ends."""
    sides = tuple(side.node for side in relation.sides if isinstance(side, Expression))
    if len(sides) < len(relation.sides):
        return (), relation.signs
    if set(relation.signs) <= {"=", "\\approx"}:
        return (sides[0], sides[-1]), ("=",)
    if relation.signs[0] in _FLIP:
        return sides[::-1], tuple(_FLIP.get(sign, sign) for sign in reversed(relation.signs))
    return sides, relation.signs
