"""Equality of two answers by their shapes; None where our grammar cannot tell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from drp_plugin.grading.answer import (
    Answer,
    Based,
    Clock,
    Expression,
    Group,
    Matrix,
    Opaque,
    Ratio,
    Relation,
    Words,
    fraction,
)
from drp_plugin.grading.intervals import MIRROR, intervals, same_intervals
from drp_plugin.grading.latex import Node, NotUnderstood, num, parse
from drp_plugin.grading.units import PERCENT, conflict, lettered
from drp_plugin.grading.value import (
    TooBig,
    Undefined,
    is_infinite,
    proportional,
    same,
    variables,
)

Verdict = bool | None
_INEQUALITIES = ("<", ">", "\\le", "\\ge", "\\ne", "\\in")
#: More items than this are compared only when they are plain numbers.
_MANY = 40


def same_answer(candidate: Answer, gold: Answer) -> Verdict:
    """Whether the candidate is the gold answer; None where it cannot be told."""
    if isinstance(gold, Words) or isinstance(candidate, Words):
        return _same_words(candidate, gold)
    if isinstance(gold, Opaque) or isinstance(candidate, Opaque):
        return None
    ranges = _same_ranges(candidate, gold)
    if ranges is not None:
        return ranges
    if isinstance(candidate, Relation) or isinstance(gold, Relation):
        return _same_relation(candidate, gold)
    if isinstance(gold, Based) or isinstance(candidate, Based):
        return gold == candidate
    if isinstance(gold, Clock) or isinstance(candidate, Clock):
        return _same_time(candidate, gold)
    if isinstance(candidate, Ratio) or isinstance(gold, Ratio):
        return _same_ratio(candidate, gold)
    if isinstance(candidate, Expression) and isinstance(gold, Expression):
        return _same_expression(candidate, gold)
    if isinstance(candidate, Matrix) or isinstance(gold, Matrix):
        return _same_matrix(candidate, gold)
    return _same_group(candidate, gold)


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


def _same_words(candidate: Answer, gold: Answer) -> Verdict:
    if isinstance(gold, Words) and isinstance(candidate, Words):
        return _key(gold.text) == _key(candidate.text)
    words, other = (gold, candidate) if isinstance(gold, Words) else (candidate, gold)
    assert isinstance(words, Words)
    if isinstance(other, Expression) and other.node.op == "var":
        return other.node.name.lower() == _key(words.text)
    if isinstance(other, Relation) and other.signs == ("=",):
        return _same_words(other.sides[1], words)
    if isinstance(other, Group) and other.kind == "list" \
            and all(isinstance(item, Words) for item in other.items):
        return "".join(_key(i.text) for i in other.items if isinstance(i, Words)) \
            == _key(words.text)
    ranges = intervals(words)
    if ranges is not None:
        return bool(same_intervals(ranges, intervals(other)))
    return False


def _same_time(candidate: Answer, gold: Answer) -> bool:
    """Times of day; a.m. or p.m. may be left to the question, and so may the minutes :00."""
    if isinstance(candidate, Clock) and isinstance(gold, Clock):
        return candidate == gold
    clock, other = (gold, candidate) if isinstance(gold, Clock) else (candidate, gold)
    assert isinstance(clock, Clock)
    if isinstance(other, Ratio):
        parts = [fraction(term) for term in other.terms]
    elif isinstance(other, Expression) and not other.quantity.unit:
        parts = [fraction(other.node)]
        if (parts[0] or 0) > 12:
            return False        # 17 may be anything, 17:00 is 5 p.m.
    else:
        return False
    if len(parts) > 3 or any(part is None or part.denominator > 1 for part in parts):
        return False
    seconds = sum((part or 0) * 60 ** (2 - i) for i, part in enumerate(parts))
    return seconds == clock.seconds or (
        3600 <= seconds < 13 * 3600 and (seconds - clock.seconds) % (12 * 3600) == 0)


#: Several ways to say one thing.
_PHRASES = (
    (re.compile(r"\b(?:there (?:is|are) )?no (?:real )?solutions?\b"), "empty set"),
    (re.compile(r"\bdne\b"), "does not exist"),
)


def _key(text: str) -> str:
    text = re.sub(r"\b(?:the|an?) (?=[a-z]{3})", " ", text.lower())
    for pattern, phrase in _PHRASES:
        text = pattern.sub(phrase, text)
    return re.sub(r"[^a-z0-9]+", "", text)


def _is_range(answer: Answer) -> bool:
    """Whether an answer can be nothing but a set of reals: [a, b), A ∪ B, x < 3."""
    if isinstance(answer, Relation):
        return any(sign in _INEQUALITIES for sign in answer.signs)
    if not isinstance(answer, Group):
        return False
    return answer.kind == "union" or answer.brackets in ("[)", "(]", "[]") or (
        answer.kind == "list" and any(isinstance(item, Relation) and _is_range(item)
                                      for item in answer.items))


def _same_ranges(candidate: Answer, gold: Answer) -> Verdict:
    """Intervals, unions and inequalities; None where neither side is clearly one."""
    if not (_is_range(candidate) or _is_range(gold)):
        return None
    ours, theirs = intervals(candidate), intervals(gold)
    if ours is None or theirs is None:
        if isinstance(candidate, Relation) and isinstance(gold, Relation):
            return _same_inequality(candidate, gold)
        return None if type(candidate) is type(gold) else False
    return same_intervals(ours, theirs)


def _same_inequality(candidate: Relation, gold: Relation) -> Verdict:
    """Inequalities in several variables: one is a positive multiple of the other."""
    if len(candidate.signs) != 1 or len(gold.signs) != 1:
        return _same_chain(candidate, gold)
    ours, theirs = _difference(candidate), _difference(gold)
    if ours is None or theirs is None:
        return None
    try:
        if candidate.signs == gold.signs:
            return proportional(ours, theirs, positive=True)
        if _FLIP.get(candidate.signs[0]) == gold.signs[0]:
            return proportional(Node("neg", (ours,)), theirs, positive=True)
    except (ArithmeticError, NotUnderstood):
        return None
    return False


_FLIP = {**MIRROR, "=": "=", "\\ne": "\\ne"}


def _same_chain(candidate: Relation, gold: Relation) -> Verdict:
    """a < b < c and c > b > a: the same sides, read from either end."""
    backwards = tuple(_FLIP.get(sign, "") for sign in reversed(candidate.signs))
    for sides, signs in ((candidate.sides, candidate.signs),
                         (candidate.sides[::-1], backwards)):
        if signs == gold.signs and _all(same_answer(a, b) for a, b
                                        in zip(sides, gold.sides, strict=True)):
            return True
    return None


def _difference(relation: Relation) -> Node | None:
    left, right = relation.sides[0], relation.sides[-1]
    if isinstance(left, Expression) and isinstance(right, Expression):
        return Node("add", (left.node, Node("neg", (right.node,))))
    return None


def _same_relation(candidate: Answer, gold: Answer) -> Verdict:
    if isinstance(candidate, Relation) and isinstance(gold, Relation):
        if not set(candidate.signs) | set(gold.signs) <= {"=", "\\approx"}:
            return None
        if _names(candidate.sides[0]) and candidate.sides[0] == gold.sides[0]:
            return same_answer(candidate.sides[-1], gold.sides[-1])
        ours, theirs = _difference(candidate), _difference(gold)
        if ours is None or theirs is None:
            return None
        try:
            return proportional(ours, theirs)
        except (ArithmeticError, NotUnderstood):
            return None
    if isinstance(gold, Relation):
        # "x = 5" may be answered by 5, but "x² + y² = 13" not by 13
        if gold.signs == ("=",) and (_names(gold.sides[0]) or _numeric(gold)):
            return same_answer(candidate, gold.sides[1])
        return False
    assert isinstance(candidate, Relation)
    if not set(candidate.signs) <= {"=", "\\approx"} or _to_solve(candidate.sides):
        return False
    verdict = same_answer(candidate.sides[-1], gold)
    if not verdict and "\\approx" in candidate.signs:
        exact = candidate.sides[candidate.signs.index("\\approx")]
        return same_answer(exact, gold)
    return verdict


def _names(side: Answer) -> bool:
    """Whether a left side only names what is on the right: x, f(x), AB, (x, y)."""
    if isinstance(side, Words):
        return True
    if isinstance(side, Group):
        return all(_names(item) for item in side.items)
    if not isinstance(side, Expression):
        return False
    node = side.node
    if node.op == "mul" and all(part.op == "var" for part in node.args):
        return True
    return node.op == "var" or (node.op == "const" and node.name == "e") \
        or _applied(side.quantity.value)


_APPLIED = re.compile(r"([A-Za-z])'*(?:_\{?\w+\}?)?(?:\^\{?-1\}?)?\s*"
                      r"\(((?:[^()]|\([^()]*\))*)\)")
_ANGLES = frozenset(("sin", "cos", "tan", "cot", "sec", "csc"))


def _applied(text: str) -> bool:
    """Whether this is a function applied to something: f(2), P(A), f^{-1}(x), f(f(3)).

    Not so x(x + 3): a letter that comes back inside the brackets is a factor.
    """
    match = _APPLIED.fullmatch(text.strip())
    if match is None:
        return False
    return match[1] not in re.sub(r"\\[A-Za-z]+", "", match[2]) or _applied(match[2])


def _numeric(relation: Relation) -> bool:
    """0.56 = 56 %: one number, written twice."""
    left, right = relation.sides
    return isinstance(left, Expression) and not variables(left.node) \
        and same_answer(left, right) is True


def _to_solve(sides: Sequence[Answer]) -> bool:
    """Whether this is an equation in one unknown, as 2x = 4 is, which states no value.

    A name, a number or several letters (m + n, |AB|) on the left say what the right side is, and
    so does a calculation: \\pi r^2 = 3^2 \\pi = 9\\pi.
    """
    left = sides[0]
    if not isinstance(left, Expression) or _names(left):
        return False
    if len(sides) > 2 and not any(isinstance(side, Expression) and variables(side.node)
                                  for side in sides[1:]):
        return False
    node = left.node
    if node.op == "deg" or (node.op == "fn" and node.name in _ANGLES):
        node = node.args[0]
    return node.op != "var" and len(variables(node)) == 1


def _same_ratio(candidate: Answer, gold: Answer) -> Verdict:
    if isinstance(candidate, Ratio) and isinstance(gold, Ratio):
        if len(candidate.terms) != len(gold.terms):
            return False
        first = [Node("mul", (term, gold.terms[0])) for term in candidate.terms]
        second = [Node("mul", (term, candidate.terms[0])) for term in gold.terms]
        return _all(same_nodes(a, b) for a, b in zip(first, second, strict=True))
    ratio, other = (gold, candidate) if isinstance(gold, Ratio) else (candidate, gold)
    assert isinstance(ratio, Ratio)
    if isinstance(other, Expression) and len(ratio.terms) == 2 and other.node.op == "div":
        return same_nodes(Node("div", ratio.terms), other.node)
    return False


def _same_expression(candidate: Expression, gold: Expression) -> Verdict:
    ours, theirs = candidate.quantity, gold.quantity
    if ours.scale != theirs.scale:
        return _same_scaled(candidate, gold)
    if PERCENT in (ours.unit, theirs.unit):
        hundredth = Node("div", (candidate.node, num(100)))
        if ours.unit == theirs.unit:
            return same_nodes(candidate.node, gold.node)
        if theirs.unit == PERCENT:
            # 0.1 is 10 %, and so is 10 where the question has named the percent
            return not ours.unit and (same_nodes(candidate.node, gold.node) or same_nodes(
                candidate.node, Node("div", (gold.node, num(100)))))
        if theirs.known:
            return False
        # where the gold answer is a bare number, the question has named the percent
        return same_nodes(candidate.node, gold.node) or same_nodes(hundredth, gold.node)
    if conflict(ours, theirs):
        return False
    a, b = fraction(candidate.node), fraction(gold.node)
    if a is not None and b is not None:
        return a == b
    verdict = same_nodes(candidate.node, gold.node)
    if verdict is False and variables(candidate.node) and not variables(gold.node):
        unit = lettered(ours.value)
        if unit is not None and not conflict(unit, theirs):
            return _same_expression(Expression(parse(unit.value), unit), gold)
    return verdict


def _same_scaled(candidate: Expression, gold: Expression) -> Verdict:
    """2 million against 2,000,000, or against 2 where the question has named the millions."""
    plain = [Expression(Node("mul", (side.node, num(side.quantity.scale))),
                        side.quantity._replace(scale=1)) for side in (candidate, gold)]
    if _same_expression(plain[0], plain[1]):
        return True
    return gold.quantity.scale == 1 and _same_expression(
        candidate._replace(quantity=candidate.quantity._replace(scale=1)), gold)


def _same_matrix(candidate: Answer, gold: Answer) -> Verdict:
    ours, theirs = _rows(candidate), _rows(gold)
    if getattr(candidate, "bars", "") != getattr(gold, "bars", ""):
        return False        # a determinant is no matrix
    if ours is None or theirs is None or [len(r) for r in ours] != [len(r) for r in theirs]:
        return False
    return _all(same_answer(a, b) for one, two in zip(ours, theirs, strict=True)
                for a, b in zip(one, two, strict=True))


def _rows(answer: Answer) -> tuple[tuple[Answer, ...], ...] | None:
    """A matrix; a tuple (a, b) counts as the column vector that it writes."""
    if isinstance(answer, Matrix):
        return answer.rows
    if isinstance(answer, Group) and answer.kind == "tuple" and answer.brackets == "()":
        return tuple((item,) for item in answer.items)
    return None


def _same_group(candidate: Answer, gold: Answer) -> Verdict:
    if _is_tuple(candidate) and _is_tuple(gold):
        assert isinstance(candidate, Group) and isinstance(gold, Group)
        if len(candidate.items) != len(gold.items):
            return False
        if len(gold.items) == 2 and candidate.brackets != gold.brackets:
            return False
        return _all(same_answer(a, b) for a, b
                    in zip(candidate.items, gold.items, strict=True))
    if _is_tuple(candidate) or _is_tuple(gold):
        return _assignments(candidate, gold)
    ours, theirs = _items(candidate), _items(gold)
    if isinstance(gold, Group) and gold.kind == "set":
        ours, theirs = _distinct(ours), _distinct(theirs)
    elif isinstance(candidate, Group) and candidate.kind == "set":
        ours = _distinct(ours)
    return _same_items(ours, theirs)


def _is_tuple(answer: Answer) -> bool:
    return isinstance(answer, Group) and answer.kind == "tuple"


def _items(answer: Answer) -> tuple[Answer, ...]:
    return answer.items if isinstance(answer, Group) else (answer,)


def _assignments(candidate: Answer, gold: Answer) -> Verdict:
    """x = 1, y = 2 for (1, 2): a list that names each coordinate, in alphabetical order."""
    listed, ordered = (gold, candidate) if _is_tuple(candidate) else (candidate, gold)
    if not isinstance(listed, Group) or not isinstance(ordered, Group) or listed.kind != "list":
        return False
    named = {}
    for item in listed.items:
        if not (isinstance(item, Relation) and item.signs == ("=",) and _names(item.sides[0])
                and isinstance(item.sides[0], Expression)):
            return False
        named["".join(sorted(variables(item.sides[0].node)))] = item.sides[1]
    values = [named[name] for name in sorted(named)]
    if len(values) != len(ordered.items):
        return False
    return _all(same_answer(a, b) for a, b in zip(values, ordered.items, strict=True))


def _distinct(items: Sequence[Answer]) -> tuple[Answer, ...]:
    """The elements of a set: between braces, what is written twice is there once."""
    if len(items) > _MANY:
        return tuple(dict.fromkeys(items))
    found: list[Answer] = []
    for item in items:
        if not any(same_answer(item, other) for other in found):
            found.append(item)
    return tuple(found)


def _same_items(ours: Sequence[Answer], theirs: Sequence[Answer]) -> Verdict:
    """In any order, each item with a partner of its own: 1, 1, 2 is not 1, 2."""
    if len(ours) != len(theirs):
        return False
    if len(ours) > _MANY:
        numbers = [[fraction(i.node) if isinstance(i, Expression) else None for i in side]
                   for side in (ours, theirs)]
        return None not in numbers[0] + numbers[1] and Counter(numbers[0]) == Counter(numbers[1])
    verdicts = [[same_answer(item, other) for other in theirs] for item in ours]
    if _paired([[v is True for v in row] for row in verdicts]):
        return True
    return None if _paired([[v is not False for v in row] for row in verdicts]) else False


def _paired(fits: list[list[bool]]) -> bool:
    """Whether every row can have a column of its own (Kuhn's algorithm)."""
    taken: dict[int, int] = {}

    def place(row: int, tried: set[int]) -> bool:
        for column, fit in enumerate(fits[row]):
            if fit and column not in tried:
                tried.add(column)
                if column not in taken or place(taken[column], tried):
                    taken[column] = row
                    return True
        return False

    return all(place(row, set()) for row in range(len(fits)))


def _all(verdicts: object) -> Verdict:
    """False as soon as one is, else None as soon as one is."""
    result: Verdict = True
    for verdict in verdicts:  # type: ignore[attr-defined]
        if verdict is False:
            return False
        if verdict is None:
            result = None
    return result
