"""The checks in their order."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from drp_plugin.errors import UserError
from drp_plugin.training.preflight import (
    estimate,
    exporting,
    files,
    framework,
    prompted,
    runchecks,
    setchecks,
    textchecks,
    tokenchecks,
    typed,
    weights,
)
from drp_plugin.training.preflight.findings import Preflight
from drp_plugin.training.preflight.parsed import Parsed

Progress = Callable[[int], Callable[[], None]]


def check(path: str | Path, *, overrides: Sequence[str] = (), model: str | None = None,
          gpus: int | None = None, max_cut: float = 0.0, examples: int = 2,
          prompt: str | None = None, progress: Progress = lambda total: lambda: None) -> Preflight:
    """Check a training (or export) YAML with LLaMA-Factory's own parser and data code.

    `model` takes the place of `model_name_or_path`: a folder with tokenizer and config is enough.
    `max_cut` is the share of rows, in percent, that `cutoff_len` may cut. `prompt` names the
    prompt that the student will be asked with (default: that of the evaluation tasks).

    Raises UserError when the YAML cannot be read or LLaMA-Factory refuses it, or when the
    student's tokenizer cannot be had: nothing can be proved then.
    """
    path = Path(path)
    framework.require()
    raw = typed.read_yaml(path, list(overrides))
    if model is not None:
        raw["model_name_or_path"] = model
    report = Preflight(str(path))
    if raw.get("export_dir") and not raw.get("do_train"):
        exporting.check_export(path, raw, report)
        return report
    raw = files.check_plans(raw, report)
    with tempfile.TemporaryDirectory(prefix="drp-check-") as cache:
        parsed = framework.parse(path, raw, Path(cache))
        runchecks.check_run(parsed, report)
        if runchecks.check_values(parsed, report):
            _check_training(parsed, report, gpus=gpus, max_cut=max_cut, examples=examples,
                            prompt=prompt, progress=progress)
    return report


def _check_training(parsed: Parsed, report: Preflight, *, gpus: int | None, max_cut: float,
                    examples: int, prompt: str | None, progress: Progress) -> None:
    """The model, the sets, and every row of them as the student will see it."""
    sets = setchecks.load_sets(parsed, report)
    base = weights.load_base(parsed)
    runchecks.check_model(parsed, base, report)
    counts = base.config and estimate.count_parameters(parsed, base.config, report)
    rows = setchecks.check_sets(parsed, sets, report)
    tokenchecks.check_tokenizer(base, [] if rows is None else rows.select(
        range(min(50, len(rows)))), report)
    if not weights.load_template(parsed, base, report):
        return
    tokenchecks.check_layout(parsed, base, report)
    if rows is None:
        if parsed.training.do_train and report.exit_code() == 0:
            report.error("no_rows", "no row is left to train on: name a data set under dataset")
        return
    broken = textchecks.check_texts(rows, parsed, base, report)
    tokenchecks.check_encoded(parsed, rows, broken, base, report, max_cut=max_cut,
                              examples=examples, tick=progress(len(rows)))
    prompted.check_prompt(parsed, rows, broken, prompt, report)
    count = estimate.processes(parsed, gpus)
    estimate.schedule(parsed, rows, broken, base, count, report)
    runchecks.check_resume(parsed, base, report)
    if base.config is None:
        report.warn("no_config", "the model's config cannot be had: context and memory are "
                    "not checked")
    elif counts and not parsed.raw.get("use_cpu"):
        estimate.memory(parsed, base.config, counts, count, report.facts["tokens_max"], report)


def require_file(path: Path) -> None:
    """Raises UserError when the YAML is not there, before anything heavy is imported."""
    if not path.is_file():
        raise UserError("no such file", file=path, fix="Check the path")
