"""A few completions to look at: problems that a method lost or won, and loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from drp_plugin.report.layout import shown
from drp_plugin.report.regrading import Scored, readings
from drp_plugin.report.tables import heading

_EACH = 3


class Excerpt(NamedTuple):
    """A problem as two methods, or one, answered it."""

    title: str
    gold: str
    sides: tuple[tuple[str, str], ...]
    """Heading and completion of each method."""


def excerpts(scored: Sequence[Scored], cutoff: int | None) -> list[Excerpt]:
    """Up to three of each kind for every task: lost, won, and ending in a loop."""
    found: list[Excerpt] = []
    for group, task in dict.fromkeys((s.run.group, s.task.column) for s in scored):
        members = [s for s in scored if (s.run.group, s.task.column) == (group, task)]
        for other in members[1:]:
            for before, after, word in ((True, False, "lost"), (False, True, "won")):
                found += _pairs(members[0], other, cutoff, before, after, word)[:_EACH]
        for one in members:
            found += _loops(one)[:1]
    return found


def _pairs(base: Scored, other: Scored, cutoff: int | None, before: bool, after: bool,
           word: str) -> list[Excerpt]:
    theirs = {s.doc: (s, r) for s, r in zip(other.task.samples, readings(other, cutoff),
                                            strict=True)}
    found = []
    for sample, measured in zip(base.task.samples, readings(base, cutoff), strict=True):
        match = theirs.get(sample.doc)
        if match is None or bool(measured[0].correct) != before \
                or bool(match[1][0].correct) != after:
            continue
        sides = tuple(
            (f"{run.run.name}: {r[0].outcome}, {r[0].tokens:,} tokens, "
             f"answer {shown(r[0].extracted or '–', 60)}", shown(s.completions[0]))
            for run, s, r in ((base, sample, measured), (other, *match)))
        found.append(Excerpt(f"{heading(base.task.column)}: {word} by {other.run.name}",
                             shown(sample.gold, 80), sides))
    return found


def _loops(one: Scored) -> list[Excerpt]:
    found = []
    for sample, measured in zip(one.task.samples, one.measured, strict=True):
        if measured[0].loop is not None:
            found.append(Excerpt(
                f"{heading(one.task.column)}: ends in a loop", shown(sample.gold, 80),
                ((f"{one.run.name}: {measured[0].full.tokens:,} tokens, a period of "
                  f"{measured[0].loop} characters", shown(sample.completions[0])),)))
    return found
