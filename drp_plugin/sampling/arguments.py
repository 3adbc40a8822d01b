"""Reading arguments given as text; each mistake is one line that names the argument."""

import contextlib
import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

from drp_plugin.errors import UserError, meant
from drp_plugin.given_yaml import parse


def pair(text: str, read: Callable[[str], Any] = parse) -> tuple[str, Any]:
    """`KEY=VALUE` apart; raises ValueError, with a line to show, where it is not one."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ValueError(f"{text!r} is not KEY=VALUE")
    try:
        return key, read(value)
    except ValueError as error:
        raise ValueError(f"the value of {text[:80]!r} cannot be read ({error})") from None


def check(given: dict[str, Any], known: Iterable[str], model: str) -> None:
    """Raises UserError for an argument that the model does not have."""
    names = sorted(known)
    for name in (name for name in given if name not in names):
        raise UserError(f"{model} has no argument {name!r}",
                        fix=f"{meant(name, names)} It has: {', '.join(names)}")


def check_for(made: type, given: dict[str, Any], name: str) -> None:
    """`check` against what the constructor of an engine takes, besides what is set elsewhere."""
    elsewhere = {"self", "model", "base_urls", "peft", "batch_size"}
    check(given, set(inspect.signature(made).parameters) - elsewhere, name)


def integer(name: str, value: Any, *, least: int = 1) -> int | None:
    """A whole number of at least `least`; None stays None."""
    if value is None or value == "None":
        return None
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        if int(value) == float(value) and int(value) >= least:
            return int(value)
    raise UserError(f"{name}={value} must be a whole number of at least {least}")


def number(name: str, value: Any, *, least: float = 0, most: float = math.inf) -> float | None:
    """A number from `least` to `most`; None stays None."""
    if value is None or value == "None":
        return None
    with contextlib.suppress(TypeError, ValueError):
        if math.isfinite(float(value)) and least <= float(value) <= most:
            return float(value)
    limit = f"of at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
    raise UserError(f"{name}={value} must be a number {limit}")


def flag(name: str, value: Any) -> bool:
    """True or False, however written."""
    text = str(value).lower()
    if text not in ("true", "1", "yes", "false", "0", "no", "none"):
        raise UserError(f"{name}={value} must be True or False")
    return text in ("true", "1", "yes")
