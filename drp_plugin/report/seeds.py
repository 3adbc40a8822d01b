"""Several runs of one method, such as training seeds, taken together as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from drp_plugin.errors import UserError
from drp_plugin.report.runs import Run, TaskRun, read_outputs
from drp_plugin.scoring.samples import Sample


def read_runs(arguments: Iterable[str]) -> list[Run]:
    """The methods that the arguments name; runs to which the user gave one name are its seeds.

    Raises UserError where a run is not complete, two runs are called alike by chance, or runs of
    one name cannot be pooled.
    """
    found: dict[tuple[str, str], list[Run]] = {}
    for run, named in read_outputs(arguments):
        same = found.setdefault((run.group, run.name), [])
        if same and not named:
            raise UserError(f"two runs are called {run.name!r}",
                            fix="Tell them apart with NAME=FOLDER; the same NAME twice means two "
                            "seeds of one method")
        same.append(run)
    return [same[0] if len(same) == 1 else _pooled(same) for same in found.values()]


def _pooled(runs: Sequence[Run]) -> Run:
    first = runs[0]
    for run in runs[1:]:
        if set(run.tasks) != set(first.tasks):
            raise UserError(f"the runs called {first.name!r} are of different tasks "
                            f"({', '.join(sorted(set(run.tasks) ^ set(first.tasks)))})",
                            fix="Give every seed the same tasks, or another name")
    return first._replace(tasks={name: _pooled_task([run.tasks[name] for run in runs])
                                 for name in first.tasks})


def _pooled_task(parts: Sequence[TaskRun]) -> TaskRun:
    first = parts[0]
    for other in parts[1:]:
        if other.file.resolve() in {p.file.resolve() for p in parts if p is not other}:
            raise UserError("is given twice", file=other.file.parent, fix="Give it once")
        if {s.doc for s in other.samples} != {s.doc for s in first.samples}:
            raise UserError(f"{other.task}: not the same problems as in {first.file}",
                            file=other.file, fix="Runs of one name are seeds of one method; give "
                            "another method another name")
        if not other.protocol.comparable(first.protocol):
            raise UserError(f"{other.task} was made under another protocol "
                            f"({other.protocol.text()}) than {first.file} "
                            f"({first.protocol.text()})", file=other.file,
                            fix="Give another protocol another name")
        if _texts(other) == _texts(first):
            raise UserError(f"{other.task}: every completion is the same as in {first.file}",
                            file=other.file, fix="Two seeds of a method differ; greedy decoding "
                            "of one model does not. Give such a run once")
    rest = [{s.doc: s for s in part.samples} for part in parts[1:]]
    samples = tuple(_pooled_sample([s, *(part[s.doc] for part in rest)]) for s in first.samples)
    return first._replace(samples=samples, origin=tuple(o for p in parts for o in p.origin),
                          sizes=tuple(size for p in parts for size in p.sizes))


def _texts(task: TaskRun) -> dict[str, tuple[str, ...]]:
    return {s.doc: s.completions for s in task.samples}


def _pooled_sample(samples: Sequence[Sample]) -> Sample:
    return samples[0]._replace(
        completions=tuple(c for s in samples for c in s.completions),
        backend_tokens=tuple(c for s in samples for c in s.backend_tokens),
        ended=tuple(c for s in samples for c in s.ended))
