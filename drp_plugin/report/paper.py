"""The paper's own numbers, for standing beside ours; always labelled as the paper's."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from drp_plugin import resources
from drp_plugin.report.layout import Cell, Line, words


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

    def cells(self) -> tuple[Cell, ...]:
        """As they stand in a table."""
        change = int(self.change.rstrip("%")) / 100 if self.change else None
        return (Cell(self.score, numbers=(self.accuracy,)),
                Cell(f"{self.tokens:,}" + (f" ({self.change})" if self.change else ""),
                     numbers=(self.tokens, change)))


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


def paper_lines(table: str, tasks: Sequence[str], groups: Sequence[str]) -> list[Line]:
    """The same as lines under these task columns; empty where none is one of the paper's."""
    if not set(resources.table("paper_results.json")["tasks"]) & set(tasks):
        return []
    lines = []
    for student, methods in paper_figures(table, groups).items():
        lines.append(Line(words(f"{student}, the paper's numbers"), "section"))
        lines += [Line((Cell(method), *(cell for task in tasks for cell in (
            found[task].cells() if task in found else words("", "")))), "paper")
            for method, found in methods.items()]
    return lines
