"""The rule teacher's decomposition: units joined into steps of one skill; the answer's place."""

import re
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from drp_plugin.resources import table
from drp_plugin.teachers.offline_cues import RULES, Clause, skill

_LONGEST_STEP = 600
_LONGEST_TALK = 1500
_WORTH_A_STEP = 70  # Characters between changes from which a step of their own is cheaper
_SHORT = 25
_TALK, _OPENING, _READING = map(frozenset, table(RULES)["together"].values())
_TRIVIAL = frozenset({"0", "1", "2"})
_RESULT_WORDS = (r"(?:[=≈]|\b(?:is|are|be|was|get|gets|gives|us|equals?|to|becomes?|has|have|total"
                 r"|leaves?|of|only|makes?|means|as|exactly)\b)[^\w=]{0,4}")


class StepGroup(NamedTuple):
    """Units [first, last] by position, and the skill of the step that they make."""

    first: int
    last: int
    skill: str


def groups(units: Sequence[str], skills: Sequence[str] = ()) -> list[StepGroup]:
    """Steps of one skill each; they partition the units.

    A lead-in that ends with a colon stays with what it leads to, short units with their neighbours,
    and talk is never joined with mathematics. `skills` are the units' own, "" for one not known."""
    found: list[StepGroup] = []
    length = 0
    for index, unit in enumerate(units):
        name = (skills[index] if skills else "") or skill(unit)
        longest = _LONGEST_TALK if name in _TALK else _LONGEST_STEP
        last = units[index - 1]
        if found and length + len(unit) <= longest and _belongs(found[-1].skill, last, name, unit):
            first, _, before = found[-1]
            kept = name if last.rstrip().endswith(":") or len(last) < _SHORT else before
            found[-1] = StepGroup(first, index, kept)
            length += len(unit)
        else:
            found.append(StepGroup(index, index, name))
            length = len(unit)
    return found


def _belongs(before: str, last: str, name: str, unit: str) -> bool:
    talk = before in _TALK, name in _TALK
    if last.rstrip().endswith(":"):
        return not any(talk)
    if before == name or all(talk) or {before, name} <= _OPENING:
        return True
    if "\n\n" in last or any(talk):
        return False
    return {before, name} <= _READING or len(unit.strip()) < _SHORT or len(last.strip()) < _SHORT


def split(found: Sequence[StepGroup], units: Sequence[str],
          short: Sequence[str]) -> list[StepGroup]:
    """Groups cut between units that stay and those dropped or changed, so that most steps are kept
    or deleted whole. `short` is each unit's new text, "" if it is dropped."""
    def fate(index: int) -> str:
        return "goes" if not short[index] else \
            "stays" if short[index] == units[index].strip() else "changes"

    result: list[StepGroup] = []
    for first, last, name in found:
        start = first
        for becomes, group in groupby(range(first, last + 1), key=fate):
            run = list(group)
            if becomes == "changes" or sum(len(units[index]) for index in run) < _WORTH_A_STEP:
                continue
            if run[0] > start:
                result.append(StepGroup(start, run[0] - 1, name))
            result.append(StepGroup(run[0], run[-1], name))
            start = run[-1] + 1
        if start <= last:
            result.append(StepGroup(start, last, name))
    return result


class Goal:
    """The final answer, and how to recognise a clause that states it."""

    def __init__(self, final: str | None) -> None:
        self.key = Clause((final or "")[:500]).plain.strip(" .")
        if self.key.count("=") == 1 and len(self.key.split("=")[0]) <= 4:
            self.key = self.key.split("=")[1]
        word = re.escape(self.key) + r"(?![\w/^·]|\.\d|,\d|[-+]\w)"
        self._mention = re.compile(rf"(?<![\w./√^·]){word}")
        self._result = re.compile(_RESULT_WORDS + word)

    def stated(self, clause: Clause) -> bool:
        """Whether the clause gives it as a result."""
        if not self.key:
            return False
        if clause.says("conclude", "strong"):
            return bool(self._mention.search(clause.plain))
        return clause.plain.strip(" .") == self.key or bool(self._result.search(clause.plain))


def reach(clauses: Sequence[Clause], goal: Goal, question: str, answer: str) -> int:
    """Index of the clause that first states the final answer as the outcome of the reasoning. Not
    every mention counts: what the student's answer part builds on must have come up by then, it
    must not be a guess, and a value that the question states must be concluded."""
    given = {n.replace(",", "") for n in re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", question)}
    stated = [i for i, clause in enumerate(clauses) if goal.stated(clause)]
    certain = [i for i in stated if not clauses[i].says("guess")]
    if not certain:
        return stated[-1] if stated else next(
            (i for i, clause in enumerate(clauses) if clause.says("conclude")), len(clauses) - 1)
    # numbers of both the answer part and the thinking, beyond the question's
    there = {n for clause in clauses for n in clause.numbers}
    needed = (set(Clause(answer).numbers) & there) - given - _TRIVIAL
    least = _last_step(clauses, goal, answer)
    seen: set[str] = set()
    at = 0
    best: tuple[float, int] | None = None
    for i in certain:
        while at <= i:
            seen.update(clauses[at].numbers)
            at += 1
        share = len(needed & seen) / len(needed) if needed else 1.0
        concluded = clauses[i].says("conclude", "strong")
        if goal.key in given and not concluded:
            continue
        if i < least and not any(c.says("alternative") for c in clauses[i + 1 : i + 3]):
            continue
        if not (concluded or _settled(clauses, i)):
            continue
        if share >= (0.75 if concluded else 0.85):
            return i
        if best is None or share > best[0] + 0.2:
            best = share, i
    return best[1] if best is not None else certain[-1]


def _last_step(clauses: Sequence[Clause], goal: Goal, answer: str) -> int:
    """Index of the clause with the calculation of the answer part's result; 0 if there is none, or
    the thinking has another way. An equal intermediate result does not count."""
    body = re.split(r"\b(?:verif|check|confirm)", answer, maxsplit=1, flags=re.IGNORECASE)[0]
    ending = re.compile(rf"([^=≈,;:]{{1,120}})[=≈] ?{re.escape(goal.key)}(?![\w/^]|\.\d)")
    for line in reversed(body[-20_000:].split("\n")):
        for match in reversed(list(ending.finditer(Clause(line).plain))):
            numbers = set(re.findall(r"\d+(?:\.\d+)?", f"{match[1]} {goal.key}"))
            if len(numbers) > 1 and re.search(r"[-+/^·÷(]", match[1]):
                return next((i for i, clause in enumerate(clauses) if goal.stated(clause)
                             and numbers <= set(re.findall(r"\d+(?:\.\d+)?", clause.plain))), 0)
    return 0


def _settled(clauses: Sequence[Clause], i: int) -> bool:
    """Whether the student turns to checking or concluding right after it, or stops."""
    after = clauses[i + 1 : i + 4]
    return len(after) < 3 or after[0].says("confirm") or any(
        clause.says("check", "alternative", "conclude") for clause in after)
