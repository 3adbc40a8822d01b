"""`drp init`, `drp build`, `drp check`: what LLaMA-Factory is given, and whether it is right."""

import contextlib
import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from drp_plugin.cli import _options
from drp_plugin.errors import UserError
from drp_plugin.inspection.rows import not_reached
from drp_plugin.progress import Display
from drp_plugin.redact import visible
from drp_plugin.resources import filled, phrase
from drp_plugin.sampling.arguments import pair
from drp_plugin.training import dataset_info, mixing, sft_set, workspace
from drp_plugin.training.preflight import check_config
from drp_plugin.training.sft_set import Built, SetSettings
from drp_plugin.training.sources import Why

_SIDE = 500  # Characters of a decoded row's beginning and end


@_options.command("init")
def init(folder: Path, student: str | None, template: str | None, **given: Any) -> None:
    if template and not student:
        raise UserError("--template goes with --student", fix="Give --student MODEL as well")
    own = workspace.own_student(student, template) if student else None
    written, kept = workspace.init(folder, student=own, **given)
    click.echo(f"{phrase('files', len(written))} written in {folder}" + bool(kept) * (
        phrase("other_contents", len(kept), first=next(iter(kept), None))) +
        "; the rest is there already" * (not written), err=True)
    if any(c.isspace() for c in str(folder.resolve())):
        click.echo("note: torchrun cannot start a YAML whose path has spaces", err=True)
    for path in written:
        if path.parent == folder.resolve():
            click.echo(str(path))
    more = ["--template", own.template, "--tokenizer", own.model] if own else []
    build = ["drp", "build", "RUN_DIR", "-o", str(given["dataset_dir"] or folder / "data"),
             "--name", "drp_gsm8k_prm12k", *more]
    config = shlex.quote(f"{folder}/drp_{own.name if own else 'qwen7b'}.yaml")
    click.echo(f"next: {shlex.join(build)}, then drp check {config}", err=True)


@_options.command("build")
def build(sources: tuple[str, ...], output: Path, name: str, ratio: str | None,
          tokenizer: str | None, replace_set: bool, exclude: tuple[str, ...],
          columns: dict[str, str], push_to_hub: str | None, public: bool, strict: bool,
          **chosen: Any) -> int:
    if tokenizer:
        _options.load_counter(tokenizer)  # it says if another one counts
    settings = SetSettings(name=name, ratio=mixing.parse_ratio(ratio) if ratio else None, **chosen)
    with Display("reading rows", None, show=sys.stderr.isatty()) as display:
        built = sft_set.build(sources, output, settings, tokenizer=tokenizer, exclude=exclude,
            columns=columns, replace_set=replace_set, tick=display.advance)
    _tell(built, sources, settings, tokenizer is not None)
    click.echo(str(built.file))
    if push_to_hub:
        click.echo(dataset_info.push(built.file.parent, name, push_to_hub, private=not public))
    return int(strict and any(reason is not Why.NOT_SAMPLED for reason in built.reasons))


def _tell(built: Built, sources: tuple[str, ...], settings: SetSettings, counted: bool) -> None:
    """Print on standard error what was made, and what was left out and why."""
    dropped = {reason: (number, "" if reason is Why.NOT_SAMPLED else first)
               for reason, (number, first) in built.reasons.items()}
    click.echo(filled("build.txt.jinja", **built.card | {
        "settings": settings, "counted": counted, "rows": built.rows, "notes": built.notes,
        "dropped": dropped, "incomplete": {
            source: left for source in sources if (left := not_reached(source))}}),
        err=True, nl=False)


@_options.command("check")
def check(config: Path, overrides: tuple[str, ...], full: bool, quiet: bool, as_json: bool,
          strict: bool, color: bool | None, **given: Any) -> int:
    for override in overrides:
        try:
            pair(override)
        except ValueError as error:
            raise UserError(str(error), fix="For example cutoff_len=4096") from None
    with contextlib.ExitStack() as stack:
        report = check_config.check(
            config, overrides=overrides, **given, progress=lambda total: stack.enter_context(
                Display("encoding rows", total, show=sys.stderr.isatty())).advance)
    code = report.exit_code(strict)
    if as_json:
        click.echo(json.dumps({"config": report.config, "exit": code, "facts": report.facts,
            "findings": [asdict(f) for f in report.findings]}, ensure_ascii=False))
        return code
    click.echo(filled("check.txt.jinja", report=report, quiet=quiet, full=full, style=click.style,
                      visible=visible, side=_SIDE), nl=False, color=color)
    return code
