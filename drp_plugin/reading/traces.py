"""Rows as values with ids that are unique, bad rows included as rejects."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.reading.reader import BATCH, Item, Reader, kind_of
from drp_plugin.records import Reason, Reject, Trace
from drp_plugin.seen import Numbers, digest


def traces(source: str | Path | Reader) -> Iterator[Trace | Reject]:
    """Every row of one or more files of traces, in order; of questions alone where the reader asks
    for them.

    A row that cannot be used becomes a reject of the stage `read`. A missing id is made from the
    file's name and the row's number. Where rows share an id, the second becomes `ID#2` and so on;
    one whose id and response both stood before is rejected. Raises UserError without usable row.
    """
    reader = source if isinstance(source, Reader) else Reader(source)
    stood, turns = Numbers(), Numbers()
    usable, first_problem, rejected = 0, "it is empty", set[Reason]()
    for item in reader:
        result = _trace(item, reader)
        if isinstance(result, Trace):
            response = result.response if reader.answers else ""
            earlier = stood.first(digest(result.id, response), item.number)
            if earlier is None:
                usable += 1
                yield _unique(result, turns)
                continue
            result = _reject(item, result.id, "the same id" + " and response" * reader.answers + (
                " as in an earlier row" if reader.several else f" as in row {earlier}"), reader)
        if not rejected:
            first_problem = result.detail
        rejected.add(result.reason)
        yield result
    if not usable:
        what, fields = ("trace", '"question" and "response"') if reader.answers else (
            "question", '"question"')
        raise UserError(f"holds no usable {what}: {first_problem}", file=reader.path, fix=(
            "Give JSONL (a row a line), a JSON array or Parquet" if rejected == {Reason.NOT_JSON}
            else f"Each row must have {fields}; --columns names fields of other names"))


def _trace(item: Item, reader: Reader) -> Trace | Reject:
    name = f"{reader.stem}-{item.number}"
    if item.value is None:
        return _reject(item, name, item.error, reader)
    row = dict(item.value)
    if isinstance(row.get("id"), int | float) and not isinstance(row["id"], bool):
        row["id"] = str(row["id"])
    if row.get("id") in (None, ""):
        row["id"] = name
    if not reader.answers and not isinstance(row.get("response"), str):
        row["response"] = ""
    named = row["id"] if isinstance(row["id"], str) else name
    try:
        trace = Trace.model_validate(row)
    except ValidationError as error:
        why = f"{BATCH} holds no question: join it with the batch's input by its ids" if \
            "question" not in row and kind_of(item.row or {}) == BATCH else jsonl.explain(error)
        return _reject(item, named, why, reader)
    return trace if trace.question.strip() else _reject(
        item, named, "field 'question' is empty", reader)


def _reject(item: Item, name: str, problem: str, reader: Reader) -> Reject:
    problem = f"{reader.path}, " * reader.several + f"row {item.number}: {problem}"
    if item.row is None:
        return Reject(id=name, stage="read", reason=Reason.NOT_JSON,
                      detail=problem, row={"text": item.text[:2000]})
    return Reject(id=f"{name}@row{item.number}" + f".{item.repeat}" * bool(item.repeat),
                  stage="read", reason=Reason.BAD_ROW, detail=problem,
                  row=item.row)


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
