"""Everything that a report consists of, written into one folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from drp_plugin.report.browser import browser
from drp_plugin.report.detail_tables import (
    comparison_table,
    detail_table,
    efficiency_table,
    level_table,
    sample_table,
)
from drp_plugin.report.headline import headlines
from drp_plugin.report.html_page import page
from drp_plugin.report.layout import Table, csv_text, finite, latex, markdown
from drp_plugin.report.regrading import Scored, early
from drp_plugin.report.results import Comparison, ResultRow, comparisons, row
from drp_plugin.report.tables import ablation_tables, cutoff_table, main_table

if TYPE_CHECKING:
    from drp_plugin.report.figures import Picture


class Results(NamedTuple):
    """What a report shows."""

    rows: tuple[ResultRow, ...]
    comparisons: tuple[Comparison, ...]
    tables: tuple[Table, ...]
    cutoff: int | None
    headline: tuple[str, ...]


def make_report(scored: Sequence[Scored], cutoff: int | None, tokenizer: str,
                base: str | None = None, ablations: Mapping[int, Sequence[str]] | None = None
                ) -> Results:
    """Rows, comparisons and tables of regraded runs.

    `ablations` says which methods stand in which of the paper's Tables 2 to 4.
    """
    cutoffs = [None] if cutoff is None else [cutoff, None]
    rows = tuple(row(s, c, tokenizer) for c in cutoffs for s in scored
                 if c is not None or not early(s))
    compared = tuple(comparisons(scored, cutoffs, base))
    tables = [main_table(rows, compared, cutoff),
              comparison_table(compared, cutoff) if compared else None,
              *ablation_tables(rows, compared, cutoff, ablations or {}),
              cutoff_table(rows, cutoff) if cutoff is not None else None,
              sample_table(rows, cutoff), efficiency_table(rows, compared, cutoff),
              level_table(rows, cutoff), detail_table(rows, cutoff)]
    return Results(rows, compared, tuple(t for t in tables if t), cutoff,
                   tuple(headlines(rows, compared, cutoff)))


def results_json(report: Results) -> dict[str, Any]:
    """The figures for machines."""
    def plain(record: ResultRow | Comparison) -> dict[str, Any]:
        return {key: finite(value) for key, value in record.model_dump(mode="json").items()}

    return {"rows": [plain(r) for r in report.rows],
            "comparisons": [plain(c) for c in report.comparisons]}


NO_FIGURES = "No figures: matplotlib is not installed (pip install 'drp-plugin[report]')."


def write_report(report: Results, scored: Sequence[Scored], out: Path, *,
                 figures: bool = True) -> tuple[list[Path], str]:
    """Write results.json, tables (Markdown, CSV, LaTeX), figures (SVG, PNG) and the two pages.

    Returns the files, and a note where figures had to be left out.
    """
    pictures: list[Picture] = []
    missing = ""
    if figures:
        try:
            from drp_plugin.report.figures import draw_all

            pictures = draw_all(scored, report.rows, report.cutoff)
        except ImportError:
            missing = NO_FIGURES
    contents: dict[str, Iterable[str | bytes]] = {
        "results.json": [json.dumps(results_json(report), indent=1, ensure_ascii=False), "\n"],
        "report.md": [_markdown(report, pictures)],
        "report.html": [page(report.tables, pictures, scored, cutoff=report.cutoff,
                             headline=report.headline, toy=any(r.toy for r in report.rows),
                             missing=missing)],
        "completions.html": browser(scored, report.cutoff)}
    for table in report.tables:
        contents |= {f"{table.name}.csv": [csv_text(table)], f"{table.name}.tex": [latex(table)]}
    for picture in pictures:
        contents |= {f"{picture.name}.svg": [picture.svg], f"{picture.name}.png": [picture.png]}
    out.mkdir(parents=True, exist_ok=True)
    for name, pieces in contents.items():
        temporary = out / f".{name}.tmp"
        with open(temporary, "wb") as file:
            for piece in pieces:
                file.write(piece if isinstance(piece, bytes) else piece.encode("utf-8", "replace"))
        temporary.replace(out / name)
    return [out / name for name in contents], missing


def _markdown(report: Results, pictures: Sequence[Picture]) -> str:
    parts = ["# DRP evaluation report\n", *(f"{sentence}\n" for sentence in report.headline),
             *map(markdown, report.tables)]
    parts += [f"## {p.title}\n\n![{p.title}]({p.name}.png)\n\n{p.caption}\n" for p in pictures]
    return "\n".join(parts)
