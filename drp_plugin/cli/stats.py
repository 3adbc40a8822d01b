"""`drp stats`: what a run did, in numbers, on the terminal."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from statistics import mean, median

import click

from drp_plugin.cli import page
from drp_plugin.inspection.rows import rows
from drp_plugin.inspection.run_statistics import Statistics, not_reached
from drp_plugin.mathml import visible


@click.command("stats", help=page("stats"))
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def command(run_dir: Path, as_json: bool) -> None:
    found = Statistics(not_reached=not_reached(run_dir))
    for row in rows(run_dir):
        found.add(row)
    facts = {
        "pruned": found.pruned, "rejected": sum(found.rejected.values()),
        "not_reached": found.not_reached, "tokens_before": found.before,
        "tokens_after": found.after, "reduction": found.reduction,
        "median_share_kept": median(found.ratios) if found.ratios else None,
        "steps_mean": mean(found.steps) if found.steps else None}
    counts = {"rejects": found.rejected, "actions": found.actions, "skills": found.skills}
    if as_json:
        click.echo(json.dumps(facts | counts, ensure_ascii=False))
        return
    for name, value in facts.items():
        shown = "–" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
        click.echo(f"{name.replace('_', ' '):18} {shown:>12}")
    for name, counted in counts.items():
        _bars(name, counted)


def _bars(title: str, counted: Counter[str]) -> None:
    click.echo(f"\n{title}" if counted else "", nl=bool(counted))
    most = max(counted.values(), default=1)
    for name, number in counted.most_common(14):
        click.echo(f"  {visible(name)[:30]:30} {number:>8,}  {'█' * round(24 * number / most)}")
