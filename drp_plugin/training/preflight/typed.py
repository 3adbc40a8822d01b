"""Settings as YAML gives them: read as `llamafactory-cli` reads them, and of the right kind."""

from __future__ import annotations

import dataclasses
import difflib
import enum
import re
import types
import typing
from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError

# Which values do for a setting of one kind: an empty switch is off, and 0 and 1 do as well.
_KINDS: dict[type, tuple[tuple[type, ...], str]] = {
    int: ((int,), "a whole number"), float: ((int, float), "a number"),
    bool: ((bool, int, type(None)), "true or false")}


def first_line(error: BaseException) -> str:
    """What an error says, in one line of bounded length; its type where it says nothing."""
    text = str(error).strip()
    return " ".join(text.split())[:300] if text else type(error).__name__


def cause_of(error: BaseException) -> BaseException:
    """What lies behind the errors that `datasets` wraps around another."""
    return cause_of(error.__cause__) if error.__cause__ is not None else error


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


def refusal(path: Path, error: Exception, classes: list[type]) -> UserError:
    """What the parser refused, with the setting that was probably meant by one it does not know."""
    unknown = re.findall(r"'([^']+)'", str(error)) if "not used by" in str(error) else []
    if not unknown:
        return UserError(f"LLaMA-Factory refuses it: {first_line(error)}", file=path)
    fields = {f.name for args in classes for f in dataclasses.fields(args)}
    near = difflib.get_close_matches(unknown[0], fields, n=1)
    return UserError(f"LLaMA-Factory knows no setting {unknown[0]!r}", file=path,
                     fix=f"Did you mean {near[0]!r}?" if near else "Remove it")


def check_types(path: Path, settings: dict[str, Any], classes: list[type]) -> None:
    """Numbers, switches and closed lists; from a YAML the parser takes any value for them.

    Raises UserError.
    """
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
