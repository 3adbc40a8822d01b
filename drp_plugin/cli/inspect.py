"""`drp inspect`: see and edit a run."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from drp_plugin import jsonl
from drp_plugin.cli import page
from drp_plugin.inspection.page import rows, write_page


@click.command(help=page("inspect"))
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("-o", "--output", default=None, metavar="PAGE",
              help="The page to write; - is standard output. [default: RUN_DIR/inspect.html]")
@click.option("--limit", type=click.IntRange(min=1), default=None,
              help="Put only the first N rows into the page; the statistics stay those of all.")
def command(run_dir: Path, output: str | None, limit: int | None) -> None:
    target = output or str(run_dir / "inspect.html")
    with contextlib.ExitStack() as stack:
        file = sys.stdout if target == "-" else None
        if file is None:
            # the folder is looked at first, so that a mistyped one is not created
            next(rows(run_dir), None)
            file = stack.enter_context(jsonl.replacing(target))
        found = write_page(run_dir, file, limit=limit)
    rejected = sum(found.rejected.values())
    line = f"{found.pruned} pruned and {rejected} rejected rows"
    if found.not_reached:
        line += (f"; {found.not_reached} more were not reached, as --max-cost stopped the run: "
                 "run it again with a higher one to go on")
    click.echo(line, err=True)
    if target != "-":
        click.echo(target)

