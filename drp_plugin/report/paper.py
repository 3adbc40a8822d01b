"""The paper's own numbers, for standing beside ours; always labelled as the paper's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from drp_plugin.report.line import Line


@lru_cache(maxsize=1)
def _data() -> dict[str, Any]:
    file = Path(__file__).resolve().parents[1] / "data" / "paper_results.json"
    data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return data


def paper_lines(table: str, tasks: Sequence[str], groups: Sequence[str]) -> list[Line]:
    """The paper's lines of a table ("table1" to "table5") for these task columns.

    Only for the sets that the paper has; of the two students the one that a group names, both
    where no group names one. Empty where no column is one of the paper's.
    """
    data = _data()
    order: list[str] = data["tasks"]
    if not set(order) & set(tasks):
        return []
    students = list(data.get(table, {}))
    named = [s for s in students if any(_size(s) in group.lower() for group in groups)]
    lines = []
    for student in named or students:
        lines.append(Line((f"{student}, the paper's numbers",), "section"))
        first = data[table][student][0]
        for method, *values in data[table][student]:
            cells = [method]
            for task in tasks:
                if task not in order:
                    cells += ["", ""]
                    continue
                at = 2 * order.index(task)
                tokens = f"{values[at + 1]:,}"
                if table == "table1" and method.startswith("+"):
                    change = values[at + 1] / first[at + 2] - 1
                    tokens += f" ({change:+.0%})"
                cells += [values[at], tokens]
            lines.append(Line(tuple(cells), "paper"))
    return lines


def _size(student: str) -> str:
    """1.5b or 7b."""
    return student.rpartition("-")[2].lower()
