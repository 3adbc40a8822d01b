"""`drp experiment`, and the smallest one: `drp demo`."""

import importlib.util
import os
import shlex
import sys
from pathlib import Path

import click
from rich.console import Console

from drp_plugin.cli import group
from drp_plugin.cli._options import command
from drp_plugin.errors import UserError, install
from drp_plugin.experiment.file import Experiment, read_experiment
from drp_plugin.experiment.plan import make_plan
from drp_plugin.experiment.stage_runner import Runner, StageFailed, choose, locked
from drp_plugin.experiment.stages import Marks, Stage, project
from drp_plugin.resources import filled


@command("experiment")
def experiment(file: Path, output: Path | None, jobs: int, dry_run: bool, status: bool,
               until: str | None, only: tuple[str, ...]) -> None:
    read = read_experiment(file)
    folder = (output or Path(f"{file.stem}-run")).resolve()
    stages = choose(make_plan(read, folder), until=until, only=only)
    _check(stages, file)
    if dry_run:
        print(filled("dry_run.txt.jinja", quote=shlex.quote, join=shlex.join, plans=[
            (stage, project(stage, read, stages)) for stage in stages],
            gpu=read.hardware.gpu), end="")
    elif status:
        _status(stages, folder)
    else:
        _run(read, stages, folder, jobs)


def _check(stages: list[Stage], file: Path) -> None:
    """Refuse what a stage's command would refuse later. Raises UserError."""
    for stage in (s for s in stages if s.asked[:1] == ("drp",)):
        _, name, *words = stage.asked
        try:
            if command := group.get_command(click.Context(group), name):
                command.make_context(name, words)
        except (click.ClickException, UserError) as error:
            said = error.format_message() if isinstance(error, click.ClickException) else error
            raise UserError(f"stage {stage.name}: {said}", file=file) from None


def _run(read: Experiment, stages: list[Stage], folder: Path, jobs: int) -> None:
    console = Console(stderr=True, emoji=False)  # `:100:` is a part of a name
    models = {student.model for student in read.students.values()}
    offline = all(model == "tiny" or os.path.isdir(model) for model in models)
    hours = {stage.name: found.gpu_hours for stage in stages if models != {"tiny"}
             and (found := project(stage, read, stages)).gpu_hours}
    with locked(folder) as lock:
        try:
            Runner(folder, stages, console, lock, jobs=jobs, offline=offline, hours=hours).run()
        except StageFailed as error:
            print(f"drp: {error}\nRun the same command again to resume.", file=sys.stderr)
            sys.exit(1)


def _status(stages: list[Stage], folder: Path) -> None:
    if not folder.is_dir():
        raise UserError("no such folder", file=folder, fix="Nothing has been run in it yet")
    marks = Marks(folder / ".done", stages)
    for stage in stages:
        print(f"{'done   ' if marks.done(stage) else 'missing'}  {stage.kind:<9} {stage.title}")


@command("demo")
def demo(output: Path, train: int, limit: int | None, seed: int, jobs: int) -> None:
    missing = [name.replace("_", "-") for name in (
        "torch", "llamafactory", "lmms_eval", "doit") if not importlib.util.find_spec(name)]
    if missing:
        raise UserError(f"the demo needs {', '.join(missing)}",
                        fix=f"Run `make demo` in a checkout, or {install('cpu')}")
    shipped = read_experiment(Path("demo"))
    chosen = shipped.model_copy(update={
        "questions": tuple(f"{q.rpartition(':')[0]}:{train}" for q in shipped.questions),
        "rows": train, "generate": {**shipped.generate, "seed": seed},
        "evaluate": {**shipped.evaluate, **({"limit": limit} if limit else {})}})
    folder = output.resolve()
    _run(chosen, make_plan(chosen, folder), folder, jobs)
    click.echo(f"\n{chosen.about}", err=True)
    print(filled("demo.txt.jinja", folder=folder, home=folder / "tiny"), end="")
