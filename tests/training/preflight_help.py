"""What the tests of `drp check` share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import yaml


def codes(path: Path, **arguments: object) -> list[str]:
    from drp_plugin.training.preflight.check_config import check

    return [f.code for f in check(path, **arguments).problems]


def edit_set(path: Path, change: Callable[[list[dict]], object]) -> None:
    """Change the rows of the set that the YAML names, behind `drp build`'s back."""
    settings = yaml.safe_load(path.read_text())
    file = Path(settings["dataset_dir"]) / "good.json"
    rows = json.loads(file.read_text())
    change(rows)
    file.write_text(json.dumps(rows, ensure_ascii=False))


def response(rows: list[dict], number: int) -> str:
    return rows[number]["conversations"][1]["value"]


def respond(rows: list[dict], number: int, text: str) -> None:
    rows[number]["conversations"][1]["value"] = text


def ask(rows: list[dict], number: int, *, more: str) -> None:
    """Put something behind a row's question, in front of the instruction."""
    turn = rows[number]["conversations"][0]
    turn["value"] = turn["value"].replace("\nPlease", f"{more}\nPlease", 1)
