"""The checks in their order."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.training.preflight import estimate, files, framework, runchecks, setchecks, weights
from drp_plugin.training.preflight.findings import Parsed, Preflight
from drp_plugin.training.preflight.textchecks import check_prompt, check_texts
from drp_plugin.training.preflight.tokenchecks import check_encoded, check_layout, check_tokenizer

Progress = Callable[[int], Callable[[], None]]


def check(path: str | Path, *, overrides: Sequence[str] = (), model: str | None = None,
          gpus: int | None = None, max_cut: float = 0.0, examples: int = 2,
          prompt: str | None = None, progress: Progress = lambda total: lambda: None) -> Preflight:
    """Check a training (or export) YAML with LLaMA-Factory's own parser and data code.

    `model` replaces `model_name_or_path`: a folder with tokenizer and config is enough.
    `max_cut` is the share of rows, in percent, that `cutoff_len` may cut. `prompt` names the
    prompt that the student will be asked with (default: that of the evaluation tasks).

    Raises UserError when the YAML cannot be read or LLaMA-Factory refuses it, or when the
    student's tokenizer cannot be had: nothing can be proved then.
    """
    path = Path(path)
    if not path.is_file():  # said before anything heavy is imported
        raise UserError("is a folder" if path.is_dir() else "no such file", file=path,
                        fix="Give a YAML file" if path.is_dir() else "Check the path")
    framework.require()
    raw = files.read_yaml(path, list(overrides))
    if model is not None:
        raw["model_name_or_path"] = model
    report = Preflight(str(path))
    if raw.get("export_dir") and not raw.get("do_train"):
        _check_export(path, raw, report)
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
    check_tokenizer(base, [] if rows is None else rows.select(range(min(50, len(rows)))), report)
    if not weights.load_template(parsed, base, report):
        return
    check_layout(parsed, base, report)
    if rows is None:
        if parsed.training.do_train and report.exit_code() == 0:
            report.add("no_rows")
        return
    broken = check_texts(rows, parsed, base, report)
    check_encoded(parsed, rows, broken, base, report, max_cut=max_cut, examples=examples,
                  tick=progress(len(rows)))
    check_prompt(parsed, rows, broken, prompt, base.pristine, report)
    count = estimate.processes(parsed, gpus)
    estimate.schedule(parsed, rows, broken, base, count, report)
    runchecks.check_resume(parsed, base, report)
    if base.config is None:
        report.add("no_config")
    elif counts and not parsed.raw.get("use_cpu"):
        estimate.memory(parsed, base.config, counts, count, report.facts["tokens_max"], report)


def _check_export(path: Path, raw: dict[str, Any], report: Preflight) -> None:
    """Does LLaMA-Factory take the YAML, is the adapter there, and what will be written?"""
    parsed = framework.parse_export(path, raw)
    if raw.get("quantization_bit"):
        report.add("quantized_merge")
    target, adapters = Path(str(parsed.model.export_dir)), parsed.model.adapter_name_or_path or []
    sources = [("model_name_or_path", parsed.model.model_name_or_path),
               *(("adapter_name_or_path", name) for name in adapters)]
    over = next((key for key, name in sources
                 if name and Path(name).resolve() == target.resolve()), None)
    if over:
        report.add("overwrites_source", folder=target, name=over)
    elif target.is_dir() and any(target.iterdir()):
        report.add("overwrites", folder=target)
    config = _check_exported_tokens(parsed, report)
    for name, settings in files.adapters(parsed.model, report, "train first").items():
        weights.check_adapter(Path(name), settings, str(parsed.model.model_name_or_path), config,
                              report)
    report.add("export", folder=parsed.model.export_dir)


def _check_exported_tokens(parsed: Parsed, report: Preflight) -> Any:
    """Check the tokenizer, which is written beside the weights; returns the model's config."""
    if fault := framework.template_fault(parsed.data.template):
        report.add("bad_template", fault=fault)
        return None
    try:
        base = weights.load_base(parsed)
    except UserError as error:
        if files.is_local(str(parsed.model.model_name_or_path)):
            raise
        report.add("no_tokenizer", error=error)
        return None
    check_tokenizer(base, [], report)
    if weights.load_template(parsed, base, report):
        check_layout(parsed, base, report)
        theirs = base.pristine.chat_template
        if theirs and base.used.chat_template != theirs:
            report.add("chat_template_changed", template=parsed.data.template)
    return base.config
