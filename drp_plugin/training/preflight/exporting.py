"""Checks of a YAML for `llamafactory-cli export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.training.preflight import files, framework, tokenchecks
from drp_plugin.training.preflight.findings import Report


def check_export(path: Path, raw: dict[str, Any], report: Report) -> None:
    """Does LLaMA-Factory take the YAML, is the adapter there, and what will be written?

    Raises UserError when LLaMA-Factory refuses it, or when a local model has no tokenizer.
    """
    parsed = framework.parse_export(path, raw)
    if raw.get("quantization_bit"):
        report.error("quantized_merge", "an adapter cannot be merged into quantized weights: "
                     "remove quantization_bit")
    student = str(parsed.model.model_name_or_path)
    for name, settings in files.adapters(parsed.model, report, "train first").items():
        base = settings.get("base_model_name_or_path")
        if base and Path(str(base)).name != Path(student).name:
            report.warn("other_base", f"the adapter in {name} was trained on {base}, not on "
                        f"{student}")
    _check_target(parsed, report)
    _check_tokens(parsed, report)
    report.info("export", f"merges into {parsed.model.export_dir}")


def _check_target(parsed: framework.Parsed, report: Report) -> None:
    """Would the merged model be written over what it is made of, or over anything else?"""
    target = Path(str(parsed.model.export_dir))
    for key in ("model_name_or_path", "adapter_name_or_path"):
        value = getattr(parsed.model, key) or []
        for name in value if isinstance(value, list) else [str(value)]:
            if Path(name).resolve() == target.resolve():
                report.error("overwrites_source", f"export_dir {target} is {key} as well: the "
                             "merged model would be written over it. Name another folder")
                return
    if target.is_dir() and any(target.iterdir()):
        report.info("overwrites", f"export_dir {target} is not empty")


def _check_tokens(parsed: framework.Parsed, report: Report) -> None:
    """The tokenizer is written beside the weights, as the template leaves it."""
    fault = framework.template_fault(parsed.data.template)
    if fault:
        report.error("bad_template", fault)
        return
    try:
        used, pristine = framework.load_tokenizers(parsed)
    except UserError as error:
        if files.is_local(str(parsed.model.model_name_or_path)):
            raise
        report.info("no_tokenizer", f"template and tokenizer are not checked: {error}")
        return
    config, stops = framework.load_config(parsed)
    tokenchecks.check_tokenizer(pristine, config, [], report)
    try:
        template = framework.get_template(parsed, used)
    except Exception as error:
        report.error("bad_template", f"template {parsed.data.template!r}: "
                     f"{framework.first_line(error)}")
        return
    tokenchecks.check_layout(parsed, template, used, pristine, stops, report)
    if pristine.chat_template and used.chat_template != pristine.chat_template:
        report.error("chat_template_changed", f"template {parsed.data.template!r} writes a chat "
                     "template of its own into the merged tokenizer: take the student's own "
                     "template")
