"""`drp score`: grade and count completions outside lmms-eval."""

import itertools
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from drp_plugin import jsonl
from drp_plugin.cli import page
from drp_plugin.cli._options import columns_option, load_counter
from drp_plugin.errors import UserError
from drp_plugin.finish import ended
from drp_plugin.reading import Item, Reader
from drp_plugin.scoring import (
    DEFAULT_CUTOFF,
    Figures,
    Measured,
    Reading,
    Summary,
    measure_at,
    measure_many,
)
from drp_plugin.scoring.samples import dataset_of, one_repeat, read_sample, task_of
from drp_plugin.terminal import say
from drp_plugin.tokens import PIECES, QWEN, TokenCounter

_CHUNK = 256


class ScoreRow(NamedTuple):
    """A completion to score and the row that it comes out in."""

    row: dict[str, Any]
    problem: int | str  # What its samples share: their row's number, or a document of several rows
    text: str
    gold: str | None
    dataset: str | None
    ended: bool | None
    thinking: bool


class Cutoff(click.ParamType):
    """A number of tokens, or `none`."""

    name = "N|none"

    def convert(self, value: Any, param: click.Parameter | None,
                ctx: click.Context | None) -> int:
        """Zero stands for `none`: click takes None for a missing value."""
        text = str(value).strip().lower().replace("_", "")
        if text in ("none", "0"):
            return 0
        if not text.isdecimal() or len(text) > 12:
            self.fail(f"{text[:40]!r} is neither a number of tokens nor none", param, ctx)
        return int(text)


@click.command("score", help=page("score"))
@click.argument("completions", metavar="COMPLETIONS")
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
@columns_option
def command(completions: str, output: str, cutoff: int, cutoffs: str | None, tokenizer: str,
            dataset: str | None, no_thinking: bool, columns: dict[str, str]) -> None:
    limits = None if cutoffs is None else _limits(cutoffs)
    check_output(output)
    reader = Reader(completions, columns)
    rows = _completions(reader, dataset, not no_thinking)
    first = next(rows, None)
    if first is None:
        raise UserError("holds no rows", file=completions)
    rows = itertools.chain([first], rows)
    counter = load_counter(tokenizer)
    if limits is not None:
        summaries: list[Summary] = []
        jsonl.write(output, _table(rows, counter, limits, summaries))
        _doubts(reader, max(summaries, key=lambda s: s.correct), no_thinking)
        return
    tally = _Tally([cutoff, None] if cutoff else [None])
    jsonl.write(output, _scored(rows, counter, cutoff or None, tally))
    summaries = tally.summaries()
    show(summaries, f"{counter.name} tokens; {tally.loops} of {tally.rows} end in a loop")
    _doubts(reader, summaries[-1], no_thinking)


def _doubts(reader: Reader, figures: Summary, no_thinking: bool) -> None:
    """Say what of the figures may come from the file, not from the student."""
    seen = reader.seen
    silent = (f"{seen.silent} of {seen.responses} completions ended by themselves without "
              "</think>: they have no answer and are not truncated; give --no-thinking where the "
              "student does not think") if seen.silent and not no_thinking else None
    doubt = seen.doubt(figures.graded, math.ceil(figures.correct), thinking=not no_thinking)
    for line in filter(None, (silent, doubt)):
        say(f"{reader.path}: {line}")


def check_output(output: str | Path) -> None:
    """Raises UserError where a file cannot be written there, before any work is done."""
    path = Path(output)
    if str(output) == "-":
        return
    if path.is_dir():
        raise UserError("is a folder", file=output, fix=f"Give a file, e.g. {path / 'out.jsonl'}")
    if path.exists() and not path.is_file():
        raise UserError("is not a file", file=output, fix="Give a file, or - for standard output")
    check_folder(path.resolve().parent)


def check_folder(folder: Path) -> None:
    """Raises UserError where this folder cannot be made or written to."""
    there = next(p for p in (folder, *folder.resolve().parents) if p.exists())
    if not there.is_dir():
        raise UserError("is a file, not a folder to write to", file=there,
                        fix="Give another place with -o")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError("cannot be written to: permission denied", file=there,
                        fix="Give another place with -o")


def _limits(text: str) -> list[int | None]:
    kind = Cutoff()
    try:
        found = [kind.convert(p, None, None) or None for p in text.split(",") if p.strip()]
    except click.BadParameter as error:
        raise UserError(f"--cutoffs: {error.message}", fix="Give e.g. 1000,4000,none") from None
    if not found:
        raise UserError(f"--cutoffs {text!r} names no cutoff", fix="Give e.g. 1000,4000,none")
    return found


def _completions(reader: Reader, dataset: str | None, thinking: bool) -> Iterator[ScoreRow]:
    for item in reader:
        if item.value is None:
            raise UserError(item.error, file=reader.path, row=item.number)
        row = item.row or {}
        if "response" in row or not {"resps", "filtered_resps"} & row.keys():
            yield _completion(item, reader, dataset, thinking)
        elif not item.repeat:  # lmms-eval wrote it
            yield from _samples(row, str(reader.path), item.number, dataset, thinking)


def _samples(value: dict[str, Any], path: str, number: int, dataset: str | None,
             thinking: bool) -> Iterator[ScoreRow]:
    """Every completion of a row that lmms-eval wrote, as `drp report` reads it."""
    sample = read_sample(value, path, number)
    name = sample.dataset or value.get("dataset") or dataset or dataset_of(task_of(path) or "")
    single = len(sample.completions) == 1
    problem = sample.doc if "repeat" in value else number
    for i, (text, end) in enumerate(zip(sample.completions, sample.ended, strict=True)):
        yield ScoreRow(value if single else one_repeat(value, sample, i), problem, text,
                         sample.gold, str(name) if name else None, end,
                         thinking and sample.thinking)


def _completion(item: Item, reader: Reader, dataset: str | None, thinking: bool) -> ScoreRow:
    assert item.value is not None and item.row is not None
    text, gold = item.value.get("response"), item.value["answer"]
    if not isinstance(text, str):
        raise UserError("field 'response' (or 'completion') is missing or not text",
                        file=reader.path, row=item.number)
    if not isinstance(gold, str | None):
        raise UserError("field 'answer' is not text", file=reader.path, row=item.number)
    row = item.row
    if item.repeats > 1:
        row = {**row, "response": text, "repeat": item.repeat}
    name = item.value.get("dataset") or dataset
    problem = item.row.get("id", item.number) if "repeat" in item.row else item.number
    return ScoreRow(row, problem, text, gold, str(name) if name else None,
                      ended(item.value["finish"]), thinking)


class _Tally:
    """Figures at several cutoffs of completions, those of a problem one after the other."""

    def __init__(self, cutoffs: Iterable[int | None]) -> None:
        self._figures = [Figures(cutoff) for cutoff in cutoffs]
        self._problem: int | str = ""
        self._open: list[Sequence[Reading]] = []
        self.rows = self.loops = 0

    def add(self, problem: int | str, readings: Sequence[Reading]) -> None:
        """Count a completion, by a reading for each cutoff."""
        self.rows += 1
        if problem != self._problem:
            self._close()
        self._problem = problem
        self._open.append(readings)

    def _close(self) -> None:
        for figures, of_one in zip(self._figures, zip(*self._open, strict=True), strict=False):
            figures.add(of_one)
        self._open = []

    def summaries(self) -> list[Summary]:
        """The figures of all."""
        self._close()
        return [figures.summary() for figures in self._figures]


def _chunks(rows: Iterator[ScoreRow]) -> Iterator[tuple[list[ScoreRow], dict[str, Any]]]:
    """Completions, many at a time, and what `measure_many` and `measure_at` take of them."""
    while chunk := list(itertools.islice(rows, _CHUNK)):
        yield chunk, {"completions": [c.text for c in chunk], "golds": [c.gold for c in chunk],
                      "datasets": [c.dataset for c in chunk], "ended": [c.ended for c in chunk],
                      "thinking": [c.thinking for c in chunk]}


def _scored(rows: Iterator[ScoreRow], counter: TokenCounter, cutoff: int | None,
            tally: _Tally) -> Iterator[dict[str, Any]]:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    named = {"tokenizer": counter.name} if counter.name == PIECES else {}
    state = TextColumn("{task.completed:,.0f} scored, {task.fields[rate]}/s")
    with Progress(SpinnerColumn(), state, TimeElapsedColumn(), console=Console(stderr=True),
                  transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=None, rate="")
        for chunk, given in _chunks(rows):
            found = measure_many(**given, counter=counter, cutoff=cutoff)
            for completion, measured in zip(chunk, found, strict=True):
                tally.add(completion.problem, (measured, measured.full) if cutoff else (measured,))
                tally.loops += measured.loop is not None
                yield completion.row | added_fields(measured) | named
            speed = progress.tasks[task].speed or 0
            progress.update(task, advance=len(chunk), rate=f"{speed:,.0f}")


def added_fields(measured: Measured) -> dict[str, Any]:
    """What `drp score` adds to a row."""
    full = measured.full
    return measured.model_dump(exclude={"full", "backend_tokens"}) | {
        "correct_full": full.correct, "outcome_full": full.outcome,
        "tokens_full": full.tokens, "think_tokens_full": full.think_tokens,
        "truncated_full": full.truncated}


def _table(rows: Iterator[ScoreRow], counter: TokenCounter,
           limits: list[int | None], summaries: list[Summary]) -> Iterator[Summary]:
    tally = _Tally(limits)
    for chunk, given in _chunks(rows):
        found = measure_at(**given, counter=counter, cutoffs=limits)
        for completion, readings in zip(chunk, found, strict=True):
            tally.add(completion.problem, readings)
    summaries += tally.summaries()
    show(summaries, f"{counter.name} tokens")
    yield from summaries


def show(summaries: list[Summary], caption: str) -> None:
    """The figures as a table on standard error."""
    from rich.console import Console
    from rich.table import Column, Table

    several = any(s.samples != s.n for s in summaries)
    if several:
        caption += (f"; n counts problems, truncated and no answer the {summaries[0].samples:,} "
                    "samples of them")
    table = Table(*(Column(heading, justify="right") for heading in (
        "cutoff", "n", "correct", "accuracy", "tokens", "thinking", "truncated", "no answer")),
        caption=caption)
    for s in summaries:
        table.add_row(
            "none" if s.cutoff is None else f"{s.cutoff:,}", f"{s.n:,}",
            (f"{s.correct:,.1f}" if several else f"{s.correct:,}") if s.graded else "–",
            "–" if s.accuracy is None else f"{s.accuracy:.1%}", f"{s.tokens:,.1f}",
            f"{s.think_tokens:,.1f}", f"{s.truncated:,}", f"{s.no_answer:,}")
    Console(stderr=True).print(table)
