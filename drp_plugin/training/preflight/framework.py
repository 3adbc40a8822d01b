"""The one place that talks to LLaMA-Factory: its parser, its tokenizer loading, its data code.

A check is worth something only when it sees what the training will see, so nothing of this is
rebuilt here. What depends on the machine (GPUs, DeepSpeed, launchers) is taken out of the settings
first: a check needs neither.
"""

from __future__ import annotations

import contextlib
import copy
import difflib
import io
import logging
import os
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError

# Settings that want hardware, a launcher or an extra package; their files are checked apart.
_MACHINE = ("deepspeed", "fsdp", "fsdp_config", "tf32", "ray_num_workers", "ray_init_kwargs")
_LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
             "USE_RAY", "FORCE_TORCHRUN", "USE_MCA", "ACCELERATE_USE_FSDP",
             "ACCELERATE_USE_DEEPSPEED")


@dataclass
class Parsed:
    """A training YAML as LLaMA-Factory understands it."""

    raw: dict[str, Any]
    model: Any
    data: Any
    training: Any
    finetuning: Any


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No launcher's environment, no GPU, and none of the frameworks' chatter on stdout."""
    saved = {name: os.environ.pop(name) for name in _LAUNCHER if name in os.environ}
    changed = {"CUDA_VISIBLE_DEVICES": "", "LLAMAFACTORY_VERBOSITY": "ERROR",
               "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        os.environ.update(saved)


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

    settings = {key: value for key, value in raw.items() if key not in _MACHINE}
    settings["use_cpu"] = True
    if settings.pop("fp16", False):
        settings["bf16"] = True  # the same lengths and labels, and no GPU
    _check_choices(path, settings, parser._TRAIN_ARGS)
    try:
        with quiet():
            model, data, training, finetuning, _ = get_train_args(copy.deepcopy(settings))
    except UserError:
        raise
    except Exception as error:
        unknown = re.findall(r"'([^']+)'", str(error)) if "not used by" in str(error) else []
        if unknown:
            fields = {f for args in parser._TRAIN_ARGS for f in args.__dataclass_fields__}
            near = difflib.get_close_matches(unknown[0], fields, n=1)
            raise UserError(f"LLaMA-Factory knows no setting {unknown[0]!r}", file=path,
                            fix=f"Did you mean {near[0]!r}?" if near else "Remove it") from None
        raise UserError(f"LLaMA-Factory refuses it: {first_line(error)}", file=path) from None
    model.cache_dir = str(cache)  # nothing stale is read, nothing is left behind
    return Parsed(raw, model, data, training, finetuning)


def _check_choices(path: Path, settings: dict[str, Any], classes: list[type]) -> None:
    """Settings with a closed list of values; the parser takes any value from a YAML."""
    for args in classes:
        for key, hint in typing.get_type_hints(args).items():
            choices = [choice for part in (hint, *typing.get_args(hint))
                       if typing.get_origin(part) is typing.Literal
                       for choice in typing.get_args(part)]
            value = settings.get(key)
            if choices and value is not None and value not in choices:
                near = difflib.get_close_matches(str(value), map(str, choices), n=1)
                raise UserError(f"LLaMA-Factory refuses {key}: {value!r}", file=path,
                                fix=f"Did you mean {near[0]!r}?" if near
                                else f"It takes: {', '.join(map(str, choices))}")


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
