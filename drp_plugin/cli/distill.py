"""`drp distill`: the direct-distillation ablation."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from drp_plugin.cli._counter import counter as token_counter
from drp_plugin.cli._teacher import run_options, teacher_options
from drp_plugin.errors import UserError
from drp_plugin.runner.job import RunOptions
from drp_plugin.teachers.registry import TeacherSettings

HELP = """Have a teacher answer the questions itself (direct distillation, the paper's §6.2).

QUESTIONS is a JSONL file (`-` for standard input), one question a line: id, question, answer
(gold, where known); traces will do. RUN_DIR gets the same files as with `drp prune`, and
`drp build` takes it in the same way. A run that --max-cost stopped exits with 3.

\b
Examples:
  drp distill gsm8k_train.jsonl -o run-distill --teacher openai:gpt-4o --forecast
  drp distill gsm8k_train.jsonl -o run-distill --teacher openai:gpt-4o --batch
"""


@click.command("distill", help=HELP)
@click.argument("questions")
@click.option("-o", "--output", "run_dir", required=True, metavar="RUN_DIR",
              type=click.Path(path_type=Path), help="The run's folder.")
@teacher_options()
@click.option("--prompts", "prompts_dir", type=click.Path(path_type=Path), metavar="DIR",
              help="A folder whose *.jinja files take the place of the shipped prompts.")
@click.option("--tokenizer", default="qwen", show_default=True, help="Counts tokens.")
@click.option("--repairs", type=click.IntRange(0), default=1, show_default=True,
              help="Rounds in which a reply out of format is sent back.")
@click.option("--keep-wrong", is_flag=True, help="Keep solutions with another answer than gold.")
@run_options
@click.option("--limit", type=click.IntRange(1), help="Only the first N rows.")
@click.option("--strict", is_flag=True, help="Exit with 1 when a row was rejected.")
def command(settings: TeacherSettings, run: RunOptions, questions: str, run_dir: Path,
            prompts_dir: Path | None, tokenizer: str, repairs: int, keep_wrong: bool,
            limit: int | None, strict: bool) -> int:
    from itertools import islice

    from drp_plugin import __version__
    from drp_plugin.llm.ledger_client import RowClient
    from drp_plugin.methods.direct_distillation import distill
    from drp_plugin.methods.direct_distillation import questions as read_questions
    from drp_plugin.prompts import Prompts
    from drp_plugin.pruning.options import PruneOptions
    from drp_plugin.records import Pruned, Reject, Trace
    from drp_plugin.runner.job import Job, count_rows, rereadable
    from drp_plugin.runner.outputs import prepare
    from drp_plugin.runner.session import finish, run_session

    if questions != "-" and not Path(questions).is_file():
        raise UserError("no such file", file=questions, fix="Check the path")
    if settings.teacher.split(":")[0] in ("offline", "earliest-correct"):
        raise UserError(f"teacher {settings.teacher} cannot solve problems",
                        fix="Direct distillation needs a model: openai:MODEL, gemini:MODEL, "
                            "vllm:PATH")
    teacher = settings.make()
    prompts = Prompts(prompts_dir)
    prompts.check(["distill", *["repair"] * bool(repairs)])
    counter = token_counter(tokenizer)
    options = PruneOptions(teacher=teacher.name, sampling=settings.sampling, repairs=repairs,
                           keep_wrong=keep_wrong)
    prepare(run_dir)
    path = rereadable(questions, run_dir)

    async def flow(row: Trace, client: RowClient) -> Pruned | Reject:
        return await distill(row, client, options, prompts=prompts, count=counter.count)

    job = Job(
        rows=lambda: islice(read_questions(path), limit), flow=flow, run_dir=run_dir,
        total=count_rows(path, limit),
        settings={"command": "distill", "version": __version__, "input": questions,
                  "limit": limit, "base_url": settings.endpoint, "tokenizer": counter.name,
                  "prompts_hash": prompts.hash,
                  **options.model_dump(mode="json", include={"teacher", "sampling", "repairs",
                                                             "keep_wrong"})})
    return finish(asyncio.run(run_session(job, teacher, settings, run)), strict=strict)
