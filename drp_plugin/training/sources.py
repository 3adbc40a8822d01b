"""Candidates for training: rows of run directories of `drp prune` and of plain JSONL files, without
questions that also occur in a test set, exactly or nearly. Its index holds only the test questions,
which are few: so it is exact, and memory stays flat."""

import contextlib
import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.inspection.edits import Decisions
from drp_plugin.reading import Reader
from drp_plugin.records import Pruned
from drp_plugin.resources import resource
from drp_plugin.run_dir import PRUNED, REJECTS
from drp_plugin.sampling.questions import load
from drp_plugin.thinking import Unfit

_FACTS = ("answer", "dataset", "model", "teacher", "prompts_hash", "tokens_before", "tokens_after",
          "edited")


class Why(StrEnum):
    """Why `drp build` leaves a row out: the closed list."""

    NOT_JSON = "not_json"
    BAD_ROW = "bad_row"  # no question or no response, or not text
    NO_THINK_END = "no_think_end"
    THINK_TWICE = "think_twice"  # in the thinking or the answer, or a tag in the question
    EMPTY_THINKING = "empty_thinking"
    EMPTY_ANSWER = "empty_answer"
    CONTROL_TOKEN = "control_token"  # of the chat layout: the tokenizer would obey it
    DUPLICATE = "duplicate"
    REJECTED_BY_HAND = "rejected_by_hand"  # in the page of `drp inspect`
    EDIT_REFUSED = "edit_refused"  # an edit by hand fails a check, and was not accepted
    EXCLUDED = "excluded"  # the question is in a file given with --exclude
    IN_TEST_SET = "in_test_set"  # nearly the same question is in a --test-set
    OVER_CUTOFF = "over_cutoff"
    NO_REJECTED = "no_rejected"  # pairs were asked for, and the row has no other response
    NOT_SAMPLED = "not_sampled"  # good, but beyond --size and --ratio


@dataclass(frozen=True)
class Candidate:
    """A row that may become a training example."""

    source: str
    row: int  # its line in `source`, from 1
    id: str
    group: str  # `dataset` of the row, otherwise the run's name; ratios count by it
    question: str
    response: str
    rejected: str | None  # the student's original response, for preference pairs
    prompt: str | None  # name of the prompt of the sampling; None where it is not recorded
    facts: dict[str, Any]  # provenance, as far as the row tells it


@dataclass(frozen=True)
class Dropped:
    """A row that is not in the set, and why."""

    source: str
    row: int
    id: str | None
    reason: Why
    detail: str

    def __str__(self) -> str:
        return f"{self.source}: row {self.row}" + f": {self.detail}" * bool(self.detail)


def _name(value: dict[str, Any], run: str) -> str:
    """The row's id, else one made from its content, so that its line does not matter."""
    if value.get("id") not in (None, ""):
        return str(value["id"])
    text = jsonl.dumps({key: value.get(key) for key in ("question", "response")})
    return f"{run}:{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def read_source(path: str | Path,
                columns: Mapping[str, str] | None = None) -> Iterator[Candidate | Dropped]:
    """Every row of a run directory or file, as a candidate or dropped with its reason.

    A row needs `question` and `response`. Decisions of `drp inspect` apply to a run's rows. Raises
    UserError when the path cannot be read, or for an edit that fits no row."""
    path = Path(path)
    if not path.exists():
        raise UserError("no such run directory or file", file=path, fix="Check the path")
    file, name = (path / PRUNED, path.resolve().name) if path.is_dir() else (path, path.stem)
    if not file.exists():
        raise UserError(f"holds no {PRUNED}", file=path,
                        fix="Give a run directory of `drp prune`, or a .jsonl file")
    decisions = Decisions(path) if path.is_dir() else None
    for row in Reader(file, None if path.is_dir() else columns):
        value = row.value
        if value is None:
            yield Dropped(str(file), row.number, None,
                          Why.BAD_ROW if row.row else Why.NOT_JSON, row.error)
            continue
        if row.repeats > 1:
            value = {**value, "id": f"{_name(value, name)}#{row.repeat + 1}"}
        if decisions is not None and decisions.touches(value.get("id")):
            with contextlib.suppress(ValidationError):  # no pruned record: it cannot be edited
                try:
                    value = _edited(decisions.of(Pruned.model_validate(value)))
                except Unfit as unfit:
                    yield Dropped(str(file), row.number, str(value.get("id")), Why(unfit.reason),
                                  unfit.detail)
                    continue
        yield _candidate(value, str(file), row.number, name)
    if decisions is not None:
        rejects = str(path / REJECTS)
        for number, id_, kept in decisions.rescued():
            yield Dropped(rejects, number, id_, Why(kept.reason), kept.detail) \
                if isinstance(kept, Unfit) else _candidate(_edited(kept), rejects, number, name)


def _edited(row: Pruned) -> dict[str, Any]:
    """A row as a person left it; `edited` says how it was edited."""
    return {**row.model_dump(mode="json"), "edited": row.verdict.get("edited", {}).get("how")}


def _candidate(value: dict[str, Any], file: str, number: int, run: str) -> Candidate | Dropped:
    id_ = _name(value, run)
    wrong = [field for field in ("question", "response")
             if not isinstance(value.get(field), str) or not value[field].strip()]
    if wrong:
        return Dropped(file, number, id_, Why.BAD_ROW,
                       f"field {wrong[0]!r} is missing, empty or not text")
    rejected, prompt = value.get("rejected", value.get("original")), value.get("prompt")
    return Candidate(source=file, row=number, id=id_, group=str(value.get("dataset") or run),
        question=value["question"].strip(), response=value["response"],
        rejected=rejected if isinstance(rejected, str) else None,
        prompt=prompt if isinstance(prompt, str) and prompt else None,
        facts={key: value[key] for key in _FACTS if value.get(key) is not None
               and (not key.startswith("tokens_") or isinstance(value[key], int))})


WORDS = 3  # Of a shingle
NEAR = 0.6
"""Jaccard coefficient of the sets of three-word shingles from which two questions are nearly one.
Of PRM12K's 12,000 questions it finds 75 beside MATH500's 500: twins with another number or another
thing asked. Of GSM8K's it finds none."""
_WORD = re.compile(r"[^\W\d_]+|\d+|[-+*/=<>^%\u2212\u00d7\u00f7\u00b7]")


class Overlap(NamedTuple):
    """The test question that equals a training question, or nearly."""

    test: str  # The set that was named, and the question's id
    similarity: float  # 1 for the same words in the same order


class HeldOut:
    """Questions of test sets, to be compared with training questions."""

    def __init__(self, sets: Iterable[str]) -> None:
        """`sets` are tasks of lmms-eval (`drp_gsm8k`, `drp`), sets of questions and files, as
        `drp generate` takes them. Raises UserError for one that cannot be had."""
        self._known: list[tuple[str, int]] = []  # Name and number of shingles
        self._same: dict[int, str] = {}
        self._index: dict[int, list[int]] = defaultdict(list)
        for name in sets:
            for question in (q for source in _of_task(name) or [name] for q in load(source)):
                words, label = _words(question.question), f"{name}: {question.id}"
                parts = _shingles(words)
                for part in parts:
                    self._index[part].append(len(self._known))
                self._known.append((label, len(parts)))
                self._same.setdefault(hash(tuple(words)), label)

    def find(self, question: str) -> Overlap | None:
        words = _words(question)
        if (same := self._same.get(hash(tuple(words)))) is not None:
            return Overlap(same, 1.0)
        parts = _shingles(words)
        shared = Counter(number for part in parts for number in self._index.get(part, ()))
        close = ((k / (len(parts) + self._known[n][1] - k), -n) for n, k in shared.items())
        likeness, number = max(close, default=(0.0, 0))
        if likeness < NEAR:
            return None
        # the same shingles in another order are near, not the same
        return Overlap(self._known[-number][0], min(round(likeness, 3), 0.999))


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def _shingles(words: list[str]) -> set[int]:
    return {hash(tuple(words[i:i + WORDS])) for i in range(max(1, len(words) - WORDS + 1))}


def _of_task(name: str) -> list[str]:
    """The sets of questions of a task of `lmms_eval_tasks/`, or of a group; empty for others."""
    for file in resource("lmms_eval_tasks").glob("*.yaml"):
        found: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))
        if found.get("group") == name:
            return [each for task in found["task"] for each in _of_task(task)]
        if found.get("task") == name:
            return [found["protocol"]["questions"]]
    return []
