"""Training questions that stand in a test set too, as they are or nearly so.

The index holds the test questions alone, which are few; training rows pass by it one at a time. So
it is exact where MinHash (datasketch) estimates, and needs no dependency, and memory stays flat.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import yaml

from drp_plugin.resources import resource
from drp_plugin.sampling.questions import load

WORDS = 3  # Of a shingle
NEAR = 0.6
"""Jaccard coefficient of the sets of three-word shingles from which two questions are nearly one.
Of PRM12K's 12,000 questions it finds 75 beside MATH500's 500: twins with another number or another
thing asked. Of GSM8K's it finds none."""
_WORD = re.compile(r"[^\W\d_]+|\d+|[-+*/=<>^%\u2212\u00d7\u00f7\u00b7]")


class Overlap(NamedTuple):
    """The test question that a training question is, or is nearly."""

    test: str  # The set that was named, and the question's id
    similarity: float  # 1 for the same words in the same order


class HeldOut:
    """What is trained on is compared with these."""

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
        """The test question that comes nearest, where one is near enough."""
        words = _words(question)
        if (same := self._same.get(hash(tuple(words)))) is not None:
            return Overlap(same, 1.0)
        parts = _shingles(words)
        shared = Counter(number for part in parts for number in self._index.get(part, ()))
        close = ((k / (len(parts) + self._known[n][1] - k), -n) for n, k in shared.items())
        likeness, number = max(close, default=(0.0, 0))
        if likeness < NEAR:
            return None
        # what has the same shingles in another order is near, and not the same
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
