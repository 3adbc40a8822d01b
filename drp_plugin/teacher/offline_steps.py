"""The rule teacher's decomposition: units of T put together into steps of one skill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from drp_plugin.teacher.offline_cues import skill

_LONGEST_STEP = 400
_SHORT = 25
_TALK = frozenset({"Checking", "Confirming", "Hesitating", "Backtracking",
                   "Considering an alternative"})
_OPENING = frozenset({"Restating the problem", "Planning", "Hesitating"})


class Group(NamedTuple):
    """Units [first, last] by position, and the skill of the step that they make."""

    first: int
    last: int
    skill: str


def groups(units: Sequence[str]) -> list[Group]:
    """Steps of one skill each; they partition the units.

    A lead-in that ends with a colon stays with what it leads to, short units with their
    neighbours, and talk is never put together with mathematics.
    """
    found: list[Group] = []
    length = 0
    for index, unit in enumerate(units):
        name = skill(unit)
        if found and length + len(unit) <= _LONGEST_STEP:
            before = found[-1]
            last = units[before.last]
            if _belongs(before.skill, last, name, unit):
                kept = name if last.rstrip().endswith(":") or len(last) < _SHORT else before.skill
                found[-1] = Group(before.first, index, kept)
                length += len(unit)
                continue
        found.append(Group(index, index, name))
        length = len(unit)
    return found


def _belongs(before: str, last: str, name: str, unit: str) -> bool:
    talk = before in _TALK, name in _TALK
    if last.rstrip().endswith(":"):
        return not talk[0] and not talk[1]
    if "\n\n" in last:
        return False
    if talk[0] and talk[1]:
        return True
    if before == name:
        return True
    if before in _OPENING and name in _OPENING:
        return True
    if talk[0] != talk[1]:
        return False
    return len(unit.strip()) < _SHORT or len(last.strip()) < _SHORT
