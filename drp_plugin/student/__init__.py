"""The embedded student: a toy reasoning model of a few MB and the problems it can solve.

With it, the whole of DRP can be seen and tested without a hub and a GPU. It knows nothing but its
generated word problems. `scripts/student/` of a checkout made both."""

import gzip
import json
from functools import cache
from pathlib import Path

LEVELS = ("steps2", "steps3", "steps4", "ood")
"""Kinds of problems, easy to hard; `ood` is the one that the `sft` split does not have."""

_TEST = 800  # problems of a level; what ships behind them is the `dev` split, to choose settings on


def model_path() -> Path:
    """The folder of the shipped student, loadable by transformers and by vLLM."""
    return Path(__file__).parent / "model"


@cache
def _shipped() -> dict[tuple[str, str], list[dict[str, str]]]:
    found: dict[tuple[str, str], list[dict[str, str]]] = {}
    with gzip.open(Path(__file__).parent / "questions.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            found.setdefault((row.pop("split"), row["level"]), []).append(row)
    for level in LEVELS:
        found["dev", level] = found["eval", level][_TEST:]
        del found["eval", level][_TEST:]
    return found


def questions(split: str, level: str, n: int) -> list[dict[str, str]]:
    """The first `n` problems of a split and level, as `{"id", "question", "answer", "level"}`.
    Raises ValueError for a split or level that there is not, and for more than there are."""
    rows = _shipped().get((split, level))
    if rows is None:
        known = ", ".join(sorted(":".join(key) for key in _shipped()))
        raise ValueError(f"there are no problems {split}:{level}: choose from {known}")
    if n > len(rows):
        raise ValueError(f"{n} problems {split}:{level} were asked for, and {len(rows)} ship")
    return rows[:n]
