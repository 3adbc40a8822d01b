"""`drp stats`: what a run did, in numbers, on the terminal."""

import json
from pathlib import Path
from statistics import mean, median

import click

from drp_plugin.cli import page
from drp_plugin.cli.show import printed
from drp_plugin.inspection.rows import rows
from drp_plugin.inspection.run_statistics import Statistics, not_reached


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
    else:
        click.echo(printed("stats", facts=facts, counts=counts), nl=False)
