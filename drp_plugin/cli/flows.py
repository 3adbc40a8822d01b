"""`drp generate`, `prune`, `distill`, `merge`: from questions to rows; a teacher to try with."""

import asyncio
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click

from drp_plugin import __version__, jsonl
from drp_plugin.cli import _options, page
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
from drp_plugin.terminal import say


@click.command(help=page("generate"))
@click.argument("questions")
@click.option("-o", "--output", required=True)
@click.option("--model")
@click.option("--adapter")
@click.option("--backend", default="auto",
              type=click.Choice(["auto", "hf", "vllm", "openai", "ray"]))
@click.option("--base-url", "base_urls", multiple=True)
@click.option("--samples", default=1, type=_options.SOME)
@click.option("--temperature", default=0.6, type=_options.Number(0, 2))
@click.option("--top-p", default=0.95, type=_options.Number(0, 1, min_open=True))
@click.option("--max-new-tokens", default=32768, type=_options.SOME)
@click.option("--stop-loops", is_flag=True)
@click.option("--seed", default=0, type=click.IntRange(0, _options.SEED.max))
@click.option("--prompt")
@_options.prompts_option
@click.option("--limit", type=_options.SOME)
@click.option("--batch-size", type=_options.SOME)
@click.option("--engine-arg", "engine_args", type=_options.pairs(), multiple=True,
              metavar="KEY=VALUE")
@click.option("--ledger", type=_options.PATH)
@_options.columns_option
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
    print(f"{done.traces} traces, {done.tokens / max(done.traces, 1):.0f} tokens on average, "
          f"{done.cut} cut off", file=sys.stderr)
    if doubt := done.doubt():
        say(f"{questions}: {doubt}")
    for line in done.failures():
        say(line)
    return int(bool(done.failed))


@click.command(help=page("prune") + listing())
@click.argument("traces", nargs=-1, required=True)
@_options.run_dir_option
@_options.teacher_options()
@click.option("--decompose", type=click.Choice(["skill", "default", "sentence", "indexed"]),
              default="skill")
@click.option("--window-tokens", type=click.IntRange(50, _options.MOST), default=8000)
@click.option("--max-requests", type=_options.SOME, default=96)
@click.option("--min-coverage", type=_options.Number(0, 1), default=0.9)
@_options.adding(*(click.option(f"--check-{name}/--no-check-{name}", default=True)
                   for name in ("answer", "numbers", "length", "complete", "language")))
@_options.run_options
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


@click.command(help=page("distill"))
@click.argument("questions", nargs=-1, required=True)
@_options.run_dir_option
@_options.teacher_options()
@_options.run_options
def distill(questions: tuple[str, ...], run_dir: Path, columns: dict[str, str],
            prompts_dir: Path | None, tokenizer: str, limit: int | None, shard: Shard | None,
            strict: bool, **given: Any) -> int:
    check_input(questions)
    settings, run = _options.teacher_settings(given), _options.how_to_run(given)
    if settings.teacher.partition(":")[0] == "offline" or is_method(settings.teacher):
        raise UserError(f"teacher {settings.teacher} cannot solve problems", fix="Direct "
                        "distillation needs a model: openai:MODEL, gemini:MODEL, vllm:PATH")
    teacher = settings.make()
    prompts = Prompts(prompts_dir)
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


@click.command(help=page("merge"))
@click.argument("runs", nargs=-1, required=True, metavar="RUN_DIR...", type=_options.PATH)
@_options.run_dir_option
def merge(runs: tuple[Path, ...], run_dir: Path) -> int:
    written, notes = merging.merge(runs, run_dir)
    for note in notes:
        say(f"note: {note}")
    say(f"{run_dir}: {written.line()}")
    click.echo(str(run_dir))
    return 0 if written.pruned else 2


@click.command(help=page("serve-teacher"))
@click.option("--host", default="127.0.0.1")
@click.option("--port", type=click.IntRange(1, 65535), default=8100)
@click.option("--model", default="offline-rules")
@click.option("--quality", type=_options.Number(0, 1, min_open=True), default=1.0)
@click.option("--delay", type=_options.Number(0, _options.MOST), default=0.0)
def serve_teacher(host: str, port: int, model: str, quality: float, delay: float) -> None:
    from drp_plugin.teachers.offline import OfflineTeacher
    from drp_plugin.teachers.serve import serve

    say(f"offline rules (no model) at http://{host}:{port}/v1 as {model!r}; Ctrl-C ends it")
    serve(OfflineTeacher(quality=quality), host=host, port=port, model=model, delay_s=delay)
