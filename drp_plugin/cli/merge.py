"""`drp merge`: runs over parts of one input, put together."""

from pathlib import Path

import click

from drp_plugin.cli import _options, page
from drp_plugin.runner.merging import merge
from drp_plugin.runner.session import say


@click.command("merge", help=page("merge"))
@click.argument("runs", nargs=-1, required=True, metavar="RUN_DIR...",
                type=click.Path(path_type=Path))
@_options.run_dir_option
def command(runs: tuple[Path, ...], run_dir: Path) -> None:
    line, notes = merge(runs, run_dir)
    for note in notes:
        say(f"note: {note}")
    say(f"{run_dir}: {line}")
    click.echo(str(run_dir))
