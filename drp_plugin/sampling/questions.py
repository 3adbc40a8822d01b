"""Where questions come from: files, public sets by name, the embedded student's problems."""

import functools
import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from drp_plugin import hub
from drp_plugin.errors import UserError
from drp_plugin.jsonl import rows as lines
from drp_plugin.reading import Reader, traces
from drp_plugin.reading.golds import gold
from drp_plugin.records import Question, Record, Reject
from drp_plugin.resources import table
from drp_plugin.seen import Kept


class Source(Record):
    """A public set on the hub, as data/question_sets.yaml describes it."""

    path: str
    name: str | None = None
    split: str
    question: str
    answer: str
    wrong: tuple[str, ...] = ()
    only: dict[str, Any] = Field(default_factory=dict)

    def read(self, row: dict[str, Any], index: int) -> tuple[str, str]:
        answer = row[self.answer]
        if isinstance(answer, list):
            answer = answer[0]
        if not self.wrong:
            return row[self.question], gold(answer) or ""
        choices = [str(answer).strip(), *(str(row[field]).strip() for field in self.wrong)]
        order = random.Random(index).sample(range(len(choices)), len(choices))
        lines = [f"{letter}) {choices[place]}" for letter, place in zip("ABCD", order, strict=True)]
        return "\n".join([row[self.question].strip(), "", *lines]), "ABCD"[order.index(0)]


@functools.cache
def sources() -> dict[str, Source]:
    return {name: Source(**found) for name, found in table("question_sets.yaml").items()}


def load(spec: str, columns: Mapping[str, str] | None = None) -> Sequence[Question]:
    """The questions that a name or a file holds, kept on disk.

    A public set comes from the folder that DRP_DATA_DIR names (`<name>.jsonl`), else from the
    hub. `tiny:SPLIT:LEVEL+LEVEL:N` draws N problems of the embedded student's family, spread
    evenly over the levels. Anything else is a file with `question` and, where they are known, `id`
    and `answer`, or of another layout that is read; `columns` names its fields. Raises UserError.
    """
    return Kept(_read(spec, columns))


def _read(spec: str, columns: Mapping[str, str] | None) -> Iterable[Question]:
    if spec in sources():
        folder = os.environ.get("DRP_DATA_DIR")
        rows = _local(Path(folder), spec) if folder else _from_hub(spec)
        return (row.model_copy(update={"dataset": row.dataset or spec.partition("_")[0]})
                for row in rows)
    if spec.startswith("tiny:"):
        return _tiny(spec)
    if spec != "-" and not Path(spec).exists() and not Path(spec).suffix and os.sep not in spec:
        raise UserError(f"no set of questions {spec!r}", fix="Give a file, "
                        f"tiny:SPLIT:LEVELS:N, or one of {', '.join(sources())}")
    return _questions(Reader(spec, columns, answers=False))


def _local(folder: Path, name: str) -> Iterable[Question]:
    if not folder.is_dir():
        raise UserError("no such folder", file=folder, fix="DRP_DATA_DIR must name the folder "
                        f"that holds {name}.jsonl; unset it to load from the hub")
    names = [name + end for end in (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".parquet")]
    file = next((folder / n for n in names if (folder / n).is_file()), folder / names[0])
    if not file.is_file():
        raise UserError("no such file", file=file, fix=f"DRP_DATA_DIR must hold {name}.jsonl with "
                        "the fields id, question and answer")
    return _published(file, name) or _questions(Reader(file, answers=False), need_answer=True)


def _questions(reader: Reader, need_answer: bool = False) -> Iterator[Question]:
    for number, row in enumerate(traces(reader), start=1):
        if isinstance(row, Reject):
            raise UserError(row.detail, file=reader.path)
        if need_answer and row.answer is None:
            raise UserError("field 'answer' is missing", file=reader.path, row=number)
        yield Question.model_validate(row.model_dump())


def _from_hub(name: str) -> list[Question]:
    import datasets

    source = sources()[name]
    fix = f"Set DRP_DATA_DIR to a folder with {name}.jsonl (fields id, question, answer)"
    if not hub.reachable():
        datasets.config.HF_HUB_OFFLINE = True  # use the cache at once instead of minutes of retries
    try:
        found = datasets.load_dataset(source.path, source.name, split=source.split)
    except Exception as error:  # datasets raises many kinds
        raise UserError(f"{source.path} cannot be loaded from the hub or its cache "
                        f"({type(error).__name__})", fix=fix) from None
    for field in (source.question, source.answer):
        if field not in found.column_names:
            raise UserError(f"{source.path} has no field {field!r}", fix=fix)
    return _taken(name, found)


def _published(file: Path, name: str) -> list[Question]:
    """The rows of a file whose fields are those of the set on the hub; empty for other files."""
    source = sources()[name]
    if not source.wrong and not source.only:
        return []
    values = [line.value for line in lines(file)]
    mine = {source.question, source.answer, *source.wrong, *source.only}
    return _taken(name, values) if values and all(v and mine <= set(v) for v in values) else []


def _taken(name: str, rows: Iterable[Any]) -> list[Question]:
    source = sources()[name]
    kept = ((index, *source.read(row, index)) for index, row in enumerate(rows)
            if all(row.get(field) == value for field, value in source.only.items()))
    return [Question(id=f"{name.replace('_', '-')}-{index:05d}", question=question, answer=answer,
                     dataset=name.partition("_")[0]) for index, question, answer in kept]


def _tiny(spec: str) -> list[Question]:
    from drp_plugin.student import LEVELS, questions

    try:
        _, split, names, count = spec.split(":")
        n = int(count)
    except ValueError:
        raise UserError(f"cannot read {spec!r}", fix="Write tiny:SPLIT:LEVEL+LEVEL:N, for example "
                        f"tiny:sft:{LEVELS[0]}:100") from None
    levels = names.split("+")
    for level in (name for name in levels if name not in LEVELS):
        raise UserError(f"unknown level {level!r}", fix=f"Choose from {', '.join(LEVELS)}")
    shares = [n // len(levels) + (i < n % len(levels)) for i in range(len(levels))]
    try:
        return [Question(id=row["id"], question=row["question"], answer=row["answer"],
                         dataset="tiny_ood" if level == "ood" else "tiny")
                for level, share in zip(levels, shares, strict=True)
                for row in questions(split, level, share)]
    except ValueError as error:
        raise UserError(str(error)) from None
