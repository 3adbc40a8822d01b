"""The paper's tables for any runs, and more: tests, samples, efficiency, details. The paper's own
numbers stand beside ours, and are always labelled as the paper's."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from drp_plugin import resources
from drp_plugin.grading import suspects
from drp_plugin.report.layout import Table, filled, notes_of
from drp_plugin.report.regrading import labelled
from drp_plugin.report.results import Comparison, Key, ResultRow

#: Column order and headings of the paper's sets; other tasks follow in the order given.
KNOWN = {"gsm8k": "GSM8K", "math500": "MATH500 (OOD)", "aime24": "AIME24 (OOD)",
         "amc23": "AMC (OOD)", "tiny": "tiny", "tiny_ood": "tiny_ood"}
_COUNTED = ("aime24", "amc23")  # Sets so small that the paper gives counts instead of percentages
ABLATIONS = (2, 3, 4)  # The paper's ablations by the numbers of their tables


def heading(task: str) -> str:
    """A task as the paper writes it, or by its own name."""
    plain = task.removeprefix("drp_")
    return KNOWN.get(plain, plain)


def task_order(tasks: Sequence[str]) -> list[str]:
    """The paper's order first, then the embedded student's, then as given."""
    known = [f"drp_{name}" for name in KNOWN] + list(KNOWN)
    return sorted(dict.fromkeys(tasks), key=lambda t: known.index(t) if t in known else len(known))


def percent(change: float) -> str:
    return f"{change:+z.0%}".replace("+0%", "0%") if math.isfinite(change) else "–"


def span(low: float, high: float) -> str:
    return f"{percent(low)} to {percent(high)}" if math.isfinite(high) else "no bound"


def p_text(p: float) -> str:
    digits = 6 if abs(p - 0.05) < 0.0006 else 2  # so that its side of 5 % is seen
    return f"p = {p:.{digits}g}" if p >= 0.001 else "p < 0.001"


def main_table(rows: Sequence[ResultRow], comparisons: Sequence[Comparison], cutoff: int | None,
               name: str = "table1") -> Table:
    """Tables 1 to 4: Pass@1, #Tokens and their change, for every method and task."""
    changes, cautions = _changes(rows, comparisons)
    groups: dict[str, dict[str, list[ResultRow]]] = {}
    for r in rows:
        groups.setdefault(r.group, {}).setdefault(r.method, []).append(r)
    lines: list[tuple[str, list[ResultRow]]] = []
    for group, methods in groups.items():
        lines += [*([(group, [])] if group else []), *methods.items()]
    notes = notes_of("table1", runs=any(r.runs > 1 for r in rows),
                     star=any(c.p_holm < 0.05 for c in changes.values()))
    return _by_task(name, lines, rows, list(groups), [*notes_for(rows, cutoff), *notes, *cautions],
                    changes)


def _by_task(name: str, lines: Iterable[tuple[str, Sequence[ResultRow]]],
             rows: Sequence[ResultRow], groups: Sequence[str], notes: Sequence[str],
             changes: Mapping[Key, Comparison]) -> Table:
    """Columns for every task: methods with their rows, sections, and below the paper's numbers."""
    tasks = task_order([r.task for r in rows])
    sizes = [sorted({r.n for r in rows if r.task == task}) for task in tasks]
    own: list[dict[str, Any]] = []
    for said, mine in lines:
        cells = {r.task: _cells(r, changes.get(r.key)) for r in mine}
        own.append({"method": said, "cells": [cells.get(task, {}) for task in tasks]} if mine
                   else {"section": said})
    if set(resources.table("paper_results.json")["tasks"]) & set(tasks):
        for student, methods in paper_figures(name, groups).items():
            own.append({"section": f"{student}, the paper's numbers"})
            own += [{"kind": "paper", "method": method,
                     "cells": [found.get(task, {}) for task in tasks]}
                    for method, found in methods.items()]
    return filled(name, own, [
        {"heading": heading(task), "n": "n = " + " to ".join(f"{n:,}" for n in dict.fromkeys(
            (found[0], found[-1])))} for task, found in zip(tasks, sizes, strict=True)], notes)


def _cells(row: ResultRow, change: Comparison | None) -> dict[str, Any]:
    """Pass@1, as 94.1% or 15/30 for the sets that the paper counts, and #Tokens."""
    counted = row.task.removeprefix("drp_") in _COUNTED and row.repeats == 1
    score = f"{row.correct:.0f}/{row.n}" if counted else f"{row.accuracy:.1%}"
    if row.runs > 1 and row.spread is not None:
        score += f" ± {100 * row.spread:.1f}"
    if change is None:
        return figures(row, score=score, change="")
    low, high = change.tokens_change_low, change.tokens_change_high
    return figures(row, score=score + "*" * (change.p_holm < 0.05),
        change=f" ({percent(change.tokens_change)})", tokens_span=span(low, high),
        tokens_change=change.tokens_change, tokens_change_low=low, tokens_change_high=high)


def _changes(rows: Sequence[ResultRow], comparisons: Sequence[Comparison]
             ) -> tuple[dict[Key, Comparison], list[str]]:
    """The comparisons over exactly the problems of the rows, and a caution about the others, whose
    change does not belong to the figures in the table."""
    sizes = {r.key: r.n for r in rows}
    changes, cautions = {}, []
    for c in comparisons:
        before, after = (sizes.get((c.group, m, c.task), c.n) for m in (c.before, c.after))
        if c.n == before == after:
            changes[c.key] = c
        else:
            cautions.append(f"CAUTION: {labelled(c.group, c.before)} has {before:,} problems of "
                            f"{heading(c.task)}, {c.after} {after:,}, and {c.n:,} are the same: "
                            "no change in tokens is given here.")
    seen = {(c.group, m, c.task) for c in comparisons for m in (c.before, c.after)}
    return changes, cautions + [
        f"CAUTION: {r.label} has no problem of {heading(r.task)} that the first method has: it is "
        "not compared there." for r in rows if r.key not in seen and (r.group, r.task) in {
            (c.group, c.task) for c in comparisons}]


def ablation_tables(rows: Sequence[ResultRow], comparisons: Sequence[Comparison],
                    cutoff: int | None, wanted: Mapping[int, Sequence[str]]) -> Iterator[Table]:
    """Tables 2 to 4: for each group its base, then the methods that the table is `wanted` for."""
    bases = {c.group: c.before for c in comparisons}
    for number, methods in sorted(wanted.items()):
        groups = dict.fromkeys(r.group for r in rows if r.method in methods)
        chosen = [r for group in groups
                  for method in dict.fromkeys([bases.get(group, methods[0]), *methods])
                  for r in rows if (r.group, r.method) == (group, method)]
        mine = [c for c in comparisons if c.group in groups and c.after in methods]
        yield main_table(chosen, mine, cutoff, f"table{number}")


def cutoff_table(whole: Sequence[ResultRow], cut: Sequence[ResultRow], cutoff: int
                 ) -> Table | None:
    """Table 5: every method without and with the cutoff, from the same completions."""
    if not whole:
        return None
    labels = dict.fromkeys(r.label for r in whole)
    loops = [f"{sum(r.loops for r in whole if r.label == label)} of {label}" for label in labels]
    lines = [(f"{label} ({said})", [r for r in rows if r.label == label]) for label in labels
             for rows, said in ((whole, "no cutoff"), (cut, f"{cutoff:,}-token cutoff"))]
    return _by_task("table5", lines, whole, ["7b"],
                    notes_of("table5", loops={"loops": ", ".join(loops)}), {})


def notes_for(rows: Sequence[ResultRow], cutoff: int | None) -> list[str]:
    """What a reader must know before comparing a table's rows."""
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
        return [*notes, f"Protocol: {next(iter(protocols))}."]
    mixed = sorted(heading(task) for task in {r.task for r in rows}
                   if len({r.protocol for r in rows if r.task == task}) > 1)
    if mixed:
        notes.append("CAUTION: rows of one column were made under different protocols: "
                     f"{', '.join(mixed)}.")
    return notes + [f"Protocol of {', '.join(who)}: {text}." for text, who in protocols.items()]


def figures(record: ResultRow | Comparison, **more: Any) -> dict[str, Any]:
    """The values that a table's columns are filled from."""
    return {**dict(record), "label": record.label, "heading": heading(record.task), **more}


def in_order(rows: Sequence[ResultRow]) -> list[ResultRow]:
    order = task_order([r.task for r in rows])
    return sorted(rows, key=lambda r: order.index(r.task))


def comparison_table(mine: Sequence[Comparison], whole: Iterable[Comparison]) -> Table:
    """Every method against its base, tested; `whole` are the same without a cutoff, if any."""
    others = {c.key: c for c in whole}
    lines = []
    for c in mine:
        other = others.get(c.key)
        small = [f"Holm {p_text(c.p_holm)}"] if c.p_holm != c.p else []
        if other is not None and turned(c, other):
            small.append(f"without cutoff {p_text(other.p_holm)}")
        lines.append(figures(c, beside_p="; ".join(small), p_whole=other.p if other else None,
                             tokens_span=span(c.tokens_change_low, c.tokens_change_high)))
    sizes = {c.task: c for c in sorted(mine, key=lambda c: c.detectable, reverse=True)}
    limits = "; ".join(f"{c.n:,} problems of {heading(task)} no difference of less than "
                       f"{100 * c.detectable:.1f} points" for task, c in sizes.items())
    names = ", ".join(sorted({f"{c.before} and {c.after} on {c.task}" for c in mine
                              if not c.same_protocol}))
    return filled("comparisons", lines, notes=notes_of(
        "comparisons", power=limits and {"limits": limits}, protocols=names and {"names": names}))


def turned(one: Comparison, other: Comparison) -> bool:
    """Whether they show different differences in accuracy at 5 %, or only one of them any."""
    return len({c.p_holm < 0.05 and math.copysign(1, c.accuracy_change) for c in (one, other)}) > 1


def sample_table(rows: Sequence[ResultRow]) -> Table | None:
    """avg@k with its error, pass@j and majority@k, where problems have several samples."""
    mine = in_order([r for r in rows if r.repeats > 1])
    if not mine:
        return None
    most = max(len(r.pass_at) for r in mine)
    steps = [j for j in (2, 4, 8, 16, 32, 64, 128) if j < most] + [most] * (most > 1)
    return filled("samples", [figures(r, samples=r.repeats // r.runs, cells=[
        {"share": r.pass_at[j - 1]} if j <= len(r.pass_at) else {} for j in steps])
        for r in mine], [{"j": j} for j in steps])


def level_table(rows: Sequence[ResultRow]) -> Table | None:
    """Accuracy and tokens by difficulty, where the samples carry one."""
    names = sorted({level["level"] for r in rows for level in r.levels})
    by_level = [(r, {level["level"]: level for level in r.levels}) for r in rows if r.levels]
    return filled("levels", [figures(r, cells=[found.get(name, {}) for name in names]) for r, found
        in by_level], [{"level": name} for name in names]) if names else None


def detail_table(rows: Sequence[ResultRow]) -> Table:
    """Thinking tokens, truncated, no answer, loops, and what the backend counted."""
    notes = notes_of("details", several=any(r.repeats > 1 for r in rows), suspects=False)
    for task in dict.fromkeys(r.task for r in rows):
        if listed := suspects(task):
            notes += notes_of("details", backend=False, several=False, suspects={
                "heading": heading(task), "places": ", ".join(str(s["index"]) for s in listed)})
    return filled("details", map(figures, in_order(rows)), notes=notes)


def paper_figures(table: str, groups: Sequence[str]
                  ) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """A table of the paper ("table1" to "table5"): student, method, task, and what cells are filled
    from: `score`, 94.1% or 15/30; `accuracy`, the same as a share; `tokens`; and their `change`,
    where the paper prints one. Of the two students the one that a group names, or both."""
    def cell(score: str, tokens: int, change: str = "") -> dict[str, Any]:
        share = Fraction(score) if "/" in score else Fraction(score.rstrip("%")) / 100
        return {"score": score, "accuracy": float(share), "tokens": tokens, "change": change
            and f" ({change})", "tokens_change": int(change.rstrip("%")) / 100 if change else None}

    data = resources.table("paper_results.json")
    students = data[table]
    named = [s for s in students      # by their size, 1.5b or 7b
             if any(s.rpartition("-")[2].lower() in group.lower() for group in groups)]
    return {student: {method: {task: cell(*told) for task, told
                               in zip(data["tasks"], cells, strict=True)}
                      for method, *cells in students[student]} for student in named or students}
