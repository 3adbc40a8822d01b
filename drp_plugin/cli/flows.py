"""`drp generate`, `prune`, `distill`, `merge`: from questions to rows; a teacher to try with."""

import asyncio
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click

from drp_plugin import __version__, jsonl
from drp_plugin.cli import _options
from drp_plugin.errors import UserError
from drp_plugin.llm.ledger_client import RowClient
from drp_plugin.methods import direct_distillation, is_method, listing
from drp_plugin.prompts import Prompts
from drp_plugin.pruning import PruneOptions
from drp_plugin.reading import Reader
from drp_plugin.reading import traces as read_traces
from drp_plugin.records import Pruned, Reject, Trace
from drp_plugin.runner import merging
from drp_plugin.runner.job import Job, Shard, check_input, part, rereadable, said
from drp_plugin.runner.session import doubt_run, finish, method_of, prune_job, run_session
from drp_plugin.sampling import engines, student_traces
from drp_plugin.sampling.completions import PAPER_STUDENT
from drp_plugin.sampling.questions import load
from drp_plugin.seen import Kept
from drp_plugin.student import model_path
from drp_plugin.terminal import phrase, say


@_options.command("generate")
def generate(questions: str, output: str, model: str | None, backend: str, prompt: str | None,
             base_urls: tuple[str, ...], adapter: str | None, batch_size: int | None,
             prompts_dir: Path | None, limit: int | None, ledger: Path | None,
             engine_args: tuple[tuple[str, Any], ...], columns: dict[str, str],
             **sampling: Any) -> int:
    jsonl.check_output(output, questions)
    tiny = questions.startswith("tiny:")
    rows = Kept(islice(load(questions, columns), limit))
    if not rows:
        raise UserError("holds no questions", file=questions)
    name = prompt or ("eval_plain" if tiny else "eval_boxed")
    requests = student_traces.TraceRequests(rows, Prompts(prompts_dir), name, **sampling)
    if prompts_dir and requests.prompt == name:
        raise UserError(f"holds no {name}.jinja, which the questions would be put in",
                        file=prompts_dir, fix="Name a template of it with --prompt NAME")
    if model is None and not base_urls:
        model = str(model_path()) if tiny else PAPER_STUDENT
    sampler = engines.make(backend, model, base_urls=base_urls, adapter=adapter,
                           batch_size=batch_size, **dict(engine_args))
    if ledger is None and output != "-":
        ledger = Path(f"{output}.ledger.sqlite")
    done = student_traces.generate(sampler, requests, output, ledger=ledger,
                                   model=model or str(sampler.identity.get("model")))
    print(phrase("sampled", done.traces, tokens=done.tokens / max(done.traces, 1), cut=done.cut),
          file=sys.stderr)
    if doubt := done.doubt():
        say(f"{questions}: {doubt}")
    for line in done.failures():
        say(line)
    return int(bool(done.failed))


@_options.command("prune", listing())
def prune(traces: tuple[str, ...], run_dir: Path, columns: dict[str, str],
          prompts_dir: Path | None, tokenizer: str, limit: int | None, shard: Shard | None,
          strict: bool, **given: Any) -> int:
    check_input(traces)
    settings, run = _options.teacher_settings(given), _options.how_to_run(given)
    prompts, counter = Prompts(prompts_dir), _options.load_counter(tokenizer)

    def rows() -> Iterator[Trace | Reject]:
        yield from islice(read_traces(reader), limit)  # begins when `reader` is known

    method, options = method_of(settings, rows, PruneOptions.model_validate(
        {**given, "sampling": settings.sampling}), counter)
    prompts.check(method.prompts)
    jsonl.check_folder(run_dir)
    reader = Reader(rereadable(traces, run_dir), columns)
    job = prune_job(lambda: part(rows(), None, shard), run_dir, method, options, prompts, counter,
        total=sum(1 for _ in part(reader, limit, shard)), input=said(traces), limit=limit,
        shard=shard and str(shard), columns=columns or None, base_url=settings.endpoint)
    outcome = asyncio.run(run_session(job, method.asks, settings, run))
    doubt_run(outcome, reader)
    return finish(outcome, strict=strict)


@_options.command("distill")
def distill(questions: tuple[str, ...], run_dir: Path, columns: dict[str, str],
            prompts_dir: Path | None, tokenizer: str, limit: int | None, shard: Shard | None,
            strict: bool, **given: Any) -> int:
    check_input(questions)
    settings, run = _options.teacher_settings(given), _options.how_to_run(given)
    if settings.teacher.partition(":")[0] == "offline" or is_method(settings.teacher):
        raise UserError(f"teacher {settings.teacher} cannot solve problems", fix="Direct "
                        "distillation needs a model: openai:MODEL, gemini:MODEL, vllm:PATH")
    teacher, prompts = settings.make(), Prompts(prompts_dir)
    prompts.check(["distill", *["repair"] * bool(given["repairs"])])
    counter = _options.load_counter(tokenizer)
    options = PruneOptions(teacher=teacher.name, sampling=settings.sampling, **given)
    jsonl.check_folder(run_dir)
    reader = Reader(rereadable(questions, run_dir), columns, answers=False)

    async def flow(row: Trace, client: RowClient) -> Pruned | Reject:
        return await direct_distillation.distill(row, client, options, prompts=prompts,
                                                 count=counter.count)

    job = Job(rows=lambda: part(read_traces(reader), limit, shard), flow=flow, run_dir=run_dir,
        total=sum(1 for _ in part(reader, limit, shard)),
        settings={"command": "distill", "version": __version__, "input": said(questions),
                  "limit": limit, "shard": shard and str(shard), "columns": columns or None,
                  "base_url": settings.endpoint, "tokenizer": counter.name,
                  "prompts_hash": prompts.hash, **options.model_dump(
                      mode="json", include={"teacher", "sampling", *given})})
    return finish(asyncio.run(run_session(job, teacher, settings, run)), strict=strict)


@_options.command("merge")
def merge(runs: tuple[Path, ...], run_dir: Path) -> int:
    written, notes = merging.merge(runs, run_dir)
    for note in notes:
        say(f"note: {note}")
    say(f"{run_dir}: {written.line()}")
    click.echo(str(run_dir))
    return 0 if written.pruned else 2


@_options.command("serve-teacher")
def serve_teacher(host: str, port: int, model: str, quality: float, delay: float) -> None:
    from drp_plugin.teachers.offline import OfflineTeacher
    from drp_plugin.teachers.serve import serve

    serve(OfflineTeacher(quality=quality), host=host, port=port, model=model, delay_s=delay)
