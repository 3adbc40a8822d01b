"""Checks of settings that the parser takes, and of which training dies or trains nothing."""

from __future__ import annotations

import os
from typing import Any

from drp_plugin.training.preflight.findings import Report
from drp_plugin.training.preflight.framework import Parsed, has_stored_rows, last_checkpoint

# None of these may be 0 or less; the parser takes any number, and `max_samples: 0` is no row.
_POSITIVE = ("cutoff_len", "max_samples", "preprocessing_batch_size",
             "per_device_train_batch_size", "per_device_eval_batch_size",
             "gradient_accumulation_steps", "learning_rate", "ray_num_workers", "lora_rank")
_STAGES = ("sft", "dpo", "rm")  # a reward model takes the pairs of dpo
_STATE = "trainer_state.json"  # what the trainer reads first of a checkpoint


def check_values(parsed: Parsed, report: Report) -> bool:
    """Numbers, names and the stage; False when the rows cannot be checked under them."""
    before = len(report.findings)
    for key in _POSITIVE:
        value = _value(parsed, key)
        if value is None or value > 0 or (
                key == "lora_rank" and parsed.finetuning.finetuning_type != "lora"):
            continue
        report.error("bad_value", f"{key} is {value:g}: it must be more than 0")
    for key in ("dataset", "eval_dataset"):
        names = getattr(parsed.data, key)
        if names is not None and not (
                isinstance(names, list) and all(isinstance(name, str) for name in names)):
            report.error("bad_value", f"{key} is {names!r}: give names, in quotes when they look "
                         "like numbers")
    stage = parsed.finetuning.stage
    if stage not in _STAGES:
        report.error("bad_stage", f"stage {stage!r} cannot use these sets: those of `drp build` "
                     "are for `stage: sft`, and with --pairs for `stage: dpo`")
    return len(report.findings) == before


def _value(parsed: Parsed, key: str) -> Any:
    for part in (parsed.data, parsed.training, parsed.finetuning):
        if hasattr(part, key):
            return getattr(part, key)
    return None


def check_run(parsed: Parsed, report: Report) -> None:
    """Is anything trained, and do rows or checkpoints of an earlier run take their place?"""
    training = parsed.training
    if not (training.do_train or training.do_eval or training.do_predict):
        report.error("no_training", "do_train is not set: nothing would be trained")
    stored = parsed.data.tokenized_path
    if stored is not None and has_stored_rows(str(stored)):
        report.error("stored_rows", f"tokenized_path {stored} is not empty: LLaMA-Factory trains "
                     "the rows stored there, and ignores dataset, template and cutoff_len, which "
                     "are checked here. Delete that folder, or remove tokenized_path")
    resume = training.resume_from_checkpoint
    if not resume:
        return
    folder = last_checkpoint(training.output_dir) if resume is True else str(resume)
    if folder is None:
        report.error("no_checkpoint", f"resume_from_checkpoint: output_dir {training.output_dir} "
                     "holds no checkpoint")
    elif not os.path.isfile(os.path.join(folder, _STATE)):
        report.error("no_checkpoint", f"resume_from_checkpoint: {folder} is no folder of a "
                     f"checkpoint (it has no {_STATE})")
    else:
        report.info("resume", f"goes on from {folder}")
