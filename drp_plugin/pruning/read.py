"""Traces as they come from the student, bad rows included as rejects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.records import Reason, Reject, Trace
from drp_plugin.seen import Numbers, digest


def traces(path: str | Path) -> Iterator[Trace | Reject]:
    """Every row of a JSONL file of traces, in order.

    A row that cannot be used becomes a reject of the stage `read`. A missing id is made from the
    file's name and the row's number. Ids come out unique: where several rows share one (samples
    of the same question), the second becomes `ID#2` and so on; a row whose id and response
    both stood before is a duplicate and is rejected.

    Raises UserError when the file cannot be read or holds no usable row.
    """
    stem = "stdin" if str(path) == "-" else Path(path).name.split(".")[0]
    stood, turns = Numbers(), Numbers()
    usable, first_problem = 0, "it is empty"
    for row in jsonl.rows(path):
        name = f"{stem}-{row.number}"
        if row.value is None:
            problem = Reject(id=name, stage="read", reason=Reason.NOT_JSON,
                             detail=f"row {row.number}: {row.error}",
                             row={"text": row.text[:2000]})
        else:
            result = _trace(row.value, name, row.number)
            if isinstance(result, Trace):
                earlier = stood.first(digest(result.id, result.response), row.number)
                if earlier is None:
                    usable += 1
                    yield _unique(result, turns)
                    continue
                result = Reject(id=f"{result.id}@row{row.number}", stage="read",
                                reason=Reason.BAD_ROW, row=row.value,
                                detail=f"row {row.number}: the same id and response as in row "
                                       f"{earlier}")
            problem = result
        if first_problem == "it is empty":
            first_problem = problem.detail
        yield problem
    if not usable:
        raise UserError(f"holds no usable trace: {first_problem}", file=path,
                        fix='Each line must be a JSON object with "question" and "response"')


def _trace(value: dict[str, Any], name: str, number: int) -> Trace | Reject:
    row = dict(value)
    for field in ("id", "answer"):
        if isinstance(row.get(field), int | float) and not isinstance(row[field], bool):
            row[field] = str(row[field])
    if row.get("id") in (None, ""):
        row["id"] = name
    if row.get("answer") == "":
        row["answer"] = None
    try:
        return Trace.model_validate(row)
    except ValidationError as error:
        named = row["id"] if isinstance(row["id"], str) else name
        return Reject(id=f"{named}@row{number}", stage="read", reason=Reason.BAD_ROW,
                      detail=f"row {number}: {jsonl.explain(error)}", row=value)


def _unique(trace: Trace, turns: Numbers) -> Trace:
    key = digest(trace.id)
    turn = (turns.get(key) or 0) + 1
    turns.put(key, turn)
    if turn == 1:
        return trace
    name = f"{trace.id}#{turn}"
    while turns.get(digest(name)):  # somebody's ids look like ours
        turn += 1
        name = f"{trace.id}#{turn}"
    turns.put(key, turn)
    turns.put(digest(name), 1)
    return trace.model_copy(update={"id": name})
