"""The paper's tables for any runs: values first, then Markdown, CSV, HTML or the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from drp_plugin.grading import suspects
from drp_plugin.report.layout import Line, Table
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


def score_cell(row: ResultRow) -> str:
    """94.1%, or 15/30 for the sets that the paper counts."""
    if row.task.removeprefix("drp_") in _COUNTED and row.repeats == 1:
        return f"{row.correct:.0f}/{row.n}"
    return f"{row.accuracy:.1%}"


def percent(change: float) -> str:
    """A relative change as in Table 1: -64%."""
    return f"{change:+.0%}".replace("+0%", "0%").replace("-0%", "0%")


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
            lines.append(Line((group,), "section"))
        for method in dict.fromkeys(r.method for r in mine if r.group == group):
            lines.append(Line((method, *_cells(mine, group, method, tasks, changes))))
    lines += paper_lines(paper, tasks, groups)
    return Table("table1", "Accuracy and tokens (the paper's Table 1)", _columns(tasks),
                 tuple(lines), (*notes_for(rows, cutoff), *cautions))


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


def _columns(tasks: Sequence[str], first: str = "Method") -> tuple[str, ...]:
    return (first, *(f"{heading(task)} {what}" for task in tasks for what in ("Pass@1", "#Tokens")))


def _cells(rows: Sequence[ResultRow], group: str, method: str, tasks: Sequence[str],
           changes: Mapping[tuple[str, str, str], Comparison]) -> list[str]:
    by_task = {r.task: r for r in rows if r.group == group and r.method == method}
    cells = []
    for task in tasks:
        found, change = by_task.get(task), changes.get((group, method, task))
        suffix = f" ({percent(change.tokens_change)})" if change else ""
        cells += [score_cell(found), f"{found.tokens:,.0f}{suffix}"] if found else ["–", "–"]
    return cells


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


def detail_table(rows: Sequence[ResultRow], cutoff: int | None) -> Table:
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
