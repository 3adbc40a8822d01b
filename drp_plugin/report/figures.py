"""The paper's Figures 3 and 4 for any runs, accuracy at a budget, and accuracy against tokens.

Drawn with matplotlib's objects, never pyplot: no global state, and the same runs give the same
bytes. Colours, markers and line styles tell nine methods apart, also in black and white."""

import io
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from drp_plugin.report.efficiency import at_budgets, budget_99, right_lengths
from drp_plugin.report.layout import TEXTS
from drp_plugin.report.regrading import Scored, readings
from drp_plugin.report.results import ResultRow
from drp_plugin.report.tables import heading, paper_figures, task_order

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Okabe and Ito's colours, which the colour-blind can tell apart; without yellow, which is too pale
#: for lines.
_COLORS = ("#E69F00", "#0072B2", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
_MARKERS = "osD^vPX*<>"
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
_SMALL = 1_000
_TICKS = {62, 125, 250, 500, *(1_000 * 2 ** i for i in range(6))}
Styled = Sequence[tuple[Scored, dict[str, Any]]]  # The methods of one task, and how each is drawn


class Picture(NamedTuple):
    """A figure; title and caption are from the report's texts."""

    name: str
    title: str
    caption: str
    svg: bytes
    png: bytes


def draw_all(scored: Sequence[Scored], rows: Sequence[ResultRow],
             cutoff: int | None) -> list[Picture]:
    """Every figure that these runs allow. Raises ImportError without matplotlib."""
    return list(filter(None, (budgets(scored), tradeoff(scored, rows, cutoff),
                              lengths(scored, cutoff), recovered(scored))))


def budgets(scored: Sequence[Scored]) -> Picture | None:
    """Accuracy with every completion cut at a budget, from one generation."""
    tokens = sorted(m.full.tokens for s in scored for k in s.measured for m in k)
    small = bool(tokens) and tokens[len(tokens) // 2] < _SMALL
    curves = {id(s): {b: 100 * a for b, a in at_budgets(s).items() if small or b >= _SMALL}
              for s in scored}

    def panel(axes: "Axes", own: Styled) -> None:
        for one, style in own:
            if curve := curves[id(one)]:
                axes.plot(*zip(*curve.items(), strict=True), **style)
        _log_ticks(axes, [b for one, _ in own for b in curves[id(one)]])
        axes.set(xlabel="budget, tokens", ylabel="Pass@1, %")

    return _panels("budget", scored, scored, panel)


def tradeoff(scored: Sequence[Scored], rows: Sequence[ResultRow],
             cutoff: int | None) -> Picture | None:
    """Accuracy against tokens, one panel a task, with 95 % intervals."""
    found = {r.key: r for r in rows if r.cutoff == cutoff}
    mine = [s for s in scored if s.key in found]
    students = paper_figures("table1", [s.task.group for s in mine])
    paper = {f"{student.rpartition('-')[2]} {method} (paper)": told
             for student, methods in students.items() for method, told in methods.items()}

    def panel(axes: "Axes", own: Styled) -> None:
        widest = [0.0]
        for one, style in own:
            r = found[one.key]
            axes.errorbar(r.tokens, 100 * r.accuracy, capsize=3, yerr=[
                [100 * max(r.accuracy - r.accuracy_low, 0)],
                [100 * max(r.accuracy_high - r.accuracy, 0)]], **{**style, "linestyle": ""})
            widest.append(r.tokens)
        for name, told in paper.items():
            if point := told.get(own[0][0].task.column):
                place = (point["tokens"], 100 * point["accuracy"])
                axes.scatter(*place, marker="x", color="#888888", s=25)
                axes.annotate(name, place, fontsize=6, color="#666666", xytext=(3, 3),
                              textcoords="offset points")
                widest.append(point["tokens"])
        axes.set_xlim(0, 1.3 * max(widest) or 1)     # room for the labels
        axes.set(xlabel="tokens a completion", ylabel="Pass@1, %")

    return _panels("tradeoff", mine, scored, panel)


def lengths(scored: Sequence[Scored], cutoff: int | None) -> Picture | None:
    """Figure 3: densities of normalised lengths on a log scale, one panel a task."""
    longest = max((m.full.tokens for s in scored for k in s.measured for m in k), default=0)
    limit = cutoff or longest

    def panel(axes: "Axes", own: Styled) -> None:
        import numpy as np

        low, high = 1.0, 0.0
        for i, (one, style) in enumerate(own):
            values = np.array([max(r.tokens, 1) / limit for k in readings(one, cutoff) for r in k])
            ends = np.quantile(values, [0.005, 0.995])
            low, high = min(low, ends[0]), max(high, ends[1])
            grid = np.geomspace(1 / limit, 1.1, 600)
            axes.plot(grid, _density(np.log10(values), np.log10(grid)), markevery=(7 * i, 50),
                      **style)
            if len(own) <= 3:
                axes.hist(values, bins=list(np.geomspace(1 / limit, 1, 81)), alpha=0.25,
                          weights=np.full(len(values), 80 / len(values) / math.log10(limit)),
                          color=style["color"])
        axes.set_xlim(low / 1.3, min(1.1, 1.6 * high))
        _log_ticks(axes, [])
        axes.set(xlabel=f"normalised length (1 is {limit:,} tokens)", ylabel="density")

    what = f"the cutoff of {cutoff:,} tokens" if cutoff else f"the longest completion ({limit:,})"
    return _panels("figure3", scored if limit > 1 else [], scored, panel, what=what)


def _density(values: Any, grid: Any) -> Any:
    """Gaussian kernels with Silverman's width, not below half a histogram bin."""
    import numpy as np

    free = values[values < 0] if (values < 0).any() else values     # clipped ones are one peak
    spread, quarters = np.std(free), np.subtract(*np.percentile(free, [75, 25])) / 1.34
    width = max(0.9 * (min(spread, quarters) or spread) * len(free) ** -0.2, 0.02)
    distance = (grid[:, None] - values[None, :]) / width
    return np.exp(-0.5 * distance ** 2).sum(axis=1) / (len(values) * width * math.sqrt(2 * math.pi))


def recovered(scored: Sequence[Scored]) -> Picture | None:
    """Figure 4: share of correct answers recovered against the budget."""
    found = {id(s): right_lengths(s) for s in scored}

    def panel(axes: "Axes", own: Styled) -> None:
        for one, style in own:
            right = found[id(one)]
            axes.step([0, *right], [i / len(right) for i in range(len(right) + 1)], where="post",
                      markevery=max(1, len(right) // 8), **style)
            axes.axvline(budget_99(right) or 0, color=style["color"], linestyle=":", linewidth=1)
        axes.axhline(0.99, color="#999999", linewidth=0.7)
        axes.set(xlabel="budget, tokens", ylabel="share recovered", ylim=(0, 1.03))
        axes.set_xlim(left=0)

    return _panels("figure4", [s for s in scored if found[id(s)]], scored, panel)


def _escape(text: str) -> str:
    """matplotlib reads dollars as mathematics and a leading underscore as "no legend"."""
    text = "".join(c if c.isprintable() else "?" for c in text).replace("$", "\\$")
    return text if not text.startswith("_") else " " + text


def _log_ticks(axes: "Axes", places: Sequence[int]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sorted(_TICKS & set(places))) if places
                                 else LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(
        lambda x, _: f"{x / 1000:g}k" if x >= 1000 else f"{x:g}"))


def _panels(name: str, drawn: Sequence[Scored], scored: Sequence[Scored],
            panel: Callable[[Any, Styled], None], **said: str) -> Picture | None:
    """One panel a task and one legend for all of them; None where nothing is drawn."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    if not drawn:
        return None
    labels = list(dict.fromkeys(s.label for s in scored))

    def style(one: Scored) -> dict[str, Any]:
        """The same for a method in every figure; no two of the first 140 are alike."""
        i = labels.index(one.label)
        return {"color": _COLORS[i % 7], "marker": _MARKERS[i % 10], "linestyle": _DASHES[i % 4],
                "linewidth": 1.6, "markersize": 5, "label": _escape(one.label)}

    tasks = task_order([s.task.column for s in drawn])
    columns = min(len(tasks), 2)
    rows = math.ceil(len(tasks) / columns)
    methods = {s.label: style(s) for s in drawn}
    figure = Figure(figsize=(5.2 * columns, 3.4 * rows + 0.25 * math.ceil(len(methods) / columns)),
                    layout="constrained")
    flat = [axes for line in figure.subplots(rows, columns, squeeze=False) for axes in line]
    for axes, task in zip(flat, tasks, strict=False):
        panel(axes, [(s, style(s)) for s in drawn if s.task.column == task])
        axes.set_title(_escape(heading(task)), fontsize=10)
        axes.grid(alpha=0.25)
    for spare in flat[len(tasks):]:
        spare.set_visible(False)
    figure.legend(handles=[Line2D([], [], **one) for one in methods.values()],
                  loc="outside lower center", ncols=2 * columns - 1, fontsize=8, handlelength=4)
    svg, png = io.BytesIO(), io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "drp", "svg.fonttype": "path"}):
        figure.savefig(svg, format="svg", metadata={"Date": None}, dpi=150)
        figure.savefig(png, format="png", metadata={"Software": None}, dpi=150)
    told = TEXTS["figures"][name]
    return Picture(name, told["title"], told["caption"].format(**said), svg.getvalue(),
                   png.getvalue())
