"""Equality of two answers by their shapes; None where our grammar cannot tell."""

from collections.abc import Iterable, Sequence
from string import ascii_letters

from drp_plugin.grading.latex import Node, num, parse
from drp_plugin.grading.reading import Answer, Expression, Group, Opaque, Ratio, Relation, Words
from drp_plugin.grading.regions import is_range, same_region
from drp_plugin.grading.relations import Verdict, definition, names, same_zeros, states_no_value
from drp_plugin.grading.units import PERCENT, conflict, lettered
from drp_plugin.grading.value import same, value_of, variables
from drp_plugin.grading.wording import word_key


def same_answer(candidate: Answer, gold: Answer) -> Verdict:
    """Whether the candidate is the gold answer; None where it cannot be told."""
    both = (candidate, gold)
    if isinstance(gold, Words) or isinstance(candidate, Words):
        return _same_words(candidate, gold)
    if isinstance(gold, Opaque) or isinstance(candidate, Opaque):
        return None
    if any(map(is_range, both)):
        return _same_ranges(candidate, gold)
    if isinstance(candidate, Relation) or isinstance(gold, Relation):
        return _same_relation(candidate, gold)
    if isinstance(candidate, Ratio) or isinstance(gold, Ratio):
        return _same_ratio(candidate, gold)
    if isinstance(candidate, Expression) and isinstance(gold, Expression):
        return _same_expression(candidate, gold)
    tuples = [side for side in both if isinstance(side, Group) and side.kind == "tuple"]
    if len(tuples) == 2:
        return _same_tuple(*tuples)
    if tuples:
        return _same_listed(gold if tuples[0] is candidate else candidate, tuples[0])
    return _same_items(candidate, gold)


def _same_words(candidate: Answer, gold: Answer) -> Verdict:
    words, other = (gold, candidate) if isinstance(gold, Words) else (candidate, gold)
    assert isinstance(words, Words)
    if isinstance(other, Words):
        return word_key(other.text) == word_key(words.text)
    if isinstance(other, Relation) and other.signs == ("=",):
        return _same_words(other.sides[1], words)
    return same_region(words, other) is True


def _same_ranges(candidate: Answer, gold: Answer) -> Verdict:
    if isinstance(candidate, Expression) or isinstance(gold, Expression):
        return False
    verdict = same_region(candidate, gold)
    if verdict is None and isinstance(candidate, Relation) and isinstance(gold, Relation):
        return same_zeros(candidate, gold)
    return bool(verdict)


def _same_relation(candidate: Answer, gold: Answer) -> Verdict:
    if isinstance(candidate, Relation) and candidate.signs == ("\\in",):
        return same_answer(candidate.sides[1], gold)
    if not isinstance(candidate, Relation):
        assert isinstance(gold, Relation)
        # "x = 5" and "0.05 = 5 %" may be answered by the right side, but "x² + y² = 13" not by 13
        named = gold.signs == ("\\in",) or (
            gold.signs == ("=",) and (names(gold.sides[0]) or same_answer(*gold.sides)))
        return same_answer(candidate, gold.sides[1]) if named else False
    if isinstance(gold, Relation):
        ours, theirs = definition(candidate), definition(gold)
        if ours is None or theirs is None:
            return same_zeros(candidate, gold)
        return (ours[0] == theirs[0] or "y" in (ours[0], theirs[0])) and same(ours[1], theirs[1])
    if states_no_value(candidate):
        # but x² − 5x + 6 = (x − 2)(x − 3) may state one formula twice
        return isinstance(gold, Expression) and bool(variables(gold.node)) and _all(
            same_answer(side, gold) for side in candidate.sides)
    stated = [candidate.sides[-1]]
    if "\\approx" in candidate.signs:
        stated.append(candidate.sides[candidate.signs.index("\\approx")])
    return _any(same_answer(side, gold) for side in stated)


def _same_ratio(candidate: Answer, gold: Answer) -> Verdict:
    """Ratios by value; times of day exactly, but a.m. or p.m. may be missing."""
    ratio, other = (gold, candidate) if isinstance(gold, Ratio) else (candidate, gold)
    assert isinstance(ratio, Ratio)
    if isinstance(other, Expression):
        if ratio.clock is None:
            return len(ratio.terms) == 2 and other.node.op == "div" \
                and same(Node("div", ratio.terms), other.node)
        hour = other.node.value     # 5:00 is 5 o'clock; 17 may be anything
        if hour is None or other.quantity.unit or hour.denominator > 1 or hour > 12:
            return False
        other = Ratio((), int(hour) * 3600)
    if not isinstance(other, Ratio):
        return False
    if ratio.clock is None or other.clock is None:
        by_time = isinstance(gold, Ratio) and gold.clock is not None      # 1:5 is not 4:20
        return not by_time and len(ratio.terms) == len(other.terms) and _all(
            same(Node("mul", (a, other.terms[0])), Node("mul", (b, ratio.terms[0])))
            for a, b in zip(ratio.terms, other.terms, strict=True))
    return ratio.clock == other.clock or (ratio.half != other.half
        and 3600 <= (other.clock if ratio.half else ratio.clock) < 13 * 3600
        and (ratio.clock - other.clock) % (12 * 3600) == 0)


def _same_expression(candidate: Expression, gold: Expression) -> Verdict:
    ours, theirs = candidate.quantity, gold.quantity
    if ours.scale != theirs.scale:
        # 2 million against 2,000,000, or against 2 if the question names the millions
        return _any([_same_expression(_times(candidate, ours.scale), _times(gold, theirs.scale)),
                     theirs.scale == 1 and _same_expression(_times(candidate, 1), gold)])
    if PERCENT in (ours.unit, theirs.unit):
        return _same_percent(candidate, gold)
    if conflict(ours, theirs):
        return False
    verdict = same(candidate.node, gold.node)
    if verdict is False and variables(candidate.node) and not variables(gold.node) \
            and (unit := lettered(ours.value)) is not None and not conflict(unit, theirs):
        return _same_expression(Expression(parse(unit.value), unit), gold)
    return verdict


def _times(side: Expression, scale: int) -> Expression:
    return Expression(Node("mul", (side.node, num(scale))), side.quantity._replace(scale=1))


def _same_percent(candidate: Expression, gold: Expression) -> Verdict:
    """10 % is 0.1; and 10 and 10 % are one answer if the question names the percent."""
    ours, theirs = candidate.quantity, gold.quantity
    plain = same(candidate.node, gold.node)
    if plain and theirs.unit != PERCENT:      # but half a percent is not one half
        return not theirs.known and (
            bool(variables(gold.node)) or not 0 < abs(value_of(gold.node, {})) < 1)
    if plain or ours.unit == theirs.unit:
        return plain and (not ours.known or ours.unit == theirs.unit)
    if theirs.unit == PERCENT:
        return not ours.unit and same(candidate.node, Node("div", (gold.node, num(100))))
    return not theirs.known and same(Node("div", (candidate.node, num(100))), gold.node)


def _same_tuple(candidate: Group, gold: Group) -> Verdict:
    marks = {candidate.brackets, gold.brackets}
    if len(candidate.items) != len(gold.items) or (
            len(marks) > 1 and (len(gold.items) == 2 or not marks <= {"()", "[]"})):
        return False
    return _all(map(same_answer, candidate.items, gold.items))


def _same_listed(listed: Answer, ordered: Group) -> Verdict:
    """A set of one pair, {(2, 3)}, is the pair, and so is a list that names each coordinate, where
    letters that follow each other say the order: y = 3, x = 2."""
    if not isinstance(listed, Group):
        return False
    named = {side.node.name: item.sides[1] for item in listed.items if isinstance(item, Relation)
        and item.signs == ("=",) and isinstance(side := item.sides[0], Expression)}
    if len(named) < len(listed.items):
        return len(listed.items) == 1 and same_answer(listed.items[0], ordered)
    order = "".join(sorted(named))
    return _same_tuple(Group("tuple", tuple(map(
        named.__getitem__, order if order in ascii_letters else named)), "()"), ordered)


def _same_items(candidate: Answer, gold: Answer) -> Verdict:
    """In any order, item by item: 1, 1, 2 is not 1, 2, but in braces a double is there once."""
    ours, left = (list(side.items) if isinstance(side, Group) else [side]
                  for side in (candidate, gold))
    if isinstance(candidate, Group) and (
            candidate.kind == "set" or candidate.joint in ("or", "\\pm")):
        ours = _distinct(ours)
    if isinstance(gold, Group) and gold.kind == "set":
        ours, left = _distinct(ours), _distinct(left)
    if len(ours) != len(left):
        return False
    verdict: Verdict = True
    for item in ours:
        verdicts = [same_answer(item, other) for other in left]
        if True in verdicts:
            left.pop(verdicts.index(True))
        elif None in verdicts:
            verdict = None
        else:
            return False
    return verdict


def _distinct(items: Sequence[Answer]) -> list[Answer]:
    found: list[Answer] = []
    for item in dict.fromkeys(items):
        if not any(same_answer(item, other) for other in found):
            found.append(item)
    return found


def _all(verdicts: Iterable[Verdict]) -> Verdict:
    """False if one is, else None if one is."""
    found = list(verdicts)
    return False if False in found else None if None in found else True


def _any(verdicts: Iterable[Verdict]) -> Verdict:
    """True if one is, else None if one is."""
    found = list(verdicts)
    return True if True in found else None if None in found else False
