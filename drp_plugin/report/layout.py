"""Tables before and after they are written: lines of cells, as Markdown, CSV or LaTeX."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

_HEAD, _TAIL = 1_500, 2_500
#: Characters that reorder, hide or break the text around them.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069"
                     "\ufeff\ufff9-\ufffb\ud800-\udfff]")
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
          "→": r"$\to$", "−": "$-$", "–": "--", "≥": r"$\ge$", "Δ": r"$\Delta$",
          **{c: f"\\{c}" for c in "&%$#_{}"}}


def shown(text: str, limit: int = _HEAD + _TAIL) -> str:
    """Text for a page: long ones without their middle, unseen characters by their code."""
    if len(text) > limit:
        head = limit * _HEAD // (_HEAD + _TAIL)
        cut = len(text) - limit
        text = f"{text[:head]} […{cut:,} characters…] {text[len(text) - (limit - head):]}"
    return _UNSEEN.sub(lambda m: f"⟨U+{ord(m.group()):04X}⟩", text)


class Cell(NamedTuple):
    """What stands in a place of a table."""

    text: str
    small: str = ""
    """Beside it in small print, such as an interval."""
    numbers: tuple[float | None, ...] = ()
    """The same for machines, as the column's `parts` name them."""

    def line(self) -> str:
        """Text and small print in one line."""
        return f"{self.text} ({self.small})" if self.small else self.text


class Column(NamedTuple):
    """The head of a column."""

    name: str
    small: str = ""
    parts: tuple[str, ...] = ()
    """Names of the numbers of its cells; empty for a column of words."""


class Line(NamedTuple):
    """Cells and what they are."""

    cells: tuple[Cell, ...]
    kind: str = "ours"
    """ours, paper (numbers typed in from the paper) or section (a heading across)."""


class Table(NamedTuple):
    """A table before it is written in any format."""

    name: str
    """File name without ending."""
    title: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()


def words(*texts: str) -> tuple[Cell, ...]:
    """Cells of nothing but text."""
    return tuple(map(Cell, texts))


def finite(value: Any) -> Any:
    """None in place of a number that JSON and CSV do not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def markdown(table: Table) -> str:
    """GitHub's Markdown."""
    def cell(text: str) -> str:
        return shown(text, 200).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;") \
            .replace("\n", " ")

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(map(cell, cells)) + " |"

    out = [f"## {table.title}", "",
           line([Cell(c.name, c.small).line() for c in table.columns]),
           "|" + "|".join(["---"] + ["---:"] * (len(table.columns) - 1)) + "|"]
    for entry in table.lines:
        padded = [c.line() for c in entry.cells]
        padded += [""] * (len(table.columns) - len(padded))
        if entry.kind == "section":
            padded[0] = f"**{padded[0]}**"
        elif entry.kind == "paper":
            padded = [f"*{text}*" if text else "" for text in padded]
        out.append(line(padded))
    return "\n".join(out + [""] + [f"- {note}" for note in table.notes]) + "\n"


def csv_text(table: Table) -> str:
    """Comma-separated: a column for each number, and a last one for whose numbers they are."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*(f"{c.name} {part}".strip() for c in table.columns
                       for part in c.parts or ("",)), "source"])
    section = ""
    for entry in table.lines:
        if entry.kind == "section":
            section = entry.cells[0].text
            continue
        row: list[Any] = []
        for column, cell in zip(table.columns, entry.cells, strict=True):
            if column.parts:
                numbers = [finite(x) for x in cell.numbers]
                row += numbers + [None] * (len(column.parts) - len(numbers))
            else:
                # a spreadsheet must not run a method's name as a formula
                formula = entry.kind != "paper" and cell.text[:1] in ("=", "@", "+", "-")
                row.append("'" + cell.text if formula else cell.text)
        writer.writerow([*(f"{x:.6g}" if isinstance(x, float) else x for x in row),
                         f"{entry.kind} {section}".strip()])
    return out.getvalue()


def latex(table: Table) -> str:
    r"""A tabular for `\usepackage{booktabs}`, its notes as comments."""
    def plain(text: str) -> str:
        return "".join(_LATEX.get(c, c) for c in shown(text, 200).replace("\n", " "))

    def cell(text: str, small: str) -> str:
        return plain(text) + (rf" {{\scriptsize ({plain(small)})}}" if small else "")

    width = len(table.columns)
    out = [f"% {shown(table.title, 200)}", rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}",
           r"\toprule", " & ".join(cell(c.name, c.small) for c in table.columns) + r" \\",
           r"\midrule"]
    for entry in table.lines:
        if entry.kind == "section":
            out.append(rf"\multicolumn{{{width}}}{{l}}{{\textit{{{plain(entry.cells[0].text)}}}}} "
                       r"\\")
        else:
            out.append(" & ".join(cell(c.text, c.small) for c in entry.cells) + r" \\")
    out += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(out + [f"% {' '.join(shown(n, 1000).split())}" for n in table.notes]) + "\n"
