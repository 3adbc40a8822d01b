"""`drp prune`: decompose, revise, verify."""

import asyncio
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click

from drp_plugin.cli import _options, page
from drp_plugin.methods import listing
from drp_plugin.prompts import Prompts
from drp_plugin.pruning.dialogue import PruneOptions
from drp_plugin.reading import Reader
from drp_plugin.reading import traces as read_traces
from drp_plugin.records import Reject, Trace
from drp_plugin.runner.job import RunOptions, Shard, check_input, part, rereadable, said
from drp_plugin.runner.outputs import prepare
from drp_plugin.runner.prune_job import method_of, prune_job
from drp_plugin.runner.session import doubt_run, finish, run_session
from drp_plugin.teachers.registry import TeacherSettings


@click.command("prune", help=page("prune") + listing())
@click.argument("traces", nargs=-1, required=True)
@_options.run_dir_option
@_options.teacher_options()
@click.option("--decompose", type=click.Choice(["skill", "default", "sentence", "indexed"]),
              default="skill", show_default=True,
              help="skill: the paper's prompt; default: its ablation; sentence: Appendix D's "
                   "baseline; indexed: ranges over numbered units, about a third of the output.")
@_options.prompts_option
@click.option("--tokenizer", default="qwen", show_default=True,
              help="Counts tokens: qwen, a tokenizer.json, a model's folder, or student.")
@click.option("--window-tokens", type=click.IntRange(50), default=8000, show_default=True,
              help="Longest part of a trace in one request.")
@click.option("--repairs", type=click.IntRange(0), default=1, show_default=True,
              help="Rounds in which a reply out of format is sent back.")
@click.option("--max-requests", type=click.IntRange(1), default=96, show_default=True,
              help="Most requests for one trace.")
@click.option("--min-coverage", type=_options.Number(0, 1), default=0.9, show_default=True,
              help="Least share of the trace that the steps must hold; 0 switches it off.")
@click.option("--keep-wrong", is_flag=True,
              help="Let traces with a wrong or no answer through, as the paper's code does.")
@click.option("--check-answer/--no-check-answer", default=True, show_default=True,
              help="The pruned response must keep the trace's final answer.")
@click.option("--check-numbers/--no-check-numbers", default=True, show_default=True,
              help="No number that neither trace nor question holds, unless right arithmetic.")
@click.option("--check-length/--no-check-length", default=True, show_default=True,
              help="The pruned response must not be longer.")
@click.option("--check-complete/--no-check-complete", default=True, show_default=True,
              help="The pruned thinking must not break off.")
@click.option("--check-language/--no-check-language", default=True, show_default=True,
              help="The pruned thinking must be in the trace's language.")
@_options.run_options
def command(settings: TeacherSettings, run: RunOptions, traces: tuple[str, ...], run_dir: Path,
            columns: dict[str, str], decompose: str, prompts_dir: Path | None, tokenizer: str,
            limit: int | None, shard: Shard | None, strict: bool, **options: Any) -> int:
    check_input(traces)
    prompts = Prompts(prompts_dir)
    counter = _options.load_counter(tokenizer)
    chosen = PruneOptions.model_validate({**options, "decompose": decompose,
                                          "sampling": settings.sampling})

    def rows() -> Iterator[Trace | Reject]:
        yield from islice(read_traces(reader), limit)  # begins when `reader` is known

    method, chosen = method_of(settings, rows, chosen, counter)
    prompts.check(method.prompts)
    prepare(run_dir)
    reader = Reader(rereadable(traces, run_dir), columns)
    job = prune_job(lambda: part(rows(), None, shard), run_dir, method, chosen, prompts, counter,
                    total=sum(1 for _ in part(reader, limit, shard)), input=said(traces),
                    limit=limit, shard=shard and str(shard), columns=columns or None,
                    base_url=settings.endpoint)
    outcome = asyncio.run(run_session(job, method.asks, settings, run))
    doubt_run(outcome, reader)
    return finish(outcome, strict=strict)
