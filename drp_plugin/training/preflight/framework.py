"""The one place that touches LLaMA-Factory's private parts: its parser, data code and templates. It
loads, mixes, splits, encodes and packs the rows itself. Settings that depend on the machine (GPUs,
DeepSpeed, launchers) are removed first, or replaced while it is asked."""

import contextlib
import copy
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drp_plugin.errors import UserError, install, meant
from drp_plugin.resources import table
from drp_plugin.training.preflight import files
from drp_plugin.training.preflight.findings import BadSet, Preflight, quiet, swapped
from drp_plugin.training.templates import Family

if TYPE_CHECKING:
    from datasets import Dataset

SEEN = "0.9.5"
# Settings that the parser accepts only on a GPU, or with DeepSpeed installed. DeepSpeed's file is
# checked separately, and the parser gets the stage of its plan.
_MACHINE = ("deepspeed", "tf32")
_MEDIA = ("images", "videos", "audios")
OWN_SYSTEM = "detailed thinking off"  # `openai` format puts it, unasked, in every system prompt


def _part(name: str) -> Any:
    return importlib.import_module(f"llamafactory.{name}")


def require() -> None:
    """Raises UserError when LLaMA-Factory is not installed, or lacks what is used here."""
    try:
        with quiet():
            parts = table("llamafactory.yaml")["parts"]
            missing = [f"{module}.{name}" for module, names in parts.items() for name in names
                       if not hasattr(_part(module), name)]
    except ImportError as error:
        missing = [error.name or ""]
        if not missing[0].startswith("llamafactory."):
            raise UserError(f"LLaMA-Factory cannot be imported ({error})",
                            fix=install("train")) from None
    if missing:
        raise UserError(f"this release of LLaMA-Factory has no {missing[0]}, which a check asks",
                        fix=f"pip install llamafactory=={SEEN}, with which it was seen to work")


def parse(case: Preflight, raw: dict[str, Any], cache: Path | None = None) -> None:
    """Run LLaMA-Factory's own parser, without `cache` that of export YAMLs, which have no training
    settings; raises UserError for what it refuses."""
    parser, settings = _part("hparams.parser"), copy.deepcopy(raw)
    known = parser._TRAIN_ARGS if cache else parser._INFER_ARGS
    files.check_types(case.config, raw, known)
    case.raw, case.zero = raw, files.zero_stage(raw.get("deepspeed")) if cache else 0
    if cache:
        settings = {k: v for k, v in settings.items() if k not in _MACHINE} | {"use_cpu": True}
        if settings.get("fp16") and not settings.get("bf16"):
            settings |= {"fp16": False, "bf16": True}  # the same lengths and labels, and no GPU
    try:
        with quiet(), swapped(parser, is_deepspeed_zero3_enabled=lambda: case.zero == 3,
                              is_torch_bf16_gpu_available=lambda: True):
            if cache:
                case.model, case.data, case.training, case.finetuning, _ = \
                    parser.get_train_args(settings)
                case.model.cache_dir = str(cache)  # nothing stale is read or left
            else:
                case.model, case.data, case.finetuning, _ = parser.get_infer_args(settings)
    except Exception as error:
        raise files.refusal(case.config, error, known, raw) from None


def stored_rows(case: Preflight) -> "Dataset | None":
    """The rows in `tokenized_path`, which LLaMA-Factory trains in place of the sets; None where
    there are none yet. Raises ValueError where they cannot be read."""
    loader, folder = _part("data.loader"), str(case.data.tokenized_path)
    if not _part("extras.misc").has_tokenized_data(folder):
        return None
    try:
        with quiet():
            return loader.get_dataset_module(loader.load_from_disk(folder))["train_dataset"]
    except Exception as error:
        raise ValueError(files.first_line(error)) from None


def load_tokenizer(case: Preflight) -> Any:
    """The tokenizer as training loads it. Raises what transformers raises."""
    args = copy.copy(case.model)
    args.cache_dir = None  # the hub's usual cache: a cached tokenizer is not loaded again
    with quiet():
        return _part("model.loader").load_tokenizer(args)["tokenizer"]


def make_trainable(case: Preflight, model: Any) -> Any:
    """An empty model with new adapter or frozen layers. Raises ValueError for what is refused."""
    import torch

    args, tuning = copy.copy(case.model), copy.copy(case.finetuning)
    args.adapter_name_or_path = None  # an earlier round's weights are not needed
    args.use_unsloth = args.use_kt = tuning.pissa_init = False  # these want GPU or weights
    with quiet(), torch.device("meta"):
        return _part("model.adapter").init_adapter(
            case.student, model, args, tuning, is_trainable=True)


def quantization_fault(case: Preflight) -> str | None:
    """LLaMA-Factory's objection to this quantization of this model; None without one."""
    part = _part("model.model_utils.quantization")
    with quiet(), swapped(part, is_deepspeed_zero3_enabled=lambda: case.zero == 3,
                           is_fsdp_enabled=lambda: bool(case.training.fsdp),
                           check_version=lambda *_, **__: None):
        try:
            part.configure_quantization(copy.deepcopy(case.student), None, case.model, True, {})
        except ValueError as error:
            return files.first_line(error)
        except Exception:  # a package that is not on this machine
            return None
    return None


def trainer_fault(case: Preflight, steps: int) -> str | None:
    """What the trainer dies of before its first step: loggers, schedule, early stopping."""
    import torch
    from transformers import EarlyStoppingCallback, TrainerControl, TrainerState, get_scheduler
    from transformers.integrations import integration_utils as reporting

    args = copy.copy(case.training)
    try:
        with quiet():
            _part("train.trainer_utils").create_custom_scheduler(args, steps)
            for callback in reporting.get_reporting_integration_callbacks(args.report_to):
                callback()
            get_scheduler(args.lr_scheduler_type, torch.optim.SGD([torch.nn.Parameter()]),
                          args.get_warmup_steps(steps), steps, args.lr_scheduler_kwargs or {})
            if case.finetuning.early_stopping_steps is not None:
                EarlyStoppingCallback().on_train_begin(args, TrainerState(), TrainerControl())
    except (ValueError, RuntimeError, AssertionError, ImportError, TypeError) as error:
        return files.first_line(error)
    return None


def template_fault(name: Any) -> str | None:
    """Why LLaMA-Factory has no template of this name; None when it has, or none is named."""
    known = _part("data.template").TEMPLATES
    if name is None or name in known:
        return None
    return f"LLaMA-Factory has no template {name!r}. {meant(str(name), known)}".strip()


def get_template(case: Preflight) -> Any:
    """LLaMA-Factory's template; fixes the tokenizer as training does. Raises what it raises."""
    part = _part("data.template")
    own = {name: copy.copy(template) for name, template in part.TEMPLATES.items()}
    with quiet(), swapped(part, TEMPLATES=own):  # those of the registry are changed in their place
        return part.get_template_and_fix_tokenizer(case.used, case.data)


def layout(template: Any, tokenizer: Any = None) -> Family:
    """A template, or the one of this name, as text; without a tokenizer its BOS and EOS are ''."""
    named = isinstance(template, str)
    made = _part("data.template").TEMPLATES[template] if named else template

    def text(slots: list[Any]) -> str:
        return "".join(slot if isinstance(slot, str) else slot["token"] if isinstance(slot, dict)
            else getattr(tokenizer, next(iter(slot)), None) or "" for slot in slots)

    prefix, system = text(made.format_prefix.apply()), made.default_system
    if system:
        prefix += text(made.format_system.apply(content=system))
    before, _, after = text(made.format_user.apply(content="\0", idx="0")).partition("\0")
    end = text(made.format_assistant.apply(content="\0")).partition("\0")[2]
    return Family(template if named else "of the YAML", prefix, before, after,
                  end + (text([{"eos_token"}]) if made.efficient_eos else ""))


def tokenizer_of(spec: str | None) -> Any:
    """The tokenizer in a folder or on the hub, for a template's BOS and EOS; None without one."""
    from transformers import AutoTokenizer

    with quiet(), contextlib.suppress(Exception):
        if spec and spec not in ("qwen", "student") and not spec.endswith(".json"):
            return AutoTokenizer.from_pretrained(spec)
    return None


def load_rows(case: Preflight, name: str) -> "Dataset":
    """All rows of one registered set, aligned, before `max_samples`; `_row` is a row's number in
    its file, from 0, of which `num_samples` takes some. Raises BadSet."""
    loader, data = _part("data.loader"), _plain(case.data)
    read = loader.load_dataset

    def numbered(*args: Any, **how: Any) -> Any:
        rows = read(*args, **how)
        return rows if how.get("streaming") else rows.add_column("_row", [*range(len(rows))])

    with quiet():
        entry = _entry(case, name)
        file = Path(str(data.dataset_dir)) / entry.dataset_name
        try:
            with swapped(loader, load_dataset=numbered, align_dataset=lambda dataset, *_: dataset):
                rows = loader._load_single_dataset(entry, case.model, data, case.training)
                if case.data.streaming:
                    next(iter(loader._load_single_dataset(
                        entry, case.model, case.data, case.training)))
        except StopIteration:
            raise BadSet("stream" if len(rows) else "empty") from None
        except Exception as error:
            what = files.first_line(files.cause_of(error))
            empty = isinstance(error, IndexError) or "corresponds to no data" in what
            raise BadSet("empty" if empty else "unread",
                         fault=files.json_fault(file) or what) from None
        if not len(rows):
            raise BadSet("empty")
        numbers = rows["_row"][:] if "_row" in rows.column_names else [*range(len(rows))]
        rows = rows.select_columns([name for name in rows.column_names if name != "_row"])
        about = {"name": name, "columns": ", ".join(rows.column_names), **vars(entry)}
        try:
            aligned = loader.align_dataset(rows, entry, data, case.training)
        except Exception as error:
            cause = files.cause_of(error)
            key = cause.args[0] if isinstance(cause, KeyError) else ""
            raise BadSet("format" if key == "" else "incomplete" if key is None else
                         "column" if key in vars(entry).values() else "role",
                         fault=files.first_line(cause), key=key, **about) from None
    if not any(kept(case, row) for row in aligned):
        raise BadSet("dropped", **about)
    return aligned.add_column("_row", numbers)


def _entry(case: Preflight, name: str) -> Any:
    """A set's entry in dataset_info.json, as LLaMA-Factory reads it. Raises BadSet."""
    try:
        (entry,) = _part("data.parser").get_dataset_list([name], case.data.dataset_dir)
    except (KeyError, TypeError, AttributeError):  # of an entry that is not what it takes it for
        raise BadSet("entry") from None
    if bool(entry.ranking) != case.pairs:
        raise BadSet("pairs" if entry.ranking else "sft", stage=case.finetuning.stage)
    if case.data.streaming:  # of a stream it takes all
        entry.num_samples = None
    return entry


def kept(case: Preflight, row: dict[str, Any]) -> bool:
    """Whether LLaMA-Factory trains on a row: its turns alternate, and its responses are there."""
    return len(row["_prompt"]) % 2 == 1 and len(row["_response"]) == 1 + case.pairs


def _plain(data: Any) -> Any:
    """The data settings without those that only cost a check time or hide rows from it."""
    data = copy.copy(data)
    data.max_samples = data.preprocessing_num_workers = None
    data.overwrite_cache, data.streaming = True, False
    return data


def mixed(case: Preflight, sets: "dict[str, Dataset]") -> "Dataset":
    """The rows to train on, with `_place` (`SET:ROW`), mixed. Raises ValueError (probabilities)."""
    limit = case.data.max_samples
    placed = [rows.add_column("_place", [f"{name}:{i}" for i in rows["_row"]])
              for name, rows in sets.items()]
    chosen = [rows.select(range(min(limit or len(rows), len(rows)))) for rows in placed]
    with quiet():
        return _part("data.loader").merge_dataset(
            chosen, _plain(case.data), seed=case.training.seed)


def split(case: Preflight) -> "tuple[Dataset, int]":
    """The rows to train on, and how many are held out. Raises ValueError where none are left."""
    rows: Any = case.rows
    if case.data.streaming and case.stored is None:  # uncounted: it takes the first rows
        held = min(int(case.data.val_size), len(rows))
        if held == len(rows):
            raise ValueError("the whole stream is held out")
        return rows.select(range(held, len(rows))), held
    with quiet():
        train, held_out = _part("data.loader").split_dataset(
            rows, None, _plain(case.data), seed=case.training.seed)
    return train["train"], len(held_out.get("validation", ()))


def prepared(case: Preflight, rows: "Dataset") -> "Dataset":
    """The rows as they are trained; packed, each of the YAML's workers packs its share."""
    with quiet():
        return _part("data.loader")._get_preprocessed_dataset(
            rows, case.data, case.training, "rm" if case.pairs else case.finetuning.stage,
            case.template, case.used)


def encode(case: Preflight, row: dict[str, Any],
           cutoff_len: int | None = None) -> list[tuple[list[int], list[int]]]:
    """A row's ids and labels, uncut without `cutoff_len`: one pair, or two for a preference row."""
    data = copy.copy(case.data)
    data.cutoff_len = cutoff_len or 2**31
    kind = "PairwiseDatasetProcessor" if case.pairs else "SupervisedDatasetProcessor"
    made = getattr(_part("data.processor"), kind)(
        template=case.template, tokenizer=case.used, processor=None, data_args=data
    )._encode_data_example(prompt=row["_prompt"], response=row["_response"], system=row["_system"],
                           tools=row["_tools"], **{kind: row[f"_{kind}"] or [] for kind in _MEDIA})
    return [(made[0], made[1]), (made[2], made[3])] if case.pairs else [made]
