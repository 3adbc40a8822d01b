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
from drp_plugin.report.protocol import Protocol, protocol_of

FAILED = "[LMMS_EVAL_REQUEST_FAILED"
_SAMPLES = re.compile(r"(?P<date>.+?)_samples_(?P<task>.+)\.jsonl")


class Sample(NamedTuple):
    """One document of a task and what a model answered to it."""

    doc: str
    """Identifies the document across runs: its id and the hash of its content."""
    gold: str
    completions: tuple[str, ...]
    """One for each repeat."""
    backend_tokens: tuple[int | None, ...]
    """Ids of each completion as the backend counted them."""
    ended: tuple[bool, ...]
    """Whether each completion ended by itself, not at a length limit."""
    dataset: str | None
    told: dict[str, Any]
    """The protocol, where our own task recorded it."""


class TaskRun(NamedTuple):
    """The samples of one task of one run."""

    task: str
    samples: tuple[Sample, ...]
    protocol: Protocol
    total: int
    """Documents that the task holds; more than the samples where --limit was given."""
    column: str
    """The task without its variant: drp_gsm8k for drp_gsm8k_tale."""
    thinking: bool
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
        match = _SAMPLES.fullmatch(file.name)
        if match and match["date"] not in finished:
            problems.append(f"{file} has no {match['date']}_results.json beside it")
    for date, file in finished.items():
        try:
            results = json.loads(file.read_text(encoding="utf-8"))
            listed = results["n-samples"]
        except (ValueError, KeyError, TypeError):
            problems.append(f"{file} is not a complete results file of lmms-eval")
            continue
        for task, numbers in listed.items():
            samples = folder / f"{date}_samples_{task}.jsonl"
            if not samples.is_file():
                problems.append(f"{samples} is missing")
                continue
            tasks[task] = _read_task(task, samples, results, numbers, problems)
    return tasks


def _read_task(task: str, file: Path, results: dict[str, Any], numbers: dict[str, int],
               problems: list[str]) -> TaskRun:
    kept = []
    for row in jsonl.rows(file):
        if row.value is None:
            problems.append(f"{file}: row {row.number} is {row.error}")
        else:
            kept.append(_sample(row.value, file, row.number))
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
    return TaskRun(task, tuple(kept), protocol_of(task, results, len(kept), told),
                   int(numbers.get("original", wanted)), column_of(task),
                   told.get("thinking") is not False, told, file)


def column_of(task: str) -> str:
    """The task that a variant varies."""
    return re.sub(r"_(?:answer|sampled|tale|thinkprune)$", "", task)


def completions_of(value: dict[str, Any]) -> tuple[str, ...] | None:
    """The completions of one of lmms-eval's samples, however deep it nested them."""
    found = value.get("resps") or value.get("filtered_resps")
    while isinstance(found, list) and len(found) == 1 and isinstance(found[0], list):
        found = found[0]
    if isinstance(found, str):
        return (found,)
    if isinstance(found, list) and found and all(isinstance(text, str) for text in found):
        return tuple(found)
    return None


def _sample(value: dict[str, Any], file: Path, number: int) -> Sample:
    completions = completions_of(value)
    if completions is None or "doc_id" not in value or "target" not in value:
        raise UserError("is not a sample of lmms-eval with text completions", file=file,
                        row=number, fix="Give runs of the drp_* tasks")
    own = value.get("drp")
    own = own if isinstance(own, dict) else {}
    n = len(completions)
    records = own.get("completions") or []
    if len(records) != n:
        records = [{"finish": value.get("finish_reason"),
                    "backend_tokens": counts.get("output_tokens")}
                   for counts in _counts(value, n)]
    return Sample(
        doc=f"{own.get('id', value['doc_id'])}:{str(value.get('doc_hash', ''))[:16]}",
        gold=str(value["target"]), completions=completions,
        backend_tokens=tuple(record.get("backend_tokens") for record in records),
        ended=tuple(record.get("finish") in (None, "stop") for record in records),
        dataset=own.get("dataset"), told=own.get("protocol") or {})


def _counts(value: dict[str, Any], n: int) -> list[dict[str, Any]]:
    """lmms-eval's token counts: of the first repeat only."""
    found = [c if isinstance(c, dict) else {} for c in value.get("token_counts") or []]
    return (found + [{}] * n)[:n]
