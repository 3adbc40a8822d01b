"""One page with every completion, to filter, search and set side by side.

Texts lie in it as compressed parts, which the page unpacks when it shows or searches them, so
that ten thousand completions open at once. They are data, never markup: a script writes them
through `textContent` alone, and the page allows no other script and no network.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from drp_plugin.report.regrading import Scored, readings
from drp_plugin.report.tables import heading, task_order
from drp_plugin.scoring import Reading

_HERE = Path(__file__).parent
#: Characters of text in a part.
_PART = 1_500_000


def browser(scored: Sequence[Scored], cutoff: int | None, *,
            title: str = "Completions") -> Iterator[str]:
    """The page, piece by piece."""
    script = (_HERE / "browser.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = (_HERE / "browser.html").read_text(encoding="utf-8")
    for name, value in (("title", title), ("digest", digest),
                        ("style", (_HERE / "browser.css").read_text(encoding="utf-8"))):
        page = page.replace("{{ " + name + " }}", value)
    head, tail = page.split("<!-- data -->")
    methods = list(dict.fromkeys(s.label for s in scored))
    members = {task: [s for s in scored if s.task.column == task]
               for task in task_order([s.task.column for s in scored])}
    tasks, number = [], 0
    for task, own in members.items():
        entries: list[Any] = []
        for part in _parts(own, methods, cutoff):
            entries += [[*entry, number, i] for i, (entry, _) in enumerate(part)]
            number += 1
        tasks.append({"task": task, "name": heading(task), "problems": entries,
                      "methods": [methods.index(s.label) for s in own]})
    # the index and the script come first, so that the list is there while the rest is read
    yield head + _island("index", {"methods": methods, "tasks": tasks})
    yield f"<script>{script}</script>\n"
    parts = (part for own in members.values() for part in _parts(own, methods, cutoff))
    for number, part in enumerate(parts):
        yield _island(f"part-{number}", [texts for _, texts in part])
    yield tail


def _problems(members: Sequence[Scored], methods: Sequence[str], cutoff: int | None
              ) -> Iterator[tuple[list[Any], list[Any]]]:
    """Of each problem its entry in the index, and its texts.

    Entry: document, start of the question, level, and for each method [outcome, tokens, loop] of
    every sample. Texts: question, gold answer, and for each method [completion, answer].
    """
    found: dict[str, dict[int, tuple[Scored, int, Sequence[Reading]]]] = {}
    for one in members:
        for i, (sample, read) in enumerate(zip(one.task.samples, readings(one, cutoff),
                                               strict=True)):
            found.setdefault(sample.doc, {})[methods.index(one.label)] = one, i, read
    for doc, by_method in found.items():
        one, i, _ = next(iter(by_method.values()))
        first = one.task.samples[i]
        yield ([doc, first.question[:120], first.level, {
            m: [[r.outcome, r.tokens, int(s.measured[j][k].loop is not None)]
                for k, r in enumerate(read)] for m, (s, j, read) in by_method.items()}],
               [first.question, first.gold, {
                   m: [[text, r.extracted] for text, r in
                       zip(s.task.samples[j].completions, read, strict=True)]
                   for m, (s, j, read) in by_method.items()}])


def _parts(members: Sequence[Scored], methods: Sequence[str], cutoff: int | None
           ) -> Iterator[list[tuple[list[Any], list[Any]]]]:
    part: list[tuple[list[Any], list[Any]]] = []
    size = 0
    for entry, texts in _problems(members, methods, cutoff):
        part.append((entry, texts))
        size += sum(len(text) for samples in texts[2].values() for text, _ in samples)
        if size >= _PART:
            yield part
            part, size = [], 0
    if part:
        yield part


def _island(name: str, value: Any) -> str:
    """Base64 of gzipped JSON, which no text can break out of."""
    packed = gzip.compress(json.dumps(value, separators=(",", ":")).encode(), 6, mtime=0)
    return (f'<script type="text/plain" id="{name}">{base64.b64encode(packed).decode()}'
            "</script>\n")
