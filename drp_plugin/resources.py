"""Where the files that ship beside the code are: in a checkout and in an installed wheel."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

_PACKAGE = Path(__file__).resolve().parent


def resource(name: str) -> Path:
    """The folder `prompts`, `lmms_eval_tasks`, `llamafactory_configs` or `recipes`."""
    for folder in (_PACKAGE / "_share" / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"drp_plugin is installed without its folder {name!r}: install again")


@cache
def table(name: str) -> Any:
    """What a YAML file of `drp_plugin/data` holds, read once."""
    return yaml.safe_load((_PACKAGE / "data" / name).read_text(encoding="utf-8"))


def layouts(part: str) -> Any:
    """A part of `data/layouts.yaml`: how others name fields, and their words for an end."""
    return table("layouts.yaml")[part]
