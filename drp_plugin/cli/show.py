"""`drp show`: one row of a run, on the terminal."""

from pathlib import Path
from typing import Any

import click
import jinja2

from drp_plugin.cli import page
from drp_plugin.inspection.rows import Teachings, find_row, readable
from drp_plugin.mathml import visible

_COLOURS = {"KEEP": "green", "DELETE": "red", "COMPRESS": "blue", "MERGE": "magenta"}


@click.command("show", help=page("show"))
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.argument("row_id", metavar="ID")
@click.option("--messages", is_flag=True, help="Print what the teacher was asked and said.")
def command(run_dir: Path, row_id: str, messages: bool) -> None:
    row = find_row(run_dir, row_id)
    with Teachings(run_dir) as teachings:
        asked = teachings.of(row) if messages else []
    click.echo(printed("show", row=row, checks=readable(getattr(row, "verdict", {})), asked=asked,
                       style=click.style, colours=_COLOURS), nl=False)


def printed(name: str, **values: Any) -> str:
    """The text that a template of this name in data/ makes of the values."""
    shapes = jinja2.Environment(loader=jinja2.PackageLoader("drp_plugin", "data"),
                                trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    shapes.filters["zip"] = zip
    return shapes.get_template(f"{name}.txt.jinja").render(values, visible=visible)
