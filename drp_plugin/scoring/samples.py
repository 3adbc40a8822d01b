"""Rows of the samples files that lmms-eval writes, read in one place for score and report."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, ValidationError

from drp_plugin.errors import UserError
from drp_plugin.finish import ended, told
from drp_plugin.jsonl import explain
from drp_plugin.reading.golds import gold
from drp_plugin.records import Record

FAILED = "[LMMS_EVAL_REQUEST_FAILED"
SAMPLES = re.compile(r"(?P<date>.+?)_samples_(?P<task>.+)\.jsonl")
VARIANT = re.compile(r"_(?:answer|sampled|tale|thinkprune|nothinking)$")  # Of a task's name


class Sample(NamedTuple):
    """One document of a task and what a model answered to it."""

    doc: str  # Identifies the document across runs: its id and the hash of its content
    gold: str  # Empty where none is known
    completions: tuple[str, ...]  # One for each repeat
    backend_tokens: tuple[int | None, ...]  # Tokens of each completion as the backend counted them
    ended: tuple[bool | None, ...]  # Whether each ended by itself, not at a limit, where known
    dataset: str | None
    told: dict[str, Any]  # The protocol, where our own task recorded it
    sizes: tuple[int, ...]  # How many completions each run gave, where several were pooled
    question: str = ""
    level: str = ""  # Difficulty, if the set has one, e.g. MATH's `Level 5`.

    @property
    def thinking(self) -> bool:
        """Whether the model thinks, as far as the protocol says."""
        return self.told.get("thinking") is not False


class _Made(Record):
    """How the model made one completion."""

    finish: str | None = None
    backend_tokens: int | None = None


class _Told(Record):
    """What our own tasks write under `drp`, and is read again."""

    id: str | int | None = None
    dataset: str | None = None
    question: str | None = None
    level: str | int | None = None
    completions: tuple[_Made, ...] = ()
    protocol: dict[str, Any] = Field(default_factory=dict)


def read_sample(value: dict[str, Any], file: str | Path, number: int) -> Sample:
    """Row `number` of a samples file; raises UserError naming file and row."""
    completions = _completions(value)
    if not completions or "doc_id" not in value or "target" not in value:
        raise UserError("is not a sample of lmms-eval with text completions", file=file,
                        row=number, fix="Give runs of the drp_* tasks")
    try:
        own = _Told.model_validate(value.get("drp") or {})
        made = own.completions if len(own.completions) == len(completions) else \
            _counted(value, len(completions))
    except ValidationError as error:
        what = f"its record of the run is damaged: {explain(error)}"
        raise UserError(what, file=file, row=number, fix="Run lmms-eval again, or leave `drp` as "
                        "it was written") from None
    doc = value["doc_id"] if own.id is None else own.id
    row = value.get("doc")
    level = own.level if own.level is not None or not isinstance(row, dict) else row.get("level")
    return Sample(doc=f"{doc}:{str(value.get('doc_hash', ''))[:16]}",
        gold=str("" if (known := gold(value["target"])) is None else known),
        completions=completions, backend_tokens=tuple(m.backend_tokens for m in made),
        ended=tuple(ended(m.finish) for m in made), dataset=own.dataset, told=own.protocol,
        sizes=(len(completions),), level="" if level is None else str(level),
        question=own.question or str(value.get("input") or ""))


def one_repeat(value: dict[str, Any], sample: Sample, repeat: int) -> dict[str, Any]:
    """The row with one of its several completions, which `repeat` counts from 0."""
    text = sample.completions[repeat]
    row = {**value, "repeat": repeat, "resps": [[text]], "filtered_resps": [text]}
    own = value.get("drp") or {}
    if len(own.get("completions") or ()) == len(sample.completions):
        row["drp"] = {**own, "completions": [own["completions"][repeat]]}
    return row


def _completions(value: dict[str, Any]) -> tuple[str, ...]:
    """The completions of a sample, however deep lmms-eval nested them; none if not text."""
    found = value.get("resps") or value.get("filtered_resps")
    while isinstance(found, list) and len(found) == 1 and isinstance(found[0], list):
        found = found[0]
    texts: list[Any] = found if isinstance(found, list) else [found]
    return tuple(texts) if all(isinstance(text, str) for text in texts) else ()


def task_of(file: str | Path) -> str | None:
    match = SAMPLES.fullmatch(Path(file).name)
    return match and match["task"]


def _counted(value: dict[str, Any], n: int) -> tuple[_Made, ...]:
    """lmms-eval's own record of a row: one finish, and counts of the first repeat only."""
    counts, finish = value.get("token_counts"), told(value)
    found = [c if isinstance(c, dict) else {} for c in (counts if isinstance(counts, list) else [])]
    return tuple(_Made(finish=finish if isinstance(finish, str) else None,
                       backend_tokens=c.get("output_tokens")) for c in (found + [{}] * n)[:n])
