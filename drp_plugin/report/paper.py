"""The paper's own numbers, for standing beside ours; always labelled as the paper's."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from drp_plugin import resources


class PaperFigure(NamedTuple):
    """What a table of the paper prints for one method on one set. `score` is Pass@1, 94.1% or
    15/30; `change` that in tokens, where the paper prints one."""

    score: str
    tokens: int
    change: str = ""

    @property
    def accuracy(self) -> float:
        """The score as a share."""
        return float(Fraction(self.score) if "/" in self.score
                     else Fraction(self.score.rstrip("%")) / 100)

    def figures(self) -> dict[str, Any]:
        """What the cells of a table are filled from."""
        return {"score": self.score, "accuracy": self.accuracy, "tokens": self.tokens,
                "change": self.change and f" ({self.change})",
                "tokens_change": int(self.change.rstrip("%")) / 100 if self.change else None}


def paper_figures(table: str, groups: Sequence[str]
                  ) -> dict[str, dict[str, dict[str, PaperFigure]]]:
    """A table of the paper ("table1" to "table5"): student, method, task, figure. Of the two
    students the one that a group names, both where no group names one."""
    data = resources.table("paper_results.json")
    students = data[table]
    named = [s for s in students      # by their size, 1.5b or 7b
             if any(s.rpartition("-")[2].lower() in group.lower() for group in groups)]
    return {student: {method: {task: PaperFigure(*cell)
                               for task, cell in zip(data["tasks"], cells, strict=True)}
                      for method, *cells in students[student]}
            for student in named or students}


def paper_lines(table: str, tasks: Sequence[str], groups: Sequence[str]) -> list[dict[str, Any]]:
    """The same as rows of a table of these tasks; empty where none is one of the paper's."""
    if not set(resources.table("paper_results.json")["tasks"]) & set(tasks):
        return []
    lines: list[dict[str, Any]] = []
    for student, methods in paper_figures(table, groups).items():
        lines.append({"section": f"{student}, the paper's numbers"})
        lines += [{"kind": "paper", "method": method, "cells": [
            found[task].figures() if task in found else {} for task in tasks]}
            for method, found in methods.items()]
    return lines
