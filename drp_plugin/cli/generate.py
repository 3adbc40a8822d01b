"""`drp generate`: sample the student's own traces (§3.1)."""

import sys
from pathlib import Path
from typing import Any

import click

from drp_plugin.cli import page
from drp_plugin.cli._options import Number, columns_option, pairs
from drp_plugin.errors import UserError
from drp_plugin.prompts import Prompts
from drp_plugin.sampling import engines
from drp_plugin.sampling.completions import PAPER_STUDENT
from drp_plugin.sampling.questions import load
from drp_plugin.sampling.student_traces import TraceRequests, generate
from drp_plugin.student import model_path
from drp_plugin.terminal import say


@click.command(help=page("generate"))
@click.argument("questions")
@click.option("-o", "--output", required=True, help="JSONL of traces; - for standard output.")
@click.option("--model", help="Folder or hub name. Default: the embedded student for tiny:…, "
              "the paper's student otherwise.")
@click.option("--adapter", help="LoRA adapter's folder, used without merging.")
@click.option("--backend", default="auto", show_default=True,
              type=click.Choice(["auto", "hf", "vllm", "openai", "ray"]),
              help="auto: the servers that are given, vLLM on a GPU, transformers elsewhere.")
@click.option("--base-url", "base_urls", multiple=True,
              help="OpenAI-compatible server; several share the work.")
@click.option("--samples", default=1, show_default=True, type=click.IntRange(1),
              help="Traces for each question.")
@click.option("--temperature", default=0.6, show_default=True, type=Number(0))
@click.option("--top-p", default=0.95, show_default=True,
              type=Number(0, 1, min_open=True))
@click.option("--max-new-tokens", default=32768, show_default=True, type=click.IntRange(1))
@click.option("--stop-loops", is_flag=True, help="End traces that go round in circles.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--prompt", help="Template in prompts/. Default: eval_boxed; eval_plain for tiny:….")
@click.option("--prompts", "prompts_dir", type=click.Path(path_type=Path),
              help="Folder whose templates win over the shipped ones.")
@click.option("--limit", type=click.IntRange(1), help="Only the first N questions.")
@click.option("--batch-size", type=click.IntRange(1), help="Rows at a time (hf).")
@click.option("--engine-arg", "engine_args", type=pairs(), multiple=True, metavar="KEY=VALUE",
              help="Argument of the engine, such as tensor_parallel_size=4 (vllm), threads=2 (hf).")
@click.option("--ledger", type=click.Path(path_type=Path),
              help="Keeps finished completions. Default: beside the output.")
@columns_option
def command(questions: str, output: str, model: str | None, adapter: str | None, backend: str,
            base_urls: tuple[str, ...], batch_size: int | None, prompt: str | None,
            prompts_dir: Path | None, limit: int | None,
            engine_args: tuple[tuple[str, Any], ...], ledger: Path | None, columns: dict[str, str],
            **sampling: Any) -> int:
    """Sample, write traces in the order of the questions; 1 where some could not be had."""
    tiny = questions.startswith("tiny:")
    rows = load(questions, columns)[:limit]
    if not rows:
        raise UserError("holds no questions", file=questions)
    name = prompt or ("eval_plain" if tiny else "eval_boxed")
    requests = TraceRequests(rows, Prompts(prompts_dir), name, **sampling)
    if prompts_dir and requests.prompt == name:
        raise UserError(f"holds no {name}.jinja, which the questions would be put in",
                        file=prompts_dir, fix="Name a template of it with --prompt NAME")
    if model is None and not base_urls:
        model = str(model_path()) if tiny else PAPER_STUDENT
    sampler = engines.make(backend, model, base_urls=base_urls, adapter=adapter,
                           batch_size=batch_size, **dict(engine_args))
    if ledger is None and output != "-":
        ledger = Path(f"{output}.ledger.sqlite")
    done = generate(sampler, requests, output, ledger=ledger,
                    model=model or str(sampler.identity.get("model")))
    print(f"{done.traces} traces, {done.tokens / max(done.traces, 1):.0f} tokens on average, "
          f"{done.cut} cut off", file=sys.stderr)
    if doubt := done.doubt():
        say(f"{questions}: {doubt}")
    for line in done.failures():
        say(line)
    return 1 if done.failed else 0
