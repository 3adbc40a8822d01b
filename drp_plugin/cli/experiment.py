"""`drp experiment`."""

import os
import shlex
import sys
from pathlib import Path

import click
from rich.console import Console

from drp_plugin.cli import page
from drp_plugin.errors import UserError
from drp_plugin.experiment.file import Experiment, read_experiment
from drp_plugin.experiment.plan import make_plan
from drp_plugin.experiment.projection import project
from drp_plugin.experiment.stage_runner import Runner, StageFailed, choose, locked
from drp_plugin.experiment.stages import Marks, Stage


@click.command("experiment", help=page("experiment"))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR",
              help="Folder for everything. Default: the file's name and -run.")
@click.option("--jobs", type=click.IntRange(1, 256), default=1, show_default=True,
              help="Stages side by side.")
@click.option("--dry-run", is_flag=True,
              help="Only print every command, with its projected cost.")
@click.option("--status", is_flag=True, help="Only print what is done and what is missing.")
@click.option("--until", type=click.Choice(["generate", "prune", "build", "train", "export",
                                            "evaluate"]), help="Stop behind these stages.")
@click.option("--only", multiple=True, metavar="METHOD",
              help="Only this method, and what it stands on; may be repeated.")
def command(file: Path, output: Path | None, jobs: int, dry_run: bool, status: bool,
            until: str | None, only: tuple[str, ...]) -> None:
    experiment = read_experiment(file)
    folder = (output or Path(f"{file.stem}-run")).resolve()
    stages = choose(make_plan(experiment, folder), until=until, only=only)
    if dry_run:
        _show(stages, experiment)
    elif status:
        _status(stages, folder)
    else:
        run(experiment, stages, folder, jobs)


def run(experiment: Experiment, stages: list[Stage], folder: Path, jobs: int) -> None:
    """Run the stages; exits with 1 where one failed."""
    console = Console(stderr=True, emoji=False)  # `:100:` is a part of a name
    offline = all(s.model == "tiny" or os.path.isdir(s.model)
                  for s in experiment.students.values())
    with locked(folder) as lock:
        try:
            Runner(folder, stages, console, lock, jobs=jobs, offline=offline).run()
        except StageFailed as error:
            print(f"drp: {error}\nRun the same command again to go on from there.", file=sys.stderr)
            sys.exit(1)


def _show(stages: list[Stage], experiment: Experiment) -> None:
    usd = hours = 0.0
    unknown = 0
    for stage in stages:
        found = project(stage, experiment)
        where = f"cd {shlex.quote(str(stage.cwd))} && " if stage.cwd else ""
        print(f"# {stage.name}\n{where}{shlex.join(stage.command)}")
        if found.usd is not None:
            usd += found.usd
            print(f"#   about ${found.usd:,.2f}: {found.formula}")
        elif found.gpu_hours is not None:
            hours += found.gpu_hours
            print(f"#   about {found.gpu_hours:,.1f} GPU hours ({experiment.hardware.gpu}): "
                  f"{found.formula}")
        elif found.formula:
            unknown += 1
            print(f"#   {found.formula}")
    print(f"# {len(stages)} stages; teachers about ${usd:,.2f}; generation and training about "
          f"{hours:,.1f} GPU hours" + (f"; {unknown} stages without a known price" if unknown
                                       else ""))


def _status(stages: list[Stage], folder: Path) -> None:
    if not folder.is_dir():
        raise UserError("no such folder", file=folder, fix="Nothing has been run there yet")
    marks = Marks(folder / ".done")
    digests = marks.digests(stages)
    for stage in stages:
        done = marks.done(stage, digests[stage.name])
        print(f"{'done   ' if done else 'missing'}  {stage.kind:<9} {stage.title}")
