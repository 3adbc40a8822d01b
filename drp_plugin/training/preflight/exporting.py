"""Checks of a YAML for `llamafactory-cli export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.training.preflight import files, framework, tokenchecks, weights
from drp_plugin.training.preflight.findings import Preflight
from drp_plugin.training.preflight.parsed import Parsed


def check_export(path: Path, raw: dict[str, Any], report: Preflight) -> None:
    """Does LLaMA-Factory take the YAML, is the adapter there, and what will be written?

    Raises UserError when LLaMA-Factory refuses it, or when a local model has no tokenizer.
    """
    parsed = framework.parse_export(path, raw)
    if raw.get("quantization_bit"):
        report.error("quantized_merge", "an adapter cannot be merged into quantized weights: "
                     "remove quantization_bit")
    _check_target(parsed, report)
    config = _check_tokens(parsed, report)
    for name, settings in files.adapters(parsed.model, report, "train first").items():
        weights.check_adapter(Path(name), settings, str(parsed.model.model_name_or_path), config,
                              report)
    report.info("export", f"merges into {parsed.model.export_dir}")


def _check_target(parsed: Parsed, report: Preflight) -> None:
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


def _check_tokens(parsed: Parsed, report: Preflight) -> Any:
    """Check the tokenizer, which is written beside the weights; returns the model's config."""
    fault = framework.template_fault(parsed.data.template)
    if fault:
        report.error("bad_template", fault)
        return None
    try:
        base = weights.load_base(parsed)
    except UserError as error:
        if files.is_local(str(parsed.model.model_name_or_path)):
            raise
        report.info("no_tokenizer", f"template and tokenizer are not checked: {error}")
        return None
    tokenchecks.check_tokenizer(base, [], report)
    if weights.load_template(parsed, base, report):
        tokenchecks.check_layout(parsed, base, report)
        theirs = base.pristine.chat_template
        if theirs and base.used.chat_template != theirs:
            report.error("chat_template_changed", f"template {parsed.data.template!r} writes a "
                         "chat template of its own into the merged tokenizer: take the student's "
                         "own template")
    return base.config
