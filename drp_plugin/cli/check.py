"""`drp check`."""

import contextlib
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drp_plugin.cli import page
from drp_plugin.cli._options import Number
from drp_plugin.redact import visible

if TYPE_CHECKING:
    from drp_plugin.training.preflight.findings import Preflight

_SIDE = 500  # Characters of a decoded row's beginning and end
_COLOURS = {"error": "red", "warning": "yellow", "info": "cyan"}


@click.command("check", help=page("check"))
@click.argument("config", metavar="CONFIG.yaml", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--model", metavar="PATH",
              help="Tokenizer and config of the student, instead of model_name_or_path.")
@click.option("--gpus", type=click.IntRange(min=1),
              help="GPUs that will train, for steps, batch size and memory.")
@click.option("--max-cut", default=0.0, show_default=True, metavar="PERCENT",
              type=Number(0, 100), help="Share of rows that cutoff_len may cut.")
@click.option("--prompt", metavar="NAME",
              help="Prompt that the student will be asked with: a template of prompts/, a "
                   "FILE.jinja, or none (default: that of the evaluation tasks).")
@click.option("--examples", default=2, show_default=True, type=click.IntRange(min=0),
              help="Decoded rows to print.")
@click.option("--full", is_flag=True, help="Print decoded rows whole.")
@click.option("--quiet", is_flag=True, help="Print errors and warnings only.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings too.")
@click.option("--color/--no-color", default=None, help="Colours (default: on a terminal).")
def command(config: Path, overrides: tuple[str, ...], model: str | None, gpus: int | None,
            max_cut: float, prompt: str | None, examples: int, full: bool, quiet: bool,
            as_json: bool, strict: bool, color: bool | None) -> int:
    from drp_plugin.errors import UserError
    from drp_plugin.progress import Display
    from drp_plugin.sampling.arguments import pair
    from drp_plugin.training.preflight.check_config import check

    for override in overrides:
        try:
            pair(override)
        except ValueError as error:
            raise UserError(str(error), fix="For example cutoff_len=4096") from None
    with contextlib.ExitStack() as stack:
        def progress(total: int) -> Callable[[], None]:
            return stack.enter_context(
                Display("encoding rows", total, show=sys.stderr.isatty())).advance

        report = check(config, overrides=overrides, model=model, gpus=gpus, max_cut=max_cut,
                       examples=examples, prompt=prompt, progress=progress)
    code = report.exit_code(strict)
    if as_json:
        click.echo(json.dumps({"config": report.config, "exit": code, "facts": report.facts,
                               "findings": [asdict(f) for f in report.findings]},
                              ensure_ascii=False))
        return code
    if not quiet:
        _print_rows(report, color, full)
    for finding in report.problems if quiet else report.findings:
        level = click.style(f"{finding.level.value:7}", fg=_COLOURS[finding.level.value])
        click.echo(f"{level} {finding.code}: {visible(finding.text)}", color=color)
    if not quiet and not report.problems:
        click.echo("\nnothing wrong found", color=color)
    return code


def _print_rows(report: "Preflight", color: bool | None, full: bool) -> None:
    for example in report.examples:
        click.echo(click.style(f"--- {example.note} ---", bold=True), color=color)
        for title, text, colour in (("masked:  ", example.masked, "bright_black"),
                                    ("trained: ", example.trained, "green")):
            if not full and len(text) > 2 * _SIDE:  # both ends are what templates get wrong
                text = (f"{text[:_SIDE]}\n[… {len(text) - 2 * _SIDE:,} characters more, "
                        f"whole with --full …]\n{text[-_SIDE:]}")
            click.echo(click.style(title, bold=True) + click.style(visible(text), fg=colour),
                       color=color)
        click.echo("")
