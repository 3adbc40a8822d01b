"""Options that every command with a teacher shares."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import yaml

from drp_plugin.cli._pairs import PairType, json_or_text
from drp_plugin.errors import UserError
from drp_plugin.llm.addresses import find_base_url
from drp_plugin.llm.messages import Sampling
from drp_plugin.runner.job import RunOptions
from drp_plugin.teachers.registry import TeacherSettings

F = TypeVar("F", bound=Callable[..., Any])


class TemperatureType(click.ParamType):
    """A temperature, or `none`."""

    name = "T|none"

    def convert(self, value: Any, param: click.Parameter | None,
                ctx: click.Context | None) -> float | str:
        if value is None or str(value).lower() == "none":
            return "none"
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = -1.0
        if not 0 <= number <= 2:
            self.fail(f"{value!r} is not a temperature from 0 to 2, or none", param, ctx)
        return number


def read_config(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    """Take the options of a YAML file; the command line wins. Raises UserError."""
    if value is None:
        return
    try:
        content = yaml.safe_load(Path(value).read_text("utf-8"))
    except FileNotFoundError:
        raise UserError("no such file", file=value) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read ({error.__class__.__name__})", file=value) from None
    except yaml.YAMLError as error:
        raise UserError(f"not YAML ({' '.join(str(error).split())})", file=value) from None
    if content is None:
        return
    if not isinstance(content, dict):
        raise UserError("not a mapping of options", file=value,
                        fix="Write one `option: value` a line")
    known = _known(ctx.command)
    defaults: dict[str, Any] = {}
    for key, given in content.items():
        name = str(key).replace("_", "-")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise UserError(f"unknown key {str(key)!r}", file=value, fix=(
                f"Did you mean {near[0]!r}?" if near else f"See {ctx.command_path} --help"))
        option = known[name]
        assert option.name is not None
        if option.name in defaults:
            raise UserError(f"key {str(key)!r}: this option stands there twice", file=value)
        try:
            found = _given(option, given, off=f"--{name}" in option.secondary_opts)
        except ValueError as error:
            raise UserError(f"key {str(key)!r}: {error}", file=value) from None
        if found is not None:
            defaults[option.name] = found
    ctx.default_map = {**(ctx.default_map or {}), **defaults}


def _known(command: click.Command) -> dict[str, click.Option]:
    """A command's options by every name that a config may call them: as on the command line,
    without dashes before it, and by our own name for the value."""
    options = [p for p in command.params
               if isinstance(p, click.Option) and p.name not in ("config", "help")]
    own = {str(o.name).replace("_", "-"): o for o in options}
    return own | {name.lstrip("-"): o for o in options for name in (*o.opts, *o.secondary_opts)}


def _given(option: click.Option, given: Any, *, off: bool) -> Any:
    """What a config's value is as an option's default; None where it leaves the option alone.

    `off` is for the name that switches a flag off. Raises ValueError for what no option can be.
    """
    if option.is_flag and isinstance(given, bool):
        return given != off
    if off:
        raise ValueError("true or false belongs there")
    if given is None:
        return "none" if option.name == "temperature" else None
    if not option.multiple:
        if isinstance(given, dict | list):
            raise ValueError("a single value belongs there")
        return str(given)
    parts = given if isinstance(given, list) else [given]
    return [pair for part in parts
            for pair in (part.items() if isinstance(part, dict) else [str(part)])]


_SHARED: tuple[Callable[[Any], Any], ...] = (
    click.option("--base-url", metavar="URL",
                 help="Any OpenAI-compatible endpoint for openai:MODEL "
                      "(a vLLM server, Ollama, …); by default $OPENAI_BASE_URL, where set."),
    click.option("--temperature", type=TemperatureType(), default=0.0, show_default=True,
                 help="none leaves it to the provider."),
    click.option("--top-p", type=click.FloatRange(0, 1, min_open=True)),
    click.option("--seed", type=int, help="Sent to providers that take one."),
    click.option("--max-tokens", type=click.IntRange(1),
                 help="Longest reply; by default the model's own limit."),
    click.option("--extra", type=PairType(json_or_text), multiple=True,
                 help="Any further field of the request, e.g. reasoning_effort=low."),
    click.option("--engine-arg", "engine", type=PairType(), multiple=True,
                 help="Argument of vLLM's engine for vllm:PATH, e.g. tensor_parallel_size=4."),
    click.option("--concurrency", type=click.IntRange(1, 4096), default=64, show_default=True,
                 help="Most requests in flight; fewer when the provider's limits ask for it."),
    click.option("--timeout", "timeout_s", type=click.FloatRange(0.1), default=600.0,
                 show_default=True, help="Seconds for one request."),
    click.option("--retries", type=click.IntRange(0, 100), default=7, show_default=True,
                 help="Further attempts for a request that can be retried."),
    click.option("--price", metavar="IN,OUT",
                 help="USD for a million tokens in and out, in place of the price table."),
    click.option("--prices", type=click.Path(path_type=Path, dir_okay=False),
                 help="A price table of your own (YAML)."),
    click.option("--config", callback=read_config, is_eager=True, expose_value=False,
                 metavar="YAML", help="Take options from a file: one `option: value` a line; "
                                      "the command line wins."),
)
"""What a teacher is asked with: the same for every command."""


def teacher_options(option: str = "--teacher", *, default: str | None = None,
                    required: bool = True) -> Callable[[F], F]:
    """Adds the options; the command is called with `settings: TeacherSettings` in their place."""
    first = click.option(
        option, "teacher", required=required and default is None, default=default,
        metavar="KIND:MODEL", show_default=default is not None,
        help="openai:MODEL, azure:DEPLOYMENT, gemini:MODEL, vllm:PATH, or offline (rules, no "
             "model).")

    def decorate(command: F) -> F:
        def call(**given: Any) -> Any:
            temperature = given.pop("temperature")
            sampling = Sampling(
                temperature=None if temperature == "none" else temperature,
                top_p=given.pop("top_p"), seed=given.pop("seed"),
                max_tokens=given.pop("max_tokens"), extra=dict(given.pop("extra")))
            given["base_url"] = find_base_url(given["teacher"], given["base_url"])
            names = ("teacher", "base_url", "concurrency", "timeout_s", "retries", "price",
                     "prices")
            settings = TeacherSettings(sampling=sampling, engine=dict(given.pop("engine")),
                                       **{n: given.pop(n) for n in names})
            return command(settings=settings, **given)

        call.__doc__, call.__name__ = command.__doc__, command.__name__
        # options that the command itself got before these stay attached to it
        call.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
        wrapped: Any = call
        for add in reversed((first, *_SHARED)):
            wrapped = add(wrapped)
        return wrapped  # type: ignore[no-any-return]

    return decorate


def run_options(command: F) -> F:
    """Adds how a run is run; the command is called with `run: RunOptions` in their place."""
    def call(**given: Any) -> Any:
        forecast, pilot = given.pop("forecast"), given.pop("pilot")
        run = RunOptions(anew=given.pop("anew"), batch=given.pop("batch"),
                        poll_s=given.pop("poll_s"), batch_size=given.pop("batch_size"),
                        max_cost_usd=given.pop("max_cost"), pilot=pilot if forecast else None)
        return command(run=run, **given)

    call.__doc__, call.__name__ = command.__doc__, command.__name__
    call.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    wrapped: Any = call
    for add in reversed((
        click.option("--batch", is_flag=True,
                     help="Ask through the provider's batch API: half the price, within a day. "
                          "Interrupt it as you like: the same command goes on waiting."),
        click.option("--batch-size", type=click.IntRange(1), metavar="N",
                     help="Most requests in one batch; by default the provider's limit."),
        click.option("--poll", "poll_s", type=click.FloatRange(0.01), default=30.0,
                     show_default=True, help="Seconds between looks at a batch."),
        click.option("--forecast", is_flag=True,
                     help="Run a pilot, say what the whole will cost, take and yield, and stop."),
        click.option("--pilot", type=click.IntRange(2), default=20, show_default=True,
                     help="Rows of the pilot, spread over short and long traces."),
        click.option("--max-cost", type=click.FloatRange(0, min_open=True), metavar="USD",
                     help="Stop before more than this is spent in RUN_DIR, requests in flight "
                          "counted at the most that they can cost."),
        click.option("--anew", is_flag=True,
                     help="Go on in RUN_DIR with other settings than it was begun with."),
    )):
        wrapped = add(wrapped)
    return wrapped  # type: ignore[no-any-return]
