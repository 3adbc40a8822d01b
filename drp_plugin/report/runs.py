"""Reading what lmms-eval wrote: OUT/<model>/<date>_results.json and its samples."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.records import Record
from drp_plugin.report.conditions import Conditions, conditions_of, pairs
from drp_plugin.scoring.samples import FAILED, SAMPLES, Sample, read_sample


class TaskRun(NamedTuple):
    """The samples of one task of one run."""

    task: str
    samples: tuple[Sample, ...]
    protocol: Conditions
    total: int
    """Documents that the task holds; more than the samples where --limit was given."""
    column: str
    """The task without its variant: drp_gsm8k for drp_gsm8k_tale."""
    told: dict[str, Any]
    file: Path


class Run(NamedTuple):
    """A method: the completions of one model on some tasks."""

    name: str
    group: str
    """The student that methods are compared on, e.g. R1-Distill-Qwen-7B; may be empty."""
    tasks: dict[str, TaskRun]


class Place(Record):
    """Where a run lies and what the user calls it."""

    folder: Path
    name: str | None = None
    group: str = ""


def place(argument: str) -> Place:
    """`DIR`, `NAME=DIR` or `GROUP/NAME=DIR`."""
    if Path(argument).is_dir():
        return Place(folder=Path(argument))
    label, equals, folder = argument.partition("=")
    if not equals:
        raise UserError("no such folder", file=argument,
                        fix="Give lmms-eval's --output_path, or NAME=FOLDER")
    if not Path(folder).is_dir():
        raise UserError("no such folder", file=folder, fix="Give lmms-eval's --output_path")
    group, _, name = label.strip().rpartition("/")
    if not name:
        raise UserError(f"{argument!r} names no method", fix="Write NAME=FOLDER")
    return Place(folder=Path(folder), name=name, group=group)


def read_runs(arguments: Iterable[str]) -> list[Run]:
    """The runs that the arguments name, each method once.

    Raises UserError that lists everything that is missing when a run is not complete.
    """
    found: list[Run] = []
    problems: list[str] = []
    for where in map(place, arguments):
        found += _read(where, problems)
    seen: set[tuple[str, str]] = set()
    for run in found:
        if (run.group, run.name) in seen:
            raise UserError(f"two runs are called {run.name!r}",
                            fix="Tell them apart with NAME=FOLDER")
        seen.add((run.group, run.name))
    if problems:
        raise UserError("incomplete runs: " + "; ".join(problems),
                        fix="Run lmms-eval to its end with --log_samples and --output_path")
    return found


def _read(where: Place, problems: list[str]) -> list[Run]:
    folders = sorted({f.parent for pattern in ("*_results.json", "*_samples_*.jsonl")
                      for f in where.folder.rglob(pattern)})
    if not folders:
        problems.append(f"{where.folder} holds neither *_results.json nor *_samples_*.jsonl")
        return []
    if where.name and len(folders) > 1:
        names = ", ".join(f.name for f in folders)
        raise UserError(f"holds {len(folders)} models ({names})", file=where.folder,
                        fix=f"Give one of them: {where.name}={folders[0]}")
    runs = []
    for folder in folders:
        tasks = _read_model(folder, problems)
        runs += _methods(Run(where.name or folder.name, where.group, tasks))
    return runs


def _methods(run: Run) -> list[Run]:
    """One run, or several where it holds a task and variants of it: base and base [tale]."""
    columns = [task.column for task in run.tasks.values()]
    if len(set(columns)) == len(columns):
        return [run]
    by_variant: dict[str, dict[str, TaskRun]] = {}
    for name, task in run.tasks.items():
        variant = name[len(task.column):].lstrip("_")
        by_variant.setdefault(variant, {})[name] = task
    return [Run(f"{run.name} [{variant}]" if variant else run.name, run.group, tasks)
            for variant, tasks in by_variant.items()]


def _read_model(folder: Path, problems: list[str]) -> dict[str, TaskRun]:
    """Each task from the latest date that has it."""
    tasks: dict[str, TaskRun] = {}
    finished = {f.name.removesuffix("_results.json"): f
                for f in sorted(folder.glob("*_results.json"))}
    for file in sorted(folder.glob("*_samples_*.jsonl")):
        match = SAMPLES.fullmatch(file.name)
        if match and match["date"] not in finished:
            problems.append(f"{file} has no {match['date']}_results.json beside it")
    made_by: dict[tuple[str, ...], Path] = {}
    for date, file in finished.items():
        try:
            results = json.loads(file.read_text(encoding="utf-8"))
            listed = {task: dict(numbers) for task, numbers in results["n-samples"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            problems.append(f"{file} is not a complete results file of lmms-eval")
            continue
        _one_model(made_by, file, results)
        for task, numbers in listed.items():
            samples = folder / f"{date}_samples_{task}.jsonl"
            if not samples.is_file():
                problems.append(f"{samples} is missing")
                continue
            tasks[task] = _read_task(task, samples, results, numbers, problems)
    return tasks


def _one_model(made_by: dict[tuple[str, ...], Path], file: Path, results: dict[str, Any]) -> None:
    """Raises UserError where the folder's results are of several models, or adapters of one.

    lmms-eval names the folder by the last parts of the model's path alone, so that they meet.
    """
    made_by.setdefault(_weights(results), file)
    if len(made_by) > 1:
        found = "; ".join(f"{file.name} has {','.join(told) or 'no model_args'}"
                          for told, file in made_by.items())
        raise UserError(f"holds runs of different models: {found}", file=file.parent,
                        fix="Give every method an --output_path of its own, or move the files "
                        "of one date to another folder")


def _weights(results: dict[str, Any]) -> tuple[str, ...]:
    """The arguments that say which weights a run had."""
    config = results.get("config")
    given = pairs(config.get("model_args") if isinstance(config, dict) else None)
    named = {"pretrained": given.get("pretrained") or given.get("model"),
             "lora": given.get("lora"), "peft": given.get("peft")}
    return tuple(f"{name}={str(value).rstrip('/')}" for name, value in named.items()
                 if value not in (None, "", "None"))


def _read_task(task: str, file: Path, results: dict[str, Any], numbers: dict[str, int],
               problems: list[str]) -> TaskRun:
    kept = []
    for row in jsonl.rows(file):
        if row.value is None:
            problems.append(f"{file}: row {row.number} is {row.error}")
        else:
            kept.append(read_sample(row.value, file, row.number))
    wanted = int(numbers.get("effective", len(kept)))
    docs = {s.doc for s in kept}
    if len(docs) != len(kept):
        problems.append(f"{file} holds {len(kept) - len(docs)} documents twice")
    elif len(kept) != wanted:
        problems.append(f"{file} holds {len(kept)} of {wanted} documents")
    failed = sum(FAILED in text for s in kept for text in s.completions)
    if failed:
        problems.append(f"{file}: {failed} requests failed and have no completion")
    told = kept[0].told if kept else {}
    return TaskRun(task, tuple(kept), conditions_of(task, results, len(kept), told),
                   int(numbers.get("original", wanted)), column_of(task), told, file)


def column_of(task: str) -> str:
    """The task that a variant varies."""
    return re.sub(r"_(?:answer|sampled|tale|thinkprune)$", "", task)
