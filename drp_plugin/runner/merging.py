"""Runs over parts of one input (`--shard`), put together into one run directory."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.llm.ledger import Ledger
from drp_plugin.records import Pruned, Reject, Usage
from drp_plugin.resources import phrase
from drp_plugin.run_dir import EDITS, LEDGER, PRUNED, REJECTS, SETTINGS, SUMMARY
from drp_plugin.runner.batch_files import NOTE
from drp_plugin.runner.job import said
from drp_plugin.runner.outputs import Tally, check_rows, differences, ledger_of, outputs, same
from drp_plugin.seen import Numbers

DUPLICATES = "duplicates.jsonl"  # Rows that another run had too, each with its run and file


class _Run(NamedTuple):
    """One of the runs."""

    folder: Path
    settings: dict[str, Any]
    summary: dict[str, Any]


def merge(folders: Sequence[Path], out: Path) -> tuple[Tally, list[str]]:
    """Put runs together. Each ledger is taken completely or not at all, and the other files are
    written when all rows are read: a stopped merge continues when it is run again. Returns the
    run's figures, and what a person should know (duplicates, missing shards). Raises
    UserError for runs of different kinds and unfinished ones."""
    runs = [_run(folder) for folder in folders]
    _check(runs, out)
    inputs = [run.settings["input"] for run in runs if run.settings.get("input") is not None]
    settings = {**runs[0].settings, "limit": None, "shard": None, "input": said(list(dict.fromkeys(
        name for one in inputs for name in (one if isinstance(one, list) else [one]))))}
    with ledger_of(out) as ledger:
        check_rows(out, lambda: (row for run in runs for row in _rows(run, PRUNED, Pruned)))
        for run in runs:
            _take(ledger, run)
        notes = _missing(runs)
        with outputs(out, ledger, settings) as written, \
                jsonl.replacing(out / DUPLICATES) as twice:
            _add(runs, written, twice, notes)
    jsonl.write_json(out / SETTINGS, settings)
    edits = [file for run in (*folders, out) if (file := run / EDITS).exists()]
    if edits:  # the merged run's own are the last, and win
        jsonl.write(out / EDITS, map(json.loads, dict.fromkeys(
            row.text for file in edits for row in jsonl.rows(file) if row.value is not None)))
    return written, notes


def _run(folder: Path) -> _Run:
    if not folder.is_dir():
        raise UserError("no such folder", file=folder, fix="Give run directories of `drp prune`")
    found = []
    for name in (SETTINGS, SUMMARY):
        try:
            found.append(dict(jsonl.read_json(folder / name)))
        except (OSError, ValueError, TypeError):
            raise UserError(f"holds no {name} of a finished run", file=folder,
                            fix="Run its `drp prune` again, and merge then") from None
    return _Run(folder, *found)


def _check(runs: Sequence[_Run], out: Path) -> None:
    seen: set[Path] = set()
    for run in runs:
        if (place := run.folder.resolve()) in seen or place == out.resolve():
            raise UserError("is given twice" if place in seen else "is both a run and -o",
                            file=run.folder, fix="Name each run once, and another -o")
        seen.add(place)
        changes = [c for c in differences(runs[0].settings, run.settings)
                   if c.partition(":")[0] != "shard"]
        if changes:
            raise UserError(f"has other settings than {runs[0].folder}: {'; '.join(changes)}",
                            file=run.folder, fix="Merge runs of one kind")


def _missing(runs: Sequence[_Run]) -> list[str]:
    notes = [phrase("incomplete", absent, run=run.folder) for run in runs
             if (absent := run.summary.get("not_reached"))]
    shards = {str(run.settings.get("shard") or "") for run in runs}
    for count in sorted({int(shard.partition("/")[2]) for shard in shards if shard}):
        absent = [name for k in range(1, count + 1) if (name := f"{k}/{count}") not in shards]
        if absent:
            names = ", ".join(absent[:10]) + " …" * (len(absent) > 10)
            notes.append(phrase("no_shards", len(absent), of=count, names=names))
    return notes


def _take(ledger: Ledger, run: _Run) -> None:
    """A run's replies, in one transaction; a second one to a request is kept beside the first."""
    file = run.folder / LEDGER
    if not file.exists():
        return
    mark = hashlib.sha256(os.fsencode(run.folder.resolve())).hexdigest()[:16]
    with Ledger(file) as other:
        if other.notes(NOTE):
            raise UserError("requests of this run are out in batches", file=run.folder,
                            fix="Run it with --batch to its end, and merge then")
        if not other.alone():
            raise UserError("another process is using it", file=run.folder,
                            fix="Let it finish, and merge then")
        ledger.take(file, mark, note=f"merged/{mark}")


def _rows(run: _Run, name: str, record: type[Any]) -> Iterator[Any]:
    if (run.folder / name).exists():
        yield from jsonl.read(run.folder / name, record)


def _add(runs: Sequence[_Run], written: Tally, twice: Any, notes: list[str]) -> None:
    """All rows, run after run, the pruned ones first: they do not count as rejected elsewhere."""
    stood = Numbers()
    for name, record in ((PRUNED, Pruned), (REJECTS, Reject)):
        for number, run in enumerate(runs):
            count, example = 0, ""
            for row in _rows(run, name, record):
                question = row.question if isinstance(row, Pruned) else row.row.get("question")
                first = stood.first(same(row.id, question or jsonl.dumps(row)), number)
                if first is None:
                    written.add(row, row)
                    continue
                count += 1
                example = example or f"{row.id}, in {runs[first].folder}"
                twice.write(jsonl.dumps({"run": str(run.folder), "file": name,
                                         "row": row.model_dump(mode="json")}) + "\n")
            if count:
                notes.append(phrase("twice", count, run=run.folder, name=name, first=example,
                                    file=DUPLICATES))
    for run in runs:
        absent = run.summary.get("not_reached") or 0
        written.not_reached += absent
        written.rows += absent
        written.used += Usage.model_validate(run.summary)
