"""Everything that a report consists of, written into one folder."""

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from drp_plugin import jsonl
from drp_plugin.mathml import STYLE
from drp_plugin.report import tables
from drp_plugin.report.browser import browser, excerpts
from drp_plugin.report.headline import headlines
from drp_plugin.report.layout import Table, csv_text, finite, latex, markdown, templates
from drp_plugin.report.regrading import Scored
from drp_plugin.report.results import Comparison, ResultRow, comparisons, row

if TYPE_CHECKING:
    from drp_plugin.report.figures import Picture

TITLE = "DRP evaluation report"
NO_FIGURES = "No figures: matplotlib is not installed (pip install 'drp-plugin[report]')."


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
    """Rows, comparisons and tables of regraded runs. `ablations` says which methods stand in which
    of the paper's Tables 2 to 4."""
    cutoffs = [None] if cutoff is None else [cutoff, None]
    rows = [row(s, c, tokenizer) for c in cutoffs for s in scored if c is not None or not s.early]
    compared = comparisons(scored, cutoffs, base)
    # what the tables are of, and beside a cutoff the same without it
    shown_rows, whole_rows = ([r for r in rows if r.cutoff == c] for c in (cutoff, None))
    mine, whole = ([c for c in compared if c.cutoff == at] for at in (cutoff, None))
    if cutoff is None:
        whole = []
    made = [tables.main_table(shown_rows, mine, cutoff),
            tables.comparison_table(mine, whole) if mine else None,
            *tables.ablation_tables(shown_rows, mine, cutoff, ablations or {}),
            None if cutoff is None else tables.cutoff_table(whole_rows, shown_rows, cutoff),
            tables.sample_table(shown_rows), tables.efficiency_table(shown_rows, mine),
            tables.level_table(shown_rows), tables.thinking_table(shown_rows),
            tables.detail_table(shown_rows)]
    return Results(tuple(rows), tuple(compared), tuple(t for t in made if t), cutoff,
                   tuple(headlines(shown_rows, mine, whole)))


def write_report(report: Results, scored: Sequence[Scored], out: Path, *,
                 figures: bool = True) -> tuple[list[Path], str]:
    """Write results.json, tables (Markdown, CSV, LaTeX), figures (SVG, PNG) and the two pages.
    Returns the files, and a note where figures had to be left out."""
    pictures: list[Picture] = []
    missing = ""
    if figures:
        try:
            from drp_plugin.report.figures import draw_all

            pictures = draw_all(scored, report.rows, report.cutoff)
        except ImportError:
            missing = NO_FIGURES
    figures_json = {name: [{key: finite(value) for key, value in record.model_dump(
        mode="json").items()} for record in records] for name, records
        in (("rows", report.rows), ("comparisons", report.comparisons))}
    contents: dict[str, Iterable[str | bytes]] = {
        "results.json": [json.dumps(figures_json, indent=1, ensure_ascii=False), "\n"],
        "report.md": ["\n".join([
            f"# {TITLE}\n", *(f"{sentence}\n" for sentence in report.headline),
            *map(markdown, report.tables),
            *(f"## {p.title}\n\n![{p.title}]({p.name}.png)\n\n{p.caption}\n" for p in pictures)])],
        "report.html": [_page(report, pictures, scored, missing)],
        "completions.html": browser(scored, report.cutoff)}
    for table in report.tables:
        contents |= {f"{table.name}.csv": [csv_text(table)], f"{table.name}.tex": [latex(table)]}
    for picture in pictures:
        contents |= {f"{picture.name}.svg": [picture.svg], f"{picture.name}.png": [picture.png]}
    out.mkdir(parents=True, exist_ok=True)
    for name, pieces in contents.items():
        with jsonl.replacing(out / name) as file, open(file.fileno(), "wb", closefd=False) as raw:
            for piece in pieces:
                raw.write(piece if isinstance(piece, bytes) else piece.encode("utf-8", "replace"))
    return [out / name for name in contents], missing


def _page(report: Results, pictures: "Sequence[Picture]", scored: Sequence[Scored],
          missing: str) -> str:
    """One self-contained HTML page: no script, no network (a content security policy forbids
    them), every text escaped."""
    origins: dict[str, list[dict[str, str]]] = {}
    for one in scored:      # each results file once
        known = origins.setdefault(one.label, [])
        for origin in one.task.origin:
            known += [] if origin in known else [origin]
    try:
        made_by = version("drp-plugin")
    except PackageNotFoundError:
        made_by = "(not installed)"
    return templates().get_template("report.html.jinja").render(
        tables=report.tables, pictures=pictures, excerpts=excerpts(scored, report.cutoff),
        headline=report.headline, toy=any(r.toy for r in report.rows), missing=missing,
        title=TITLE, math_style=STYLE, origins=origins, version=made_by)
