"""Settings as `llamafactory-cli` reads them, of the right kind, with the files that they name."""

import contextlib
import dataclasses
import enum
import re
import types
import typing
from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError, meant
from drp_plugin.hub import looks_local
from drp_plugin.jsonl import loads
from drp_plugin.resources import table
from drp_plugin.training.preflight.findings import Preflight

# Which values fit a setting of one kind: an empty switch is off, and 0 and 1 fit as well.
_KINDS: dict[type, tuple[tuple[type, ...], str]] = {
    int: ((int,), "a whole number"), float: ((int, float), "a number"),
    bool: ((bool, int, type(None)), "true or false")}


def first_line(error: BaseException) -> str:
    """An error's text, in one line of bounded length; its type if it has no text."""
    text = str(error).strip()
    return " ".join(text.split())[:300] if text else type(error).__name__


def cause_of(error: BaseException) -> BaseException:
    """The error inside those that `datasets` wraps around another."""
    inner = error.__context__ if "Failed to convert" in str(error) else error.__cause__
    return cause_of(inner) if inner is not None else error


def json_fault(path: Path) -> str | None:
    """Why a file is neither a JSON array nor JSONL; None for one that is, or is not there."""
    if path.suffix not in (".json", ".jsonl") or not path.is_file():
        return None
    try:
        text = path.read_text("utf-8")
        whole = text.lstrip("\ufeff\n ").startswith("[")
        for line in filter(str.strip, [text] if whole else text.splitlines()):
            loads(line)
    except ValueError as error:
        return f"{path} is not JSON in UTF-8 ({error})"
    return None if text.strip() else f"{path} is empty"


def read_yaml(path: Path, overrides: list[str]) -> dict[str, Any]:
    """The YAML with `key=value` overrides, read as `llamafactory-cli` reads it."""
    from omegaconf import OmegaConf

    try:
        settings = OmegaConf.to_container(
            OmegaConf.merge(OmegaConf.load(path), OmegaConf.from_cli(overrides)))
    except Exception as error:
        raise UserError(f"cannot be read as YAML ({first_line(error)})", file=path) from None
    if not isinstance(settings, dict) or not settings:
        raise UserError("holds no settings", file=path, fix="Give a training YAML")
    return {str(key): value for key, value in settings.items()}


def refusal(path: str, error: Exception, classes: list[type],
            settings: dict[str, Any]) -> UserError:
    """What the parser refused, with the probable meaning of an unknown setting."""
    if isinstance(error, AttributeError) and "'list'" in str(error):
        lists = ", ".join(key for key, value in settings.items() if isinstance(value, list))
        return UserError(f"LLaMA-Factory takes no list here: {lists}", file=path,
                         fix="Write its parts as one text, with commas between them")
    unknown = re.findall(r"'([^']+)'", str(error)) if "not used by" in str(error) else []
    if not unknown:
        return UserError(f"LLaMA-Factory refuses it: {first_line(error)}", file=path)
    fields = {f.name for args in classes for f in dataclasses.fields(args)}
    return UserError(f"LLaMA-Factory knows no setting {unknown[0]!r}", file=path,
                     fix=meant(unknown[0], fields, "Remove it"))


def check_types(path: str, settings: dict[str, Any], classes: list[type]) -> None:
    """Raises UserError for numbers, switches and choices that the parser would accept unchecked."""
    floats = table("llamafactory.yaml")["floats"]
    for args in classes:
        for key, hint in typing.get_type_hints(args).items():
            union = typing.get_origin(hint) in (typing.Union, types.UnionType)
            parts = typing.get_args(hint) if union else (hint,)
            value = settings.get(key)
            if key not in settings or (value is None and type(None) in parts):
                continue
            for kind, (accepted, text) in _KINDS.items():
                if {kind, type(None)} >= set(parts) and type(value) not in accepted and not (
                        key in floats and type(value) is float):
                    raise UserError(f"{key}: {value!r} is not {text}", file=path,
                                    fix="Give one, without quotes")
            choices = _choices(parts)
            if choices and value not in choices:
                raise UserError(f"LLaMA-Factory refuses {key}: {value!r}", file=path, fix=meant(
                    str(value), map(str, choices), f"It takes: {', '.join(map(str, choices))}"))


def _choices(parts: tuple[Any, ...]) -> list[Any]:
    if str in parts:  # an enumeration that is text as well: transformers looks it up itself
        return []
    return [choice for part in parts if typing.get_origin(part) is typing.Literal
            for choice in typing.get_args(part)] or [
        choice.value for part in parts if isinstance(part, type) and issubclass(part, enum.Enum)
        for choice in part]


def is_local(name: str) -> bool:
    """Whether a folder is meant, not `owner/name` on the hub; shipped YAMLs write to `saves/`."""
    return looks_local(name) or name.startswith("saves/") or Path(name).exists()


def read_object(source: str | Path, encoding: str = "utf-8") -> dict[str, Any]:
    """A JSON object, from a file or (`{...}`) the text itself. Raises OSError or ValueError."""
    inline = isinstance(source, str) and source.startswith("{")
    try:
        value = loads(str(source) if inline else Path(source).read_text(encoding))
    except ValueError as error:
        raise ValueError(f"is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")
    return value


def check_plans(case: Preflight, raw: dict[str, Any]) -> dict[str, Any]:
    """The settings without DeepSpeed's and FSDP's files that cannot be read: each is a finding."""
    settings = dict(raw)
    for key in ("deepspeed", "fsdp_config"):
        value = raw.get(key)
        try:
            if isinstance(value, str) and value:
                read_object(value)
        except (OSError, ValueError) as error:
            case.add("missing_file" if isinstance(error, OSError) else "bad_file", name=key,
                     value=value, error=error)
            del settings[key]
    return settings


def zero_stage(plan: Any) -> int:
    """The ZeRO stage of a DeepSpeed plan; 0 without a readable plan."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        plan = read_object(plan) if isinstance(plan, str) else plan
        return int(plan["zero_optimization"]["stage"])
    return 0
