"""Tables before and after they are written: lines of cells, as Markdown, CSV or LaTeX. Titles,
columns and notes, and the captions of figures, stand in data/report_texts.yaml."""

import base64
import csv
import io
import math
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from drp_plugin import resources
from drp_plugin.mathml import html_with_math
from drp_plugin.redact import markdown, visible

TEXTS = resources.table("report_texts.yaml")
_HEAD, _TAIL = 1_500, 2_500
# a formula at the start of a spreadsheet's cell, for any separator
_FORMULA = re.compile(r"(^|[;,|])(\s*)(?=[=@+\-＝＠＋－])")


def shown(text: str, limit: int = _HEAD + _TAIL) -> str:
    """Text for a page: long texts without their middle, invisible characters as codes."""
    if len(text) > limit:
        head = limit * _HEAD // (_HEAD + _TAIL)
        cut = len(text) - limit
        text = f"{text[:head]} […{cut:,} characters…] {text[len(text) - (limit - head):]}"
    return visible(text)


class Cell(NamedTuple):
    """A cell of a table: text, small print such as an interval, and the numbers of both."""

    text: str
    small: str = ""
    numbers: tuple[float | None, ...] = ()


class _Filler(string.Formatter):
    """`str.format`, and `p` for points (100×); TypeError for None, KeyError for what is absent."""

    def format_field(self, value: Any, spec: str) -> str:
        return format(100 * value, f"{spec[:-1]}f") if spec[-1:] == "p" else format(value, spec)


class Column(NamedTuple):
    """The head of a column, and how its cells are filled from a row's figures."""

    name: str
    small: str = ""
    text: str = ""
    beside: str = ""
    parts: Mapping[str, str] = {}
    """Figures of its cells by what their CSV column ends in; empty for a column of words."""

    def cell(self, figures: Mapping[str, Any], missing: str = "–") -> Cell:
        def fill(text: str, missing: str) -> str:
            try:
                return _Filler().vformat(text, (), figures)
            except (TypeError, KeyError):
                return missing

        return Cell(fill(self.text, missing), fill(self.beside, ""),
                    tuple(map(figures.get, self.parts.values())))


class Line(NamedTuple):
    """Cells, and whether they are ours, the paper's numbers (paper) or a heading (section)."""

    cells: tuple[Cell, ...]
    kind: str = "ours"


class Table(NamedTuple):
    """A table before it is written in any format; `name` is that of its file without the ending."""

    name: str
    title: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()


def notes_of(name: str, **said: Any) -> list[str]:
    """A table's notes in order; `said` fills optional ones, or says whether they are shown."""
    return [note.format_map(said[key] if isinstance(said.get(key), dict) else {})
            for key, note in TEXTS["tables"][name].get("notes", {}).items() if said.get(key, True)]


def filled(name: str, rows: Iterable[Mapping[str, Any]], each: Sequence[Mapping[str, Any]] = (),
           notes: Sequence[str] | None = None) -> Table:
    """A table of the texts with a line for each row. Its columns `each` are repeated for every
    mapping that names them; a row has a mapping for each of these under `cells`. A row's `kind`
    says if it is the paper's, and a row with only a `section` is a heading."""
    told = TEXTS["tables"][name]
    many = told.get("each", ())
    columns = [Column(**column) for column in told["columns"]]
    columns += [Column(**column)._replace(**{key: column.get(key, "").format(**about) for key in (
        "name", "small")}) for about in each for column in many]

    def line(row: Mapping[str, Any]) -> Line:
        if "section" in row:
            return Line((Cell(row["section"]),), "section")
        kind = row.get("kind", "ours")
        places = [row] * len(told["columns"]) + [c for c in row.get("cells", ()) for _ in many]
        return Line(tuple(column.cell(place, "" if kind == "paper" else "–")
                          for column, place in zip(columns, places, strict=True)), kind)

    return Table(name, told["title"], tuple(columns), tuple(map(line, rows)),
                 tuple(notes_of(name) if notes is None else notes))


def finite(value: Any) -> Any:
    """None instead of a number that JSON and CSV do not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


@lru_cache(maxsize=1)
def templates() -> jinja2.Environment:
    """The templates beside this module; only HTML is escaped automatically."""
    found = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent),
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined, autoescape=lambda name: str(name).endswith(".html.jinja"))
    found.filters |= {
        "base64": lambda data: base64.b64encode(data).decode(), "math": html_with_math,
        "tex": lambda text: shown(text, 200).translate(str.maketrans(TEXTS["latex"])),
        "md": markdown, "shown": shown}
    return found


def rendered(table: Table, kind: str) -> str:
    r"""`md`: GitHub's Markdown; `tex`: a tabular for `\usepackage{booktabs}`."""
    return templates().get_template(f"table.{kind}.jinja").render(table=table)


def _no_formula(text: str) -> str:
    """`text` in one line that a spreadsheet shows: `=cmd()` is a method's name, not a formula."""
    return _FORMULA.sub(r"\1\2'", " ".join(visible(text).split()))


def csv_text(table: Table) -> str:
    """Comma-separated: a column for each number, and a last one for whose numbers they are."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*(_no_formula(f"{c.name} {part}".strip()) for c in table.columns
                       for part in c.parts or ("",)), "source"])
    section = ""
    for entry in table.lines:
        if entry.kind == "section":
            section = entry.cells[0].text
            continue
        row: list[Any] = []
        for column, cell in zip(table.columns, entry.cells, strict=True):
            numbers = [*map(finite, cell.numbers), *[None] * len(column.parts)]
            row += numbers[:len(column.parts)] or [
                cell.text if entry.kind == "paper" else _no_formula(cell.text)]
        writer.writerow([*(f"{x:.6g}" if isinstance(x, float) else x for x in row),
                         _no_formula(f"{entry.kind} {section}".strip())])
    return out.getvalue()
