"""Everything that a report consists of, written into one folder. It begins with what was found and
how sure it is, in a sentence for each method."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from drp_plugin import __version__, jsonl
from drp_plugin.mathml import STYLE
from drp_plugin.redact import markdown
from drp_plugin.report import tables
from drp_plugin.report.browser import browser, excerpts
from drp_plugin.report.figures import Picture, draw_all
from drp_plugin.report.layout import Table, csv_text, filled, finite, rendered, templates
from drp_plugin.report.regrading import Scored
from drp_plugin.report.results import Comparison, ResultRow, comparisons, row
from drp_plugin.report.tables import heading, p_text, percent, span, task_order, turned

TITLE = "DRP evaluation report"
NO_FIGURES = "No figures: matplotlib is not installed."
_DETAILED = 2  # Up to so many tasks are named one by one


class Results(NamedTuple):
    """What a report shows."""

    rows: tuple[ResultRow, ...]
    comparisons: tuple[Comparison, ...]
    tables: tuple[Table, ...]
    cutoff: int | None
    headline: tuple[str, ...]


def make_report(scored: Sequence[Scored], cutoff: int | None, tokenizer: str,
                base: str | None = None, ablations: Mapping[int, Sequence[str]] | None = None
                ) -> Results:
    """Rows, comparisons, tables; `ablations`: which methods are in the paper's Tables 2 to 4."""
    cutoffs = [None] if cutoff is None else [cutoff, None]
    rows = [row(s, c, tokenizer) for c in cutoffs for s in scored
            if c is not None or not s.task.protocol.early]
    compared = comparisons(scored, cutoffs, base)
    # the tables' cutoff, and with one also none
    shown_rows, whole_rows = ([r for r in rows if r.cutoff == c] for c in (cutoff, None))
    mine, whole = ([c for c in compared if c.cutoff == at] for at in (cutoff, None))
    if cutoff is None:
        whole = []
    ordered, scores = tables.in_order(shown_rows), {c.key: c.aes for c in mine}
    made = [tables.main_table(shown_rows, mine, cutoff),
            tables.comparison_table(mine, whole) if mine else None,
            *tables.ablation_tables(shown_rows, mine, cutoff, ablations or {}),
            None if cutoff is None else tables.cutoff_table(whole_rows, shown_rows, cutoff),
            tables.sample_table(shown_rows), filled("efficiency", [
                tables.figures(r, aes=scores.get(r.key)) for r in ordered]),
            tables.level_table(shown_rows), filled("thinking", map(tables.figures, ordered)),
            tables.detail_table(shown_rows)]
    return Results(tuple(rows), tuple(compared), tuple(t for t in made if t), cutoff,
                   tuple(headlines(shown_rows, mine, whole)))


def write_report(report: Results, scored: Sequence[Scored], out: Path, *,
                 figures: bool = True) -> tuple[list[Path], str]:
    """Write results.json, tables (Markdown, CSV, LaTeX), figures (SVG, PNG) and the two pages.
    Returns the files, and a note where figures had to be left out."""
    pictures: list[Picture] = []
    missing = ""
    if figures:
        try:
            pictures = draw_all(scored, report.rows, report.cutoff)
        except ImportError:
            missing = NO_FIGURES
    numbers = {name: [{key: finite(value) for key, value in record.model_dump(mode="json").items()}
                      for record in getattr(report, name)] for name in ("rows", "comparisons")}
    contents: dict[str, Iterable[str | bytes]] = {
        "results.json": [json.dumps(numbers, indent=1, ensure_ascii=False), "\n"],
        "report.md": ["\n".join([
            f"# {TITLE}\n", *(f"{markdown(sentence, 2000)}\n" for sentence in report.headline),
            *(rendered(table, "md") for table in report.tables),
            *(f"## {markdown(p.title)}\n\n![{markdown(p.title)}]({p.name}.png)\n\n"
              f"{markdown(p.caption)}\n" for p in pictures)])],
        "report.html": [_page(report, pictures, scored, missing)],
        "completions.html": browser(scored, report.cutoff)}
    for table in report.tables:
        contents |= {f"{table.name}.csv": [csv_text(table)],
                     f"{table.name}.tex": [rendered(table, "tex")]}
    for picture in pictures:
        contents |= {f"{picture.name}.svg": [picture.svg], f"{picture.name}.png": [picture.png]}
    out.mkdir(parents=True, exist_ok=True)
    for name, pieces in contents.items():
        with jsonl.replacing(out / name, private=False) as file, \
                open(file.fileno(), "wb", closefd=False) as raw:
            for piece in pieces:
                raw.write(piece if isinstance(piece, bytes) else piece.encode("utf-8", "replace"))
    return [out / name for name in contents], missing


def _page(report: Results, pictures: Sequence[Picture], scored: Sequence[Scored],
          missing: str) -> str:
    """One self-contained HTML page: every text escaped, no script, no network (by its policy)."""
    origins: dict[str, list[dict[str, str]]] = {}
    for one in scored:      # each results file once
        known = origins.setdefault(one.label, [])
        for origin in one.task.origin:
            known += [] if origin in known else [origin]
    return templates().get_template("report.html.jinja").render(
        tables=report.tables, pictures=pictures, excerpts=excerpts(scored, report.cutoff),
        headline=report.headline, toy=any(r.toy for r in report.rows), missing=missing,
        title=TITLE, math_style=STYLE, origins=origins, version=__version__)


def headlines(rows: Sequence[ResultRow], comparisons: Sequence[Comparison],
              whole: Sequence[Comparison]) -> list[str]:
    """Which of several methods save tokens at no shown loss; a sentence a method, and one for each
    verdict that the cutoff turns. `whole` are the comparisons without a cutoff, if any."""
    if not comparisons:
        return ["Nothing is compared" + ": no method has a problem in common with its base" * (
            len({r.label for r in rows}) > 1) + ". " + "; ".join(
            f"{r.label}: {r.accuracy:.1%} of {r.n:,} problems of {heading(r.task)} (95 %: "
            f"{r.accuracy_low:.1%} to {r.accuracy_high:.1%}), {r.tokens:,.0f} tokens"
            for r in rows) + "."]
    order, others = task_order([c.task for c in comparisons]), {c.key: c for c in whole}
    compared = [(f"{group}: " if group else "", before, after, sorted(
        (c for c in comparisons if (c.group, c.after) == (group, after)),
        key=lambda c: order.index(c.task)))
        for group, before, after in dict.fromkeys((c.group, c.before, c.after)
                                                  for c in comparisons)]
    said = _summaries(compared)
    for where, before, after, found in compared:
        said.append(f"{where}{after} against {before}: {_tokens(found)}; {_accuracy(found)}."
                    + " Their protocols differ." * any(not c.same_protocol for c in found))
        said += [f"The cutoff turns the verdict on {after}'s accuracy on {_set(c)}: "
                 f"{_points(c)} with it; {_points(other)} without."
                 for c in found if (other := others.get(c.key)) and turned(c, other)]
    return said


def _summaries(compared: Sequence[tuple[str, str, str, list[Comparison]]]) -> list[str]:
    """A sentence for each method that more than two are compared with: the others by kind."""
    said = []
    for against in dict.fromkeys((where, before) for where, before, *_ in compared):
        kinds: dict[str, list[str]] = {}
        for *given, after, found in compared:
            if tuple(given) == against:
                kinds.setdefault(_kind(found), []).append(after)
        if sum(map(len, kinds.values())) > 2:
            said.append("{}Against {}, ".format(*against) + "; ".join(f"{kind}: {_listed(names)}"
                for kind, names in sorted(kinds.items(), reverse=True)) + ".")
    return said


def _kind(found: Sequence[Comparison]) -> str:
    sure = [c.accuracy_change for c in found if c.p_holm < 0.05]
    kinds = ["shorter on every set" if all(c.tokens_change_high < 0 for c in found)
             else "longer on some" if any(c.tokens_change_low > 0 for c in found)
             else "not shown to be shorter on every set"]
    kinds += ["less accurate on some"] * (min(sure, default=0) < 0)
    kinds += ["more accurate on some"] * (max(sure, default=0) > 0)
    return ", ".join(kinds + ["no change in accuracy shown"] * (not sure))


def _points(c: Comparison) -> str:
    return (f"{100 * c.accuracy_change:+z.1f} points, {p_text(c.p_holm)}"
            + " after Holm's correction" * (c.p_holm != c.p))


def _tokens(found: Sequence[Comparison]) -> str:
    few = len(found) <= _DETAILED
    unsure = [_set(c) for c in found
              if not few and c.tokens_change_low <= 0 <= c.tokens_change_high]
    return "tokens " + ", ".join(f"{percent(c.tokens_change)} on {_set(c)}" + (
        f" (95 %: {span(c.tokens_change_low, c.tokens_change_high)})" if few else "")
        for c in found) + (f" (no sure change on {_listed(unsure)})" if unsure else "")


def _accuracy(found: Sequence[Comparison]) -> str:
    def limit(c: Comparison) -> str:
        return (f"{c.n:,} problem{'s' * (c.n > 1)} cannot show less than "
                f"{100 * c.detectable:.1f} points")

    shown = [f"{'higher' if c.accuracy_change > 0 else 'lower'} on {_set(c)} ({_points(c)})"
             for c in found if c.p_holm < 0.05]
    rest = {_set(c): f"{_points(c)}; {limit(c)}" for c in found if c.p_holm >= 0.05}
    if rest and len(found) > _DETAILED:
        weakest = max((c for c in found if _set(c) in rest), key=lambda c: c.detectable)
        rest = {_listed(list(rest)): f"{_set(weakest)}: {limit(weakest)}"}
    shown += [f"not shown to differ on {where} ({why})" for where, why in rest.items()]
    return "accuracy " + ", ".join(shown)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _set(c: Comparison) -> str:
    return heading(c.task).removesuffix(" (OOD)")
