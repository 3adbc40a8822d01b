"""`drp inspect`: see and edit a run."""

import contextlib
import io
import sys
from pathlib import Path

import click

from drp_plugin import jsonl
from drp_plugin.cli import page
from drp_plugin.errors import UserError
from drp_plugin.inspection.page import write_page
from drp_plugin.inspection.rows import rows
from drp_plugin.inspection.run_statistics import Statistics
from drp_plugin.progress import Display
from drp_plugin.run_dir import PRUNED, REJECTS

MESSAGES_UP_TO = 2000  # Rows whose messages the page holds without being told


@click.command("inspect", help=page("inspect"))
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("-o", "--output", default=None, metavar="PAGE",
              help="The page to write; - is standard output. [default: RUN_DIR/inspect.html]")
@click.option("--limit", type=click.IntRange(min=1), default=None,
              help="Put only the first N rows into the page; the statistics stay those of all.")
@click.option("--messages/--no-messages", default=None,
              help="Put in what the teacher was asked and said. "
                   f"[default: with at most {MESSAGES_UP_TO:,} rows]")
@click.option("--serve", is_flag=True, help="Serve the page on this machine, and save decisions.")
@click.option("--port", type=click.IntRange(0, 65535), default=0,
              help="With --serve. [default: one that is free]")
def command(run_dir: Path, output: str | None, limit: int | None, messages: bool | None,
            serve: bool, port: int) -> None:
    if serve and output is not None:
        raise UserError("--serve writes no page", fix="Leave out -o")
    next(rows(run_dir), None)  # looked at first, so that a mistyped folder is not created
    total = sum(1 for name in (PRUNED, REJECTS) if (run_dir / name).exists()
                for _ in (run_dir / name).open("rb"))
    target = output or str(run_dir / "inspect.html")
    with contextlib.ExitStack() as stack:
        display = stack.enter_context(Display("writing rows", total))
        if messages is None:
            messages = (limit or total) <= MESSAGES_UP_TO
        file = io.StringIO() if serve else sys.stdout if target == "-" else \
            stack.enter_context(jsonl.replacing(target))
        found = write_page(run_dir, file, limit=limit, messages=messages, served=serve,
                           tick=display.advance)
    _tell(found)
    if isinstance(file, io.StringIO):
        _serve(run_dir, file.getvalue().encode(), port)
    elif target != "-":
        click.echo(target)


def _tell(found: Statistics) -> None:
    line = f"{found.pruned} pruned and {sum(found.rejected.values())} rejected rows"
    if found.not_reached:
        line += (f"; {found.not_reached} more were not reached, as --max-cost stopped the run: "
                 "run it again with a higher one to go on")
    click.echo(line, err=True)


def _serve(run_dir: Path, text: bytes, port: int) -> None:
    from drp_plugin.inspection.serving import server

    made, address = server(run_dir, text, port)
    click.echo("decisions are saved as they are made; Ctrl-C ends", err=True)
    click.echo(address)
    sys.stdout.flush()
    with made, contextlib.suppress(KeyboardInterrupt):
        made.serve_forever()
