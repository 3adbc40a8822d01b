"""The rule teacher's decomposition: units of T put together into steps of one skill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from drp_plugin.teachers.offline_cues import skill

_LONGEST_STEP = 600
_LONGEST_TALK = 1500
_WORTH_A_STEP = 70
"""Characters that must stand between two changes, for a step of their own to be cheaper than
writing them again."""
_SHORT = 25
_TALK = frozenset({"Checking", "Confirming", "Hesitating", "Backtracking",
                   "Considering an alternative"})
_OPENING = frozenset({"Restating the problem", "Planning", "Hesitating"})

_READING = frozenset({"Interpreting a quantity", "Logical inference", "Comparison",
                      "Case analysis", "Counting"})


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
        if found and length + len(unit) <= longest:
            before = found[-1]
            last = units[before.last]
            if _belongs(before.skill, last, name, unit):
                kept = name if last.rstrip().endswith(":") or len(last) < _SHORT else before.skill
                found[-1] = StepGroup(before.first, index, kept)
                length += len(unit)
                continue
        found.append(StepGroup(index, index, name))
        length = len(unit)
    return found


def _belongs(before: str, last: str, name: str, unit: str) -> bool:
    talk = before in _TALK, name in _TALK
    if last.rstrip().endswith(":"):
        return not talk[0] and not talk[1]
    if before == name or (talk[0] and talk[1]):
        return True
    if before in _OPENING and name in _OPENING:
        return True
    if "\n\n" in last or talk[0] != talk[1]:
        return False
    if before in _READING and name in _READING:
        return True
    return len(unit.strip()) < _SHORT or len(last.strip()) < _SHORT


def split(found: Sequence[StepGroup], units: Sequence[str],
          short: Sequence[str]) -> list[StepGroup]:
    """Groups cut where units stay as they are beside others that go or change.

    `short` is what becomes of each unit, "" where it goes. Then most steps can be kept or deleted
    whole, and little has to be written anew.
    """
    result: list[StepGroup] = []
    for group in found:
        runs: list[list[int]] = []
        fates: list[str] = []
        for index in range(group.first, group.last + 1):
            fate = ("goes" if not short[index] else
                    "stays" if short[index] == units[index].strip() else "changes")
            if fates and fates[-1] == fate:
                runs[-1].append(index)
            else:
                runs.append([index])
                fates.append(fate)
        start = group.first
        for run, fate in zip(runs, fates, strict=True):
            size = sum(len(units[index]) for index in run)
            if fate == "changes" or size < _WORTH_A_STEP:
                continue
            if run[0] > start:
                result.append(StepGroup(start, run[0] - 1, group.skill))
            result.append(StepGroup(run[0], run[-1], group.skill))
            start = run[-1] + 1
        if start <= group.last:
            result.append(StepGroup(start, group.last, group.skill))
    return result
