"""The checks in their order, and those of settings that the parser takes although training dies of
them or trains nothing."""

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.resources import table
from drp_plugin.training.preflight import files, framework, setchecks, weights
from drp_plugin.training.preflight.findings import Parsed, Preflight
from drp_plugin.training.preflight.textchecks import check_prompt, check_texts
from drp_plugin.training.preflight.tokenchecks import check_encoded, check_layout, check_tokenizer
from drp_plugin.training.preflight.weights import Base

_STAGES = ("sft", "dpo", "rm")  # a reward model takes the pairs of dpo
_STATE = "trainer_state.json"  # what the trainer reads first of a checkpoint
_PADDED = 8  # what LLaMA-Factory's collator pads a batch to
_ANEW = "To train anew, set overwrite_output_dir: true or take another output_dir"
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
        check_run(parsed, report)
        if check_values(parsed, report):
            _check_training(parsed, report, gpus=gpus, max_cut=max_cut, examples=examples,
                            prompt=prompt, progress=progress)
    return report


def _check_training(parsed: Parsed, report: Preflight, *, gpus: int | None, max_cut: float,
                    examples: int, prompt: str | None, progress: Progress) -> None:
    """The model, the sets, and every row of them as the student will see it."""
    sets = setchecks.load_sets(parsed, report)
    base = weights.load_base(parsed)
    check_model(parsed, base, report)
    counts = base.config and weights.count_parameters(parsed, base.config, report)
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
    count = weights.processes(parsed, gpus)
    weights.schedule(parsed, rows, broken, base, count, report)
    check_resume(parsed, base, report)
    if base.config is None:
        report.add("no_config")
    elif counts and not parsed.raw.get("use_cpu"):
        weights.memory(parsed, base.config, counts, count, report.facts["tokens_max"], report)


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
        weights.check_adapter(Path(name) / (parsed.model.adapter_folder or ""), settings,
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
    weights.check_adapter(folder, adapter, str(parsed.model.model_name_or_path), base.config,
                          report)
