"""Sets of real numbers: intervals, unions, inequalities and set builders, compared point by point.
However a set is written, the question is whether a number belongs to it. Two sets are the same when
they agree at all their ends, close beside them, and between them."""

import itertools
from fractions import Fraction
from functools import lru_cache

from drp_plugin.grading.latex import Node, NotUnderstood
from drp_plugin.grading.reading import Answer, Expression, Group, Relation, Words
from drp_plugin.grading.units import Quantity
from drp_plugin.grading.value import Undefined, Value, close, value_of, variables

INEQUALITIES = ("<", ">", "\\le", "\\ge", "\\ne")
EVERYTHING = ("all real numbers", "real numbers", "all reals", "all real", "reals")
_BESIDE = Fraction(1, 10**6)
_FIXED = [*(Fraction(k, 2) for k in range(-21, 22)), Fraction(10**6), Fraction(-10**6)]
_X = Expression(Node("var", name="x"), Quantity("x", "", False))


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
        ends = _ends(ours), _ends(theirs)
        if None in ends[0] and None in ends[1]:
            return None     # at least one side has to say exactly where it ends
        known = [end for part in ends for end in part if end is not None]
        if len(known) > 40:
            return None
        verdicts = [(_member(ours, x), _member(theirs, x)) for x in _places(known)]
    except (ArithmeticError, KeyError, TypeError):
        return None
    return any(a for a, _ in verdicts) and all(a == b for a, b in verdicts)


def _places(ends: list[Value]) -> list[Value]:
    beside = [end + step for end in ends for step in (Fraction(0), _BESIDE, -_BESIDE)]
    between = [(a + b) * Fraction(1, 2) for a, b in itertools.pairwise(sorted(ends, key=float))]
    return _FIXED + beside + between


def _member(answer: Answer, x: Value) -> bool:
    if isinstance(answer, Words):
        return True
    if isinstance(answer, Relation) and answer.signs == ("\\in",):
        return _member(answer.sides[1], x)
    if not isinstance(answer, Group) or answer.kind == "tuple":
        try:
            return all(_holds(*link, x) for link in _links(answer))
        except Undefined:
            return False
    if answer.joint == "\\setminus":
        return _member(answer.items[0], x) and not any(_member(i, x) for i in answer.items[1:])
    together = all if _is_both(answer) else any
    return together(_member(item, x) for item in answer.items)


@lru_cache(maxsize=1_000)
def _is_both(group: Group) -> bool:
    """A comma says "and" where that is possible: x ≥ 1, x ≤ 5, but not x < 1, x > 5."""
    if group.joint or group.kind != "list":
        return group.joint in ("and", "\\cap")
    ends = [end for end in _ends(group) if end is not None]
    return any(all(_member(item, x) for item in group.items) for x in _places(ends))


def _links(answer: Answer) -> list[tuple[Node, str, Node]]:
    """The comparisons that an interval, a number or a chain such as a < x ≤ b consists of."""
    sides: tuple[Answer, ...] = (_X, answer)
    signs: tuple[str, ...] = ("=",)
    if isinstance(answer, Group) and len(answer.items) == len(answer.brackets) == 2:
        sides = (answer.items[0], _X, answer.items[1])
        signs = tuple("<" if bracket in "()" else "\\le" for bracket in answer.brackets)
    elif isinstance(answer, Relation):
        sides, signs = answer.sides, answer.signs
    nodes = [side.node for side in sides if isinstance(side, Expression)]
    if len(nodes) < len(sides) or not set(signs) <= {*INEQUALITIES, "="}:
        raise NotUnderstood("no set of reals")
    nodes = [_X.node if _applied(node) else node for node in nodes]
    if len(names := set().union(*map(variables, nodes))) != 1 or "\\" in min(names):   # an angle
        raise NotUnderstood("no set of reals")
    return [(a, sign, b) for (a, b), sign in zip(itertools.pairwise(nodes), signs, strict=True)]


def _applied(node: Node) -> bool:
    """g(x) reads as a product of letters."""
    return node.op == "mul" and all(arg.op == "var" or _applied(arg) for arg in node.args)


def _holds(a: Node, sign: str, b: Node, x: Value) -> bool:
    left, right = (value_of(side, dict.fromkeys(variables(side), x)) for side in (a, b))
    if left.imag or right.imag:
        return False
    if close(left, right):
        return sign in ("\\le", "\\ge", "=")
    if sign in ("=", "\\ne"):
        return sign == "\\ne"
    return bool(left + -right < 0) == (sign in ("<", "\\le"))


def _ends(answer: Answer) -> list[Value | None]:
    """Where a set begins and ends; None among them if it may end elsewhere too."""
    if isinstance(answer, Words) and answer.text.strip() in EVERYTHING:
        return []
    if isinstance(answer, Relation) and answer.signs == ("\\in",):
        return _ends(answer.sides[1])
    if isinstance(answer, Group) and answer.kind != "tuple":
        if answer.kind == "list" and not all(isinstance(i, Relation) for i in answer.items):
            raise NotUnderstood("[1, 2], [2, 3] is no union")
        return [end for item in answer.items for end in _ends(item)]
    return [end for a, _, b in _links(answer) for sign in (1, -1) for end in _root(a, b, sign)]


def _root(a: Node, b: Node, sign: int) -> list[Value | None]:
    """Where a = b on one side of 0, if a − b is linear far out there, as |2x − 3| is too."""
    try:
        at = [value_of(a, dict.fromkeys(variables(a), x)) + -value_of(b, dict.fromkeys(variables(b),
            x)) for x in (Fraction(sign * k) for k in (1000, 1001, 1003))]
    except Undefined:
        return [None]
    slope = at[1] + -at[0]
    if abs(at[0]) == float("inf") or close(slope, Fraction(0)):
        return []
    if not close(at[2] + -at[1], 2 * slope):
        return [None]
    return [(sign * (1000 + -at[0] * (1 / slope))).real]
