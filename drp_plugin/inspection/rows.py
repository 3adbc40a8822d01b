"""The rows of a run for people: read, found by id, counted, their checks in words."""

import contextlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.llm.ledger import Ledger
from drp_plugin.mathml import typeset
from drp_plugin.records import Action, Pruned, Reject
from drp_plugin.resources import table
from drp_plugin.run_dir import LEDGER, PRUNED, REJECTS
from drp_plugin.seen import temporary

_RECORDS: dict[str, type[Pruned] | type[Reject]] = {PRUNED: Pruned, REJECTS: Reject}
_CHECKS: dict[str, list[str]] = table("checks.yaml")


def _files(run_dir: Path) -> list[tuple[Path, type[Pruned] | type[Reject]]]:
    """The pruned rows and then the rejects of a run; raises UserError where it is none."""
    found = [(run_dir / name, record) for name, record in _RECORDS.items()
             if (run_dir / name).exists()]
    if not found:
        raise UserError("has neither pruned.jsonl nor rejects.jsonl" if run_dir.is_dir() else
                        "is a file" if run_dir.is_file() else "no such folder", file=run_dir,
                        fix="Give the folder that drp prune wrote")
    for file, _ in found:
        jsonl.check_file(file)
    return found


def rows(run_dir: Path) -> Iterator[Pruned | Reject]:
    for file, record in _files(run_dir):
        yield from jsonl.read(file, record)


def find_row(run_dir: Path, name: str) -> Pruned | Reject:
    """The row of this id, or the only one whose id ends so. Raises UserError for none or several.
    Only lines that hold the text are read as rows."""
    first = next(rows(run_dir), None)
    end = json.dumps(name, ensure_ascii=False)[1:].encode("utf-8", "replace")
    near: list[Pruned | Reject] = []
    for file, record in _files(run_dir):
        with jsonl.opened(file) as lines:
            for number, line in enumerate(lines, start=1):
                value = jsonl.parse(number, line).value if end in line else None
                if value and str(value.get("id")).endswith(name):
                    try:
                        near.append(record.model_validate(value))
                    except ValidationError as error:
                        raise UserError(jsonl.explain(error), file=file, row=number) from None
                    if value["id"] == name:
                        return near[-1]
    if len(near) == 1:
        return near[0]
    like = near[0] if near else first
    raise UserError(f"no row has the id {name!r}" if not near else
                    f"{len(near)} rows have an id that ends with {name!r}", file=run_dir,
                    fix=f"Give an id like {like.id!r}" if like else "The run has no rows")


def readable(verdict: Mapping[str, Any]) -> list[tuple[bool, str]]:
    """Each check of a row, whether it passed, and what it found in words."""
    found = []
    for name, what in verdict.items():
        what = what if isinstance(what, dict) else {"ok": what}
        text = _CHECKS.get(name, [name, name])[not what.get("ok")]
        more = what.get("detail") or what.get("how") or ", ".join(f"{key} {typeset(value)}" for
            key, value in what.items() if key != "ok" and value is not None)
        found.append((bool(what.get("ok")), text + (f": {more}" if more else "")))
    return found


class Teachings(contextlib.ExitStack):
    """A teacher's messages about rows, from the run's ledger, where there is one."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__()
        path = run_dir / LEDGER
        self._ledger = self.enter_context(Ledger(path)) if path.exists() else None

    def of(self, row: Pruned | Reject) -> list[dict[str, Any]]:
        """Each request of a row, in order, as the ledger keeps it: `tag`, `messages` (role and
        text), `text`, `finish_reason`, tokens and cost. Earlier releases stored none."""
        if self._ledger is None or not row.usage.keys:
            return []
        found = self._ledger.get_many(row.usage.keys)
        return [found[key] for key in row.usage.keys if key in found]


def not_reached(run_dir: str | Path) -> int:
    """Rows that the run did not reach, stopped by --max-cost; 0 where that is not recorded."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        return int(jsonl.read_json(Path(run_dir) / "summary.json")["not_reached"])
    return 0


@dataclass
class Statistics:
    """Added up row by row: rejects by `stage: reason`; steps by action, skill, skill deleted."""

    pruned: int = 0
    not_reached: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    before: int = 0
    after: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    skills: Counter[str] = field(default_factory=Counter)
    deleted: Counter[str] = field(default_factory=Counter)
    _rows: sqlite3.Connection = field(
        default_factory=lambda: temporary("CREATE TABLE rows (ratio, steps)"))

    def add(self, row: Pruned | Reject) -> None:
        if isinstance(row, Reject):
            self.rejected[f"{row.stage}: {row.reason.value}"] += 1
            return
        self.pruned += 1
        self.before += row.tokens_before
        self.after += row.tokens_after
        ratio = row.tokens_after / row.tokens_before if row.tokens_before else None
        self._rows.execute("INSERT INTO rows VALUES (?, ?)", (ratio, len(row.steps)))
        action = {step: r.action for r in row.revisions for step in r.steps}
        for step in row.steps:
            name = step.skill or "(no skill)"
            self.skills[name] += 1
            fate = action.get(step.index)
            self.actions[fate.value if fate else "(none)"] += 1
            self.deleted[name] += fate is Action.DELETE

    @property
    def reduction(self) -> float | None:
        return 1 - self.after / self.before if self.before else None

    @property
    def mean_steps(self) -> float | None:
        return self.actions.total() / self.pruned if self.pruned else None

    def median(self, figure: str) -> float | None:
        """Of the rows' `ratio`, R̂'s tokens over R's, or of their `steps`; None without rows."""
        known = f"SELECT {figure} AS value FROM rows WHERE {figure} IS NOT NULL ORDER BY value"
        ((rows,),) = self._rows.execute(f"SELECT COUNT({figure}) FROM rows")
        ((found,),) = self._rows.execute(f"SELECT AVG(value) FROM ({known} LIMIT ? OFFSET ?)", (
            2 - rows % 2, max(0, rows - 1) // 2))
        return None if found is None else float(found)

    def histogram(self) -> list[int]:
        """Rows by tenths of the tokens that stayed; the last tenth includes longer ones."""
        found = dict(self._rows.execute("SELECT MIN(9, CAST(ratio * 10 AS INTEGER)) AS tenth, "
                                        "COUNT(*) FROM rows GROUP BY tenth"))
        return [found.get(tenth, 0) for tenth in range(10)]
