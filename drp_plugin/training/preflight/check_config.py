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
    setchecks,
    settings,
    textchecks,
    tokenchecks,
)
from drp_plugin.training.preflight.findings import Report


def check(path: str | Path, *, overrides: Sequence[str] = (), model: str | None = None,
          gpus: int | None = None, max_cut: float = 0.0, examples: int = 2,
          progress: Callable[[int], Callable[[], None]] = lambda total: lambda: None) -> Report:
    """Check a training (or export) YAML with LLaMA-Factory's own parser and data code.

    `model` takes the place of `model_name_or_path`: a folder with tokenizer and config is enough.
    `max_cut` is the share of rows, in percent, that `cutoff_len` may cut.

    Raises UserError when the YAML cannot be read or LLaMA-Factory refuses it, or when the
    student's tokenizer cannot be had: nothing can be proved then.
    """
    path = Path(path)
    framework.require()
    raw = framework.read_yaml(path, list(overrides))
    if model is not None:
        raw["model_name_or_path"] = model
    report = Report(str(path))
    if raw.get("export_dir") and not raw.get("do_train"):
        exporting.check_export(path, raw, report)
        return report
    raw = files.check_plans(raw, report)
    with tempfile.TemporaryDirectory(prefix="drp-check-") as cache:
        parsed = framework.parse(path, raw, Path(cache))
        files.adapters(parsed.model, report, "train the earlier round first")
        settings.check_run(parsed, report)
        if not settings.check_values(parsed, report):
            return report
        sets = setchecks.load_sets(parsed, report)
        used, pristine = framework.load_tokenizers(parsed)
        config, stops = framework.load_config(parsed)
        fault = framework.quantization_fault(parsed, config)
        if fault:
            report.error("bad_quantization", f"LLaMA-Factory refuses to load the model: {fault}")
        counts = config and estimate.count_parameters(parsed, config, report)
        context = getattr(config, "max_position_embeddings", None)
        if context and parsed.data.cutoff_len > context:
            report.error("cutoff_over_context", f"cutoff_len {parsed.data.cutoff_len} is over the "
                         f"model's context of {context} tokens")
        if parsed.data.template is None:
            report.error("no_template", "template is not set: name the student's own, for "
                         "R1-Distill `template: deepseekr1`")
        if parsed.data.enable_thinking is False:
            report.error("thinking_off", "enable_thinking: false strips the thinking from every "
                         "row: remove it")
        rows = setchecks.used_rows(parsed, sets)
        setchecks.check_max_samples(parsed, sets, report)
        setchecks.check_split(parsed, sets, report)
        texts = [str(r["_response"][0]["content"]) for r in rows[:50] if r["_response"]]
        tokenchecks.check_tokenizer(pristine, config, texts, report)
        broken = textchecks.check_texts(rows, parsed.data.template, report)
        try:
            template = framework.get_template(parsed, used)
        except Exception as error:
            report.error("bad_template", f"template {parsed.data.template!r}: "
                         f"{framework.first_line(error)}")
            return report
        tokenchecks.check_layout(parsed, template, used, pristine, stops, report)
        if not rows:
            if parsed.training.do_train and report.exit_code() == 0:
                report.error("no_rows", "no row is left to train on: name a data set under "
                             "dataset")
            return report
        tokenchecks.check_encoded(
            parsed, rows, broken, template, used, pristine, stops, report, max_cut=max_cut,
            examples=examples, tick=progress(len(rows)))
        count = estimate.processes(parsed, gpus)
        estimate.schedule(parsed, len(rows), count, report)
        if config is None:
            report.warn("no_config", "the model's config cannot be had: context and memory are "
                        "not checked")
        elif counts and not raw.get("use_cpu"):
            estimate.memory(parsed, config, counts, count, report.facts["tokens_max"], report)
    return report


def require_file(path: Path) -> None:
    """Raises UserError when the YAML is not there, before anything heavy is imported."""
    if not path.is_file():
        raise UserError("no such file", file=path, fix="Check the path")
