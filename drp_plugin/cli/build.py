"""`drp build`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drp_plugin.cli import COMMANDS
from drp_plugin.cli._options import columns_option
from drp_plugin.training.templates import DEFAULT_TEMPLATE

if TYPE_CHECKING:
    from drp_plugin.training.sft_set import Built, SetSettings

EXAMPLES = """\b
Examples:
  drp build run -o data --name drp_gsm8k_prm12k
  drp build run-gsm8k run-prm12k -o data --name drp_gsm8k_prm12k \\
      --size 8000 --ratio gsm8k=3,prm12k=5 \\
      --tokenizer deepseek-ai/DeepSeek-R1-Distill-Qwen-7B
  drp build distilled.jsonl -o data --name drp_direct_distill
  drp build tale.jsonl -o data --name tale_pt_dpo --pairs

\b
Reads pruned.jsonl of each run directory, or a file with `question` and `response`
(docs/inputs.md lists the layouts).
Writes NAME.json in LLaMA-Factory's sharegpt format, shuffled as a whole, and registers it in
DATASET_DIR/dataset_info.json; NAME.provenance.jsonl, NAME.dropped.jsonl and the data card
NAME.md stand beside it. It splits off no validation set: `val_size` in the YAML does. The same
rows and settings give the same bytes; a set of that name with other rows stays, unless --replace.

\b
Exit code: 0 done, 1 rows were left out as unfit under --strict, 2 a mistake in the call.
"""


@click.command("build", help=f"{COMMANDS['build']}\n\n{EXAMPLES}")
@click.argument("sources", nargs=-1, required=True, metavar="RUN_DIR...")
@click.option("-o", "--output", required=True, metavar="DATASET_DIR",
              type=click.Path(file_okay=False, path_type=Path),
              help="Folder of the set and of dataset_info.json; `dataset_dir` in the YAML.")
@click.option("--name", required=True, help="Name of the set; `dataset` in the YAML.")
@click.option("--size", type=click.IntRange(min=1), help="Rows to take (Appendix B: 8000).")
@click.option("--ratio", help="Weights by data set, as gsm8k=3,prm12k=5.")
@click.option("--seed", default=42, show_default=True, help="Seed of shuffle and choice.")
@click.option("--tokenizer", metavar="PATH",
              help="The student's tokenizer, to leave out rows over the cutoff: a folder, "
                   "tokenizer.json, hub name, `qwen` or `student`.")
@click.option("--cutoff-len", default=4096, show_default=True, type=click.IntRange(min=1),
              help="Tokens of prompt and response that the YAML's cutoff_len allows.")
@click.option("--keep-over-cutoff", is_flag=True,
              help="Keep rows over the cutoff; LLaMA-Factory will cut them.")
@click.option("--template", default=DEFAULT_TEMPLATE, show_default=True,
              help="LLaMA-Factory template of the student; any of its names.")
@click.option("--prompt", metavar="NAME",
              help="Prompt that is trained: a template of prompts/, a FILE.jinja, or none for the "
                   "bare question (default: the one that each trace was sampled with).")
@click.option("--replace", "replace_set", is_flag=True,
              help="Write over a set of this name that has other rows.")
@click.option("--exclude", multiple=True, metavar="JSONL",
              help="Leave out rows whose question stands in this file (a test set). Repeatable.")
@click.option("--pairs", is_flag=True,
              help="Pairs for DPO: `response` chosen, `rejected` or `original` rejected.")
@click.option("--push-to-hub", metavar="REPO",
              help="Upload set and card to this Hugging Face data set repository (HF_TOKEN).")
@click.option("--public", is_flag=True, help="Make the pushed repository public (else private).")
@columns_option
@click.option("--strict", is_flag=True, help="Exit with 1 when rows were left out as unfit.")
def command(sources: tuple[str, ...], output: Path, name: str, size: int | None,
            ratio: str | None, seed: int, tokenizer: str | None, cutoff_len: int,
            keep_over_cutoff: bool, template: str, prompt: str | None, replace_set: bool,
            exclude: tuple[str, ...], pairs: bool, columns: dict[str, str],
            push_to_hub: str | None, public: bool, strict: bool) -> int:
    from rich.console import Console
    from rich.progress import Progress

    from drp_plugin.cli._options import load_counter as token_counter
    from drp_plugin.training.mixing import parse_ratio
    from drp_plugin.training.sft_set import SetSettings, build
    from drp_plugin.training.sources import Why

    counter = token_counter(tokenizer) if tokenizer else None
    count = counter.count if counter else None
    settings = SetSettings(name=name, size=size, ratio=parse_ratio(ratio) if ratio else None,
                           seed=seed, template=template, prompt=prompt, cutoff_len=cutoff_len,
                           keep_over_cutoff=keep_over_cutoff, pairs=pairs)
    console = Console(stderr=True, highlight=False)
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("reading rows", total=None)
        built = build(sources, output, settings, tokenizer=tokenizer, count=count,
                      counted_by=counter.name if counter else None, exclude=exclude,
                      columns=columns, replace_set=replace_set, tick=lambda: bar.advance(task))
    _tell(built, sources, settings, count is not None)
    click.echo(str(built.file))
    if push_to_hub:
        from drp_plugin.training.publish import push

        click.echo(push(built.file.parent, name, push_to_hub, private=not public))
    unfit = [d for d in built.dropped if d.reason is not Why.NOT_SAMPLED]
    return 1 if strict and unfit else 0


def _tell(built: Built, sources: tuple[str, ...], settings: SetSettings, counted: bool) -> None:
    """What was made, what was left out and why, on standard error."""
    from drp_plugin.inspection.run_statistics import not_reached
    from drp_plugin.training.sft_set import first_of
    from drp_plugin.training.sources import Why

    facts = built.card
    lines = [f"{built.rows} of {facts['rows_in']} rows in {settings.name}: "
             + ", ".join(f"{k} {v}" for k, v in facts["sources"].items()),
             *(f"left out: {number} {reason}" + ("" if reason == Why.NOT_SAMPLED else
               f"; the first: {first_of(built.dropped, reason)}")
               for reason, number in facts["dropped"].items())]
    lines += [f"note: {source} is not complete, {left} of its rows were not reached; run the same "
              "`drp prune` again to go on" for source in sources if (left := not_reached(source))]
    if settings.size and built.rows < settings.size:
        lines.append(f"note: only {built.rows} of --size {settings.size} rows could be had"
                     + (" at this ratio" if settings.ratio else ""))
    if not counted:
        lines.append("note: rows over the cutoff were not counted; give --tokenizer to count them")
    elif facts["over_cutoff"]:
        lines.append(f"note: {facts['over_cutoff']} rows are over {settings.cutoff_len} tokens and "
                     "will be cut")
    for line in [*lines, *(f"note: {note}" for note in built.notes)]:
        click.echo(line, err=True)
