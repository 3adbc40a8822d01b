"""`drp judge`: Appendix D's pairwise comparison."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path

import click

from drp_plugin import jsonl
from drp_plugin.cli import page
from drp_plugin.cli._options import prompts_option, teacher_options
from drp_plugin.inspection import pairwise
from drp_plugin.inspection.pairwise import Judged, Pair
from drp_plugin.llm.ledger import Ledger
from drp_plugin.llm.ledger_client import LedgerClient
from drp_plugin.llm.messages import Teacher
from drp_plugin.progress import Display
from drp_plugin.prompts import Prompts
from drp_plugin.run_dir import LEDGER
from drp_plugin.runner.job import in_order, terminable
from drp_plugin.runner.outputs import prepare
from drp_plugin.teachers.registry import TeacherSettings
from drp_plugin.terminal import say


@click.command("judge", help=page("judge"))
@click.argument("run_a", type=click.Path(path_type=Path))
@click.argument("run_b", type=click.Path(path_type=Path))
@teacher_options("--judge")
@click.option("-o", "--output", "out", type=click.Path(path_type=Path), metavar="DIR",
              help="Where judgements.jsonl, judge.json and the ledger go; by default "
                   "RUN_A/judge-RUN_B.")
@click.option("--sample", type=click.IntRange(1), metavar="N",
              help="Judge N pairs drawn at random (the paper: 50); by default all.")
@click.option("--shuffle-seed", type=int, default=0, show_default=True,
              help="Draws the pairs and their sides.")
@prompts_option
def command(settings: TeacherSettings, run_a: Path, run_b: Path, out: Path | None,
            sample: int | None, shuffle_seed: int, prompts_dir: Path | None) -> None:
    one, two = pairwise.load(run_a), pairwise.load(run_b)
    pairs = pairwise.make_pairs(one, two, sample=sample, seed=shuffle_seed)
    judge = settings.make()
    prompts = Prompts(prompts_dir)
    prompts.check(["judge"])
    folder = out or run_a / f"judge-{run_b.resolve().name}"
    prepare(folder)

    judged = asyncio.run(_judge(pairs, folder, judge, settings, prompts))
    summary = {"judge": judge.name, "run_a": str(run_a), "run_b": str(run_b),
               "prompts_hash": prompts.hash, **pairwise.summarize(judged, one, two)}
    jsonl.write(folder / "judgements.jsonl",
                [{**asdict(j), "winner": j.winner} for j in judged])
    with jsonl.replacing(folder / "judge.json") as file:
        file.write(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    print(pairwise.table(summary, (run_a.name, run_b.name)))
    if summary["both_orders"]["invalid"]:
        say(f"{summary['both_orders']['invalid']} pairs without a verdict: see "
            f"{folder / 'judgements.jsonl'}")
    say(f"written to {folder}")


async def _judge(pairs: list[Pair], folder: Path, judge: Teacher, settings: TeacherSettings,
                 prompts: Prompts) -> list[Judged]:
    """What the judge says of each pair, in order."""
    judged = []
    with (Ledger(folder / LEDGER) as ledger,
          Display("judge", len(pairs), status=lambda: f"{client.asked} asked") as display,
          terminable()):
        client = LedgerClient(judge, ledger, price=settings.find_price(judge))

        async def work(pair: Pair) -> Judged:
            return await pairwise.judge_pair(pair, client, prompts, settings.sampling)

        try:
            async for result in in_order(pairs, work, active=settings.active,
                                         window=4 * settings.active):
                judged.append(result)
                display.advance()
        finally:
            await judge.close()
    return judged
