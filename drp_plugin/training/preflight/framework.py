"""The one place that talks to LLaMA-Factory: its parser, its tokenizer loading, its data code.

A check is worth something only when it sees what the training will see, so nothing of this is
rebuilt here. What depends on the machine (GPUs, DeepSpeed, launchers) is taken out of the settings
first, or put in its place for the time of a question: a check needs neither.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import difflib
import enum
import io
import logging
import os
import re
import types
import typing
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.training.preflight.files import zero_stage

# Settings that the parser takes only on a GPU, or with DeepSpeed installed. DeepSpeed's file is
# checked apart, and the parser is told the stage of its plan.
_MACHINE = ("deepspeed", "tf32")
_LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
             "USE_RAY", "FORCE_TORCHRUN", "USE_MCA", "ACCELERATE_USE_FSDP",
             "ACCELERATE_USE_DEEPSPEED")
# Which values do for a setting of one kind: an empty switch is off, and 0 and 1 do as well.
_KINDS: dict[type, tuple[tuple[type, ...], str]] = {
    int: ((int,), "a whole number"), float: ((int, float), "a number"),
    bool: ((bool, int, type(None)), "true or false")}


@dataclasses.dataclass
class Parsed:
    """A training YAML as LLaMA-Factory understands it."""

    raw: dict[str, Any]
    model: Any
    data: Any
    training: Any
    finetuning: Any
    zero: int = 0
    """The stage of ZeRO in the DeepSpeed plan; 0 without one."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No launcher's environment, no GPU, and none of the frameworks' chatter on stdout."""
    before = dict(os.environ)
    for name in _LAUNCHER:
        os.environ.pop(name, None)
    os.environ.update({"CUDA_VISIBLE_DEVICES": "", "LLAMAFACTORY_VERBOSITY": "ERROR",
                       "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"})
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        # the parser itself sets some: precision, FSDP's options
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


@contextlib.contextmanager
def _swapped(module: Any, **values: Any) -> Iterator[None]:
    """A module of LLaMA-Factory with other answers to questions about machine and launcher."""
    before = {name: getattr(module, name) for name in values}
    vars(module).update(values)
    try:
        yield
    finally:
        vars(module).update(before)


def require() -> None:
    """Raises UserError when LLaMA-Factory is not installed or cannot be imported."""
    try:
        with quiet():
            import llamafactory.hparams  # noqa: F401
    except ImportError as error:
        raise UserError(f"LLaMA-Factory cannot be imported ({error})",
                        fix="pip install 'drp-plugin[train]'") from None


def read_yaml(path: Path, overrides: list[str]) -> dict[str, Any]:
    """The YAML with `key=value` overrides, read as `llamafactory-cli` reads it."""
    from omegaconf import OmegaConf

    try:
        settings = OmegaConf.to_container(
            OmegaConf.merge(OmegaConf.load(path), OmegaConf.from_cli(overrides)))
    except FileNotFoundError:
        raise UserError("no such file", file=path, fix="Check the path") from None
    except IsADirectoryError:
        raise UserError("is a folder", file=path, fix="Give a YAML file") from None
    except Exception as error:
        raise UserError(f"cannot be read as YAML ({first_line(error)})", file=path) from None
    if not isinstance(settings, dict) or not settings:
        raise UserError("holds no settings", file=path, fix="Give a training YAML")
    return {str(key): value for key, value in settings.items()}


def first_line(error: BaseException) -> str:
    text = str(error).strip()
    return " ".join(text.split())[:300] if text else type(error).__name__


def parse(path: Path, raw: dict[str, Any], cache: Path) -> Parsed:
    """Run LLaMA-Factory's own parser over the settings.

    Raises UserError, naming the file, for whatever the parser refuses; an unknown key comes with
    the one that was probably meant.
    """
    from llamafactory.hparams import get_train_args, parser

    _check_values(path, raw, parser._TRAIN_ARGS)
    settings = {key: value for key, value in raw.items() if key not in _MACHINE}
    settings["use_cpu"] = True
    if settings.get("fp16") and not settings.get("bf16"):
        settings |= {"fp16": False, "bf16": True}  # the same lengths and labels, and no GPU
    zero = zero_stage(raw.get("deepspeed"))
    try:
        with quiet(), _swapped(parser, is_deepspeed_zero3_enabled=lambda: zero == 3,
                               is_torch_bf16_gpu_available=lambda: True):
            model, data, training, finetuning, _ = get_train_args(copy.deepcopy(settings))
    except Exception as error:
        raise _refusal(path, error, parser._TRAIN_ARGS) from None
    model.cache_dir = str(cache)  # nothing stale is read, nothing is left behind
    return Parsed(raw, model, data, training, finetuning, zero)


def parse_export(path: Path, raw: dict[str, Any]) -> Parsed:
    """The same for an export YAML, which has no training settings."""
    from llamafactory.hparams import get_infer_args, parser

    _check_values(path, raw, parser._INFER_ARGS)
    try:
        with quiet():
            model, data, finetuning, _ = get_infer_args(copy.deepcopy(raw))
    except Exception as error:
        raise _refusal(path, error, parser._INFER_ARGS) from None
    return Parsed(raw, model, data, None, finetuning)


def _refusal(path: Path, error: Exception, classes: list[type]) -> UserError:
    unknown = re.findall(r"'([^']+)'", str(error)) if "not used by" in str(error) else []
    if not unknown:
        return UserError(f"LLaMA-Factory refuses it: {first_line(error)}", file=path)
    fields = {f.name for args in classes for f in dataclasses.fields(args)}
    near = difflib.get_close_matches(unknown[0], fields, n=1)
    return UserError(f"LLaMA-Factory knows no setting {unknown[0]!r}", file=path,
                     fix=f"Did you mean {near[0]!r}?" if near else "Remove it")


def _check_values(path: Path, settings: dict[str, Any], classes: list[type]) -> None:
    """Numbers, switches and closed lists; from a YAML the parser takes any value for them."""
    for args in classes:
        for key, hint in typing.get_type_hints(args).items():
            union = typing.get_origin(hint) in (typing.Union, types.UnionType)
            parts = typing.get_args(hint) if union else (hint,)
            value = settings.get(key)
            if key not in settings or (value is None and type(None) in parts):
                continue
            for kind, (accepted, text) in _KINDS.items():
                if {kind, type(None)} >= set(parts) and type(value) not in accepted:
                    raise UserError(f"{key}: {value!r} is not {text}", file=path,
                                    fix="Give one, without quotes")
            choices = _choices(parts)
            if choices and value not in choices:
                near = difflib.get_close_matches(str(value), map(str, choices), n=1)
                raise UserError(f"LLaMA-Factory refuses {key}: {value!r}", file=path,
                                fix=f"Did you mean {near[0]!r}?" if near
                                else f"It takes: {', '.join(map(str, choices))}")


def _choices(parts: tuple[Any, ...]) -> list[Any]:
    if str in parts:  # an enumeration that is text as well: transformers looks it up itself
        return []
    return [choice for part in parts if typing.get_origin(part) is typing.Literal
            for choice in typing.get_args(part)] or [
        choice.value for part in parts if isinstance(part, type) and issubclass(part, enum.Enum)
        for choice in part]


def load_tokenizers(parsed: Parsed) -> tuple[Any, Any]:
    """The tokenizer as training loads it, and once more untouched, as inference does.

    Raises UserError when there is none.
    """
    from llamafactory.model.loader import load_tokenizer
    from transformers import AutoTokenizer

    name = parsed.model.model_name_or_path
    args = copy.copy(parsed.model)
    args.cache_dir = None  # the hub's usual cache: a tokenizer that is there is not loaded again
    try:
        with quiet():
            used = load_tokenizer(args)["tokenizer"]
            pristine = AutoTokenizer.from_pretrained(
                name, trust_remote_code=parsed.model.trust_remote_code)
    except Exception as error:
        raise UserError(f"the tokenizer of {name!r} cannot be loaded "
                        f"({first_line(error.__cause__ or error)})",
                        fix="Check model_name_or_path, or give a local copy with --model PATH",
                        ) from None
    return used, pristine


def load_config(parsed: Parsed) -> tuple[Any, list[int]]:
    """The model's config, or None, and the ids that stop its generation. No weights are read."""
    from transformers import AutoConfig, GenerationConfig

    name = parsed.model.model_name_or_path
    config, stops = None, None
    with quiet(), contextlib.suppress(Exception):
        config = AutoConfig.from_pretrained(
            name, trust_remote_code=parsed.model.trust_remote_code)
        stops = config.eos_token_id
    with quiet(), contextlib.suppress(Exception):
        stops = GenerationConfig.from_pretrained(name).eos_token_id or stops
    return config, [stops] if isinstance(stops, int) else list(stops or [])


def empty_model(config: Any) -> Any:
    """The model without its weights: no memory is used. Raises what transformers raises."""
    import torch
    from transformers import AutoModelForCausalLM

    with quiet(), torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def make_trainable(parsed: Parsed, config: Any, model: Any) -> Any:
    """An empty model with its new adapter, or its frozen layers, as LLaMA-Factory makes it.

    Raises ValueError for what LLaMA-Factory or PEFT refuses: a `lora_target` that matches no layer.
    """
    import torch
    from llamafactory.model.adapter import init_adapter

    args, tuning = copy.copy(parsed.model), copy.copy(parsed.finetuning)
    args.adapter_name_or_path = None  # an earlier round's weights are not needed
    args.use_unsloth = args.use_kt = tuning.pissa_init = False  # these want GPU or weights
    with quiet(), torch.device("meta"):
        return init_adapter(config, model, args, tuning, is_trainable=True)


def quantization_fault(parsed: Parsed, config: Any) -> str | None:
    """What LLaMA-Factory says against this quantization of this model; None when it takes it."""
    from llamafactory.model.model_utils import quantization

    with quiet(), _swapped(quantization, is_deepspeed_zero3_enabled=lambda: parsed.zero == 3,
                           is_fsdp_enabled=lambda: bool(parsed.training.fsdp),
                           check_version=lambda *_, **__: None):
        try:
            quantization.configure_quantization(copy.deepcopy(config), None, parsed.model, True, {})
        except ValueError as error:
            return first_line(error)
        except Exception:  # a package that is not on this machine
            return None
    return None


def has_stored_rows(folder: str) -> bool:
    """Whether LLaMA-Factory would train what is stored in `tokenized_path`."""
    from llamafactory.extras.misc import has_tokenized_data

    return bool(has_tokenized_data(folder))


def last_checkpoint(folder: str) -> str | None:
    """The checkpoint in an output folder that training goes on from; None without one."""
    from transformers.trainer_utils import get_last_checkpoint

    return get_last_checkpoint(folder) if os.path.isdir(folder) else None


def template_fault(name: Any) -> str | None:
    """Why LLaMA-Factory has no template of this name; None when it has, or none is named."""
    from llamafactory.data.template import TEMPLATES

    if name is None or name in TEMPLATES:
        return None
    near = difflib.get_close_matches(str(name), TEMPLATES, n=1)
    return f"template {name!r} does not exist" + (f": did you mean {near[0]!r}?" if near else "")


def get_template(parsed: Parsed, tokenizer: Any) -> Any:
    """LLaMA-Factory's template; fixes the tokenizer as training does. Raises what it raises."""
    from llamafactory.data.template import TEMPLATES, get_template_and_fix_tokenizer

    with quiet():
        template = get_template_and_fix_tokenizer(tokenizer, parsed.data)
    # the registry hands out one shared object, which it has just changed for these settings
    assert parsed.data.template is None or parsed.data.template in TEMPLATES
    return template


def load_rows(parsed: Parsed, name: str) -> list[dict[str, Any]]:
    """All rows of one registered set, aligned by LLaMA-Factory; `max_samples` not applied yet."""
    import datasets
    from llamafactory.data.loader import _load_single_dataset
    from llamafactory.data.parser import get_dataset_list

    data = copy.copy(parsed.data)
    data.max_samples = None
    data.preprocessing_num_workers = None
    data.overwrite_cache = True
    bars = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        with quiet():
            (attributes,) = get_dataset_list([name], data.dataset_dir)
            wants_pairs = parsed.finetuning.stage in ("rm", "dpo")
            if bool(attributes.ranking) != wants_pairs:
                raise ValueError(f"is {'a preference' if attributes.ranking else 'an SFT'} set, "
                                 f"which stage {parsed.finetuning.stage!r} cannot use")
            return list(_load_single_dataset(attributes, parsed.model, data, parsed.training))
    finally:
        if bars:
            datasets.enable_progress_bars()


def split(parsed: Parsed, rows: int) -> tuple[int, int]:
    """How many of the rows are trained and held out, by LLaMA-Factory's own split.

    Raises ValueError when `val_size` leaves nothing to train on.
    """
    from datasets import Dataset
    from llamafactory.data.data_utils import split_dataset

    data = copy.copy(parsed.data)
    data.streaming = False
    with quiet():
        train, held_out = split_dataset(Dataset.from_dict({"row": list(range(rows))}), None, data,
                                        seed=parsed.training.seed)
    return len(train["train"]), len(held_out.get("validation", ()))


def encode(parsed: Parsed, template: Any, tokenizer: Any, row: dict[str, Any],
           cutoff_len: int | None = None) -> list[tuple[list[int], list[int]]]:
    """Ids and labels of a row as training makes them: one pair, or two for a preference row.

    `cutoff_len` None means uncut.
    """
    from llamafactory.data.processor import PairwiseDatasetProcessor, SupervisedDatasetProcessor

    data = copy.copy(parsed.data)
    data.cutoff_len = cutoff_len or 2**31
    pairs = parsed.finetuning.stage in ("rm", "dpo")
    kind = PairwiseDatasetProcessor if pairs else SupervisedDatasetProcessor
    made = kind(template=template, tokenizer=tokenizer, processor=None,
                data_args=data)._encode_data_example(
        prompt=row["_prompt"], response=row["_response"], system=row["_system"],
        tools=row["_tools"], images=[], videos=[], audios=[])
    return [(made[0], made[1]), (made[2], made[3])] if pairs else [made]
