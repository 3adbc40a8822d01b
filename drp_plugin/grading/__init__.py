"""Grading final answers: extract, compare, and one of four outcomes (§4.6)."""

from typing import Any, Literal, NamedTuple

from drp_plugin.errors import UserError
from drp_plugin.grading.compare import base_name, equal
from drp_plugin.grading.extract import Extraction, How, extract, last_box
from drp_plugin.resources import table

Outcome = Literal["right", "wrong", "no_answer", "truncated"]


class Grade(NamedTuple):
    """What became of a completion."""

    outcome: Outcome  # truncated: cut off before an answer; no_answer: ended without one
    correct: bool  # Whether the outcome is `right`
    extracted: str | None
    how: How | None  # How the answer was found: boxed, stated or last_number


def grade(completion: str, gold: str | int | float, dataset: str | None = None, *,
          thinking: bool = True, ended: bool = True) -> Grade:
    """Grade a completion against the gold answer by the rules of its dataset.

    `dataset` is a name such as gsm8k, drp_math500 or prm12k_train; None means the general rules.
    `thinking=False` is for models that do not think, `ended=False` for text that stops in the
    middle (see `extract`). Raises UserError without a text or a gold answer."""
    if not isinstance(completion, str) or not isinstance(gold, str | int | float):
        raise UserError(f"cannot grade {type(completion).__name__} by {type(gold).__name__}",
                        fix="Give the completion as text, and the gold answer")
    found = extract(completion, thinking=thinking, ended=ended)
    if found.text is None:
        cut = found.truncated or not ended
        return Grade("truncated" if cut else "no_answer", False, None, None)
    right = equal(found.text, str(gold), dataset)
    return Grade("right" if right else "wrong", right, found.text, found.how)


def suspects(dataset: str) -> list[dict[str, Any]]:
    """The official answers of a set, by any of its names, that do not follow from their questions;
    they stay in force all the same. `index` is the row of the official file, from 0."""
    return [entry for entry in table("grading.yaml")["tables"]["suspect_golds"]
            if base_name(dataset).startswith(entry["dataset"])]


__all__ = ["Extraction", "Grade", "How", "Outcome", "equal", "extract", "grade", "last_box",
           "suspects"]
