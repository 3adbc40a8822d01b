"""The paper's tables for any runs: values first, then Markdown, CSV, HTML or the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from drp_plugin.grading import suspects
from drp_plugin.report.line import Line
from drp_plugin.report.paper import paper_lines
from drp_plugin.report.rows import Comparison, Row
from drp_plugin.report.text import shown

#: Column order and headings of the paper's sets; other tasks follow in the order given.
KNOWN = {"gsm8k": "GSM8K", "math500": "MATH500 (OOD)", "aime24": "AIME24 (OOD)",
         "amc23": "AMC (OOD)"}
#: Sets so small that the paper gives counts in place of percentages.
_COUNTED = ("aime24", "amc23")


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


def main_table(rows: Sequence[Row], comparisons: Sequence[Comparison],
               cutoff: int | None) -> Table:
    """Table 1: Pass@1 and #Tokens of every method on every task, with the change in tokens."""
    mine = [r for r in rows if r.cutoff == cutoff]
    tasks = task_order([r.task for r in mine])
    changes, cautions = _changes(mine, comparisons, cutoff)
    lines: list[Line] = []
    groups = list(dict.fromkeys(r.group for r in mine))
    for group in groups:
        if group:
            lines.append(Line((group,), "section"))
        for method in dict.fromkeys(r.method for r in mine if r.group == group):
            lines.append(Line((method, *_cells(mine, group, method, tasks, changes))))
    lines += paper_lines("table1", tasks, groups)
    return Table("table1", "Accuracy and tokens (the paper's Table 1)", _columns(tasks),
                 tuple(lines), (*notes_for(rows, cutoff), *cautions))


def _changes(rows: Sequence[Row], comparisons: Sequence[Comparison], cutoff: int | None
             ) -> tuple[dict[tuple[str, str, str], Comparison], list[str]]:
    """The comparisons that are over the very problems of the rows, and a caution on the others.

    A comparison is over the problems that both methods have; where one has more of them, its
    change does not belong to the figures that stand in the table.
    """
    sizes = {(r.group, r.method, r.task): r.n for r in rows}
    changes, cautions = {}, []
    for c in comparisons:
        if c.cutoff != cutoff:
            continue
        before, after = (sizes.get((c.group, m, c.task), c.n) for m in (c.before, c.after))
        if c.n == before == after:
            changes[c.group, c.after, c.task] = c
            continue
        name = f"{c.group}/" if c.group else ""
        cautions.append(
            f"CAUTION: {name}{c.before} has {before:,} problems of {heading(c.task)}, {c.after} "
            f"{after:,}, and {c.n:,} are the same: no change in tokens is given here.")
    return changes, cautions


def _columns(tasks: Sequence[str], first: str = "Method") -> tuple[str, ...]:
    return (first, *(f"{heading(task)} {what}" for task in tasks for what in ("Pass@1", "#Tokens")))


def _cells(rows: Sequence[Row], group: str, method: str, tasks: Sequence[str],
           changes: Mapping[tuple[str, str, str], Comparison]) -> list[str]:
    by_task = {r.task: r for r in rows if r.group == group and r.method == method}
    cells = []
    for task in tasks:
        found, change = by_task.get(task), changes.get((group, method, task))
        suffix = f" ({percent(change.tokens_change)})" if change else ""
        cells += [score_cell(found), f"{found.tokens:,.0f}{suffix}"] if found else ["–", "–"]
    return cells


#: The paper's ablations: which methods stand in which table, by words in their names.
_ABLATIONS = (
    ("table2", "Skill-based decomposition against default step split (the paper's Table 2)",
     ("default",), ("drp", "skill")),
    ("table3", "Influence of the teacher (the paper's Table 3)",
     ("gemini", "chatgpt", "gpt-3.5", "teacher"), ("drp", "gpt-4o")),
    ("table4", "Structured pruning against direct distillation (the paper's Table 4)",
     ("distill",), ("drp",)),
)


def ablation_tables(rows: Sequence[Row], comparisons: Sequence[Comparison],
                    cutoff: int | None) -> list[Table]:
    """Tables 2 to 4, each where a run's name says that it is of that ablation."""
    mine = [r for r in rows if r.cutoff == cutoff]
    tables = []
    for name, title, own, beside in _ABLATIONS:
        lines: list[Line] = []
        shown: list[Row] = []
        cautions: list[str] = []
        for group in dict.fromkeys(r.group for r in mine):
            methods = list(dict.fromkeys(r.method for r in mine if r.group == group))
            if not any(_says(method, own) for method in methods):
                continue
            kept = [m for i, m in enumerate(methods) if i == 0 or _says(m, own)
                    or (_says(m, beside) and not _other_ablation(m, name))]
            shown += [r for r in mine if r.group == group and r.method in kept]
            tasks = task_order([r.task for r in mine])
            lines += [Line((group,), "section")] if group else []
            changes, more = _changes([r for r in mine if r.group == group], [
                c for c in comparisons if c.group == group and c.after in kept], cutoff)
            cautions += more
            lines += [Line((m, *_cells(mine, group, m, tasks, changes))) for m in kept]
        if lines:
            tasks = task_order([r.task for r in mine])
            lines += paper_lines(name, tasks, ["7b"])
            tables.append(Table(name, title, _columns(tasks), tuple(lines),
                                (*notes_for(shown, cutoff), *cautions)))
    return tables


def _says(method: str, words: Sequence[str]) -> bool:
    plain = method.lower().replace("r1-distill", "").replace("_", " ")
    return any(word in plain for word in words)


def _other_ablation(method: str, name: str) -> bool:
    return any(_says(method, own) for other, _, own, _ in _ABLATIONS if other != name)


def cutoff_table(rows: Sequence[Row], cutoff: int) -> Table | None:
    """Table 5: every method without and with the cutoff, from the same completions."""
    whole = {(r.group, r.method) for r in rows if r.cutoff is None}
    if not whole:
        return None
    tasks = task_order([r.task for r in rows if r.cutoff is None])
    lines = []
    for group, method in dict.fromkeys((r.group, r.method) for r in rows):
        if (group, method) not in whole:
            continue
        label = f"{group}/{method}" if group else method
        for limit, words in ((None, "no cutoff"), (cutoff, f"{cutoff:,}-token cutoff")):
            mine = [r for r in rows if r.cutoff == limit]
            lines.append(Line((f"{label} ({words})", *_cells(mine, group, method, tasks, {}))))
    lines += paper_lines("table5", tasks, ["7b"])
    loops = [f"{sum(r.loops for r in rows if r.cutoff is None and (r.group, r.method) == key)} "
             f"of {key[1]}" for key in dict.fromkeys((r.group, r.method) for r in rows)
             if key in whole]
    notes = ("Both lines of a method come from the same completions: clipped tokens, and answers "
             "that are complete within the cutoff.",
             f"Completions that end in a loop: {', '.join(loops)}.")
    return Table("table5", "With and without the cutoff (the paper's Table 5)", _columns(tasks),
                 tuple(lines), notes)


def detail_table(rows: Sequence[Row], cutoff: int | None) -> Table:
    """What Table 1 leaves out: intervals, thinking tokens, truncated, no answer, loops."""
    columns = ("Task", "Method", "n", "Pass@1 (Wilson 95 %)", "#Tokens", "thinking", "truncated",
               "no answer", "loops", "backend's count differs")
    lines = []
    for task in task_order([r.task for r in rows]):
        for r in rows:
            if r.task != task or r.cutoff != cutoff:
                continue
            differs = "–" if r.backend_tokens_differ is None else f"{r.backend_tokens_differ:,}"
            lines.append(Line((
                heading(task), f"{r.group}/{r.method}" if r.group else r.method, f"{r.n:,}",
                f"{r.accuracy:.1%} ({r.accuracy_low:.1%} to {r.accuracy_high:.1%})",
                f"{r.tokens:,.0f}", f"{r.think_tokens:,.0f}", f"{r.truncated:,}",
                f"{r.no_answer:,}", f"{r.loops:,}", differs)))
    notes = ["Backend's count differs: completions whose generated ids, a stop token aside, are "
             "not as many as the text's tokens; – where the backend reported none."]
    if any(r.repeats > 1 for r in rows if r.cutoff == cutoff):
        notes.append("n is the number of problems, for the intervals too; truncated, no answer and "
                     "loops count completions.")
    for task in {r.task for r in rows}:
        listed = suspects(task)
        if listed:
            places = ", ".join(str(s.index) for s in listed)
            notes.append(f"{heading(task)}: the official gold answers of rows {places} are "
                         "probably wrong; they are graded as they are.")
    return Table("details", "Details", columns, tuple(lines), tuple(notes))


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
    if any(c.cutoff == cutoff and c.mcnemar_p is None for c in comparisons):
        notes.append("With several samples a problem Pass@1 is the mean over them, while Lost / "
                     "won compares the first sample of each problem alone and has no test.")
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
        return shown(text, 200).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;") \
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
