"""`drp build`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drp_plugin.cli import page
from drp_plugin.cli._options import columns_option
from drp_plugin.training.templates import DEFAULT_TEMPLATE

if TYPE_CHECKING:
    from drp_plugin.training.sft_set import Built, SetSettings


@click.command("build", help=page("build"))
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
@click.option("--test-set", "test_sets", multiple=True, metavar="SET",
              help="Tell rows whose question is, or nearly is, one of this test set: a task "
                   "(drp_gsm8k), a group (drp), a set of questions, a file. Repeatable.")
@click.option("--drop-overlap", is_flag=True, help="Leave out the rows that --test-set tells.")
@click.option("--pairs", is_flag=True,
              help="Pairs for DPO: `response` chosen, `rejected` or `original` rejected.")
@click.option("--push-to-hub", metavar="REPO",
              help="Upload set and card to this Hugging Face data set repository (HF_TOKEN).")
@click.option("--public", is_flag=True, help="Make the pushed repository public (else private).")
@columns_option
@click.option("--strict", is_flag=True, help="Exit with 1 when rows were left out as unfit.")
def command(sources: tuple[str, ...], output: Path, name: str, ratio: str | None,
            tokenizer: str | None, replace_set: bool, exclude: tuple[str, ...],
            columns: dict[str, str], push_to_hub: str | None, public: bool, strict: bool,
            **chosen: Any) -> int:
    from drp_plugin.cli._options import load_counter as token_counter
    from drp_plugin.progress import Display
    from drp_plugin.training.mixing import parse_ratio
    from drp_plugin.training.sft_set import SetSettings, build
    from drp_plugin.training.sources import Why

    counter = token_counter(tokenizer) if tokenizer else None
    settings = SetSettings(name=name, ratio=parse_ratio(ratio) if ratio else None, **chosen)
    with Display("reading rows", None, show=sys.stderr.isatty()) as display:
        built = build(sources, output, settings, tokenizer=tokenizer, exclude=exclude,
                      columns=columns, count=counter.count if counter else None,
                      counted_by=counter.name if counter else None, replace_set=replace_set,
                      tick=display.advance)
    _tell(built, sources, settings, counter is not None)
    click.echo(str(built.file))
    if push_to_hub:
        from drp_plugin.training.dataset_info import push

        click.echo(push(built.file.parent, name, push_to_hub, private=not public))
    return int(strict and any(d.reason is not Why.NOT_SAMPLED for d in built.dropped))


def _tell(built: "Built", sources: tuple[str, ...], settings: "SetSettings", counted: bool) -> None:
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
    if found := facts["overlap"]:
        same = sum(row["similarity"] == 1 for row in found)
        ids = ", ".join(row["id"] for row in found[:5]) + ", …" * (len(found) > 5)
        lines.append(f"note: {same} rows ask a question of the test sets, {len(found) - same} "
                     f"nearly one: {ids}; {settings.name}.card.json lists them. --drop-overlap "
                     "leaves them out")
    for line in [*lines, *(f"note: {note}" for note in built.notes)]:
        click.echo(line, err=True)
