"""`drp report`: tables, figures and one HTML page from lmms-eval runs."""

import sys
from pathlib import Path

import click

from drp_plugin import jsonl
from drp_plugin.cli._options import command
from drp_plugin.cli.score import tokens
from drp_plugin.errors import UserError, install
from drp_plugin.report.layout import Table
from drp_plugin.report.tables import ABLATIONS
from drp_plugin.terminal import say


def ablation(value: str) -> tuple[int, tuple[str, ...]]:
    """`2=Default,DRP`: the number of one of the paper's ablation tables, and its methods."""
    number, _, names = value.partition("=")
    methods = tuple(name.strip() for name in names.split(",") if name.strip())
    if number.strip() not in map(str, ABLATIONS) or not methods:
        raise click.BadParameter(f"{value!r} is not one of {', '.join(map(str, ABLATIONS))}, then "
                                 "= and methods, as 2=Default,DRP")
    return int(number), methods


@command("report", tokens=tokens, ablations=lambda ctx, param, values: tuple(map(ablation, values)))
def report(runs: tuple[str, ...], output: Path, cutoff: int | None, tokenizer: str | None,
           base: str | None, ablations: tuple[tuple[int, tuple[str, ...]], ...],
           no_figures: bool) -> None:
    from rich.console import Console
    from rich.progress import track

    from drp_plugin.report import make_report, read_runs, score_run, write_report
    from drp_plugin.report.regrading import choose_counter, choose_cutoff

    jsonl.check_folder(output)
    found = read_runs(runs)
    names = [run.name for run in found]
    for option, name in [("--base", base)] * (base is not None) + [
            ("--table", name) for _, methods in ablations for name in methods]:
        if name not in names:
            raise UserError(f"{option} {name!r} is none of the runs",
                            fix=f"Give one of: {', '.join(dict.fromkeys(names))}")
    limit = choose_cutoff(found, cutoff)
    counter = choose_counter(found, tokenizer)
    status = Console(stderr=True)
    scored = [score_run(run, counter, limit) for run in track(
        found, "Grading", console=status, transient=True, disable=not sys.stderr.isatty())]
    made = make_report(scored, limit, counter.name, base, dict(ablations))
    files, missing = write_report(made, scored, output, figures=not no_figures)
    print(*made.headline, sep="\n", end="\n\n")
    for table in made.tables:
        if table.name in ("table1", "comparisons"):
            show_table(table)
    if missing:
        say(f"{missing} {install('report')}")
    say(f"wrote {', '.join(f.name for f in files)} to {output}")


def show_table(table: Table) -> None:
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(title=table.title, title_justify="left", show_lines=False)
    for i, column in enumerate(table.columns):
        grid.add_column(Text(column.name), justify="left" if i == 0 else "right", overflow="fold")
    for line in table.lines:
        style = {"section": "bold", "paper": "italic dim"}.get(line.kind, "")
        grid.add_row(*(Text(cell.text + (f"\n{cell.small}" if cell.small else ""), style=style)
                       for cell in line.cells))
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(grid)
    for note in table.notes:
        console.print(Text(note, style="bold" if note.startswith("CAUTION") else "dim"))
    console.print()
