"""The rule teacher's decomposition: units of T put together into steps of one skill."""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from drp_plugin.resources import table
from drp_plugin.teachers.offline_cues import RULES, skill

_LONGEST_STEP = 600
_LONGEST_TALK = 1500
_WORTH_A_STEP = 70
"""Characters between two changes for which a step of their own is cheaper than new text."""
_SHORT = 25
_TALK, _OPENING, _READING = map(frozenset, table(RULES)["together"].values())


class StepGroup(NamedTuple):
    """Units [first, last] by position, and the skill of the step that they make."""

    first: int
    last: int
    skill: str


def groups(units: Sequence[str], skills: Sequence[str] = ()) -> list[StepGroup]:
    """Steps of one skill each; they partition the units.

    A lead-in that ends with a colon stays with what it leads to, short units with their
    neighbours, and talk is never put together with mathematics. `skills` are the units' own
    where they are known better than from their wording ("" where not).
    """
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
    """Groups cut where units stay as they are beside others that go or change. `short` is what
    becomes of each unit, "" where it goes. Then most steps can be kept or deleted whole, and little
    has to be written anew."""
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
