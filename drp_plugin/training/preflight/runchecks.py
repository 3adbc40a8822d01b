"""Checks of settings that the parser takes, and of which training dies or trains nothing."""

import os
from pathlib import Path

from drp_plugin.resources import table
from drp_plugin.training.preflight import files, framework
from drp_plugin.training.preflight.findings import Parsed, Preflight
from drp_plugin.training.preflight.weights import Base, check_adapter

_STAGES = ("sft", "dpo", "rm")  # a reward model takes the pairs of dpo
_STATE = "trainer_state.json"  # what the trainer reads first of a checkpoint
_PADDED = 8  # what LLaMA-Factory's collator pads a batch to
_ANEW = "To train anew, set overwrite_output_dir: true or take another output_dir"


def check_values(parsed: Parsed, report: Preflight) -> bool:
    """Numbers, names and the stage; False when the rows cannot be checked under them."""
    before, data = len(report.findings), parsed.data
    for key in table("llamafactory.yaml")["positive"]:
        value = next((getattr(part, key) for part in (data, parsed.training, parsed.finetuning)
                      if hasattr(part, key)), None)
        if value is not None and value <= 0 and (
                key != "lora_rank" or parsed.finetuning.finetuning_type == "lora"):
            report.add("bad_value", name=key, value=value)
    for key in ("dataset", "eval_dataset"):
        names = getattr(data, key)
        if names is not None and not (
                isinstance(names, list) and all(isinstance(name, str) for name in names)):
            report.add("bad_value:names", name=key, value=names)
    if parsed.finetuning.stage not in _STAGES:
        report.add("bad_stage", stage=parsed.finetuning.stage)
    if data.template is None:
        report.add("no_template")
    if data.enable_thinking is False:
        report.add("thinking_off")
    return not any(f.code in ("bad_value", "bad_stage") for f in report.findings[before:])


def check_run(parsed: Parsed, report: Preflight) -> None:
    """Is anything trained, and do rows of an earlier run take the set's place?"""
    training, data = parsed.training, parsed.data
    if not (training.do_train or training.do_eval or training.do_predict):
        report.add("no_training")
    if data.packing and parsed.finetuning.stage in _STAGES and \
            (length := data.cutoff_len + 1) % _PADDED:
        report.add("pack_length", length=length, multiple=_PADDED,
                   mended=-(-length // _PADDED) * _PADDED)
    if data.tokenized_path is not None and framework.has_stored_rows(str(data.tokenized_path)):
        report.add("stored_rows", folder=data.tokenized_path)


def check_model(parsed: Parsed, base: Base, report: Preflight) -> None:
    """Does the model load in these bits, reach cutoff_len, and fit the adapter it goes on from?"""
    if fault := framework.quantization_fault(parsed, base.config):
        report.add("bad_quantization", fault=fault)
    context = getattr(base.config, "max_position_embeddings", None)
    if context and parsed.data.cutoff_len > context:
        report.add("cutoff_over_context", cutoff=parsed.data.cutoff_len, context=context)
    found = files.adapters(parsed.model, report, "train the earlier round first")
    for name, settings in found.items():
        check_adapter(Path(name) / (parsed.model.adapter_folder or ""), settings,
                      str(parsed.model.model_name_or_path), base.config, report)


def check_resume(parsed: Parsed, base: Base, report: Preflight) -> None:
    """Does training go on from output_dir's last checkpoint, and is anything left to train?"""
    from transformers.trainer_utils import get_last_checkpoint

    resume, output = parsed.training.resume_from_checkpoint, parsed.training.output_dir
    if not resume or not parsed.training.do_train:
        return
    found = get_last_checkpoint(output) if os.path.isdir(output) else None
    folder = Path(str(resume)) if resume is not True else found and Path(found)
    if not folder:
        return report.add("no_checkpoint", folder=output)
    try:
        state = files.read_object(folder / _STATE)
    except (OSError, ValueError):
        return report.add("no_checkpoint:state", folder=folder, state=_STATE, anew=_ANEW)
    done, steps = int(state.get("global_step") or 0), report.facts.get("steps", 0)
    if steps and done >= steps:
        return report.add("already_trained", folder=folder, steps=steps, anew=_ANEW)
    report.add("resume", folder=folder, done=done, steps=steps or "an unknown number")
    planned = state.get("max_steps")
    if steps and planned and planned != steps:
        report.add("resume_differs", folder=folder, planned=planned, steps=steps, anew=_ANEW)
    elif newer := next((name for name in parsed.data.dataset or []
                        if (file := Path(str(parsed.data.dataset_dir)) / f"{name}.json").is_file()
                        and file.stat().st_mtime > (folder / _STATE).stat().st_mtime), None):
        report.add("resume_differs:newer", name=newer, folder=folder, anew=_ANEW)
    try:
        adapter = files.read_object(folder / "adapter_config.json")
    except (OSError, ValueError):
        return
    check_adapter(folder, adapter, str(parsed.model.model_name_or_path), base.config, report)
