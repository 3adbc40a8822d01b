"""`KEY=VALUE` on the command line, and the columns of a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click
import yaml

from drp_plugin.reading import parse_columns
from drp_plugin.sampling.arguments import pair


def json_or_text(text: str) -> Any:
    """The value as JSON where it is JSON, else the text: what a request's body holds."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


class PairType(click.ParamType):
    """`KEY=VALUE` on the command line, the value as `read` takes it; a mapping in a config."""

    name = "KEY=VALUE"

    def __init__(self, read: Callable[[str], Any] = yaml.safe_load) -> None:
        self.read = read

    def convert(self, value: Any, param: click.Parameter | None,
                ctx: click.Context | None) -> tuple[str, Any]:
        if isinstance(value, tuple):
            return value
        try:
            return pair(str(value), self.read)
        except ValueError as error:
            self.fail(str(error), param, ctx)


columns_option = click.option(
    "--columns", default="", metavar="FIELD=NAME,…",
    callback=lambda context, option, text: parse_columns(text),
    help="Where the fields stand in the input, as question=problem,response=output; other layouts "
         "than the plain one are found by themselves (docs/inputs.md).")
