"""What was found and how sure it is, in a sentence for each method."""

from collections.abc import Sequence

from drp_plugin.report.results import Comparison, ResultRow
from drp_plugin.report.tables import heading, p_text, percent, span, task_order, turned

_DETAILED = 2  # Up to so many tasks are told one by one


def headlines(rows: Sequence[ResultRow], comparisons: Sequence[Comparison],
              whole: Sequence[Comparison]) -> list[str]:
    """One sentence a compared method, and one for each verdict that the cutoff turns. `whole` are
    the same comparisons without a cutoff, where there is one."""
    if not comparisons:
        return ["Nothing is compared. " + "; ".join(
            f"{r.label}: {r.accuracy:.1%} of {r.n:,} problems of {heading(r.task)} (95 %: "
            f"{r.accuracy_low:.1%} to {r.accuracy_high:.1%}), {r.tokens:,.0f} tokens"
            for r in rows) + "."]
    order, others = task_order([c.task for c in comparisons]), {c.key: c for c in whole}
    said = []
    for group, before, after in dict.fromkeys((c.group, c.before, c.after) for c in comparisons):
        found = sorted((c for c in comparisons if (c.group, c.after) == (group, after)),
                       key=lambda c: order.index(c.task))
        where = f"{group}: " if group else ""
        said.append(f"{where}{after} against {before}: {_tokens(found)}; {_accuracy(found)}.")
        said += [f"The cutoff turns the verdict on {after}'s accuracy on {_set(c)}: "
                 f"{p_text(c.p)} with it, {p_text(other.p)} without."
                 for c in found if (other := others.get(c.key)) and turned(c, other)]
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
    def points(c: Comparison) -> str:
        chance = p_text(c.p_holm) + (" after Holm's correction" if c.p_holm != c.p else "")
        return f"{100 * c.accuracy_change:+.1f} points, {chance}"

    def limit(c: Comparison) -> str:
        return f"{c.n:,} problems cannot show less than {100 * c.detectable:.1f} points"

    shown = [f"{'higher' if c.accuracy_change > 0 else 'lower'} on {_set(c)} ({points(c)})"
             for c in found if c.p_holm < 0.05]
    rest = [c for c in found if c.p_holm >= 0.05]
    if len(found) <= _DETAILED:
        shown += [f"not shown to differ on {_set(c)} ({points(c)}; {limit(c)})" for c in rest]
    elif rest:
        weakest = max(rest, key=lambda c: c.detectable)
        shown.append(f"not shown to differ on {_listed([_set(c) for c in rest])} ({_set(weakest)}: "
                     f"{limit(weakest)})")
    return "accuracy " + ", ".join(shown)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _set(c: Comparison) -> str:
    return heading(c.task).removesuffix(" (OOD)")
