"""The checks in order, and those of settings with which training fails or trains nothing."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.jsonl import check_folder
from drp_plugin.resources import table
from drp_plugin.training.preflight import costs, files, framework, setchecks, weights
from drp_plugin.training.preflight.findings import Preflight
from drp_plugin.training.preflight.rowchecks import check_rows

_STAGES = ("sft", "dpo", "rm")  # a reward model takes the pairs of dpo
_PADDED = 8  # what LLaMA-Factory's collator pads a batch to
Progress = Callable[[int], Callable[[], None]]


def check(path: str | Path, *, overrides: Sequence[str] = (), model: str | None = None,
          progress: Progress = lambda total: lambda: None, **how: Any) -> Preflight:
    """Check a training (or export) YAML with LLaMA-Factory's own parser and data code.

    `model` replaces `model_name_or_path`: a folder with tokenizer and config is enough.
    `max_cut` (0) is the percentage of rows that `cutoff_len` may cut; `examples` (2) are kept;
    `gpus` will train (default: as the YAML or the environment says). `prompt` names the prompt of
    inference (default: the tasks'). Raises UserError when the YAML cannot be read or LLaMA-Factory
    refuses it, or when the student's tokenizer cannot be had."""
    path = Path(path)
    if not path.is_file():  # checked before anything heavy is imported
        raise UserError("is a folder" if path.is_dir() else "no such file", file=path,
                        fix="Give a YAML file" if path.is_dir() else "Check the path")
    if path.suffix not in (".yaml", ".yml"):
        raise UserError("llamafactory-cli takes no other file than .yaml and .yml for settings",
                        file=path, fix="Rename it")
    framework.require()
    raw = files.read_yaml(path, list(overrides))
    if model is not None:
        raw["model_name_or_path"] = model
    case = Preflight(str(path), lent=model is not None)
    if raw.get("export_dir") and not raw.get("do_train"):
        framework.parse(case, raw)
        _check_export(case)
        return case
    raw = files.check_plans(case, raw)
    with tempfile.TemporaryDirectory(prefix="drp-check-") as cache:
        framework.parse(case, raw, Path(cache))
        _check_run(case)
        if _check_values(case):
            _check_training(case, progress, **how)
    return case


def _check_training(case: Preflight, progress: Progress, *, gpus: int | None = None,
                    prompt: str | None = None, max_cut: float = 0.0, examples: int = 2) -> None:
    """The model, the sets, and every row of them as the student will see it."""
    before = len(case.findings)
    sets = setchecks.load_sets(case)
    if case.stored is not None and case.findings[before:]:  # training does not read them
        sets, fault = {}, case.findings[before].text
        del case.findings[before:]
        case.add("stored_rows:unseen", folder=case.data.tokenized_path, fault=fault)
    weights.load_base(case)
    weights.check_model(case)
    counts = case.student and costs.count_parameters(case)
    setchecks.check_sets(case, sets)
    some = case.rows.select(range(min(50, len(case.rows)))) if case.rows is not None else ()
    weights.check_tokenizer(case, [str(row["_response"][0]["content"]) for row in some
                                   if row["_response"]])
    if not weights.check_template(case):
        return
    if case.rows is None:
        if case.training.do_train and case.exit_code() == 0 and case.stored is None:
            case.add("no_rows")
        return
    check_rows(case, prompt=prompt, max_cut=max_cut, examples=examples,
               tick=progress(len(case.rows)))
    costs.find_checkpoint(case)
    costs.schedule(case, gpus)
    costs.check_resume(case)
    if counts and not case.raw.get("use_cpu"):
        costs.memory(case, *counts)


def _check_export(case: Preflight) -> None:
    """Is the adapter there, is the tokenizer unchanged, and what will be written?"""
    if case.raw.get("quantization_bit"):
        case.add("quantized_merge")
    target = Path(str(case.model.export_dir))
    if over := _source_at(case, target):
        case.add("overwrites_source", folder=target, name=over)
    elif target.is_dir() and any(target.iterdir()):
        case.add("overwrites", folder=target)
    _check_exported_tokens(case)
    weights.check_adapters(case, "train first")
    case.add("export", folder=case.model.export_dir)


def _source_at(case: Preflight, target: Path) -> str | None:
    """The setting that names this folder as the model or an adapter."""
    sources = [("model_name_or_path", case.name), *(
        ("adapter_name_or_path", name) for name in case.model.adapter_name_or_path or [])]
    return next((key for key, name in sources if Path(name).resolve() == target.resolve()), None)


def _check_exported_tokens(case: Preflight) -> None:
    if fault := framework.template_fault(case.data.template):
        return case.add("bad_template", fault=fault)
    try:
        weights.load_base(case)
    except UserError as error:
        if files.is_local(case.name):
            raise
        return case.add("no_tokenizer", error=error)
    weights.check_tokenizer(case, [])
    if weights.check_template(case):
        theirs = case.pristine.chat_template
        if theirs and case.used.chat_template != theirs:
            case.add("chat_template_changed", template=case.data.template)


def _check_values(case: Preflight) -> bool:
    """Numbers, names and the stage; False when the rows cannot be checked under them."""
    before, data = len(case.findings), case.data
    bounds = table("llamafactory.yaml")["bounds"].items()
    for key, bound in ((key, bound) for bound, keys in bounds for key in keys):
        value = next((getattr(part, key) for part in (data, case.training, case.finetuning)
                      if hasattr(part, key)), None)
        if value is not None and (value < 0 or (value == 0 and bound == "more than 0")) and (
                not key.startswith("lora_") or case.finetuning.finetuning_type == "lora"):
            case.add("bad_value", name=key, value=value, bound=bound)
    for key in ("dataset", "eval_dataset"):
        names = getattr(data, key)
        if names is not None and not (
                isinstance(names, list) and all(isinstance(name, str) for name in names)):
            case.add("bad_value:names", name=key, value=names)
    if case.finetuning.stage not in _STAGES:
        case.add("bad_stage", stage=case.finetuning.stage)
    can = len(case.findings) == before
    if data.template is None:
        case.add("no_template")
    if data.enable_thinking is False:
        case.add("thinking_off")
    return can


def _check_run(case: Preflight) -> None:
    """Is anything trained, and on stored rows? Can results be written, and over what?"""
    training, data = case.training, case.data
    if not (training.do_train or training.do_eval or training.do_predict):
        case.add("no_training")
    if data.packing and case.finetuning.stage == "sft" and \
            (length := data.cutoff_len + 1) % _PADDED:
        case.add("pack_length", length=length, multiple=_PADDED,
                 mended=-(-length // _PADDED) * _PADDED)
    if data.tokenized_path is not None:
        try:
            case.stored = framework.stored_rows(case)
        except ValueError as error:
            case.add("stored_rows:unread", folder=data.tokenized_path, fault=error)
        else:
            if case.stored is None and data.streaming:
                case.add("bad_stream")
    for name, folder in (("output_dir", training.output_dir),
                         ("tokenized_path", data.tokenized_path)):
        try:
            check_folder(Path(str(folder or ".")), f"Give another {name}")
        except UserError as error:
            case.add("bad_output", name=name, fault=error)
    if over := _source_at(case, Path(training.output_dir)):
        case.add("overwrites_source:output", folder=training.output_dir, name=over)
    metric, tuning = str(training.metric_for_best_model or "loss"), case.finetuning
    if tuning.stage == "sft" and training.eval_strategy.value != "no" and not (
            training.predict_with_generate or data.eval_on_each_dataset) and metric.removeprefix(
                "eval_") not in ("loss", "accuracy" * tuning.compute_accuracy):
        case.add("bad_metric", metric=metric)
    if "report_to" not in case.raw and training.report_to:
        case.add("reports", names=", ".join(training.report_to))
