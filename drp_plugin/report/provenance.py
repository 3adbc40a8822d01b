"""Where a run's figures come from, as far as lmms-eval recorded it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from drp_plugin.records import Record
from drp_plugin.report.conditions import mapping, pairs


class Provenance(Record):
    """One of lmms-eval's results files."""

    tasks: tuple[str, ...]
    model: str
    """The weights: a folder or a hub name."""
    adapter: str = ""
    seed: str = ""
    date: str = ""
    versions: str = ""
    command: str = ""


def provenance_of(results: dict[str, Any], told: dict[str, Any], date: str) -> Provenance:
    """Read from a results file, and from what our own tasks `told` beside its samples."""
    config = mapping(results.get("config"))
    asked = mapping(config.get("resolved_cli_args"))
    given = pairs(config.get("model_args"))
    tasks = tuple(mapping(results.get("n-samples")))
    seeds = told.get("seed", asked.get("seed", config.get("random_seed")))
    versions = {"lmms-eval": results.get("lmms_eval_version"), "commit": results.get("git_hash"),
                **mapping(told.get("versions"))}
    arguments = {"model": asked.get("model") or config.get("model"),
                 "model_args": ",".join(f"{k}={v}" for k, v in given.items()),
                 "tasks": asked.get("tasks") or ",".join(tasks),
                 "gen_kwargs": _joined(asked.get("gen_kwargs") or config.get("gen_kwargs")),
                 "limit": _joined(asked.get("limit") or config.get("limit")),
                 "seed": _joined(seeds)}
    return Provenance(
        tasks=tasks, model=str(given.get("pretrained") or given.get("model")
                               or config.get("model") or "not recorded"),
        adapter=str(given.get("lora") or given.get("peft") or ""), seed=_joined(seeds),
        date=str(results.get("date") or date),
        versions=", ".join(f"{name} {value}" for name, value in versions.items() if value),
        command=shlex.join(["lmms-eval", *(
            part for name, value in arguments.items() if value not in (None, "")
            for part in (f"--{name}", str(value)))]))


def _joined(value: Any) -> str:
    """A value as lmms-eval's command line has it; seeds that are all the same once."""
    if isinstance(value, dict):
        return ",".join(f"{k}={v}" for k, v in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(str, value if len(set(value)) > 1 else value[:1]))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
