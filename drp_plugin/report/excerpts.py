"""A few completions to look at: problems that a method lost or won, and loops."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import quote

from drp_plugin.report.layout import shown
from drp_plugin.report.regrading import Scored, readings
from drp_plugin.report.tables import heading
from drp_plugin.scoring import Reading

_EACH = 3
_BEFORE = 400


class Side(NamedTuple):
    """One completion."""

    heading: str
    same: str
    """What both sides begin with, as far as it is shown."""
    own: str
    """From where they part."""


class Excerpt(NamedTuple):
    """A problem as two methods, or one, answered it."""

    title: str
    question: str
    gold: str
    place: str
    """Where the browser of all completions shows it."""
    sides: tuple[Side, ...]


def excerpts(scored: Sequence[Scored], cutoff: int | None) -> list[Excerpt]:
    """Up to three of each kind for every task: lost, won, and one that ends in a loop."""
    found: list[Excerpt] = []
    for group, task in dict.fromkeys((s.run.group, s.task.column) for s in scored):
        members = [s for s in scored if (s.run.group, s.task.column) == (group, task)]
        for other in members[1:]:
            for lost in (True, False):
                found += itertools.islice(_pairs(members[0], other, cutoff, lost), _EACH)
        for one in members:
            found += itertools.islice(_loops(one), 1)
    return found


def _pairs(base: Scored, other: Scored, cutoff: int | None, lost: bool) -> Iterator[Excerpt]:
    theirs = {s.doc: (i, r) for i, (s, r) in enumerate(
        zip(other.task.samples, readings(other, cutoff), strict=True))}
    for i, (sample, measured) in enumerate(zip(base.task.samples, readings(base, cutoff),
                                               strict=True)):
        j, match = theirs.get(sample.doc, (0, ()))
        if not match or (bool(measured[0].correct), bool(match[0].correct)) != (lost, not lost):
            continue
        one, two = sample.completions[0], other.task.samples[j].completions[0]
        common = _common(one, two)
        yield _excerpt(base, i, f"{'lost' if lost else 'won'} by {other.label}", (
            _side(base.label, measured[0], one, common),
            _side(other.label, match[0], two, common)), f"&b={_quoted(other.label)}")


def _common(one: str, two: str) -> int:
    """Characters that both begin with, up to the end of a word."""
    same = next((i for i, (x, y) in enumerate(zip(one, two, strict=False)) if x != y),
                min(len(one), len(two)))
    return max(one.rfind(" ", 0, same), one.rfind("\n", 0, same)) + 1


def _loops(one: Scored) -> Iterator[Excerpt]:
    for i, (sample, measured) in enumerate(zip(one.task.samples, one.measured, strict=True)):
        if measured[0].loop is not None:
            side = _side(one.label, measured[0].full, sample.completions[0], 0)
            yield _excerpt(one, i, f"ends in a loop, a period of {measured[0].loop} characters",
                           (side,), "")


def _excerpt(one: Scored, i: int, what: str, sides: tuple[Side, ...], more: str) -> Excerpt:
    sample = one.task.samples[i]
    return Excerpt(f"{heading(one.task.column)}: {what}", shown(sample.question, 2_000),
                   shown(sample.gold, 80),
                   f"completions.html#task={_quoted(one.task.column)}&doc={_quoted(sample.doc)}"
                   f"&a={_quoted(one.label)}{more}", sides)


def _side(label: str, reading: Reading, text: str, common: int) -> Side:
    same = text[:common]
    if common > _BEFORE:
        same = f"[…{common - _BEFORE:,} characters that are the same…] {same[-_BEFORE:]}"
    return Side(f"{label}: {reading.outcome}, {reading.tokens:,} tokens, answer "
                f"{shown(reading.extracted or '–', 60)}", shown(same), shown(text[common:]))


def _quoted(text: str) -> str:
    return quote(text.encode("utf-8", "replace"), safe="")
