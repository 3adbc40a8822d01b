"""Equality of two answers by their shapes; None where our grammar cannot tell."""

from __future__ import annotations

import re
from collections.abc import Sequence

from drp_plugin.grading.answer import (
    Answer,
    Based,
    Expression,
    Group,
    Matrix,
    Opaque,
    Ratio,
    Relation,
    Words,
    fraction,
)
from drp_plugin.grading.intervals import intervals, same_intervals
from drp_plugin.grading.latex import Node, NotUnderstood, num
from drp_plugin.grading.units import PERCENT, conflict
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
    if isinstance(gold, Based) or isinstance(candidate, Based):
        return gold == candidate
    ranges = _same_ranges(candidate, gold)
    if ranges is not None:
        return ranges
    if isinstance(candidate, Relation) or isinstance(gold, Relation):
        return _same_relation(candidate, gold)
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
    if isinstance(other, Ratio):
        clock = _CLOCK.fullmatch(words.text.strip())
        return clock is not None and [fraction(t) for t in other.terms] == [
            int(part) for part in clock.group(1).split(":")]
    ranges = intervals(words)
    if ranges is not None:
        return bool(same_intervals(ranges, intervals(other)))
    return False


_CLOCK = re.compile(r"(\d{1,2}(?::\d{2}){1,2})\s*[ap]\.?\s?m\.?", re.IGNORECASE)


def _key(text: str) -> str:
    text = re.sub(r"\b(?:the|an?) (?=[a-z]{3})", " ", text.lower())
    text = re.sub(r"\bno (?:real )?solutions?\b", "no solution", text)
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
    flip = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}
    if len(candidate.signs) != 1 or len(gold.signs) != 1:
        return None
    ours, theirs = _difference(candidate), _difference(gold)
    if ours is None or theirs is None:
        return None
    try:
        if candidate.signs == gold.signs:
            return proportional(ours, theirs, positive=True)
        if flip.get(candidate.signs[0]) == gold.signs[0]:
            return proportional(Node("neg", (ours,)), theirs, positive=True)
    except (ArithmeticError, NotUnderstood):
        return None
    return False


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
        if gold.signs == ("=",) and _names(gold.sides[0]):
            return same_answer(candidate, gold.sides[1])
        return False
    assert isinstance(candidate, Relation)
    if not set(candidate.signs) <= {"=", "\\approx"}:
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
    return node.op == "var" or (node.op == "const" and node.name == "e")


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
    if PERCENT in (ours.unit, theirs.unit):
        hundredth = Node("div", (candidate.node, num(100)))
        if ours.unit == theirs.unit:
            return same_nodes(candidate.node, gold.node)
        if theirs.unit == PERCENT:
            # 10 is not 10 %, but 0.1 is
            return not ours.unit and same_nodes(
                candidate.node, Node("div", (gold.node, num(100))))
        if theirs.known:
            return False
        # where the gold answer is a bare number, the question has named the percent
        return same_nodes(candidate.node, gold.node) or same_nodes(hundredth, gold.node)
    if conflict(ours, theirs):
        return False
    a, b = fraction(candidate.node), fraction(gold.node)
    if a is not None and b is not None:
        return a == b
    return same_nodes(candidate.node, gold.node)


def _same_matrix(candidate: Answer, gold: Answer) -> Verdict:
    ours, theirs = _rows(candidate), _rows(gold)
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
    return _same_set(_items(candidate), _items(gold))


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


def _same_set(ours: Sequence[Answer], theirs: Sequence[Answer]) -> Verdict:
    """Unordered: each item has its partner; repeats do not count."""
    if max(len(ours), len(theirs)) > _MANY:
        numbers = [[fraction(i.node) if isinstance(i, Expression) else None for i in side]
                   for side in (ours, theirs)]
        return None not in numbers[0] + numbers[1] and set(numbers[0]) == set(numbers[1])
    unsure = False
    for one, two in ((ours, theirs), (theirs, ours)):
        for item in one:
            verdicts = [same_answer(item, other) if one is ours else same_answer(other, item)
                        for other in two]
            if True not in verdicts:
                if None not in verdicts:
                    return False
                unsure = True
    return None if unsure else True


def _all(verdicts: object) -> Verdict:
    """False as soon as one is, else None as soon as one is."""
    result: Verdict = True
    for verdict in verdicts:  # type: ignore[attr-defined]
        if verdict is False:
            return False
        if verdict is None:
            result = None
    return result
