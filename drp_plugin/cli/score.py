"""`drp score`: grade and count completions outside lmms-eval."""

import itertools
import math
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import click

from drp_plugin import jsonl
from drp_plugin.cli._options import command, load_counter
from drp_plugin.errors import UserError
from drp_plugin.finish import ended, told
from drp_plugin.loops import loop_period
from drp_plugin.progress import Display
from drp_plugin.reading import Item, Reader
from drp_plugin.scoring import Figures, Reading, Summary, measure_at
from drp_plugin.scoring.samples import one_repeat, read_sample, task_of
from drp_plugin.seen import digest
from drp_plugin.terminal import phrase, say
from drp_plugin.tokens import PIECES, TokenCounter

_CHUNK = 256
_SHARED = ("id", "question", "answer", "dataset", "model")  # By all samples of one problem


class ScoreRow(NamedTuple):
    """A completion to score and the row that it comes out in."""

    row: dict[str, Any]
    problem: int | bytes  # What its samples share: their row, or what they say of it in several
    text: str
    gold: str | None
    dataset: str | None
    ended: bool | None
    thinking: bool


def tokens(value: Any) -> int:
    """A number of tokens; 0 for `none`, as click takes None for a missing value."""
    text = str(value).strip().lower().replace("_", "")
    text = "0" if text == "none" else text
    if not text.isdecimal() or len(text) > 12:
        raise click.BadParameter(f"{text[:40]!r} is neither a number of tokens nor none")
    return int(text)


@command("score", tokens=tokens)
def score(completions: str, output: str, cutoff: int, cutoffs: str | None, tokenizer: str,
          dataset: str | None, no_thinking: bool, columns: dict[str, str]) -> None:
    limits = [cutoff or None, None] if cutoffs is None else _limits(cutoffs)
    jsonl.check_output(output, completions)
    reader = Reader(completions, columns)
    rows = _completions(reader, dataset, not no_thinking)
    first = next(rows, None)
    if first is None:
        raise UserError("holds no rows", file=completions)
    counter = load_counter(tokenizer)
    figures = {limit: Figures(limit) for limit in limits}
    graded = _graded(itertools.chain([first], rows), counter, figures)
    loops: Counter[bool] = Counter()
    caption = f"{counter.name} tokens"
    if cutoffs is None:
        jsonl.write(output, _scored(graded, counter, loops))
        caption += f"; {loops[True]} of {loops.total()} end in a loop"
    for _ in graded:  # with several cutoffs they are counted, not written
        pass
    summaries = [each.summary() for each in figures.values()]
    if cutoffs is not None:
        jsonl.write(output, summaries)
    show_figures(summaries, caption)
    _doubts(reader, max(summaries, key=lambda s: s.correct), no_thinking)


def _doubts(reader: Reader, figures: Summary, no_thinking: bool) -> None:
    """Say which figures may be the file's fault, not the student's."""
    seen = reader.seen
    silent = phrase("silent", seen.silent, of=phrase("completions", seen.responses)) \
        if seen.silent and not no_thinking else None
    doubt = seen.doubt(figures.graded, math.ceil(figures.correct), thinking=not no_thinking)
    for line in filter(None, (silent, doubt)):
        say(f"{reader.path}: {line}")


def _limits(text: str) -> list[int | None]:
    try:
        return [tokens(p) or None for p in filter(str.strip, text.split(","))] or [tokens("")]
    except click.BadParameter as error:
        raise UserError(f"--cutoffs: {error.message}", fix="Give e.g. 1000,4000,none") from None


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
    name = sample.dataset or value.get("dataset") or dataset or task_of(path)
    single = len(sample.completions) == 1
    problem = digest(sample.doc, str(name)) if "repeat" in value else number
    for i, (text, end) in enumerate(zip(sample.completions, sample.ended, strict=True)):
        yield ScoreRow(value if single else one_repeat(value, sample, i), problem, text,
            sample.gold, str(name) if name else None, end, thinking and sample.thinking)


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
    named = "repeat" in item.row and (item.value.get("id") or item.value.get("question"))
    problem = digest(*(str(item.value.get(key)) for key in _SHARED)) if named else item.number
    return ScoreRow(row, problem, text, gold, str(name) if name else None,
                    ended(item.value.get("finish", told(item.row))), thinking)


def _graded(rows: Iterator[ScoreRow], counter: TokenCounter,
            figures: dict[int | None, Figures]) -> Iterator[tuple[ScoreRow, list[Reading]]]:
    """Completions with a reading at every cutoff."""
    def read() -> Iterator[tuple[ScoreRow, list[Reading]]]:
        with Display("scoring", None, show=sys.stderr.isatty()) as display:
            while chunk := list(itertools.islice(rows, _CHUNK)):
                _, _, texts, golds, datasets, ends, thinking = zip(*chunk, strict=True)
                yield from zip(chunk, measure_at(texts, golds, datasets, counter, list(figures),
                                                 thinking=thinking, ended=ends), strict=True)
                display.advance(len(chunk))

    for problem, of_one in itertools.groupby(read(), lambda pair: pair[0].problem):
        samples, shared = list(of_one), problem if isinstance(problem, bytes) else None
        for each, *readings in zip(figures.values(), *(found for _, found in samples), strict=True):
            each.add(readings, shared)
        yield from samples


def _scored(graded: Iterator[tuple[ScoreRow, list[Reading]]], counter: TokenCounter,
            loops: Counter[bool]) -> Iterator[dict[str, Any]]:
    """The rows with the fields that `drp score` adds, at the cutoff and without one."""
    named = {"tokenizer": counter.name} if counter.name == PIECES else {}
    for completion, readings in graded:
        period, full = loop_period(completion.text), readings[-1]
        loops[period is not None] += 1
        yield completion.row | readings[0].model_dump() | {"loop": period} | {
            f"{name}_full": getattr(full, name) for name in
            ("correct", "outcome", "tokens", "think_tokens", "truncated")} | named


def show_figures(summaries: list[Summary], caption: str) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    if several := any(s.samples != s.n for s in summaries):
        caption += (f"; n counts problems, truncated and no answer the {summaries[0].samples:,} "
                    "samples of them")
    if 0 < summaries[0].graded < summaries[0].n:
        caption += f"; accuracy is over the {summaries[0].graded:,} whose gold answer is known"
    table = Table(*(Column(heading, justify="right") for heading in ("cutoff", "n", "correct",
        "accuracy", "tokens", "thinking", "truncated", "no answer")), caption=caption)
    for s in summaries:
        table.add_row("none" if s.cutoff is None else f"{s.cutoff:,}", f"{s.n:,}",
            (f"{s.correct:,.1f}" if several else f"{s.correct:,}") if s.graded else "–",
            "–" if s.accuracy is None else f"{s.accuracy:.1%}", f"{s.tokens:,.1f}",
            f"{s.think_tokens:,.1f}", f"{s.truncated:,}", f"{s.no_answer:,}")
    Console(stderr=True).print(table)
