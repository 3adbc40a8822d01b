"""The paper's tables for any runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from drp_plugin.report.layout import Cell, Column, Line, Table, words
from drp_plugin.report.paper import paper_lines
from drp_plugin.report.results import Comparison, ResultRow

#: Column order and headings of the paper's sets; other tasks follow in the order given.
KNOWN = {"gsm8k": "GSM8K", "math500": "MATH500 (OOD)", "aime24": "AIME24 (OOD)",
         "amc23": "AMC (OOD)"}
#: Sets so small that the paper gives counts in place of percentages.
_COUNTED = ("aime24", "amc23")


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


def percent(change: float) -> str:
    """A relative change as in Table 1: -64%."""
    return f"{change:+.0%}".replace("+0%", "0%").replace("-0%", "0%")


def p_text(p: float) -> str:
    """A p value in a few digits."""
    return f"p = {p:.2g}" if p >= 0.001 else "p < 0.001"


def main_table(rows: Sequence[ResultRow], comparisons: Sequence[Comparison],
               cutoff: int | None, paper: str = "table1") -> Table:
    """Table 1: Pass@1 and #Tokens of every method on every task, with the change in tokens."""
    mine = [r for r in rows if r.cutoff == cutoff]
    tasks = task_order([r.task for r in mine])
    changes, cautions = _changes(mine, comparisons, cutoff)
    lines: list[Line] = []
    groups = list(dict.fromkeys(r.group for r in mine))
    for group in groups:
        if group:
            lines.append(Line(words(group), "section"))
        for method in dict.fromkeys(r.method for r in mine if r.group == group):
            lines.append(Line((Cell(method), *_cells(mine, group, method, tasks, changes))))
    lines += paper_lines(paper, tasks, groups)
    notes = [*notes_for(rows, cutoff), "Small print: 95 % score intervals of Pass@1, with problems "
             "as clusters, and of the change in tokens against the first method."]
    if any(r.runs > 1 for r in mine):
        notes.append("± is the standard deviation between runs of one method.")
    if any(c.p_holm < 0.05 for c in changes.values()):
        notes.append("* marks an accuracy that differs from the first method's at 5 %, Holm's "
                     "correction over the methods of a task included.")
    return Table("table1", "Accuracy and tokens (the paper's Table 1)", _columns(mine, tasks),
                 tuple(lines), (*notes, *cautions))


def _changes(rows: Sequence[ResultRow], comparisons: Sequence[Comparison], cutoff: int | None
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


def _columns(rows: Sequence[ResultRow], tasks: Sequence[str]) -> tuple[Column, ...]:
    columns = [Column("Method")]
    for task in tasks:
        sizes = sorted({r.n for r in rows if r.task == task})
        n = f"n = {sizes[0]:,}" if len(sizes) == 1 else f"n = {sizes[0]:,} to {sizes[-1]:,}"
        columns += [Column(f"{heading(task)} Pass@1", n, ("", "low", "high", "n", "sd")),
                    Column(f"{heading(task)} #Tokens", "", ("", "change", "low", "high"))]
    return tuple(columns)


def _cells(rows: Sequence[ResultRow], group: str, method: str, tasks: Sequence[str],
           changes: Mapping[tuple[str, str, str], Comparison]) -> list[Cell]:
    by_task = {r.task: r for r in rows if r.group == group and r.method == method}
    cells: list[Cell] = []
    for task in tasks:
        found, change = by_task.get(task), changes.get((group, method, task))
        if found is None:
            cells += words("–", "–")
            continue
        cells += [_score(found, change), _tokens(found, change)]
    return cells


def _score(row: ResultRow, change: Comparison | None) -> Cell:
    """94.1%, or 15/30 for the sets that the paper counts."""
    counted = row.task.removeprefix("drp_") in _COUNTED and row.repeats == 1
    text = f"{row.correct:.0f}/{row.n}" if counted else f"{row.accuracy:.1%}"
    if row.runs > 1 and row.spread is not None:
        text += f" ± {100 * row.spread:.1f}"
    return Cell(text + ("*" if change and change.p_holm < 0.05 else ""),
                f"{100 * row.accuracy_low:.1f} to {100 * row.accuracy_high:.1f}",
                (row.accuracy, row.accuracy_low, row.accuracy_high, row.n, row.spread))


def _tokens(row: ResultRow, change: Comparison | None) -> Cell:
    if change is None:
        return Cell(f"{row.tokens:,.0f}", numbers=(row.tokens,))
    interval = (change.tokens_change_low, change.tokens_change_high)
    return Cell(f"{row.tokens:,.0f} ({percent(change.tokens_change)})", span(*interval),
                (row.tokens, change.tokens_change, *interval))


def span(low: float, high: float) -> str:
    """An interval of a relative change."""
    return f"{percent(low)} to {percent(high)}" if math.isfinite(high) else "no bound"


#: The paper's ablations by their numbers.
ABLATIONS = {
    2: "Skill-based decomposition against default step split (the paper's Table 2)",
    3: "Influence of the teacher (the paper's Table 3)",
    4: "Structured pruning against direct distillation (the paper's Table 4)",
}


def ablation_tables(rows: Sequence[ResultRow], comparisons: Sequence[Comparison],
                    cutoff: int | None, wanted: Mapping[int, Sequence[str]]) -> list[Table]:
    """Tables 2 to 4: of each group its base, then the methods that the table is `wanted` for."""
    bases = {c.group: c.before for c in comparisons}
    tables = []
    for number, methods in sorted(wanted.items()):
        groups = dict.fromkeys(r.group for r in rows if r.method in methods)
        chosen = [r for group in groups
                  for method in dict.fromkeys([bases.get(group, methods[0]), *methods])
                  for r in rows if (r.group, r.method, r.cutoff) == (group, method, cutoff)]
        mine = [c for c in comparisons if c.group in groups and c.after in methods]
        table = main_table(chosen, mine, cutoff, paper=f"table{number}")
        tables.append(table._replace(name=f"table{number}", title=ABLATIONS[number]))
    return tables


def cutoff_table(rows: Sequence[ResultRow], cutoff: int) -> Table | None:
    """Table 5: every method without and with the cutoff, from the same completions."""
    whole = dict.fromkeys((r.group, r.method) for r in rows if r.cutoff is None)
    if not whole:
        return None
    mine = [r for r in rows if r.cutoff is None]
    tasks = task_order([r.task for r in mine])
    lines, loops = [], []
    for group, method in whole:
        label = f"{group}/{method}" if group else method
        for limit, said in ((None, "no cutoff"), (cutoff, f"{cutoff:,}-token cutoff")):
            cells = _cells([r for r in rows if r.cutoff == limit], group, method, tasks, {})
            lines.append(Line((Cell(f"{label} ({said})"), *cells)))
        number = sum(r.loops for r in mine if (r.group, r.method) == (group, method))
        loops.append(f"{number} of {label}")
    lines += paper_lines("table5", tasks, ["7b"])
    notes = ("Both lines of a method come from the same completions: clipped tokens, and answers "
             "that are complete within the cutoff.",
             f"Completions that end in a loop: {', '.join(loops)}.")
    return Table("table5", "With and without the cutoff (the paper's Table 5)",
                 _columns(mine, tasks), tuple(lines), notes)


def notes_for(rows: Sequence[ResultRow], cutoff: int | None) -> tuple[str, ...]:
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
