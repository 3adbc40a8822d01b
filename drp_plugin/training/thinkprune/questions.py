"""The questions that ThinkPrune learns on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.grading import last_box
from drp_plugin.jsonl import read
from drp_plugin.records import Question

NUMINA = "numina_amc_aime"


def from_numina(rows: Iterable[dict[str, Any]]) -> list[Question]:
    """The AMC and AIME part of NuminaMath-CoT, with the last box of the solution as gold answer.

    A solution without a box is left out: it cannot be graded. A question comes once.
    """
    found: dict[str, Question] = {}
    for number, row in enumerate(rows):
        if row.get("source") != "amc_aime":
            continue
        gold = last_box(str(row.get("solution") or ""))
        problem = str(row.get("problem") or "").strip()
        if gold and problem:
            found.setdefault(problem, Question(id=f"numina/{number}", question=problem,
                                               answer=gold, dataset="numina_amc_aime"))
    return list(found.values())


def load_questions(source: str) -> list[Question]:
    """Questions of a JSONL file or of NuminaMath; raises UserError when there is nothing to use."""
    if source == NUMINA:
        from datasets import load_dataset

        try:
            rows = load_dataset("AI-MO/NuminaMath-CoT", split="train")
        except Exception as error:
            raise UserError(f"AI-MO/NuminaMath-CoT cannot be loaded ({type(error).__name__})",
                            fix="Give a JSONL file with question and answer") from None
        return from_numina(rows)
    questions = [q for q in read(source, Question) if q.answer]
    if not questions:
        raise UserError("no row has an `answer`", file=source,
                        fix="The reward needs the gold answer")
    return questions
