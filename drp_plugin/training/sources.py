"""Reading what may be trained on: run directories of `drp prune` and plain JSONL files."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.inspection.edits import decided
from drp_plugin.reading import Reader
from drp_plugin.records import Pruned

PRUNED = "pruned.jsonl"


class Why(StrEnum):
    """Why `drp build` leaves a row out: the closed list."""

    NOT_JSON = "not_json"
    BAD_ROW = "bad_row"
    """No question or no response, or not text."""
    NO_THINK_END = "no_think_end"
    THINK_TWICE = "think_twice"
    """A second `<think>` or `</think>` in the thinking or the answer, or one in the question."""
    EMPTY_THINKING = "empty_thinking"
    EMPTY_ANSWER = "empty_answer"
    CONTROL_TOKEN = "control_token"
    """The text holds a token of the chat layout; the tokenizer would take it for the real one."""
    DUPLICATE = "duplicate"
    REJECTED_BY_HAND = "rejected_by_hand"
    """In the page of `drp inspect`."""
    EXCLUDED = "excluded"
    """The question stands in a file given with --exclude."""
    OVER_CUTOFF = "over_cutoff"
    NO_REJECTED = "no_rejected"
    """Preference pairs were asked for and the row has no second response, or the same one."""
    NOT_SAMPLED = "not_sampled"
    """Good, but more than --size and --ratio have room for."""


@dataclass(frozen=True)
class Candidate:
    """A row that may become a training example."""

    source: str
    """The file it was read from."""
    row: int
    """Its line there, from 1."""
    id: str
    group: str
    """Its data set: `dataset` of the row, otherwise the run's name. Ratios count by it."""
    question: str
    response: str
    rejected: str | None
    """The student's original response, for preference pairs."""
    facts: dict[str, Any]
    """Provenance: teacher, student, prompts' hash, tokens before and after, gold answer."""


@dataclass(frozen=True)
class Dropped:
    """A row that is not in the set, and why."""

    source: str
    row: int
    id: str | None
    reason: Why
    detail: str


def _file(path: Path) -> tuple[Path, str]:
    """The JSONL file that a run directory or path stands for, and the run's name."""
    if path.is_dir():
        file = path / PRUNED
        if not file.is_file():
            raise UserError(f"holds no {PRUNED}", file=path,
                            fix="Give a run directory of `drp prune`, or a .jsonl file")
        return file, path.resolve().name
    if not path.exists():
        raise UserError("no such run directory or file", file=path, fix="Check the path")
    return path, path.stem


def _facts(value: dict[str, Any]) -> dict[str, Any]:
    known = ("answer", "dataset", "model", "teacher", "prompts_hash", "tokens_before",
             "tokens_after", "edited")
    return {key: value[key] for key in known if value.get(key) is not None
            and (not key.startswith("tokens_") or isinstance(value[key], int))}


def _name(value: dict[str, Any], run: str) -> str:
    """The row's id; where it has none, one of its content, so that its line does not matter."""
    if value.get("id") not in (None, ""):
        return str(value["id"])
    text = jsonl.dumps({key: value.get(key) for key in ("question", "response")})
    return f"{run}:{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _edited(path: Path, values: list[tuple[int, dict[str, Any]]]) -> dict[int, dict | None]:
    """What `drp inspect` left of a run's pruned rows, by line; None for what was rejected there."""
    if not path.is_dir():
        return {}
    records: dict[int, Pruned] = {}
    for number, value in values:
        with contextlib.suppress(ValueError):  # no pruned record: the page could not edit it
            records[number] = Pruned.model_validate(value)
    after = decided(path, records.values())
    return {number: None if record is None else record.model_dump(mode="json")
            for number, record in zip(records, after, strict=True)}


def read_source(path: str | Path, columns: Mapping[str, str] | None = None,
                ) -> tuple[list[Candidate], list[Dropped]]:
    """Every row of a run directory or file, as a candidate or dropped with its reason.

    A row needs `question` and `response`; pruned rows, traces and teacher-written responses all
    have them. Raises UserError when the path cannot be read.
    """
    file, name = _file(Path(path))
    dropped: list[Dropped] = []
    values: list[tuple[int, dict[str, Any]]] = []
    for item in Reader(file, None if Path(path).is_dir() else columns):
        if item.value is None:
            dropped.append(Dropped(str(file), item.number, None,
                                   Why.BAD_ROW if item.row else Why.NOT_JSON, item.error))
        elif item.repeats > 1:
            values.append((item.number, {**item.value, "id": f"{_name(item.value, name)}"
                                         f"#{item.repeat + 1}"}))
        else:
            values.append((item.number, item.value))
    candidates = []
    edited = _edited(Path(path), values)
    for number, original in values:
        value = edited.get(number, original)
        if value is None:
            dropped.append(Dropped(str(file), number, str(original.get("id")),
                                   Why.REJECTED_BY_HAND, "rejected in edits.jsonl"))
            continue
        id_ = _name(value, name)
        wrong = [field for field in ("question", "response")
                 if not isinstance(value.get(field), str) or not value[field].strip()]
        if wrong:
            dropped.append(Dropped(str(file), number, id_, Why.BAD_ROW,
                                   f"field {wrong[0]!r} is missing, empty or not text"))
            continue
        rejected = value.get("rejected", value.get("original"))
        candidates.append(Candidate(
            source=str(file), row=number, id=id_, group=str(value.get("dataset") or name),
            question=value["question"].strip(), response=value["response"],
            rejected=rejected if isinstance(rejected, str) else None, facts=_facts(value)))
    return candidates, dropped
