"""`drp demo`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import click

from drp_plugin.errors import UserError

NEEDS = {"torch": "torch", "llamafactory": "llamafactory", "lmms_eval": "lmms-eval"}


@click.command(help="""Run the whole loop on this machine's CPU with the tiny student that ships in
the package.

The student writes traces, the offline rule teacher prunes them, LLaMA-Factory fine-tunes the
student on the result, lmms-eval measures it before and after, and a table says what came of it.
The student is a toy and the teacher is rules, no LLM: the numbers show that the loop works, not
what DRP does for a real model. A demo that was stopped goes on where it was.

\b
Examples:
  drp demo                         about 10 minutes on two cores
  drp demo -o quick --train 200 --limit 40
""")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("demo-run"),
              show_default=True, help="Folder for everything that the demo makes.")
@click.option("--train", type=click.IntRange(min=20), default=1200, show_default=True,
              help="Questions whose traces are pruned.")
@click.option("--limit", type=click.IntRange(min=1), default=None,
              help="Problems a task in the evaluations; all of them by default.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the sampling.")
def command(output: Path, train: int, limit: int | None, seed: int) -> None:
    missing = [name for module, name in NEEDS.items() if not importlib.util.find_spec(module)]
    if missing:
        raise UserError(f"the demo needs {', '.join(missing)}",
                        fix="Run `make demo` in a checkout, or install drp-plugin[cpu]")
    from rich.console import Console

    from drp_plugin.experiment.demo_plan import Sizes, plan
    from drp_plugin.experiment.lock import locked
    from drp_plugin.experiment.stage_runner import Runner, StageFailed

    console = Console(stderr=True)
    folder = output.resolve()
    with locked(folder) as lock:
        try:
            Runner(folder, plan(folder, Sizes(train=train, limit=limit, seed=seed)), console,
                   lock).run()
        except StageFailed as error:
            print(f"drp demo: {error}\nRun the same command again to go on from this stage.",
                  file=sys.stderr)
            sys.exit(1)
    console.print(
        "\nThe student is a toy trained on generated problems and the teacher is rules, no LLM:\n"
        "these figures show that the loop works, not what DRP does for a real model.",
        highlight=False,
    )
    for title, path in (("report", folder / "report"),
                        ("adapter", folder / "training" / "saves" / "drp_tiny"),
                        ("merged model", folder / "training" / "saves" / "drp_tiny_merged"),
                        ("pruned traces", folder / "run" / "pruned.jsonl"),
                        ("SFT set", folder / "training" / "data"),
                        ("logs", folder / "logs")):
        print(f"{title + ':':15}{path}")
