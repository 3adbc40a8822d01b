"""Everything that a report consists of, written into one folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from drp_plugin import jsonl
from drp_plugin.report.rows import Comparison, Row, Scored, comparisons, row
from drp_plugin.report.tables import Table, comparison_table, csv_text, main_table, markdown


class Report(NamedTuple):
    """What a report shows."""

    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    tables: tuple[Table, ...]


def make_report(scored: Sequence[Scored], cutoff: int | None, tokenizer: str,
                base: str | None = None) -> Report:
    """Rows, comparisons and tables of regraded runs."""
    cutoffs = [None] if cutoff is None else [cutoff, None]
    rows = tuple(row(s, c, tokenizer) for c in cutoffs for s in scored)
    compared = tuple(comparisons(scored, cutoffs, base))
    tables = [main_table(rows, compared, cutoff)]
    if compared:
        tables.append(comparison_table(compared, cutoff))
    return Report(rows, compared, tuple(tables))


def results_json(report: Report) -> dict[str, Any]:
    """The figures for machines."""
    return {"rows": [r.model_dump(mode="json") for r in report.rows],
            "comparisons": [c.model_dump(mode="json") for c in report.comparisons]}


def write_report(report: Report, out: Path) -> list[Path]:
    """Write `results.json`, and each table as Markdown and CSV; returns the files."""
    out.mkdir(parents=True, exist_ok=True)
    texts = {"results.json": json.dumps(results_json(report), indent=1, ensure_ascii=False),
             "report.md": "# Report\n\n" + "\n".join(map(markdown, report.tables))}
    texts |= {f"{table.name}.csv": csv_text(table) for table in report.tables}
    for name, text in texts.items():
        with jsonl.replacing(out / name) as file:
            file.write(text)
    return [out / name for name in texts]
