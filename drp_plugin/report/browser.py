"""Completions to look at: a few on the report's page, and a page of all, to filter and search. The
latter holds texts as compressed parts, unpacked when they are shown or searched. They are data,
never markup: a script writes them through `textContent`, with the MathML of their formulas from
`drp_plugin.mathml`. The page allows no other script and no network."""

import itertools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from drp_plugin.mathml import FORMULA, formulas, framed, island, typeset
from drp_plugin.report.layout import shown
from drp_plugin.report.regrading import Scored, readings
from drp_plugin.report.tables import heading, task_order
from drp_plugin.scoring import Measured, Reading
from drp_plugin.scoring.samples import Sample

_PART = 1_500_000  # Characters of text in a part
_EACH, _BEFORE = 3, 400  # Excerpts of a kind, and characters before the place where two part


def browser(scored: Sequence[Scored], cutoff: int | None) -> Iterator[str]:
    head, script, tail = framed(Path(__file__), title="Completions")
    methods = list(dict.fromkeys(s.label for s in scored))
    members = {task: [s for s in scored if s.task.column == task]
               for task in task_order([s.task.column for s in scored])}
    parts = [(task, part) for task, own in members.items() for part in _parts(own, methods, cutoff)]
    tasks = [{"task": task, "name": heading(task), "problems": [
                [*entry, number, i] for number, (of, part) in enumerate(parts) if of == task
                for i, (entry, _) in enumerate(part)],
              "methods": [methods.index(s.label) for s in own]} for task, own in members.items()]
    # the index and the script come first, so that the list is there while the rest is read
    index = {"methods": methods, "tasks": tasks, "formula": FORMULA}
    yield head
    yield from island("index", [json.dumps(index, separators=(",", ":"))], 6)
    yield script
    for number, (_, part) in enumerate(parts):
        rows = [texts for _, texts in part]
        math: dict[str, str] = {}
        for question, gold, completions in rows:
            answers = [answer for samples in completions.values() for answer in samples]
            for text in (question, typeset(gold), *(text for text, _ in answers),
                         *(typeset(extracted or "") for _, extracted in answers)):
                math |= formulas(text)
        text = json.dumps({"rows": rows, "math": math}, separators=(",", ":"))
        yield from island(f"part-{number}", [text], 6)
    yield tail


def _parts(members: Sequence[Scored], methods: Sequence[str], cutoff: int | None
           ) -> Iterator[list[tuple[list[Any], list[Any]]]]:
    """For each problem its entry in the index and its texts, a few problems at a time. Entry:
    document, start of the question, level, and for each method [outcome, tokens, loop] of every
    sample. Texts: question, gold answer, and for each method [completion, answer]."""
    answers: dict[str, list[tuple[int, Sample, Sequence[Reading], Sequence[Measured]]]] = {}
    for one in members:
        for answer in zip(itertools.repeat(methods.index(one.label)), one.task.samples,
                          readings(one, cutoff), one.measured, strict=False):
            answers.setdefault(answer[1].doc, []).append(answer)
    part: list[tuple[list[Any], list[Any]]] = []
    size = 0
    for doc, found in answers.items():
        first = found[0][1]
        part.append(([doc, first.question[:120], first.level, {
                method: [[r.outcome, r.tokens, int(m.loop is not None)]
                         for r, m in zip(read, measured, strict=True)]
                for method, _, read, measured in found}], [first.question, first.gold, {
                method: [[text, r.extracted] for text, r in zip(
                    sample.completions, read, strict=True)] for method, sample, read, _ in found}]))
        size += sum(len(text) for _, sample, _, _ in found for text in sample.completions)
        if size >= _PART:
            yield part
            part, size = [], 0
    if part:
        yield part


def excerpts(scored: Sequence[Scored], cutoff: int | None) -> list[dict[str, Any]]:
    """Up to three of each kind for every task, lost and won, and one with a loop: title, question,
    gold answer, place in the browser, and sides: their common beginning (`same`), and the rest."""
    found: list[dict[str, Any]] = []
    alike: dict[tuple[str, str], list[Scored]] = {}
    for one in scored:
        alike.setdefault((one.task.group, one.task.column), []).append(one)
    for members in alike.values():
        base, *others = ({sample.doc: (one, sample, reading) for sample, (reading, *_) in zip(
            one.task.samples, readings(one, cutoff), strict=True)} for one in members)
        for other, (what, fell) in itertools.product(others, (("lost", 1), ("won", -1))):
            found += itertools.islice((
                _excerpt(f"{what} by {other[doc][0].label}", first, other[doc])
                for doc, first in base.items() if doc in other
                and bool(first[2].correct) - bool(other[doc][2].correct) == fell), _EACH)
        for one in members:
            found += itertools.islice((
                _excerpt(f"ends in a loop, a period of {m.loop} characters", (one, sample, m.full))
                for sample, (m, *_) in zip(one.task.samples, one.measured, strict=True)
                if m.loop is not None), 1)
    return found


def _excerpt(what: str, *answers: tuple[Scored, Sample, Reading]) -> dict[str, Any]:
    def quoted(text: str) -> str:
        return quote(text.encode("utf-8", "replace"), safe="")

    one, sample, _ = answers[0]
    texts = [answer.completions[0] for _, answer, _ in answers]
    same = os.path.commonprefix(texts) if len(texts) > 1 else ""  # noqa: RUF071
    common = max(same.rfind(" "), same.rfind("\n")) + 1     # up to the end of a word
    same = same[:common]
    if common > _BEFORE:
        same = f"[…{common - _BEFORE:,} characters that are the same…] {same[-_BEFORE:]}"
    sides = [{"heading": f"{scored.label}: {r.outcome}, {r.tokens:,} tokens, answer "
              f"{shown(r.extracted or '–', 60)}", "same": shown(same), "own": shown(text[common:])}
             for (scored, _, r), text in zip(answers, texts, strict=True)]
    labels = "".join(f"&{name}={quoted(scored.label)}"
                     for name, (scored, _, _) in zip("ab", answers, strict=False))
    return {"title": f"{heading(one.task.column)}: {what}", "sides": sides,
            "question": shown(sample.question, 2_000), "gold": shown(typeset(sample.gold), 80),
            "place": f"completions.html#task={quoted(one.task.column)}&doc={quoted(sample.doc)}"
                     f"{labels}"}
