"""Where shipped files are, in a checkout and in an installed wheel."""

import re
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
    """The content of a file of `drp_plugin/data`, YAML or JSON, read once."""
    return yaml.load((_PACKAGE / "data" / name).read_text(encoding="utf-8"),
                     getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def phrase(name: str, number: int, /, **more: Any) -> str:
    """A message of `data/said.yaml` about so many things, in the singular or plural."""
    one, many = table("said.yaml")[name]
    return str(one if number == 1 else many).format(n=number, **more)


def filled(name: str, /, **values: Any) -> str:
    """The text of a template of `drp_plugin/data` with these values."""
    import jinja2

    return jinja2.Environment(loader=jinja2.FileSystemLoader(_PACKAGE / "data"), trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True).get_template(name).render(
            values, phrase=phrase)


class Patterns:
    """The regular expressions in a part of a YAML file of `drp_plugin/data`, each by its name and
    compiled when it is first used. One may be a list, which is joined."""

    def __init__(self, file: str, part: str) -> None:
        self._sources = table(file)[part]

    def __getattr__(self, name: str) -> re.Pattern[str]:
        pattern = re.compile("".join(self._sources[name]))
        setattr(self, name, pattern)
        return pattern


def layouts(part: str) -> Any:
    """A part of `data/layouts.yaml`: how others name fields and reasons for ending."""
    return table("layouts.yaml")[part]
