"""What the commands share: options, kinds of values, and their pages of help."""

import functools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from drp_plugin.cli import page
from drp_plugin.errors import UserError, meant
from drp_plugin.given_yaml import load, parse
from drp_plugin.jsonl import loads
from drp_plugin.llm.addresses import find_base_url
from drp_plugin.llm.messages import Sampling
from drp_plugin.llm.prices import parse_price
from drp_plugin.reading import parse_columns
from drp_plugin.resources import table
from drp_plugin.runner.job import RunOptions, Shard
from drp_plugin.sampling.arguments import pair
from drp_plugin.teachers.registry import TeacherSettings
from drp_plugin.tokens import PIECES, QWEN_VARIABLE, TokenCounter

F = TypeVar("F", bound=Callable[..., Any])
MOST = 10 ** 9  # For anything counted; larger numbers overflow clocks and libraries


class Number(click.FloatRange):
    """A float within bounds; never NaN or infinite, which no comparison with a bound stops."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None
                ) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


def load_counter(spec: str) -> TokenCounter:
    """The counter for `spec`; one line on stderr where Qwen's had to be replaced."""
    made = TokenCounter.load(spec, exact=False)
    if made.name == PIECES != spec:
        click.echo(f"note: tokens are counted by {PIECES}, about 3 % under Qwen's own tokenizer, "
                   f"which is not available here ({QWEN_VARIABLE} names its file)", err=True)
    return made


def json_or_text(text: str) -> Any:
    """The value as JSON where it is JSON, else the text: what a request's body holds."""
    try:
        return loads(text)
    except ValueError:
        return text


def pairs(read: Callable[[str], Any] = parse) -> Callable[[Any], tuple[str, Any]]:
    """`KEY=VALUE` on the command line, the value as `read` takes it; a mapping in a config."""
    def convert(value: Any) -> tuple[str, Any]:
        try:
            key, found = value if isinstance(value, tuple) else pair(str(value), read)
            json.dumps(found, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise click.BadParameter(str(error)) from None
        return str(key), found

    return convert


def shard(value: Any) -> Shard:
    index, _, count = str(value).partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count) <= 10 ** 6):
        raise click.BadParameter(f"{value!r} is not a part of a run, such as 1/4 or 4/4")
    return Shard(int(index), int(count))


def temperature(value: Any) -> float | str:
    if str(value).lower() == "none":
        return "none"
    try:
        return Number(0, 2).convert(value, None, None)
    except click.BadParameter as error:
        raise click.BadParameter(f"{error.message} Or give none.") from None


def read_config(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    """Take the options of a YAML file; the command line wins. Raises UserError."""
    content = None if value is None else load(value)
    if content is None:
        return
    if not isinstance(content, dict):
        raise UserError("not a mapping of options", file=value,
                        fix="Write one `option: value` per line")
    known = _known(ctx.command)
    defaults: dict[str, Any] = {}
    for key, given in content.items():
        name = str(key).replace("_", "-")
        if name not in known:
            raise UserError(f"unknown key {str(key)!r}", file=value,
                            fix=meant(name, known, f"See {ctx.command_path} --help"))
        option = known[name]
        try:
            if option.name in defaults:
                raise ValueError("this option is given twice")
            found = _given(option, given, off=f"--{name}" in option.secondary_opts)
        except ValueError as error:
            raise UserError(f"key {str(key)!r}: {error}", file=value) from None
        if found is not None:
            defaults[str(option.name)] = found
    ctx.default_map = {**(ctx.default_map or {}), **defaults}


def _known(command: click.Command) -> dict[str, click.Option]:
    """A command's options by every name that a config may use: as on the command line without the
    leading dashes, and our own name for the value."""
    options = [p for p in command.params
               if isinstance(p, click.Option) and p.name not in ("config", "help")]
    own = {str(o.name).replace("_", "-"): o for o in options}
    return own | {name.lstrip("-"): o for o in options for name in (*o.opts, *o.secondary_opts)}


def _given(option: click.Option, given: Any, *, off: bool) -> Any:
    """A config's value as an option's default, or None; `off` is a flag's. Raises ValueError."""
    if option.is_flag and isinstance(given, bool):
        return given != off
    if off:
        raise ValueError("give true or false")
    if given is None:
        return "none" if option.name == "temperature" else None
    if not option.multiple:
        if isinstance(given, dict | list | bool):
            raise ValueError("give a single value; a text such as yes or no in quotes")
        return str(given)
    parts = given if isinstance(given, list) else [given]
    return [pair for part in parts
            for pair in (part.items() if isinstance(part, dict) else [str(part)])]


PATH = click.Path(path_type=Path)
_KINDS: dict[str, Any] = {"some": click.IntRange(1, MOST), "any": click.IntRange(0, MOST),
    "seed": click.IntRange(-2 ** 63, 2 ** 63 - 1), "path": PATH,
    "file": click.Path(path_type=Path, dir_okay=False), "pairs": pairs(),
    "folder": click.Path(path_type=Path, file_okay=False), "body": pairs(json_or_text),
    "temperature": temperature, "shard": shard, "config": read_config,
    "columns": lambda context, option, text: parse_columns(text or ""),
    "price": lambda context, option, text: text if text is None or parse_price(text) else None}


def command(name: str, more: str = "", **kinds: Any) -> Callable[[Any], click.Command]:
    """A command with its page of help, and `more` behind it, and with the arguments and options
    that `data/options.yaml` has for it; `kinds` are its own types and callbacks."""
    return lambda to: click.command(help=page(name) + more)(_options(name, {**_KINDS, **kinds})(to))


def _options(name: str, known: dict[str, Any]) -> Callable[[F], F]:
    """Adds them in their order; a text there stands for those of that name."""
    def option(given: str | dict[str, Any]) -> Callable[[F], F]:
        if isinstance(given, str):
            return _options(given, known)
        more = {key: known[value] if key in ("type", "callback") else value
                for key, value in given.items() if key not in ("names", "whole", "number", "over")}
        if "whole" in given:
            more["type"] = click.IntRange(*given["whole"])
        elif bounds := given.get("number") or given.get("over"):
            more["type"] = Number(bounds[0], bounds[1], min_open="over" in given)
        if "choice" in more:
            more["type"] = click.Choice(more.pop("choice"))
        names = given["names"].split()
        return (click.option if names[0][0] == "-" else click.argument)(*names, **more)

    return lambda to: functools.reduce(
        lambda to, given: option(given)(to), reversed(table("options.yaml")[name]), to)


def teacher_settings(given: dict[str, Any]) -> TeacherSettings:
    """The values of the options of `teacher_options`; they are removed from `given`."""
    asked = {name: given.pop(name) for name in ("temperature", "top_p", "seed", "max_tokens")}
    if asked["temperature"] == "none":
        asked["temperature"] = None
    urls = given.pop("base_urls") or filter(None, [find_base_url(given["teacher"])])
    return TeacherSettings(sampling=Sampling(**asked, extra=dict(given.pop("extra"))),
        base_urls=tuple(dict.fromkeys(urls)), engine=dict(given.pop("engine")), **{
            name: given.pop(name) for name in (
                "teacher", "concurrency", "timeout_s", "retries", "price", "prices")})


def how_to_run(given: dict[str, Any]) -> RunOptions:
    """The values of `run_options`; they are removed from `given`."""
    forecast, pilot = given.pop("forecast"), given.pop("pilot")
    return RunOptions(max_cost_usd=given.pop("max_cost"), pilot=pilot if forecast else None,
                      **{n: given.pop(n) for n in ("anew", "batch", "poll_s", "batch_size")})
