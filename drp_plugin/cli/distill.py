"""`drp distill`: the direct-distillation ablation."""

import asyncio
from pathlib import Path

import click

from drp_plugin import __version__
from drp_plugin.cli import _options, page
from drp_plugin.errors import UserError
from drp_plugin.llm.ledger_client import RowClient
from drp_plugin.methods import is_method
from drp_plugin.methods.direct_distillation import distill
from drp_plugin.prompts import Prompts
from drp_plugin.pruning.dialogue import PruneOptions
from drp_plugin.reading import Reader, traces
from drp_plugin.records import Pruned, Reject, Trace
from drp_plugin.runner.job import Job, RunOptions, Shard, check_input, part, rereadable, said
from drp_plugin.runner.outputs import prepare
from drp_plugin.runner.session import finish, run_session
from drp_plugin.teachers.registry import TeacherSettings


@click.command("distill", help=page("distill"))
@click.argument("questions", nargs=-1, required=True)
@_options.run_dir_option
@_options.teacher_options()
@_options.prompts_option
@click.option("--tokenizer", default="qwen", show_default=True, help="Counts tokens.")
@click.option("--repairs", type=click.IntRange(0), default=1, show_default=True,
              help="Rounds in which a reply out of format is sent back.")
@click.option("--keep-wrong", is_flag=True, help="Keep solutions with another answer than gold.")
@_options.run_options
def command(settings: TeacherSettings, run: RunOptions, questions: tuple[str, ...],
            run_dir: Path, columns: dict[str, str], prompts_dir: Path | None, tokenizer: str,
            repairs: int, keep_wrong: bool, limit: int | None, shard: Shard | None,
            strict: bool) -> int:
    check_input(questions)
    if settings.teacher.partition(":")[0] == "offline" or is_method(settings.teacher):
        raise UserError(f"teacher {settings.teacher} cannot solve problems",
                        fix="Direct distillation needs a model: openai:MODEL, gemini:MODEL, "
                            "vllm:PATH")
    teacher = settings.make()
    prompts = Prompts(prompts_dir)
    prompts.check(["distill", *["repair"] * bool(repairs)])
    counter = _options.load_counter(tokenizer)
    options = PruneOptions(teacher=teacher.name, sampling=settings.sampling, repairs=repairs,
                           keep_wrong=keep_wrong)
    prepare(run_dir)
    reader = Reader(rereadable(questions, run_dir), columns, answers=False)

    async def flow(row: Trace, client: RowClient) -> Pruned | Reject:
        return await distill(row, client, options, prompts=prompts, count=counter.count)

    job = Job(
        rows=lambda: part(traces(reader), limit, shard), flow=flow, run_dir=run_dir,
        total=sum(1 for _ in part(reader, limit, shard)),
        settings={"command": "distill", "version": __version__, "input": said(questions),
                  "limit": limit, "shard": shard and str(shard), "columns": columns or None,
                  "base_url": settings.endpoint,
                  "tokenizer": counter.name, "prompts_hash": prompts.hash,
                  **options.model_dump(mode="json", include={"teacher", "sampling", "repairs",
                                                             "keep_wrong"})})
    return finish(asyncio.run(run_session(job, teacher, settings, run)), strict=strict)
