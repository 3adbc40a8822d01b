"""`drp generate`: sample the student's own traces (§3.1)."""

import sys
from pathlib import Path
from typing import Any

import click

from drp_plugin.cli import page
from drp_plugin.cli._options import PATH, SOME, Number, columns_option, pairs, prompts_option
from drp_plugin.errors import UserError
from drp_plugin.prompts import Prompts
from drp_plugin.sampling import engines, student_traces
from drp_plugin.sampling.completions import PAPER_STUDENT
from drp_plugin.sampling.questions import load
from drp_plugin.student import model_path
from drp_plugin.terminal import say


@click.command(help=page("generate"))
@click.argument("questions")
@click.option("-o", "--output", required=True, help="JSONL of traces; - for standard output.")
@click.option("--model", help="Folder or hub name. Default: the embedded student for tiny:…, "
              "the paper's student otherwise.")
@click.option("--adapter", help="LoRA adapter's folder, used without merging.")
@click.option("--backend", default="auto",
              type=click.Choice(["auto", "hf", "vllm", "openai", "ray"]),
              help="auto: the servers that are given, vLLM on a GPU, transformers elsewhere.")
@click.option("--base-url", "base_urls", multiple=True,
              help="OpenAI-compatible server; several share the work.")
@click.option("--samples", default=1, type=SOME, help="Traces for each question.")
@click.option("--temperature", default=0.6, type=Number(0))
@click.option("--top-p", default=0.95, type=Number(0, 1, min_open=True))
@click.option("--max-new-tokens", default=32768, type=SOME)
@click.option("--stop-loops", is_flag=True, help="End traces that go round in circles.")
@click.option("--seed", default=0, type=click.IntRange(0))
@click.option("--prompt", help="Template in prompts/. Default: eval_boxed; eval_plain for tiny:….")
@prompts_option
@click.option("--limit", type=SOME, help="Only the first N questions.")
@click.option("--batch-size", type=SOME, help="Rows at a time (hf).")
@click.option("--engine-arg", "engine_args", type=pairs(), multiple=True, metavar="KEY=VALUE",
              help="Argument of the engine, such as tensor_parallel_size=4 (vllm), threads=2 (hf).")
@click.option("--ledger", type=PATH, help="Keeps finished completions. Default: beside the output.")
@columns_option
def generate(questions: str, output: str, model: str | None, backend: str, prompt: str | None,
             base_urls: tuple[str, ...], adapter: str | None, batch_size: int | None,
             prompts_dir: Path | None, limit: int | None, ledger: Path | None,
             engine_args: tuple[tuple[str, Any], ...], columns: dict[str, str],
             **sampling: Any) -> int:
    """Sample, write traces in the order of the questions; 1 where some could not be had."""
    tiny = questions.startswith("tiny:")
    rows = load(questions, columns)[:limit]
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
