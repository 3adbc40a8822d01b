"""`drp show`: one row of a run, on the terminal."""

from __future__ import annotations

from pathlib import Path

import click

from drp_plugin.cli import page
from drp_plugin.inspection.rows import Teachings, find_row, readable
from drp_plugin.mathml import visible
from drp_plugin.records import Pruned, Reject

_COLOURS = {"KEEP": "green", "DELETE": "red", "COMPRESS": "blue", "MERGE": "magenta"}


@click.command("show", help=page("show"))
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.argument("row_id", metavar="ID")
@click.option("--messages", is_flag=True, help="Print what the teacher was asked and said.")
def command(run_dir: Path, row_id: str, messages: bool) -> None:
    row = find_row(run_dir, row_id)
    _heading(visible(row.id))
    if isinstance(row, Reject):
        _text(f"rejected in {row.stage}, {row.reason.value}: {row.detail}")
        for name, value in row.row.items():
            _heading(name)
            _text(str(value))
        if row.reply:
            _heading("what came of it")
            _text(row.reply)
    else:
        _pruned(row)
    usage = row.usage
    _heading("cost")
    _text(f"{usage.requests} requests, {usage.prompt_tokens:,} tokens in, "
          f"{usage.completion_tokens:,} out"
          + ("" if usage.cost_usd is None else f", ${usage.cost_usd:.4f}"))
    if messages:
        with Teachings(run_dir) as teachings:
            for asked in teachings.of(row):
                for role, text in (*asked.get("messages", ()), ("reply", asked["text"])):
                    _heading(f"{asked.get('tag', '')} {role}")
                    _text(text)


def _pruned(row: Pruned) -> None:
    _text(row.question)
    _text(f"gold answer {row.answer or 'not known'}")
    _text(f"{row.tokens_before:,} → {row.tokens_after:,} tokens "
          f"(−{1 - row.tokens_after / max(1, row.tokens_before):.1%})")
    _heading("the student's own response")
    _text(row.original)
    _heading("steps and what became of them")
    steps = {step.index: step for step in row.steps}
    for revision in row.revisions:
        for index in revision.steps:
            skill = f" {steps[index].skill}" if steps[index].skill else ""
            label = f"{index} {revision.action.value}{skill}: "
            click.echo(click.style(visible(label), fg=_COLOURS[revision.action.value])
                       + visible(steps[index].text))
        if revision.text:
            click.echo(click.style("   becomes: ", bold=True) + visible(revision.text))
    _heading("the pruned response")
    _text(row.response)
    _heading("checks")
    for passed, text in readable(row.verdict):
        _text(f"{'✓' if passed else '✗'} {text}")


def _heading(text: str) -> None:
    click.echo(click.style(f"\n--- {text}", bold=True))


def _text(text: str) -> None:
    click.echo(visible(text))
