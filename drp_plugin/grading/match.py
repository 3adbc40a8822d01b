"""Equality of two answers by their shapes; None where our grammar cannot tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

from drp_plugin.grading.answer import (
    Answer,
    Expression,
    Group,
    Opaque,
    Ratio,
    Relation,
    Words,
)
from drp_plugin.grading.latex import Node, NotUnderstood, num, parse
from drp_plugin.grading.regions import EVERYTHING, is_range, same_region
from drp_plugin.grading.relations import (
    Verdict,
    definition,
    names,
    same_zeros,
    states_no_value,
)
from drp_plugin.grading.units import PERCENT, conflict, lettered
from drp_plugin.grading.value import same, variables
from drp_plugin.grading.wording import word_key


def same_answer(candidate: Answer, gold: Answer) -> Verdict:
    """Whether the candidate is the gold answer; None where it cannot be told."""
    if isinstance(gold, Words) or isinstance(candidate, Words):
        return _same_words(candidate, gold)
    if isinstance(gold, Opaque) or isinstance(candidate, Opaque):
        return None
    if is_range(candidate) or is_range(gold):
        return _same_ranges(candidate, gold)
    if isinstance(candidate, Relation) or isinstance(gold, Relation):
        return _same_relation(candidate, gold)
    if isinstance(candidate, Ratio) or isinstance(gold, Ratio):
        return _same_ratio(candidate, gold)
    if isinstance(candidate, Expression) and isinstance(gold, Expression):
        return _same_expression(candidate, gold)
    return _same_group(candidate, gold)


def _same_words(candidate: Answer, gold: Answer) -> Verdict:
    if isinstance(gold, Words) and isinstance(candidate, Words):
        return word_key(gold.text) == word_key(candidate.text)
    words, other = (gold, candidate) if isinstance(gold, Words) else (candidate, gold)
    assert isinstance(words, Words)
    if isinstance(other, Expression) and other.node.op == "var":
        return other.node.name.lower() == word_key(words.text)
    if isinstance(other, Relation) and other.signs == ("=",):
        return _same_words(other.sides[1], words)
    if isinstance(other, Group) and other.kind == "list" \
            and all(isinstance(item, Words) for item in other.items):
        return "".join(word_key(i.text) for i in other.items if isinstance(i, Words)) \
            == word_key(words.text)
    return words.text in EVERYTHING and same_region(words, other) is True


def _same_ranges(candidate: Answer, gold: Answer) -> Verdict:
    """Intervals, unions and inequalities."""
    if isinstance(candidate, Expression) or isinstance(gold, Expression):
        return False
    verdict = same_region(candidate, gold)
    if verdict is not None:
        return verdict
    if isinstance(candidate, Relation) and isinstance(gold, Relation):
        return same_zeros(candidate, gold)
    if isinstance(candidate, Group) and isinstance(gold, Group) \
            and (candidate.kind, candidate.joint) == (gold.kind, gold.joint):
        return _same_group(candidate, gold)
    return False


def _same_relation(candidate: Answer, gold: Answer) -> Verdict:
    if isinstance(candidate, Relation) and candidate.signs == ("\\in",):
        return same_answer(candidate.sides[1], gold)
    if isinstance(candidate, Relation) and isinstance(gold, Relation):
        if not set(candidate.signs) | set(gold.signs) <= {"=", "\\approx"}:
            return None
        if names(candidate.sides[0]) and candidate.sides[0] == gold.sides[0]:
            return same_answer(candidate.sides[-1], gold.sides[-1])
        ours, theirs = definition(candidate), definition(gold)
        if ours is not None and theirs is not None:
            return same(ours[1], theirs[1]) \
                if ours[0] == theirs[0] or "y" in (ours[0], theirs[0]) else False
        return same_zeros(candidate, gold)
    if isinstance(gold, Relation):
        # "x = 5" may be answered by 5, but "x² + y² = 13" not by 13
        if gold.signs == ("\\in",) or (gold.signs == ("=",) and (
                names(gold.sides[0]) or _twice(gold))):
            return same_answer(candidate, gold.sides[1])
        return False
    assert isinstance(candidate, Relation)
    if not set(candidate.signs) <= {"=", "\\approx"}:
        return False
    if states_no_value(candidate):
        # but x² − 5x + 6 = (x − 2)(x − 3) may state one formula twice
        return bool(variables_of(gold)) and _all(same_answer(s, gold) for s in candidate.sides)
    verdict = same_answer(candidate.sides[-1], gold)
    if not verdict and "\\approx" in candidate.signs:
        return same_answer(candidate.sides[candidate.signs.index("\\approx")], gold)
    if not verdict and len(candidate.sides) > 1 and _twice(candidate):
        return same_answer(candidate.sides[0], gold)
    return verdict


def variables_of(answer: Answer) -> set[str]:
    """The variables of an expression."""
    return variables(answer.node) if isinstance(answer, Expression) else set()


def _twice(relation: Relation) -> bool:
    """0.56 = 56 %: one number, written twice."""
    left, right = relation.sides[0], relation.sides[-1]
    return isinstance(left, Expression) and not variables(left.node) \
        and same_answer(left, right) is True


def _same_ratio(candidate: Answer, gold: Answer) -> Verdict:
    """Ratios by value; times of day exactly, but a.m. or p.m. may be left to the question."""
    ratio, other = (gold, candidate) if isinstance(gold, Ratio) else (candidate, gold)
    assert isinstance(ratio, Ratio)
    if isinstance(other, Expression):
        if ratio.clock is None:
            return len(ratio.terms) == 2 and other.node.op == "div" \
                and same(Node("div", ratio.terms), other.node)
        hour = fraction(other.node)     # 5:00 is 5 o'clock; 17 may be anything
        if hour is None or other.quantity.unit or hour.denominator > 1 or hour > 12:
            return False
        other = Ratio((), int(hour) * 3600)
    if not isinstance(other, Ratio):
        return False
    if ratio.clock is None or other.clock is None:
        if isinstance(gold, Ratio) and gold.clock is not None:
            return False        # 1:5 is not 4:20
        return len(ratio.terms) == len(other.terms) and _all(
            same(Node("mul", (a, other.terms[0])), Node("mul", (b, ratio.terms[0])))
            for a, b in zip(ratio.terms, other.terms, strict=True))
    return ratio.clock == other.clock or (
        ratio.half != other.half and 3600 <= (other if ratio.half else ratio).clock < 13 * 3600
        and (ratio.clock - other.clock) % (12 * 3600) == 0)


def fraction(node: Node) -> Fraction | None:
    """The literal value of an expression that is a number, for quick decisions."""
    if node.op == "neg":
        inner = fraction(node.args[0])
        return None if inner is None else -inner
    return node.value


def _same_expression(candidate: Expression, gold: Expression) -> Verdict:
    ours, theirs = candidate.quantity, gold.quantity
    if ours.scale != theirs.scale:
        return _same_scaled(candidate, gold)
    if PERCENT in (ours.unit, theirs.unit):
        return _same_percent(candidate, gold)
    if conflict(ours, theirs):
        return False
    a, b = fraction(candidate.node), fraction(gold.node)
    if a is not None and b is not None:
        return a == b
    verdict = same(candidate.node, gold.node)
    if verdict is False and variables(candidate.node) and not variables(gold.node):
        unit = lettered(ours.value)
        if unit is not None and not conflict(unit, theirs):
            return _same_expression(Expression(parse(unit.value), unit), gold)
    return verdict


def _same_percent(candidate: Expression, gold: Expression) -> Verdict:
    """10 % is 0.1; and 10 and 10 % are one answer where the question has named the percent."""
    ours, theirs = candidate.quantity, gold.quantity
    plain = same(candidate.node, gold.node)
    if plain or ours.unit == theirs.unit:
        return plain and not (ours.known and theirs.known and ours.unit != theirs.unit)
    if theirs.unit == PERCENT:
        return not ours.unit and same(
            candidate.node, Node("div", (gold.node, num(100))))
    return not theirs.known and same(Node("div", (candidate.node, num(100))), gold.node)


def _same_scaled(candidate: Expression, gold: Expression) -> Verdict:
    """2 million against 2,000,000, or against 2 where the question has named the millions."""
    plain = [Expression(Node("mul", (side.node, num(side.quantity.scale))),
                        side.quantity._replace(scale=1)) for side in (candidate, gold)]
    if _same_expression(plain[0], plain[1]):
        return True
    return gold.quantity.scale == 1 and _same_expression(
        candidate._replace(quantity=candidate.quantity._replace(scale=1)), gold)


def _same_group(candidate: Answer, gold: Answer) -> Verdict:
    if _is_tuple(candidate) and _is_tuple(gold):
        assert isinstance(candidate, Group) and isinstance(gold, Group)
        if len(candidate.items) != len(gold.items):
            return False
        marks = {candidate.brackets, gold.brackets}
        if len(marks) > 1 and (len(gold.items) == 2 or not marks <= {"()", "[]"}):
            return False
        return _all(map(same_answer, candidate.items, gold.items))
    if _is_tuple(candidate) or _is_tuple(gold):
        return _assignments(candidate, gold)
    ours, theirs = _items(candidate), _items(gold)
    if isinstance(gold, Group) and gold.kind == "set":
        ours, theirs = _distinct(ours), _distinct(theirs)
    elif isinstance(candidate, Group) and (candidate.kind == "set" or candidate.joint == "\\pm"):
        ours = _distinct(ours)
    return _same_items(ours, theirs)


def _is_tuple(answer: Answer) -> bool:
    return isinstance(answer, Group) and answer.kind == "tuple"


def _items(answer: Answer) -> tuple[Answer, ...]:
    return answer.items if isinstance(answer, Group) else (answer,)


def _assignments(candidate: Answer, gold: Answer) -> Verdict:
    """x = 1, y = 2 for (1, 2): a list that names each coordinate, in alphabetical order."""
    listed, ordered = (gold, candidate) if _is_tuple(candidate) else (candidate, gold)
    if not isinstance(listed, Group) or not isinstance(ordered, Group):
        return False
    named = {}
    for item in listed.items:
        if not (isinstance(item, Relation) and item.signs == ("=",) and names(item.sides[0])
                and isinstance(item.sides[0], Expression)):
            # a set of one pair, (2, 3) for {(2, 3)}
            return len(listed.items) == 1 and same_answer(
                *((candidate, listed.items[0]) if listed is gold else (listed.items[0], gold)))
        named["".join(sorted(variables(item.sides[0].node)))] = item.sides[1]
    values = [named[name] for name in sorted(named)]
    if len(values) != len(ordered.items):
        return False
    return _all(same_answer(a, b) for a, b in zip(values, ordered.items, strict=True))


def _distinct(items: Sequence[Answer]) -> tuple[Answer, ...]:
    """The elements of a set: between braces, what is written twice is there once."""
    found: list[Answer] = []
    for item in dict.fromkeys(items):
        if not any(same_answer(item, other) for other in found):
            found.append(item)
    return tuple(found)


def _same_items(ours: Sequence[Answer], theirs: Sequence[Answer]) -> Verdict:
    """In any order, each item with a partner of its own: 1, 1, 2 is not 1, 2."""
    if len(ours) != len(theirs):
        return False
    left, verdict = list(theirs), True
    for item in ours:
        partner = next((other for other in left if same_answer(item, other)), None)
        if partner is None:
            if not any(same_answer(item, other) is None for other in left):
                return False
            verdict = False
            continue
        left.remove(partner)
    return True if verdict else None


def _all(verdicts: Iterable[Verdict]) -> Verdict:
    """False as soon as one is, else None as soon as one is."""
    result: Verdict = True
    for verdict in verdicts:
        if verdict is False:
            return False
        if verdict is None:
            result = None
    return result
