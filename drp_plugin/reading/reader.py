"""A file read row by row into the one shape, with one line says what was found; and as values with
ids that are unique, bad rows included as rejects."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from drp_plugin import jsonl, resources
from drp_plugin.errors import UserError
from drp_plugin.finish import ending
from drp_plugin.reading import containers, layouts
from drp_plugin.reading.golds import is_open, is_prose
from drp_plugin.records import Reason, Record, Reject, Trace
from drp_plugin.seen import Numbers, digest
from drp_plugin.terminal import say
from drp_plugin.thinking import CLOSE

BATCH = "the output of a batch"
MOST_NAMES = 12  # Fields that a message names


class Item(NamedTuple):
    """A response of a row (or a row without one) in the one shape, or what is wrong with it."""

    number: int  # The row in its file, from 1
    value: dict[str, Any] | None
    """The row with id, question, answer, response, finish, dataset and model as `Trace` has them;
    None where the row cannot be used."""
    error: str
    row: dict[str, Any] | None  # The row as it came; None where it is no JSON object
    text: str
    repeat: int = 0  # Which of the row's responses, from 0
    repeats: int = 1


class Seen:
    """What in a file's rows makes a result doubtful."""

    def __init__(self) -> None:
        self.responses = self.closed = self.silent = self.cut = self.golds = self.prose = 0
        """Responses, those with `</think>`, those that ended by themselves without it, those that
        were cut off before it; gold answers, those that are texts without a final answer."""

    def add(self, answer: Any, completions: Sequence[Any]) -> None:
        """Count a row's gold answer and completions, which have `text` and `finish`."""
        self.responses += len(completions)
        ends = [ending(one.finish) for one in completions if CLOSE not in one.text]
        self.closed += len(completions) - len(ends)
        self.silent += ends.count("stop")
        self.cut += ends.count("length")
        self.golds += answer is not None
        self.prose += is_prose(answer)

    def doubt(self, graded: int = 0, right: int = 0, *, thinking: bool = True) -> str | None:
        """Why a result, `right` of `graded`, may come from the file; None without doubt."""
        if self.golds and 2 * self.prose > self.golds:
            return (f"{self.prose} of {self.golds} gold answers are texts in which no final answer "
                    "is marked (#### 7, \\boxed{7}, The answer is 7): name the field that holds "
                    "it, --columns answer=FIELD")
        if thinking and self.responses and not self.closed:
            if self.cut == self.responses:
                return ("every response was cut off while thinking: sample again with a higher "
                        "limit of tokens (drp generate: --max-new-tokens)")
            return ("no response closes its thinking (</think>): it was stripped before, stands in "
                    "a field that was not read (--columns thinking=FIELD), or the student does not "
                    "think")
        if graded and not right:
            return (f"none of {graded} graded answers is right: are --columns question=…, "
                    "response=…, answer=… the right fields, and is answer the final answer?")
        return None


class Reader:
    """The rows of a file or files (`containers.files`), read anew each time; raises UserError.
    `columns` names fields by hand; `answers=False` reads questions alone, one a row."""

    def __init__(self, path: str | Path | Sequence[str | Path],
                 columns: Mapping[str, str] | None = None, *,
                 answers: bool = True, say: Callable[[str], None] = say,
                 rows: Iterable[jsonl.Row] | None = None) -> None:
        self._rows = rows  # Instead of a file's: `path` only names them
        self.given = [path] if isinstance(path, str | Path) else list(path)
        self.path = self.given[0]  # The file that is being read, else the first that was given
        self.several = False
        self.columns, self.answers = columns or {}, answers
        self.say, self._said = say, set[str]()
        self.seen = Seen()  # Of the last iteration
        self.unread: list[str] = []  # Fields of the first row that nothing was taken from

    @property
    def stem(self) -> str:
        """What ids are made from if rows have none."""
        return "stdin" if str(self.path) == "-" else Path(self.path).name.split(".")[0]

    def __iter__(self) -> Iterator[Item]:
        self.seen = Seen()
        files = [file for given in self.given for file in containers.files(given)]
        self.several = len(files) > 1
        for self.path in files:
            yield from self._items()
        self.path = self.given[0]

    def _items(self) -> Iterator[Item]:
        filters: dict[tuple[str, ...], Any] = {}  # lm-evaluation-harness writes a row for each
        for row in containers.rows(self.path) if self._rows is None else self._rows:
            if row.value is None:
                yield Item(row.number, None, row.error or "bad row", None, row.text)
                continue
            if "filtered_resps" in row.value and (name := row.value.get("filter")):
                doc = tuple(str(row.value.get(n)) for n in ("doc_id", "doc_hash", "prompt_hash"))
                if filters.setdefault(doc, name) != name:
                    continue
            try:
                found = layouts.read(row.value, self.columns, self.answers)
            except layouts.Unreadable as error:
                yield Item(row.number, None, str(error), row.value, row.text)
                continue
            self._tell(row.value, found)
            values = [{**found.fields, "response": one.text, "finish": ending(one.finish)}
                      for one in found.said] or [found.fields]
            for repeat, value in enumerate(values):
                yield Item(row.number, value, "", row.value, row.text, repeat, len(values))

    def _tell(self, row: Mapping[str, Any], found: layouts.Published) -> None:
        if not self.seen.responses:
            taken = {path.partition(".")[0] for path in found.found.values()}
            self.unread = [name[:40] for name in row if row[name] and name.lower() not in taken
                           and name not in layouts.NOT_GOLD][:MOST_NAMES]
        self.seen.add(found.fields["answer"], found.said)
        used = {field: name for field, name in found.found.items()
                if field in ("question", "response", "thinking", "answer")}
        if is_open(found.gold) and "open" not in self._said:
            self._said.add("open")
            self.say(f"{self.path}: a row lists several gold answers, which does not say whether "
                      "all or any of them are asked for: such rows count as rows without gold")
        kind = kind_of(row)
        if kind not in self._said and any(field != name for field, name in used.items()):
            self._said.add(kind)
            self.say(f"{self.path}: read as {kind}: "
                      + ", ".join(f"{field}={name}" for field, name in used.items()))


def kind_of(row: Mapping[str, Any]) -> str:
    """What wrote such rows."""
    for kind, marks in resources.layouts("kinds").items():
        if any(row.keys() >= set(fields) for fields in marks):
            return str(kind)
    talks = any(isinstance(row.get(name), list) for name in layouts.CONVERSATIONS)
    return "conversations" if talks else "fields of other names"


def parse_columns(text: str) -> dict[str, str]:
    """`question=problem,response=output` as a mapping. Raises UserError."""
    found = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        field, _, name = (piece.strip() for piece in part.partition("="))
        if field not in layouts.FIELDS or not name:
            raise UserError(f"--columns: cannot read {part!r}",
                            fix=f"Write e.g. question=problem,response=output; the fields are "
                                f"{', '.join(layouts.FIELDS)}")
        found[field] = name
    return found


def read(source: str | Path | Iterable[Any],
         columns: Mapping[str, str] | None = None) -> Iterator[Trace | Reject]:
    """The traces of a file, of several, or of rows of your own, by the rules of `traces`: a list of
    dictionaries in any layout of docs/inputs.md, a DataFrame, a set of the hub. `columns` names
    fields by hand, as `{"question": "problem"}`. Traces stay as they are. Raises UserError."""
    named = parse_columns(",".join(f"{field}={name}" for field, name in (columns or {}).items()))
    if not isinstance(source, Iterable | Path):
        raise UserError(f"{type(source).__name__} is neither a path nor rows",
                        fix="Give a file, or dictionaries with question and response")
    given: Any = [source] if isinstance(source, str | Path) else source
    rows = list(given.to_dict("records") if hasattr(given, "iterrows") else given)
    if rows and all(isinstance(row, str | Path) for row in rows):
        return traces(Reader(rows, named))
    if rows and all(isinstance(row, Trace | Reject) for row in rows):
        return iter(rows)
    return traces(Reader("rows", named, rows=[_own(*row) for row in enumerate(rows, start=1)]))


def _own(number: int, row: Any) -> jsonl.Row:
    if not isinstance(row, Mapping | Record):
        return jsonl.Row(number, None, f"{type(row).__name__}, not a dictionary", str(row))
    return jsonl.parse(number, json.dumps(dict(row), default=containers.plain).encode())


def traces(source: str | Path | Reader) -> Iterator[Trace | Reject]:
    """Every row of one or more files of traces, in order; of questions alone where the reader asks
    for them.

    A row that cannot be used becomes a reject of the stage `read`. A missing id is made from the
    file's name and the row's number. Where rows share an id, the second becomes `ID#2` and so on;
    one whose id and response both stood before is rejected. Raises UserError without a usable row.
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
        what, fields = ("trace", '"question" and "response" (drp generate samples the response)'
                        ) if reader.answers else ("question", '"question"')
        raise UserError(f"holds no usable {what}: {first_problem}", file=reader.path, fix=(
            "Give JSONL (a row a line), a JSON array, CSV or Parquet"
            if rejected == {Reason.NOT_JSON}
            else f"Each row must have {fields}; --columns names fields of other names"))
    if reader.answers and not reader.seen.golds and reader.unread:
        reader.say(f"{reader.path}: no gold answer was found. If a field holds it, name it: "
                    f"--columns answer=FIELD (not read: {', '.join(reader.unread)})")


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
        if why.endswith("is missing"):
            names = [name[:40] for name in item.row or {}][:MOST_NAMES]
            why += f" (the row has: {', '.join(names)})"
        return _reject(item, named, why, reader)
    return trace if trace.question.strip() else _reject(
        item, named, "field 'question' is empty", reader)


def _reject(item: Item, name: str, problem: str, reader: Reader) -> Reject:
    problem = f"{reader.path}, " * reader.several + f"row {item.number}: {problem}"
    if item.row is None:
        return Reject(id=name, stage="read", reason=Reason.NOT_JSON,
                      detail=problem, row={"text": item.text[:2000]})
    return Reject(id=f"{name}@row{item.number}" + f".{item.repeat}" * bool(item.repeat),
                  stage="read", reason=Reason.BAD_ROW, detail=problem, row=item.row)


def _unique(trace: Trace, turns: Numbers) -> Trace:
    key = digest(trace.id)
    turn = (turns.get(key) or 0) + 1
    turns.put(key, turn)
    if turn == 1:
        return trace
    name = f"{trace.id}#{turn}"
    while turns.get(digest(name)):  # a user's ids may look like ours
        turn += 1
        name = f"{trace.id}#{turn}"
    turns.put(key, turn)
    turns.put(digest(name), 1)
    return trace.model_copy(update={"id": name})
