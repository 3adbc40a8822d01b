"""`drp score`: grade and count completions outside lmms-eval."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import click

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.scoring import (
    DEFAULT_CUTOFF,
    Measured,
    Reading,
    Summary,
    measure_at,
    measure_many,
    summarize,
)
from drp_plugin.tokens import QWEN, TokenCounter

_CHUNK = 256


class Completion(NamedTuple):
    """A row to score."""

    row: dict[str, Any]
    text: str
    gold: str | None
    dataset: str | None
    ended: bool


class Cutoff(click.ParamType):
    """A number of tokens, or `none`."""

    name = "N|none"

    def convert(self, value: Any, param: click.Parameter | None,
                ctx: click.Context | None) -> int:
        """Zero stands for `none`: click takes None for a missing value."""
        text = str(value).strip().lower().replace("_", "")
        if text in ("none", "0"):
            return 0
        if not text.isdigit():
            self.fail(f"{value!r} is neither a number of tokens nor none", param, ctx)
        return int(text)


EXAMPLES = """\b
Examples:
  drp score traces.jsonl -o scored.jsonl
  drp score traces.jsonl --cutoff none --tokenizer path/to/model
  drp score traces.jsonl --cutoffs 1000,2000,4000,8000,12000,none
  zcat runs.jsonl.gz | drp score - | jq -c 'select(.correct | not)'
"""


@click.command("score", help=f"""Grade and count completions.

Every row has `response` (or `completion`; samples written by lmms-eval are understood too) and
`answer`, the gold one; `dataset` (gsm8k, math500, aime24, amc23, prm12k) chooses the grading rule.
Each row comes out with `correct`, `outcome`, `extracted`, `extraction`, `tokens`, `think_tokens`,
`answer_tokens`, `truncated`, `loop`, `cutoff`, and with `correct_full`, `outcome_full`,
`tokens_full`, `truncated_full` for the same completion without the cutoff. The summary goes to
standard error.

{EXAMPLES}""")
@click.argument("completions", metavar="COMPLETIONS.jsonl")
@click.option("-o", "--output", default="-", metavar="FILE", help="Where to write [default: -].")
@click.option("--cutoff", type=Cutoff(), default=DEFAULT_CUTOFF, show_default=True,
              help="Clip tokens here; an answer that is not complete by then is wrong.")
@click.option("--cutoffs", metavar="N,N,…,none",
              help="Write one line of figures for each of these cutoffs instead of the rows.")
@click.option("--tokenizer", default=QWEN, show_default=True, metavar="SPEC",
              help="qwen, a model folder, a tokenizer.json, or a hub name.")
@click.option("--dataset", help="For rows that name none.")
@click.option("--no-thinking", is_flag=True,
              help="The model does not think: a completion without </think> is all answer.")
def command(completions: str, output: str, cutoff: int, cutoffs: str | None, tokenizer: str,
            dataset: str | None, no_thinking: bool) -> None:
    limits = None if cutoffs is None else _limits(cutoffs)
    rows = _completions(completions, dataset)
    first = next(rows, None)
    if first is None:
        raise UserError("holds no rows", file=completions)
    rows = itertools.chain([first], rows)
    counter = TokenCounter.load(tokenizer)
    if limits is not None:
        jsonl.write(output, _table(rows, counter, limits, not no_thinking))
        return
    seen: list[Measured] = []
    jsonl.write(output, _scored(rows, counter, cutoff or None, not no_thinking, seen))
    summaries = [summarize(seen, cutoff or None)]
    if cutoff:
        summaries.append(summarize((m.full for m in seen), None))
    loops = sum(m.loop is not None for m in seen)
    show(summaries, f"{counter.name} tokens; {loops} of {len(seen)} end in a loop")


def _limits(text: str) -> list[int | None]:
    kind = Cutoff()
    try:
        return [kind.convert(part, None, None) or None for part in text.split(",") if part.strip()]
    except click.BadParameter as error:
        raise UserError(f"--cutoffs: {error.message}", fix="Give e.g. 1000,4000,none") from None


def _completions(path: str, dataset: str | None) -> Iterator[Completion]:
    for row in jsonl.rows(path):
        if row.value is None:
            raise UserError(row.error or "bad row", file=path, row=row.number)
        yield _completion(row.value, path, row.number, dataset)


def _completion(value: dict[str, Any], path: str, number: int, dataset: str | None) -> Completion:
    text = value.get("response", value.get("completion"))
    gold = value.get("answer")
    if text is None and "filtered_resps" in value:      # a sample that lmms-eval wrote
        text = value.get("resps") or value["filtered_resps"]
        gold = value.get("target") if gold is None else gold
        while isinstance(text, list) and text:
            text = text[0]
    if not isinstance(text, str):
        raise UserError("field 'response' (or 'completion') is missing or not text", file=path,
                        row=number)
    if gold is not None and not isinstance(gold, (str, int, float)):
        raise UserError("field 'answer' is not text", file=path, row=number)
    name = value.get("dataset") or dataset
    return Completion(value, text, None if gold is None else str(gold),
                      str(name) if name else None, value.get("finish_reason") != "length")


def _chunks(rows: Iterable[Completion]) -> Iterator[list[Completion]]:
    iterator = iter(rows)
    while chunk := list(itertools.islice(iterator, _CHUNK)):
        yield chunk


def _scored(rows: Iterable[Completion], counter: TokenCounter, cutoff: int | None,
            thinking: bool, seen: list[Measured]) -> Iterator[dict[str, Any]]:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    state = TextColumn("{task.completed:,.0f} scored, {task.fields[rate]}/s")
    with Progress(SpinnerColumn(), state, TimeElapsedColumn(), console=Console(stderr=True),
                  transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=None, rate="")
        for chunk in _chunks(rows):
            found = measure_many([c.text for c in chunk], [c.gold for c in chunk],
                                 [c.dataset for c in chunk], counter, cutoff, thinking=thinking,
                                 ended=[c.ended for c in chunk])
            for completion, measured in zip(chunk, found, strict=True):
                seen.append(measured)
                yield completion.row | added_fields(measured)
            speed = progress.tasks[task].speed or 0
            progress.update(task, advance=len(chunk), rate=f"{speed:,.0f}")


def added_fields(measured: Measured) -> dict[str, Any]:
    """What `drp score` adds to a row."""
    full = measured.full
    return measured.model_dump(exclude={"full", "backend_tokens"}) | {
        "correct_full": full.correct, "outcome_full": full.outcome,
        "tokens_full": full.tokens, "think_tokens_full": full.think_tokens,
        "truncated_full": full.truncated}


def _table(rows: Iterable[Completion], counter: TokenCounter, limits: list[int | None],
           thinking: bool) -> Iterator[Summary]:
    columns: list[list[Reading]] = [[] for _ in limits]
    for chunk in _chunks(rows):
        for readings in measure_at([c.text for c in chunk], [c.gold for c in chunk],
                                   [c.dataset for c in chunk], counter, limits, thinking=thinking,
                                   ended=[c.ended for c in chunk]):
            for column, reading in zip(columns, readings, strict=True):
                column.append(reading)
    summaries = [summarize(column, limit) for column, limit in zip(columns, limits, strict=True)]
    show(summaries, f"{counter.name} tokens")
    yield from summaries


def show(summaries: list[Summary], caption: str) -> None:
    """The figures as a table on standard error."""
    from rich.console import Console
    from rich.table import Table

    table = Table(caption=caption)
    for heading in ("cutoff", "n", "correct", "accuracy", "tokens", "thinking", "truncated",
                    "no answer"):
        table.add_column(heading, justify="right")
    for s in summaries:
        table.add_row(
            "none" if s.cutoff is None else f"{s.cutoff:,}", f"{s.n:,}",
            f"{s.correct:,}" if s.graded else "–",
            "–" if s.accuracy is None else f"{s.accuracy:.1%}", f"{s.tokens:,.1f}",
            f"{s.think_tokens:,.1f}", f"{s.truncated:,}", f"{s.no_answer:,}")
    Console(stderr=True).print(table)
