"""What was found and how sure it is, in a sentence for each method."""

from __future__ import annotations

from collections.abc import Sequence

from drp_plugin.report.detail_tables import turned
from drp_plugin.report.results import Comparison, ResultRow
from drp_plugin.report.tables import heading, p_text, percent, span, task_order

#: Up to so many tasks are told one by one.
_DETAILED = 2


def headlines(rows: Sequence[ResultRow], comparisons: Sequence[Comparison],
              cutoff: int | None) -> list[str]:
    """One sentence a compared method, and one for each verdict that the cutoff turns."""
    mine = [c for c in comparisons if c.cutoff == cutoff]
    if not mine:
        return ["Nothing is compared. " + "; ".join(
            f"{r.label}: {r.accuracy:.1%} of {r.n:,} problems of {heading(r.task)} (95 %: "
            f"{r.accuracy_low:.1%} to {r.accuracy_high:.1%}), {r.tokens:,.0f} tokens"
            for r in rows if r.cutoff == cutoff) + "."]
    order = task_order([c.task for c in mine])
    said = []
    for group, before, after in dict.fromkeys((c.group, c.before, c.after) for c in mine):
        found = sorted((c for c in mine if (c.group, c.after) == (group, after)),
                       key=lambda c: order.index(c.task))
        where = f"{group}: " if group else ""
        said.append(f"{where}{after} against {before}: {_tokens(found)}; {_accuracy(found)}.")
        said += _turned(found, comparisons) if cutoff is not None else []
    return said


def _tokens(found: Sequence[Comparison]) -> str:
    if len(found) <= _DETAILED:
        return "tokens " + ", ".join(
            f"{percent(c.tokens_change)} on {_set(c)} (95 %: "
            f"{span(c.tokens_change_low, c.tokens_change_high)})" for c in found)
    sure = [c for c in found if c.tokens_change_high < 0 or c.tokens_change_low > 0]
    unsure = [_set(c) for c in found if c not in sure]
    text = "tokens " + ", ".join(f"{percent(c.tokens_change)} on {_set(c)}" for c in found)
    return text + (f" (no sure change on {_listed(unsure)})" if unsure else "")


def _accuracy(found: Sequence[Comparison]) -> str:
    shown = [f"{'higher' if c.accuracy_change > 0 else 'lower'} on {_set(c)} ({_points(c)})"
             for c in found if c.p_holm < 0.05]
    rest = [c for c in found if c.p_holm >= 0.05]
    if rest and len(found) <= _DETAILED:
        shown += [f"not shown to differ on {_set(c)} ({_points(c)}; {_limit(c)})" for c in rest]
    elif rest:
        weakest = max(rest, key=lambda c: c.detectable)
        shown.append(f"not shown to differ on {_listed([_set(c) for c in rest])} ({_set(weakest)}: "
                     f"{_limit(weakest)})")
    return "accuracy " + ", ".join(shown)


def _points(c: Comparison) -> str:
    chance = p_text(c.p_holm) + (" after Holm's correction" if c.p_holm != c.p else "")
    return f"{100 * c.accuracy_change:+.1f} points, {chance}"


def _limit(c: Comparison) -> str:
    return f"{c.n:,} problems cannot show less than {100 * c.detectable:.1f} points"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _set(c: Comparison) -> str:
    return heading(c.task).removesuffix(" (OOD)")


def _turned(found: Sequence[Comparison], comparisons: Sequence[Comparison]) -> list[str]:
    whole = {(c.group, c.after, c.task): c for c in comparisons if c.cutoff is None}
    return [f"The cutoff turns the verdict on {c.after}'s accuracy on {_set(c)}: "
            f"{p_text(c.p)} with it, {p_text(other.p)} without."
            for c in found
            if (other := whole.get((c.group, c.after, c.task))) and turned(c, other)]
