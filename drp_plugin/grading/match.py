"""Equality of two answers by their shapes; None where our grammar cannot tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction

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
from drp_plugin.grading.latex import Node, NotUnderstood, num, parse
from drp_plugin.grading.named import number
from drp_plugin.grading.regions import is_range, region, same_region
from drp_plugin.grading.relations import (
    Verdict,
    coordinates,
    definition,
    names,
    same_inequality,
    same_nodes,
    same_zeros,
    states_no_value,
)
from drp_plugin.grading.units import PERCENT, conflict, lettered
from drp_plugin.grading.value import variables
from drp_plugin.grading.wording import word_key

#: More items than this are compared only when they are plain numbers.
_MANY = 40


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
    if isinstance(gold, Based) or isinstance(candidate, Based):
        return gold == candidate
    if isinstance(gold, Clock) or isinstance(candidate, Clock):
        return _same_time(candidate, gold)
    if isinstance(candidate, Ratio) or isinstance(gold, Ratio):
        return _same_ratio(candidate, gold)
    if isinstance(candidate, Expression) and isinstance(gold, Expression):
        return _same_expression(candidate, gold)
    if isinstance(candidate, Matrix) or isinstance(gold, Matrix) or (
            isinstance(candidate, Expression) and _is_tuple(gold)):
        return _same_matrix(candidate, gold)
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
    return region(words) is not None and same_region(words, other) is True


def _same_ranges(candidate: Answer, gold: Answer) -> Verdict:
    """Intervals, unions and inequalities."""
    verdict = same_region(candidate, gold)
    if verdict is not None:
        return verdict
    if isinstance(candidate, Relation) and isinstance(gold, Relation):
        return same_inequality(candidate, gold, same_answer)
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
            return same_nodes(ours[1], theirs[1]) \
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


def _same_time(candidate: Answer, gold: Answer) -> bool:
    """Times of day; a.m. or p.m. may be left to the question, and so may the minutes :00."""
    if isinstance(candidate, Clock) and isinstance(gold, Clock):
        return candidate == gold
    clock, other = (gold, candidate) if isinstance(gold, Clock) else (candidate, gold)
    assert isinstance(clock, Clock)
    seconds = other.clock if isinstance(other, Ratio) else None
    if isinstance(other, Expression) and not other.quantity.unit:
        hour = fraction(other.node)
        if hour is not None and hour.denominator == 1 and hour <= 12:   # 17 may be anything
            seconds = int(hour) * 3600
    return seconds is not None and (seconds == clock.seconds or (
        3600 <= seconds < 13 * 3600 and (seconds - clock.seconds) % (12 * 3600) == 0))


def _same_ratio(candidate: Answer, gold: Answer) -> Verdict:
    if isinstance(candidate, Ratio) and isinstance(gold, Ratio):
        if len(candidate.terms) != len(gold.terms):
            return False
        if candidate.clock is not None or gold.clock is not None:
            return candidate.clock == gold.clock and candidate.terms == gold.terms
        return _all(same_nodes(Node("mul", (a, gold.terms[0])), Node("mul", (b, candidate.terms[0])))
                    for a, b in zip(candidate.terms, gold.terms, strict=True))
    ratio, other = (gold, candidate) if isinstance(gold, Ratio) else (candidate, gold)
    assert isinstance(ratio, Ratio)
    if not isinstance(other, Expression):
        return False
    if ratio.clock is not None:     # 5:00 is 5 o'clock
        return ratio.clock % 3600 == 0 and fraction(other.node) == Fraction(ratio.clock, 3600)
    return len(ratio.terms) == 2 and other.node.op == "div" \
        and same_nodes(Node("div", ratio.terms), other.node)


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
    verdict = same_nodes(candidate.node, gold.node)
    if verdict is False and variables(candidate.node) and not variables(gold.node):
        unit = lettered(ours.value)
        if unit is not None and not conflict(unit, theirs):
            return _same_expression(Expression(parse(unit.value), unit), gold)
    return verdict


def _same_percent(candidate: Expression, gold: Expression) -> Verdict:
    """10 % is 0.1; and 10 and 10 % are one answer where the question has named the percent."""
    ours, theirs = candidate.quantity, gold.quantity
    plain = same_nodes(candidate.node, gold.node)
    if plain or ours.unit == theirs.unit:
        return plain and not (ours.known and theirs.known and ours.unit != theirs.unit)
    if theirs.unit == PERCENT:
        return not ours.unit and same_nodes(
            candidate.node, Node("div", (gold.node, num(100))))
    return not theirs.known and same_nodes(Node("div", (candidate.node, num(100))), gold.node)


def _same_scaled(candidate: Expression, gold: Expression) -> Verdict:
    """2 million against 2,000,000, or against 2 where the question has named the millions."""
    plain = [Expression(Node("mul", (side.node, num(side.quantity.scale))),
                        side.quantity._replace(scale=1)) for side in (candidate, gold)]
    if _same_expression(plain[0], plain[1]):
        return True
    return gold.quantity.scale == 1 and _same_expression(
        candidate._replace(quantity=candidate.quantity._replace(scale=1)), gold)


def _same_matrix(candidate: Answer, gold: Answer) -> Verdict:
    ours, theirs = _rows(candidate, gold), _rows(gold, candidate)
    if getattr(candidate, "bars", "") != getattr(gold, "bars", ""):
        return False        # a determinant is no matrix
    if ours is None or theirs is None or [len(r) for r in ours] != [len(r) for r in theirs]:
        return False
    return _all(same_answer(a, b) for one, two in zip(ours, theirs, strict=True)
                for a, b in zip(one, two, strict=True))


def _rows(answer: Answer, other: Answer) -> Sequence[Sequence[Answer]] | None:
    """A matrix; a tuple (a, b) counts as the column vector that it writes, and so does ai + bj."""
    if isinstance(answer, Matrix):
        return answer.rows
    if isinstance(answer, Group) and answer.kind == "tuple" and answer.brackets == "()":
        return tuple((item,) for item in answer.items)
    if isinstance(answer, Expression) and isinstance(other, Matrix | Group):
        size = len(other.rows if isinstance(other, Matrix) else other.items)
        found = coordinates(answer.node, size)
        return found and [(number(node),) for node in found]
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


def _all(verdicts: Iterable[Verdict]) -> Verdict:
    """False as soon as one is, else None as soon as one is."""
    result: Verdict = True
    for verdict in verdicts:
        if verdict is False:
            return False
        if verdict is None:
            result = None
    return result
