"""`drp demo`."""

import importlib.util
from pathlib import Path

import click

from drp_plugin.cli import page
from drp_plugin.errors import UserError

NEEDS = {"torch": "torch", "llamafactory": "llamafactory", "lmms_eval": "lmms-eval",
         "doit": "doit"}


@click.command(help=page("demo"))
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("demo-run"),
              show_default=True, help="Folder for everything that the demo makes.")
@click.option("--train", type=click.IntRange(min=20), default=1200, show_default=True,
              help="Questions whose traces are pruned.")
@click.option("--limit", type=click.IntRange(min=1), default=None,
              help="Problems a task in the evaluations; all of them by default.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
              help="Seed of the sampling.")
@click.option("--jobs", type=click.IntRange(1, 64), default=2, show_default=True,
              help="Stages side by side.")
def command(output: Path, train: int, limit: int | None, seed: int, jobs: int) -> None:
    missing = [name for module, name in NEEDS.items() if not importlib.util.find_spec(module)]
    if missing:
        raise UserError(f"the demo needs {', '.join(missing)}",
                        fix="Run `make demo` in a checkout, or install drp-plugin[cpu]")
    from drp_plugin.cli.experiment import run
    from drp_plugin.experiment.file import read_experiment
    from drp_plugin.experiment.plan import make_plan

    shipped = read_experiment(Path("demo"))
    experiment = shipped.model_copy(update={
        "questions": tuple(f"{q.rpartition(':')[0]}:{train}" for q in shipped.questions),
        "rows": train, "generate": {**shipped.generate, "seed": seed},
        "evaluate": {**shipped.evaluate, **({"limit": limit} if limit else {})}})
    folder = output.resolve()
    run(experiment, make_plan(experiment, folder), folder, jobs)
    click.echo(f"\n{experiment.about}", err=True)
    home = folder / "tiny"
    for title, path in (("report", home / "report"), ("traces", home / "traces"),
                        ("pruned traces", home / "runs"), ("SFT set", home / "training" / "data"),
                        ("adapter, merged", home / "training" / "saves"),
                        ("logs", folder / "logs")):
        print(f"{title + ':':17}{path}")
