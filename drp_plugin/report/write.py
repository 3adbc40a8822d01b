"""Everything that a report consists of, written into one folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from drp_plugin.report.excerpts import excerpts
from drp_plugin.report.html_page import page
from drp_plugin.report.layout import Table, csv_text, markdown
from drp_plugin.report.regrading import Scored, early
from drp_plugin.report.results import Comparison, ResultRow, comparisons, row
from drp_plugin.report.tables import (
    ablation_tables,
    comparison_table,
    cutoff_table,
    detail_table,
    main_table,
)

if TYPE_CHECKING:
    from drp_plugin.report.figures import Picture


class Results(NamedTuple):
    """What a report shows."""

    rows: tuple[ResultRow, ...]
    comparisons: tuple[Comparison, ...]
    tables: tuple[Table, ...]
    cutoff: int | None


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
    tables = [main_table(rows, compared, cutoff)]
    if compared:
        tables.append(comparison_table(compared, cutoff))
    tables += ablation_tables(rows, compared, cutoff, ablations or {})
    with_and_without = cutoff_table(rows, cutoff) if cutoff is not None else None
    tables += [t for t in (with_and_without, detail_table(rows, cutoff)) if t]
    return Results(rows, compared, tuple(tables), cutoff)


def results_json(report: Results) -> dict[str, Any]:
    """The figures for machines."""
    return {"rows": [r.model_dump(mode="json") for r in report.rows],
            "comparisons": [c.model_dump(mode="json") for c in report.comparisons]}


NO_FIGURES = "No figures: matplotlib is not installed (pip install 'drp-plugin[report]')."


def write_report(report: Results, scored: Sequence[Scored], out: Path, *,
                 figures: bool = True) -> tuple[list[Path], str]:
    """Write results.json, tables (Markdown, CSV), figures (SVG, PNG) and report.html.

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
    toy = any(r.toy for r in report.rows)
    contents: dict[str, str | bytes] = {
        "results.json": json.dumps(results_json(report), indent=1, ensure_ascii=False) + "\n",
        "report.md": _markdown(report, pictures),
        "report.html": page(report.tables, pictures, excerpts(scored, report.cutoff), toy=toy,
                            missing=missing)}
    contents |= {f"{table.name}.csv": csv_text(table) for table in report.tables}
    for picture in pictures:
        contents |= {f"{picture.name}.svg": picture.svg, f"{picture.name}.png": picture.png}
    out.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        data = content if isinstance(content, bytes) else content.encode("utf-8", "replace")
        temporary = out / f".{name}.tmp"
        temporary.write_bytes(data)
        temporary.replace(out / name)
    return [out / name for name in contents], missing


def _markdown(report: Results, pictures: Sequence[Picture]) -> str:
    parts = ["# DRP evaluation report\n", *map(markdown, report.tables)]
    parts += [f"## {p.title}\n\n![{p.title}]({p.name}.png)\n\n{p.caption}\n" for p in pictures]
    return "\n".join(parts)
