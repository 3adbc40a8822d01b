"""`drp generate`: sample the student's own traces (§3.1)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from drp_plugin.cli._pairs import PairType, columns_option
from drp_plugin.errors import UserError
from drp_plugin.records import Question

_LOOKED_AT = 200
"""Traces that are graded to see whether any is right."""

EXAMPLES = """\b
Examples:
  drp generate gsm8k_train -o traces.jsonl --model deepseek-ai/DeepSeek-R1-Distill-Qwen-7B
  drp generate questions.jsonl -o traces.jsonl --model ./student --backend hf --samples 4
  drp generate prm12k_train -o traces.jsonl --base-url http://a:8000/v1 --base-url http://b:8000/v1
  drp generate gsm8k_train -o traces.jsonl --model ./student --backend ray --engine-arg workers=8
  drp generate tiny:sft:steps2+steps3+steps4:900 -o traces.jsonl     the embedded student

\b
QUESTIONS is a JSONL file (question, and id and answer where known; docs/inputs.md lists other
layouts), `-`, one of gsm8k_train,
prm12k_train, gsm8k_test, math500_test, aime24_test, amc23_test (from the folder that DRP_DATA_DIR
names, else from the hub), or tiny:SPLIT:LEVELS:N.
"""


@click.command(help=f"Sample the student's own traces.\n\n{EXAMPLES}")
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
@click.option("--temperature", default=0.6, show_default=True, type=click.FloatRange(0))
@click.option("--top-p", default=0.95, show_default=True,
              type=click.FloatRange(0, 1, min_open=True))
@click.option("--max-new-tokens", default=32768, show_default=True, type=click.IntRange(1))
@click.option("--stop-loops", is_flag=True, help="End traces that go round in circles.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--prompt", help="Template in prompts/. Default: eval_boxed; eval_plain for tiny:….")
@click.option("--prompts", "prompts_dir", type=click.Path(path_type=Path),
              help="Folder whose templates win over the shipped ones.")
@click.option("--limit", type=click.IntRange(1), help="Only the first N questions.")
@click.option("--batch-size", type=click.IntRange(1), help="Rows at a time (hf).")
@click.option("--engine-arg", "engine_args", type=PairType(), multiple=True,
              help="Argument of the engine, such as tensor_parallel_size=4 (vllm), threads=2 (hf).")
@click.option("--ledger", type=click.Path(path_type=Path),
              help="Keeps finished completions. Default: beside the output.")
@columns_option
def command(questions: str, output: str, base_urls: tuple[str, ...], **options: Any) -> int:
    """Run `drp generate`."""
    return run(questions, output, base_urls=base_urls, **options)


def run(questions: str, output: str, *, model: str | None, adapter: str | None, backend: str,
        base_urls: tuple[str, ...], samples: int, temperature: float, top_p: float,
        max_new_tokens: int, stop_loops: bool, seed: int, prompt: str | None,
        prompts_dir: Path | None, limit: int | None, batch_size: int | None,
        engine_args: tuple[tuple[str, Any], ...], ledger: Path | None,
        columns: dict[str, str] | None = None) -> int:
    """Sample, write traces in the order of the questions; 1 where some could not be had."""
    from drp_plugin import jsonl
    from drp_plugin.llm.ledger import Ledger
    from drp_plugin.llm.messages import Message
    from drp_plugin.prompts import Prompts
    from drp_plugin.sampling import engines
    from drp_plugin.sampling.completions import (
        PAPER_STUDENT,
        Completion,
        Failed,
        SampleRequest,
        derived_seed,
    )
    from drp_plugin.sampling.progress import Progress
    from drp_plugin.sampling.questions import load
    from drp_plugin.sampling.through_ledger import complete

    tiny = questions.startswith("tiny:")
    rows = load(questions, columns)[:limit]
    if not rows:
        raise UserError("holds no questions", file=questions)
    templates = Prompts(prompts_dir)
    name = prompt or ("eval_plain" if tiny else "eval_boxed")
    places: list[tuple[Question, int]] = [(row, k) for row in rows for k in range(samples)]
    requests = []
    for row, k in places:
        text = templates.render(name, question=row.question)
        requests.append(SampleRequest(
            messages=(Message(role="user", content=text),), temperature=temperature, top_p=top_p,
            max_new_tokens=max_new_tokens, stop_loops=stop_loops,
            seed=derived_seed(seed, text, k)))
    if model is None and not base_urls:
        from drp_plugin.student import model_path

        model = str(model_path()) if tiny else PAPER_STUDENT
    sampler = engines.make(backend, model, base_urls=base_urls, adapter=adapter,
                           batch_size=batch_size, **dict(engine_args))
    called = model or str(sampler.identity.get("model"))
    if ledger is None and output != "-":
        ledger = Path(f"{output}.ledger.sqlite")
    store = None if ledger is None else Ledger(ledger)
    try:
        with Progress(len(requests), "drp generate") as progress:
            outcomes = complete(sampler, requests, ledger=store, report=progress)
    finally:
        if store is not None:
            store.close()
    done = [(place, o) for place, o in zip(places, outcomes, strict=True)
            if isinstance(o, Completion)]
    jsonl.write(output, ({
        **row.model_dump(exclude={"id"}), "id": row.id if samples == 1 else f"{row.id}#{k}",
        "response": o.text, "model": called, "prompt": templates.origin(name),
        "tokens": o.tokens, "finish": o.finish}
        for (row, k), o in done))
    if doubt := _doubt([(row, o) for (row, _), o in done]):
        print(f"drp: {questions}: {doubt}", file=sys.stderr)
    failed = [o.error for o in outcomes if isinstance(o, Failed)]
    lengths = sum(o.tokens for _, o in done)
    cut = sum(o.finish != "stop" for _, o in done)
    print(f"{len(done)} traces, {lengths / max(len(done), 1):.0f} tokens on average, {cut} cut off",
          file=sys.stderr)
    if failed:
        print(f"drp: {len(failed)} of {len(outcomes)} completions failed, the first with: "
              f"{failed[0]}. Run the same command again to try them once more", file=sys.stderr)
    return 1 if failed else 0


def _doubt(done: list[tuple[Question, Any]]) -> str | None:
    """Why the traces may be of no use, by the first of them."""
    from drp_plugin.grading import grade
    from drp_plugin.reading.reader import Seen

    seen = Seen()
    right = graded = 0
    for row, completion in done[:_LOOKED_AT]:
        seen.add(row.answer, [completion])
        if row.answer is not None:
            graded += 1
            right += grade(completion.text, row.answer, row.dataset).correct
    return seen.doubt(graded, right)
