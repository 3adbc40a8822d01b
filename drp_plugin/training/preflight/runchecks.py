"""Checks of settings that the parser takes, and of which training dies or trains nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from drp_plugin.training.preflight import files, framework
from drp_plugin.training.preflight.findings import Preflight
from drp_plugin.training.preflight.parsed import Parsed
from drp_plugin.training.preflight.weights import Base, check_adapter

# None of these may be 0 or less; the parser takes any number, and `max_samples: 0` is no row.
_POSITIVE = ("cutoff_len", "max_samples", "preprocessing_batch_size",
             "per_device_train_batch_size", "per_device_eval_batch_size",
             "gradient_accumulation_steps", "learning_rate", "ray_num_workers", "lora_rank")
_STAGES = ("sft", "dpo", "rm")  # a reward model takes the pairs of dpo
_STATE = "trainer_state.json"  # what the trainer reads first of a checkpoint
_PADDED = 8  # what LLaMA-Factory's collator pads a batch to
_ANEW = "To train anew, set overwrite_output_dir: true or take another output_dir"


def check_values(parsed: Parsed, report: Preflight) -> bool:
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
    if parsed.data.template is None:
        report.error("no_template", "template is not set: name the student's own, for "
                     "R1-Distill `template: deepseekr1`")
    if parsed.data.enable_thinking is False:
        report.error("thinking_off", "enable_thinking: false strips the thinking from every "
                     "row: remove it")
    return not any(f.code in ("bad_value", "bad_stage") for f in report.findings[before:])


def _value(parsed: Parsed, key: str) -> Any:
    for part in (parsed.data, parsed.training, parsed.finetuning):
        if hasattr(part, key):
            return getattr(part, key)
    return None


def check_run(parsed: Parsed, report: Preflight) -> None:
    """Is anything trained and evaluated, and do rows of an earlier run take the set's place?"""
    training, data = parsed.training, parsed.data
    if not (training.do_train or training.do_eval or training.do_predict):
        report.error("no_training", "do_train is not set: nothing would be trained")
    elif training.do_train and not data.eval_dataset and data.val_size < 1e-6 and \
            str(getattr(training.eval_strategy, "value", training.eval_strategy)) != "no":
        report.error("no_eval_rows", "eval_strategy is set and there are no rows to evaluate on: "
                     "set val_size or eval_dataset, or eval_strategy: 'no'")
    if data.packing and (length := data.cutoff_len + 1) % _PADDED:
        mended = -(-length // _PADDED) * _PADDED
        report.error("pack_length", f"packing with cutoff_len {length}: packs are padded to a "
                     f"multiple of {_PADDED}, their positions are not, and training dies. Set "
                     f"cutoff_len: {mended}")
    stored = data.tokenized_path
    if stored is not None and framework.has_stored_rows(str(stored)):
        report.error("stored_rows", f"tokenized_path {stored} is not empty: LLaMA-Factory trains "
                     "the rows stored there, and ignores dataset, template and cutoff_len, which "
                     "are checked here. Delete that folder, or remove tokenized_path")


def check_model(parsed: Parsed, base: Base, report: Preflight) -> None:
    """Does the model load in these bits, reach cutoff_len, and fit the adapter it goes on from?"""
    fault = framework.quantization_fault(parsed, base.config)
    if fault:
        report.error("bad_quantization", f"LLaMA-Factory refuses to load the model: {fault}")
    context = getattr(base.config, "max_position_embeddings", None)
    if context and parsed.data.cutoff_len > context:
        report.error("cutoff_over_context", f"cutoff_len {parsed.data.cutoff_len} is over the "
                     f"model's context of {context} tokens: set cutoff_len: {context} or less, and "
                     f"build with --cutoff-len {context}")
    found = files.adapters(parsed.model, report, "train the earlier round first")
    for name, settings in found.items():
        check_adapter(Path(name) / (parsed.model.adapter_folder or ""), settings,
                      str(parsed.model.model_name_or_path), base.config, report)


def check_resume(parsed: Parsed, base: Base, report: Preflight) -> None:
    """Does training go on from a checkpoint, and is there anything left to train from there?

    LLaMA-Factory takes the last checkpoint of output_dir unasked, whatever data it was made with.
    """
    from transformers.trainer_utils import get_last_checkpoint

    resume, output = parsed.training.resume_from_checkpoint, parsed.training.output_dir
    if not resume or not parsed.training.do_train:
        return
    found = get_last_checkpoint(output) if os.path.isdir(output) else None
    folder = Path(str(resume)) if resume is not True else found and Path(found)
    if not folder:
        report.error("no_checkpoint", f"resume_from_checkpoint: output_dir {output} "
                     "holds no checkpoint")
        return
    try:
        state = files.read_object(folder / _STATE)
    except (OSError, ValueError):
        report.error("no_checkpoint", f"resume_from_checkpoint: {folder} is no folder of a "
                     f"checkpoint (it has no {_STATE}). {_ANEW}, or delete that folder")
        return
    done, steps = int(state.get("global_step") or 0), report.facts.get("steps", 0)
    if steps and done >= steps:
        report.error("already_trained", f"training would go on from {folder}, which has all "
                     f"{steps} steps: nothing would be trained, also with other data. {_ANEW}")
        return
    report.info("resume", f"goes on from {folder}, step {done} of {steps or 'an unknown number'}")
    planned = state.get("max_steps")
    if steps and planned and planned != steps:
        report.warn("resume_differs", f"the run in {folder} was to take {planned} steps, this one "
                    f"takes {steps}: other data or settings. {_ANEW}")
    elif newer := _newer_sets(parsed, folder / _STATE):
        report.warn("resume_differs", f"data set {newer!r} was written after {folder}: if it "
                    f"changed, the earlier steps were trained on other rows. {_ANEW}")
    try:
        adapter = files.read_object(folder / "adapter_config.json")
    except (OSError, ValueError):
        return
    check_adapter(folder, adapter, str(parsed.model.model_name_or_path), base.config, report)


def _newer_sets(parsed: Parsed, state: Path) -> str | None:
    written = state.stat().st_mtime
    return next((name for name in parsed.data.dataset or []
                 if (file := Path(str(parsed.data.dataset_dir)) / f"{name}.json").is_file()
                 and file.stat().st_mtime > written), None)
