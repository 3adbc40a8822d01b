"""Tables before and after they are written: lines of cells, as Markdown or CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import NamedTuple

_HEAD, _TAIL = 1_500, 2_500
#: Characters that reorder, hide or break the text around them.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069"
                     "\ufeff\ufff9-\ufffb\ud800-\udfff]")


def shown(text: str, limit: int = _HEAD + _TAIL) -> str:
    """Text for a page: long ones without their middle, unseen characters by their code."""
    if len(text) > limit:
        head = limit * _HEAD // (_HEAD + _TAIL)
        cut = len(text) - limit
        text = f"{text[:head]} […{cut:,} characters…] {text[len(text) - (limit - head):]}"
    return _UNSEEN.sub(lambda m: f"⟨U+{ord(m.group()):04X}⟩", text)


class Line(NamedTuple):
    """Cells and what they are."""

    cells: tuple[str, ...]
    kind: str = "ours"
    """ours, paper (numbers typed in from the paper) or section (a heading across)."""


class Table(NamedTuple):
    """A table before it is written in any format."""

    name: str
    """File name without ending."""
    title: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()


def markdown(table: Table) -> str:
    """GitHub's Markdown."""
    def cell(text: str) -> str:
        return shown(text, 200).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;") \
            .replace("\n", " ")

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(map(cell, cells)) + " |"

    out = [f"## {table.title}", "", line(table.columns),
           "|" + "|".join(["---"] + ["---:"] * (len(table.columns) - 1)) + "|"]
    for entry in table.lines:
        padded = list(entry.cells) + [""] * (len(table.columns) - len(entry.cells))
        if entry.kind == "section":
            padded[0] = f"**{padded[0]}**"
        elif entry.kind == "paper":
            padded = [f"*{text}*" if text else "" for text in padded]
        out.append(line(padded))
    return "\n".join(out + [""] + [f"- {note}" for note in table.notes]) + "\n"


def csv_text(table: Table) -> str:
    """Comma-separated, with a last column that tells our numbers from the paper's."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*table.columns, "source"])
    section = ""
    for entry in table.lines:
        if entry.kind == "section":
            section = entry.cells[0]
            continue
        padded = list(entry.cells) + [""] * (len(table.columns) - len(entry.cells))
        # a spreadsheet must not run a method's name as a formula
        safe = ["'" + text if text[:1] in "=@" else text for text in padded]
        writer.writerow([*safe, f"{entry.kind} {section}".strip()])
    return out.getvalue()
