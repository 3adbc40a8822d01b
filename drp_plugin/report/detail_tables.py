"""What the paper's tables leave out: tests, samples, efficiency, levels, details."""

from __future__ import annotations

from collections.abc import Sequence

from drp_plugin.grading import suspects
from drp_plugin.report.efficiency import Level
from drp_plugin.report.layout import Cell, Column, Line, Table, words
from drp_plugin.report.results import Comparison, ResultRow
from drp_plugin.report.tables import heading, p_text, span, task_order


def comparison_table(comparisons: Sequence[Comparison], cutoff: int | None) -> Table:
    """Every method against its base on the same problems, with tests and intervals."""
    columns = (
        Column("Task"), Column("Before → after"), Column("n", parts=("",)),
        Column("Pass@1", parts=("before", "after")),
        Column("Change, points", "95 %", ("", "low", "high")),
        Column("Worse / better", "problems", ("worse", "better")),
        Column("p", "Holm", ("", "Holm", "without cutoff")),
        Column("Cannot show less than", "points", ("",)),
        Column("#Tokens", parts=("before", "after")),
        Column("Change in tokens", "95 %", ("", "low", "high")))
    whole = {(c.group, c.after, c.task): c for c in comparisons if c.cutoff is None}
    mine = [c for c in comparisons if c.cutoff == cutoff]
    lines = []
    for c in mine:
        other = whole.get((c.group, c.after, c.task)) if cutoff is not None else None
        lines.append(Line((
            Cell(heading(c.task)), Cell(c.label), _number(c.n),
            Cell(f"{c.accuracy_before:.1%} → {c.accuracy_after:.1%}",
                 numbers=(c.accuracy_before, c.accuracy_after)),
            Cell(f"{100 * c.accuracy_change:+.1f}",
                 f"{100 * c.accuracy_change_low:+.1f} to {100 * c.accuracy_change_high:+.1f}",
                 (c.accuracy_change, c.accuracy_change_low, c.accuracy_change_high)),
            Cell(f"{c.worse} / {c.better}", numbers=(c.worse, c.better)), _p(c, other),
            Cell(f"{100 * c.detectable:.1f}", numbers=(c.detectable,)),
            Cell(f"{c.tokens_before:,.0f} → {c.tokens_after:,.0f}",
                 numbers=(c.tokens_before, c.tokens_after)),
            Cell(f"{c.tokens_change:+.1%}", span(c.tokens_change_low, c.tokens_change_high),
                 (c.tokens_change, c.tokens_change_low, c.tokens_change_high)))))
    return Table("comparisons", "Before and after, problem by problem", columns, tuple(lines),
                 tuple(_comparison_notes(mine)))


def _p(c: Comparison, whole: Comparison | None) -> Cell:
    """p, adjusted, and without the cutoff where that turns the verdict."""
    small = f"Holm {c.p_holm:.2g}" if c.p_holm != c.p else ""
    if whole is not None and turned(c, whole):
        small += f"{'; ' if small else ''}without cutoff {p_text(whole.p)}"
    return Cell(f"{c.p:.3g}", small, (c.p, c.p_holm, whole.p if whole else None))


def turned(one: Comparison, other: Comparison) -> bool:
    """Whether one of the two shows a difference in accuracy at 5 % and the other none."""
    return (one.p < 0.05) != (other.p < 0.05)


def _comparison_notes(mine: Sequence[Comparison]) -> list[str]:
    notes = ["Paired on the same problems. p: exact, two-sided; McNemar's test, or the sign-flip "
             "test over problems where they have several samples. Holm: the same, adjusted for "
             "all methods of a task. Intervals: Tango's and Newcombe's score intervals for "
             "accuracy, Fieller's for tokens."]
    sizes = {c.task: c for c in sorted(mine, key=lambda c: c.detectable, reverse=True)}
    if sizes:
        notes.append("What so many problems cannot show, at 5 % and 80 % power: " + "; ".join(
            f"{c.n:,} problems of {heading(task)} no difference of less than "
            f"{100 * c.detectable:.1f} points" for task, c in sizes.items()) + ".")
    different = [c for c in mine if not c.same_protocol]
    if different:
        names = ", ".join(sorted({f"{c.before} and {c.after} on {c.task}" for c in different}))
        notes.append(f"CAUTION: made under different protocols: {names}.")
    return notes


def sample_table(rows: Sequence[ResultRow], cutoff: int | None) -> Table | None:
    """avg@k with its error, pass@j and majority@k, where problems have several samples."""
    mine = [r for r in rows if r.cutoff == cutoff and r.pass_at]
    if not mine:
        return None
    most = max(len(r.pass_at) for r in mine)
    steps = [j for j in (2, 4, 8, 16, 32, 64, 128) if j < most] + [most]
    columns = (Column("Task"), Column("Method"), Column("Runs × samples", parts=("runs", "k")),
               Column("avg@k", "SE over problems", ("", "SE")),
               Column("Between runs", "sd, points", ("sd",)), Column("majority@k", parts=("",)),
               *(Column(f"pass@{j}", parts=("",)) for j in steps))
    lines = [Line((
        Cell(heading(r.task)), Cell(r.label),
        Cell(f"{r.runs} × {r.repeats // r.runs}", numbers=(r.runs, r.repeats)),
        Cell(f"{r.accuracy:.1%}", "" if r.accuracy_se is None else f"± {100 * r.accuracy_se:.1f}",
             (r.accuracy, r.accuracy_se)),
        Cell("–" if r.spread is None else f"{100 * r.spread:.1f}", numbers=(r.spread,)),
        _share(r.majority), *(_share(r.pass_at[j - 1] if j <= len(r.pass_at) else None)
                              for j in steps)))
        for task in task_order([r.task for r in mine]) for r in mine if r.task == task]
    notes = ("avg@k: the mean over problems of the share of right samples, with its standard error "
             "over problems. pass@j: 1 − C(k−c, j) / C(k, j), the mean over problems, unbiased "
             "(Chen et al., 2107.03374). majority@k: whether the most frequent answer is right, "
             "ties by chance. results.json has pass@j for every j.",
             "Between runs: the standard deviation of accuracy between runs of one method, or "
             "between the k samples where there is one run.")
    return Table("samples", "Several samples a problem", columns, tuple(lines), notes)


def efficiency_table(rows: Sequence[ResultRow], comparisons: Sequence[Comparison],
                     cutoff: int | None) -> Table:
    """Tokens of right and wrong completions, and the scores that the field uses."""
    columns = (Column("Task"), Column("Method"), Column("#Tokens", "right", ("",)),
               Column("#Tokens", "wrong", ("wrong",)),
               Column("Tokens per correct answer", parts=("",)),
               Column("Accuracy at a budget", "mean, 1k to 32k", ("mean",)),
               Column("99 % of right answers", "tokens", ("tokens",)),
               Column("AES", parts=("",)), Column("OckScore", parts=("",)))
    scores = {(c.group, c.after, c.task): c.aes for c in comparisons if c.cutoff == cutoff}
    lines = []
    for task in task_order([r.task for r in rows]):
        for r in rows:
            if r.task != task or r.cutoff != cutoff:
                continue
            aes = scores.get((r.group, r.method, r.task))
            lines.append(Line((
                Cell(heading(task)), Cell(r.label), _number(r.tokens_right),
                _number(r.tokens_wrong), _number(r.tokens_per_correct), _share(r.budget_area),
                _number(r.budget_99), Cell("–" if aes is None else f"{aes:+.2f}", numbers=(aes,)),
                Cell(f"{r.ockscore:.1f}", numbers=(r.ockscore,)))))
    notes = (
        "Tokens per correct answer: mean tokens / accuracy.",
        "Accuracy at a budget: its mean over budgets from 1k to 32k on a log "
        "scale; – where generation ended earlier.",
        "99 % of right answers: the budget that holds 99 % of the completions that are right "
        "without a cutoff (the paper's Figure 4).",
        "AES = ΔL + 3 ΔA, or ΔL − 5 |ΔA| where accuracy falls; ΔL is the relative saving in "
        "tokens, ΔA the relative change in accuracy (O1-Pruner, 2501.12570).",
        "OckScore = accuracy in % − 10 ln(1 + tokens / 10,000), as in OckBench's code "
        "(2511.05722), with the tokens of completions alone.")
    return Table("efficiency", "What tokens buy", columns, tuple(lines), notes)


def level_table(rows: Sequence[ResultRow], cutoff: int | None) -> Table | None:
    """Accuracy and tokens by difficulty, where the samples carry one."""
    mine = [r for r in rows if r.cutoff == cutoff and r.levels]
    if not mine:
        return None
    names = sorted({level.level for r in mine for level in r.levels})
    columns = (Column("Task"), Column("Method"), *(
        column for name in names for column in (
            Column(f"{name} Pass@1", parts=("", "n")), Column(f"{name} #Tokens", parts=("",)))))
    lines = []
    for r in mine:
        by_name = {level.level: level for level in r.levels}
        lines.append(Line((Cell(heading(r.task)), Cell(r.label),
                           *(c for name in names for c in _level(by_name.get(name))))))
    return Table("levels", "By difficulty", columns, tuple(lines))


def _level(level: Level | None) -> tuple[Cell, ...]:
    if level is None:
        return words("–", "–")
    return (Cell(f"{level.accuracy:.1%}", f"n = {level.n}", (level.accuracy, level.n)),
            _number(level.tokens))


def detail_table(rows: Sequence[ResultRow], cutoff: int | None) -> Table:
    """Thinking tokens, truncated, no answer, loops, and what the backend counted."""
    columns = (Column("Task"), Column("Method"), *(Column(name, parts=("",)) for name in (
        "n", "samples", "#Tokens", "thinking", "truncated", "no answer", "loops",
        "backend's count differs")))
    lines = [Line((Cell(heading(task)), Cell(r.label), *map(_number, (
        r.n, r.repeats, r.tokens, r.think_tokens, r.truncated, r.no_answer, r.loops,
        r.backend_tokens_differ))))
        for task in task_order([r.task for r in rows])
        for r in rows if r.task == task and r.cutoff == cutoff]
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


def _number(value: float | None) -> Cell:
    return Cell("–" if value is None else f"{value:,.0f}", numbers=(value,))


def _share(value: float | None) -> Cell:
    return Cell("–" if value is None else f"{value:.1%}", numbers=(value,))
