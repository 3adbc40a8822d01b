"""`drp inspect`, `drp show`, `drp stats`, `drp judge`: what people look at in runs."""

import asyncio
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import click

from drp_plugin import jsonl
from drp_plugin.cli import _options
from drp_plugin.errors import UserError
from drp_plugin.inspection import pairwise
from drp_plugin.inspection.edits import read_edits
from drp_plugin.inspection.page import write_page
from drp_plugin.inspection.rows import Statistics, Teachings, find_row, not_reached, readable, rows
from drp_plugin.llm.ledger_client import LedgerClient
from drp_plugin.llm.messages import Teacher
from drp_plugin.progress import Display
from drp_plugin.prompts import Prompts
from drp_plugin.redact import visible
from drp_plugin.resources import filled
from drp_plugin.run_dir import PRUNED, REJECTS
from drp_plugin.runner.job import in_order, terminable
from drp_plugin.runner.outputs import ledger_of
from drp_plugin.teachers.registry import TeacherSettings
from drp_plugin.terminal import phrase, say

MESSAGES_UP_TO = 2000  # Rows whose messages are in the page by default, as --help says


@_options.command("inspect")
def inspect(run_dir: Path, output: str | None, limit: int | None, messages: bool | None,
            serve: bool, port: int) -> None:
    if serve and output is not None:
        raise UserError("--serve writes no page", fix="Leave out -o")
    target = output or str(run_dir / "inspect.html")
    next(rows(run_dir), None)  # checked first, so that a mistyped folder is not created
    jsonl.check_output("-" if serve else target, begins=b"<!doctype html")
    total = sum(1 for name in (PRUNED, REJECTS) if (run_dir / name).exists()
                for _ in (run_dir / name).open("rb"))
    with contextlib.ExitStack() as stack:
        display = stack.enter_context(Display("writing rows", total))
        if messages is None:
            messages = (limit or total) <= MESSAGES_UP_TO
        file = io.StringIO() if serve else sys.stdout if target == "-" else \
            stack.enter_context(jsonl.replacing(target))
        found = write_page(run_dir, file, limit=limit, messages=messages, served=serve,
                           tick=display.advance)
    line = f"{found.pruned} pruned and {sum(found.rejected.values())} rejected rows"
    if found.not_reached:
        line += phrase("cut_short", found.not_reached)
    click.echo(line, err=True)
    if isinstance(file, io.StringIO):
        _serve(run_dir, file.getvalue().encode(errors="backslashreplace"), port)
    elif target != "-":
        click.echo(target)


def _serve(run_dir: Path, text: bytes, port: int) -> None:
    from drp_plugin.inspection.serving import server

    made, address = server(run_dir, text, port)
    click.echo("decisions are saved as they are made; Ctrl-C ends", err=True)
    click.echo(address)
    sys.stdout.flush()
    with made, contextlib.suppress(KeyboardInterrupt):
        made.serve_forever()


@_options.command("show")
def show(run_dir: Path, row_id: str, messages: bool) -> None:
    row = find_row(run_dir, row_id)
    with Teachings(run_dir) as teachings:
        asked = teachings.of(row) if messages else []
    click.echo(filled("show.txt.jinja", row=row, asked=asked, edit=read_edits(run_dir).get(row.id),
                      checks=readable(getattr(row, "verdict", {})), style=click.style,
                      steps={step.index: step for step in getattr(row, "steps", ())},
                      visible=visible), nl=False)


@_options.command("stats")
def stats(run_dir: Path, as_json: bool) -> None:
    found = Statistics(not_reached=not_reached(run_dir))
    for row in rows(run_dir):
        found.add(row)
    facts = {"pruned": found.pruned, "rejected": sum(found.rejected.values()),
        "not_reached": found.not_reached, "tokens_before": found.before,
        "tokens_after": found.after, "reduction": found.reduction,
        "median_share_kept": found.median("ratio"), "steps_mean": found.mean_steps}
    counts = {"rejects": found.rejected, "actions": found.actions, "skills": found.skills}
    if as_json:
        click.echo(json.dumps(facts | counts, ensure_ascii=False))
    else:
        click.echo(filled("stats.txt.jinja", facts=facts, counts=counts, visible=visible), nl=False)


@_options.command("judge")
def judge(run_a: Path, run_b: Path, out: Path | None, sample: int | None, shuffle_seed: int,
          prompts_dir: Path | None, **given: Any) -> int:
    settings = _options.teacher_settings(given)
    one, two = pairwise.load(run_a), pairwise.load(run_b)
    pairs = pairwise.make_pairs(one, two, sample=sample, seed=shuffle_seed)
    teacher, prompts = settings.make(), Prompts(prompts_dir)
    prompts.check(["judge"])
    folder = out or run_a / f"judge-{run_b.resolve().name}"
    judged = asyncio.run(_judge(pairs, folder, teacher, settings, prompts))
    summary = {"judge": teacher.name, "run_a": str(run_a), "run_b": str(run_b),
               "prompts_hash": prompts.hash, **pairwise.summarize(judged, one, two)}
    pairwise.check_replaced(folder / "judge.json", summary)
    jsonl.write(folder / "judgements.jsonl", judged)
    jsonl.write_json(folder / "judge.json", summary)
    click.echo(filled("judge.txt.jinja", s=summary, one=run_a.name, two=run_b.name), nl=False)
    if unsaid := summary["both_orders"]["invalid"]:
        first = next(found["detail"] for found in judged if found["winner"] == "invalid")
        say(phrase("unsaid", unsaid, of=len(judged), file=folder / "judgements.jsonl", first=first))
    say(f"written to {folder}")
    return 2 if unsaid == len(judged) else 0


async def _judge(pairs: list[pairwise.Pair], folder: Path, teacher: Teacher,
                 settings: TeacherSettings, prompts: Prompts) -> list[dict[str, Any]]:
    judged = []
    with ledger_of(folder) as ledger, terminable():
        client = LedgerClient(teacher, ledger, price=settings.find_price(teacher))
        try:
            with Display("judge", len(pairs), status=client.status) as display:
                async for result in in_order(pairs, lambda pair: pairwise.judge_pair(
                        pair, client, prompts, settings.sampling), active=settings.active,
                        window=4 * settings.active):
                    judged.append(result)
                    display.advance()
        finally:
            await teacher.close()
    return judged
