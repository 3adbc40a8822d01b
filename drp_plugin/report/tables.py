"""The paper's tables for any runs: values first, then Markdown, CSV, HTML or the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

from drp_plugin.report.rows import Comparison, Row

#: Column order and headings of the paper's sets; other tasks follow in the order given.
KNOWN = {"gsm8k": "GSM8K", "math500": "MATH500 (OOD)", "aime24": "AIME24 (OOD)",
         "amc23": "AMC (OOD)"}
#: Sets so small that the paper gives counts in place of percentages.
_COUNTED = ("aime24", "amc23")


class Line(NamedTuple):
    """A table's row."""

    cells: tuple[str, ...]
    kind: str = "ours"
    """ours, paper (numbers typed in from the paper) or section (a heading across)."""


class Table(NamedTuple):
    """A table before it is written in any format."""

    name: str
    """File name without ending."""
    title: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()


def heading(task: str) -> str:
    """A task as the paper writes it, or by its own name."""
    plain = task.removeprefix("drp_")
    return KNOWN.get(plain, plain)


def task_order(tasks: Sequence[str]) -> list[str]:
    """The paper's order first, then as given."""
    known = [f"drp_{name}" for name in KNOWN] + list(KNOWN)
    unique = list(dict.fromkeys(tasks))
    return sorted(unique, key=lambda t: (known.index(t) if t in known else len(known),
                                         unique.index(t)))


def score_cell(row: Row) -> str:
    """94.1%, or 15/30 for the sets that the paper counts."""
    if row.task.removeprefix("drp_") in _COUNTED and row.repeats == 1:
        return f"{row.correct:.0f}/{row.n}"
    return f"{row.accuracy:.1%}"


def percent(change: float) -> str:
    """A relative change as in Table 1: -64%."""
    return f"{change:+.0%}".replace("+0%", "0%").replace("-0%", "0%")


def main_table(rows: Sequence[Row], comparisons: Sequence[Comparison], cutoff: int | None, *,
               paper: Sequence[Line] = (), paper_columns: Sequence[str] = ()) -> Table:
    """Table 1: Pass@1 and #Tokens of every method on every task, with the change in tokens."""
    tasks = task_order([r.task for r in rows])
    changes = {(c.group, c.after, c.task): c for c in comparisons if c.cutoff == cutoff}
    cells = {(r.group, r.method, r.task): r for r in rows if r.cutoff == cutoff}
    columns = ["Method"]
    for task in tasks:
        columns += [f"{heading(task)} Pass@1", f"{heading(task)} #Tokens"]
    lines: list[Line] = []
    groups = list(dict.fromkeys(r.group for r in rows))
    for group in groups:
        if group:
            lines.append(Line((group,), "section"))
        for method in dict.fromkeys(r.method for r in rows if r.group == group):
            line = [method]
            for task in tasks:
                found = cells.get((group, method, task))
                change = changes.get((group, method, task))
                suffix = f" ({percent(change.tokens_change)})" if change else ""
                line += [score_cell(found), f"{found.tokens:,.0f}{suffix}"] if found else ["–"] * 2
            lines.append(Line(tuple(line)))
    return Table("table1", "Accuracy and tokens", tuple(columns), tuple(lines) + tuple(paper),
                 notes_for(rows, cutoff))


def comparison_table(comparisons: Sequence[Comparison], cutoff: int | None) -> Table:
    """Every method against its base on the same problems, with tests and intervals."""
    columns = ("Task", "Before → after", "n", "Pass@1", "Change (95 %)", "Lost / won",
               "McNemar p", "#Tokens", "Change (95 %)")
    lines = []
    for c in comparisons:
        if c.cutoff != cutoff:
            continue
        p = "–" if c.mcnemar_p is None else f"{c.mcnemar_p:.3g}"
        name = f"{c.group}/" if c.group else ""
        lines.append(Line((
            heading(c.task), f"{name}{c.before} → {c.after}", f"{c.n:,}",
            f"{c.accuracy_before:.1%} → {c.accuracy_after:.1%}",
            f"{100 * c.accuracy_change:+.1f} points ({100 * c.accuracy_change_low:+.1f} to "
            f"{100 * c.accuracy_change_high:+.1f})",
            f"{c.only_before} / {c.only_after}", p,
            f"{c.tokens_before:,.0f} → {c.tokens_after:,.0f}",
            f"{c.tokens_change:+.1%} ({c.tokens_change_low:+.1%} to {c.tokens_change_high:+.1%})")))
    notes = ["Paired on the same problems: exact two-sided McNemar test for accuracy, bootstrap "
             "over problems (2,000 draws, fixed seed) for the intervals."]
    different = [c for c in comparisons if c.cutoff == cutoff and not c.same_protocol]
    if different:
        names = ", ".join(sorted({f"{c.before} and {c.after} on {c.task}" for c in different}))
        notes.append(f"CAUTION: made under different protocols: {names}.")
    return Table("comparisons", "Before and after, problem by problem", columns, tuple(lines),
                 tuple(notes))


def notes_for(rows: Sequence[Row], cutoff: int | None) -> tuple[str, ...]:
    """What a reader must know before comparing a table's rows."""
    rows = [r for r in rows if r.cutoff == cutoff]
    limit = "no cutoff" if cutoff is None else (
        f"cutoff {cutoff:,} tokens: tokens are clipped, an answer not complete by then is wrong")
    notes = [f"#Tokens: mean of whole completions, {', '.join(sorted({r.tokenizer for r in rows}))}"
             f" tokenizer; {limit}."]
    if any(r.toy for r in rows):
        notes.append("drp_tiny… are the embedded toy student's own problems; the figures show "
                     "that the pipeline works and say nothing about real models.")
    protocols: dict[str, list[str]] = {}
    for row in rows:
        protocols.setdefault(row.protocol, []).append(f"{row.method} on {heading(row.task)}")
    if len(protocols) == 1:
        notes.append(f"Protocol: {next(iter(protocols))}.")
    else:
        mixed = {task for task in {r.task for r in rows}
                 if len({r.protocol for r in rows if r.task == task}) > 1}
        if mixed:
            notes.append("CAUTION: rows of one column were made under different protocols: "
                         + ", ".join(sorted(map(heading, mixed))) + ".")
        notes += [f"Protocol of {', '.join(who)}: {text}." for text, who in protocols.items()]
    return tuple(notes)


def markdown(table: Table) -> str:
    """GitHub's Markdown."""
    def cell(text: str) -> str:
        return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;") \
            .replace("\n", " ")

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(map(cell, cells)) + " |"

    out = [f"## {table.title}", "", line(table.columns),
           "|" + "|".join(["---"] + ["---:"] * (len(table.columns) - 1)) + "|"]
    for entry in table.lines:
        padded = list(entry.cells) + [""] * (len(table.columns) - len(entry.cells))
        if entry.kind == "section":
            padded[0] = f"**{padded[0]}**"
        elif entry.kind == "paper":
            padded = [f"*{text}*" if text else "" for text in padded]
        out.append(line(padded))
    return "\n".join(out + [""] + [f"- {note}" for note in table.notes]) + "\n"


def csv_text(table: Table) -> str:
    """Comma-separated, with a last column that tells our numbers from the paper's."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*table.columns, "source"])
    section = ""
    for entry in table.lines:
        if entry.kind == "section":
            section = entry.cells[0]
            continue
        padded = list(entry.cells) + [""] * (len(table.columns) - len(entry.cells))
        # a spreadsheet must not run a method's name as a formula
        safe = ["'" + text if text[:1] in "=@" else text for text in padded]
        writer.writerow([*safe, f"{entry.kind} {section}".strip()])
    return out.getvalue()
