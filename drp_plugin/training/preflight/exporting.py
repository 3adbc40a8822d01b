"""Checks of a YAML for `llamafactory-cli export`."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.training.preflight.findings import Report
from drp_plugin.training.preflight.framework import first_line, quiet


def check_export(path: Path, raw: dict[str, Any], report: Report) -> None:
    """Does LLaMA-Factory take the YAML, is the adapter there, and was it trained on this model?"""
    from llamafactory.hparams import get_infer_args

    try:
        with quiet():
            model, *_ = get_infer_args(copy.deepcopy(raw))
    except Exception as error:
        raise UserError(f"LLaMA-Factory refuses it: {first_line(error)}", file=path) from None
    if raw.get("quantization_bit"):
        report.error("quantized_merge", "an adapter cannot be merged into quantized weights: "
                     "remove quantization_bit")
    for name in model.adapter_name_or_path or []:
        file = Path(name) / "adapter_config.json"
        if not file.is_file():
            report.error("missing_file", f"adapter_name_or_path: {name} holds no adapter: train "
                         "first")
            continue
        base = json.loads(file.read_text(encoding="utf-8")).get("base_model_name_or_path")
        if base and Path(base).name != Path(model.model_name_or_path).name:
            report.warn("other_base", f"the adapter in {name} was trained on {base}, not on "
                        f"{model.model_name_or_path}")
    if Path(model.export_dir).is_dir() and any(Path(model.export_dir).iterdir()):
        report.info("overwrites", f"export_dir {model.export_dir} is not empty")
    report.info("export", f"merges into {model.export_dir}")
