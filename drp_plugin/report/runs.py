"""Reading what lmms-eval wrote: OUT/<model>/<date>_results.json and its samples."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.report.conditions import Conditions, conditions_of, mapping, pairs, provenance_of
from drp_plugin.resources import phrase
from drp_plugin.scoring.samples import FAILED, SAMPLES, VARIANT, Sample, read_sample


class TaskRun(NamedTuple):
    """A method on a task: its samples, of all its runs that were pooled."""

    name: str  # The method
    group: str  # The student that methods are compared on, e.g. R1-Distill-Qwen-7B; may be empty.
    task: str
    samples: tuple[Sample, ...]
    protocol: Conditions
    column: str  # The task without its variant: drp_gsm8k for drp_gsm8k_tale
    told: dict[str, Any]
    file: Path
    origin: tuple[dict[str, str], ...]  # What each run recorded of itself


def read_runs(arguments: Iterable[str]) -> list[TaskRun]:
    """The methods that the arguments name, on each of their tasks; runs that the user gave one name
    are its seeds. Raises UserError that lists all that is missing from incomplete runs, or if two
    runs have one name by accident, or if those of one name cannot be pooled."""
    problems: list[str] = []
    read = [(group, label, tasks, bool(name)) for group, name, folder in map(_place, arguments)
            for label, tasks in _read(group, name, folder, problems)]
    if problems:
        raise UserError("incomplete runs: " + "; ".join(problems),
                        fix="Run lmms-eval to its end with --log_samples and --output_path")
    found: dict[tuple[str, str], list[dict[str, TaskRun]]] = {}
    for group, label, tasks, named in read:
        same = found.setdefault((group, label), [])
        if same and not named:
            raise UserError(f"two runs are called {label!r}", fix="Tell them apart with "
                            "NAME=FOLDER; the same NAME twice means two seeds of one method")
        if same and (other := set(tasks) ^ set(same[0])):
            raise UserError(f"the runs called {label!r} are of different tasks "
                            f"({', '.join(sorted(other))})",
                            fix="Give every seed the same tasks, or another name")
        same.append(tasks)
    return [_pooled([tasks[task] for tasks in same]) for same in found.values() for task in same[0]]


def _place(argument: str) -> tuple[str, str, Path]:
    """Group, name and folder of `DIR`, `NAME=DIR` or `GROUP/NAME=DIR`."""
    if Path(argument).is_dir():
        return "", "", Path(argument)
    label, equals, folder = argument.partition("=")
    if not equals or not Path(folder).is_dir():
        raise UserError("no such folder", file=folder or argument,
                        fix="Give lmms-eval's --output_path, or NAME=FOLDER")
    group, _, name = label.strip().rpartition("/")
    if not name:
        raise UserError(f"{argument!r} names no method", fix="Write NAME=FOLDER")
    return group, name, Path(folder)


def _read(group: str, name: str, place: Path, problems: list[str]
          ) -> Iterator[tuple[str, dict[str, TaskRun]]]:
    """Label and tasks of each method in a folder: of each model, and of each variant of a task."""
    folders = sorted({f.parent for pattern in ("*_results.json", "*_samples_*.jsonl")
                      for f in place.rglob(pattern)})
    if not folders:
        problems.append(f"{place} holds neither *_results.json nor *_samples_*.jsonl")
    if name and len(folders) > 1:
        raise UserError(f"holds {len(folders)} models ({', '.join(f.name for f in folders)})",
                        file=place, fix=f"Give one of them: {name}={folders[0]}")
    for folder in folders:
        runs: dict[str, dict[str, TaskRun]] = {}
        tasks = _read_model(folder, problems)
        beside = len({task.column for task in tasks.values()}) < len(tasks)
        for told, task in tasks.items():    # with a variant beside it: base and base [tale]
            variant = told[len(task.column):].lstrip("_") if beside else ""
            label = (name or folder.name) + (f" [{variant}]" if variant else "")
            runs.setdefault(label, {})[told] = task._replace(name=label, group=group)
        yield from runs.items()


def _read_model(folder: Path, problems: list[str]) -> dict[str, TaskRun]:
    tasks: dict[str, TaskRun] = {}
    made_by: dict[tuple[str, ...], Path] = {}
    finished = {f.name.removesuffix("_results.json"): f
                for f in sorted(folder.glob("*_results.json"))}
    problems += [f"{file} has no {match['date']}_results.json beside it"
                 for file in sorted(folder.glob("*_samples_*.jsonl"))
                 if (match := SAMPLES.fullmatch(file.name)) and match["date"] not in finished]
    for date, file in finished.items():
        try:
            results = jsonl.read_json(file)
            offset = int(mapping(results.get("config")).get("offset") or 0)
            listed = {task: {"offset": offset, **{name: int(n) for name, n in numbers.items()}}
                      for task, numbers in results["n-samples"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            problems.append(f"{file} is not a complete results file of lmms-eval")
            continue
        _one_model(made_by, file, results)
        for task, numbers in listed.items():
            samples = folder / f"{date}_samples_{task}.jsonl"
            if samples.is_file():
                tasks[task] = _read_task(task, samples, results, numbers, problems)
            else:
                problems.append(f"{samples} is missing")
    return tasks


def _one_model(made_by: dict[tuple[str, ...], Path], file: Path, results: dict[str, Any]) -> None:
    """Raises UserError where the folder's results are of several models, or adapters of one.
    lmms-eval names the folder by the last parts of the model's path only, so that they can meet."""
    given = pairs(mapping(results.get("config")).get("model_args"))
    given = {"pretrained": given.get("model"), **given}
    made_by.setdefault(tuple(f"{name}={str(given[name]).rstrip('/')}"
                             for name in ("pretrained", "lora", "peft")
                             if given.get(name) not in (None, "", "None")), file)
    if len(made_by) > 1:
        found = "; ".join(f"{file.name} has {','.join(told) or 'no model_args'}"
                          for told, file in made_by.items())
        raise UserError(f"holds runs of different models: {found}", file=file.parent,
                        fix="Give every method its own --output_path, or move the files "
                        "of one date to another folder")


def _read_task(task: str, file: Path, results: dict[str, Any], numbers: dict[str, int],
               problems: list[str]) -> TaskRun:
    kept = []
    for row in jsonl.rows(file):
        if row.value is None:
            problems.append(f"{file}: row {row.number} is {row.error}")
        else:
            kept.append(read_sample(row.value, file, row.number))
    # lmms-eval counts the documents before --offset too
    wanted = numbers.get("effective", len(kept))
    wanted = min(wanted, numbers.get("original", wanted + numbers["offset"]) - numbers["offset"])
    twice, unknown = len(kept) - len({s.doc for s in kept}), sum(not s.gold for s in kept)
    failed = sum(FAILED in text for s in kept for text in s.completions)
    problems += [f"{file}: {said}" for bad, said in (
        (twice, phrase("twice_held", twice)), (not kept, "holds no samples"),
        (len(kept) != wanted and not twice, f"holds {len(kept)} of {wanted} documents"),
        (unknown, phrase("no_gold", unknown)), (failed, phrase("no_completion", failed))) if bad]
    told = kept[0].told if kept else {}
    return TaskRun("", "", task, tuple(kept), conditions_of(task, results, len(kept), told),
                   VARIANT.sub("", task), told, file,
                   (provenance_of(results, told, file.name.partition("_samples_")[0]),))


def _pooled(parts: Sequence[TaskRun]) -> Any:
    """Several runs of one method on a task, such as training seeds, taken together as one."""
    first = parts[0]
    for other in parts[1:]:
        if other.file.resolve() in {p.file.resolve() for p in parts if p is not other}:
            raise UserError("is given twice", file=other.file.parent, fix="Give it once")
        if {s.doc for s in other.samples} != {s.doc for s in first.samples}:
            raise UserError(f"{other.task}: not the same problems as in {first.file}",
                            file=other.file, fix="Runs of one name are seeds of one method; give "
                            "another method another name")
        if other.protocol != first.protocol:
            raise UserError(f"{other.task} was made under another protocol ({other.protocol.text}) "
                            f"than {first.file} ({first.protocol.text})", file=other.file,
                            fix="Give another protocol another name")
        if {s.doc: s.completions for s in other.samples} == \
                {s.doc: s.completions for s in first.samples}:
            raise UserError(f"{other.task}: every completion is the same as in {first.file}",
                            file=other.file, fix="Two seeds of a method differ; greedy decoding "
                            "of one model does not. Give such a run once")
    by_doc = [{s.doc: s for s in part.samples} for part in parts]
    samples = tuple(_joined([part[s.doc] for part in by_doc], "completions", "backend_tokens",
                            "ended", "sizes") for s in first.samples)
    return _joined(parts, "origin")._replace(samples=samples)


def _joined(parts: Sequence[Any], *fields: str) -> Any:
    """The first part, with these fields of all parts concatenated."""
    return parts[0]._replace(**{field: tuple(value for part in parts for value in getattr(
        part, field)) for field in fields})
