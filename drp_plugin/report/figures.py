"""The paper's Figures 3 and 4 for any runs, and accuracy against tokens.

Drawn with matplotlib's objects, never pyplot: no window system, no global state. The same runs
give the same bytes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from drp_plugin.report.paper import paper_figures
from drp_plugin.report.regrading import Scored, early, readings
from drp_plugin.report.results import ResultRow
from drp_plugin.report.tables import heading, task_order

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = ("#d9822b", "#2b6cb0", "#2f855a", "#805ad5", "#b83280", "#4a5568", "#c53030", "#0987a0")
_SHARE = 0.99


class Picture(NamedTuple):
    """A figure, drawn."""

    name: str
    title: str
    caption: str
    svg: bytes
    png: bytes


def draw_all(scored: Sequence[Scored], rows: Sequence[ResultRow],
             cutoff: int | None) -> list[Picture]:
    """Every figure that these runs allow. Raises ImportError without matplotlib."""
    found = [lengths(scored, cutoff), budgets(scored), tradeoff(rows, cutoff)]
    return [picture for picture in found if picture is not None]


def lengths(scored: Sequence[Scored], cutoff: int | None) -> Picture | None:
    """Figure 3: densities of normalised lengths, one panel a task."""
    limit = cutoff or max((r.tokens for s in scored for p in readings(s, None) for r in p),
                          default=0)
    if not limit:
        return None

    def panel(axes: Axes, task: str) -> None:
        import numpy as np

        for i, one in enumerate(_of(scored, task)):
            shares = np.array([r.tokens / limit for samples in readings(one, cutoff)
                               for r in samples])
            color = _color(scored, one)
            axes.hist(shares, bins=[i / 40 for i in range(41)], density=True, alpha=0.25,
                      color=color)
            grid = np.linspace(0, 1.02, 300)
            axes.plot(grid, _density(shares, grid), color=color, label=_label(one),
                      linewidth=1.6, zorder=3 + i)
        axes.set_xlim(0, 1.02)
        axes.set_xlabel("normalised length")
        axes.set_ylabel("density")

    what = f"the cutoff of {cutoff:,} tokens" if cutoff else f"the longest completion ({limit:,})"
    return _panels("figure3", "Normalised length of completions (the paper's Figure 3)",
                   f"Tokens of a completion over {what}; bars are the histogram, the line a "
                   "Gaussian kernel estimate. Mass at 1 is what the cutoff clipped.", scored, panel)


def _density(values: Any, grid: Any) -> Any:
    """Gaussian kernels with Silverman's width, not below half a histogram bin."""
    import numpy as np

    free = values[values < 1] if (values < 1).any() else values     # clipped ones are one peak
    spread = min(float(np.std(free)), float(np.subtract(*np.percentile(free, [75, 25]))) / 1.34)
    width = max(0.9 * (spread or float(np.std(free))) * len(free) ** -0.2, 0.0125)
    distance = (grid[:, None] - values[None, :]) / width
    return np.exp(-0.5 * distance ** 2).sum(axis=1) / (len(values) * width * math.sqrt(2 * math.pi))


def budget_curve(scored: Scored) -> tuple[list[int], int | None]:
    """Lengths of the correct completions, ascending, and the budget that holds 99 % of them."""
    found = sorted(r.tokens for samples in readings(scored, None) for r in samples if r.correct)
    if not found:
        return [], None
    return found, found[math.ceil(_SHARE * len(found)) - 1]


def budgets(scored: Sequence[Scored]) -> Picture | None:
    """Figure 4: share of correct answers recovered against the budget."""
    known = [s for s in scored if not early(s) and budget_curve(s)[0]]
    if not known:
        return None

    def panel(axes: Axes, task: str) -> None:
        for one in _of(known, task):
            found, point = budget_curve(one)
            if point is None:
                continue
            color = _color(scored, one)
            xs = [0, *found]
            axes.step(xs, [i / len(found) for i in range(len(found) + 1)], where="post",
                      color=color, label=f"{_label(one)}: 99 % by {point:,}")
            axes.axvline(point, color=color, linestyle=":", linewidth=1)
        axes.axhline(_SHARE, color="#999999", linewidth=0.7)
        axes.set_xlabel("budget, tokens")
        axes.set_ylabel("share recovered")
        axes.set_ylim(0, 1.03)
        axes.set_xlim(left=0)

    return _panels("figure4", "Correct answers recovered within a budget (the paper's Figure 4)",
                   "Of all completions that are correct without a cutoff, the share that ends "
                   "within the budget; the dotted line is where 99 % are reached.", known, panel)


def tradeoff(rows: Sequence[ResultRow], cutoff: int | None) -> Picture | None:
    """Accuracy against tokens, one panel a task, with Wilson intervals."""
    mine = [r for r in rows if r.cutoff == cutoff]
    if not mine:
        return None
    tasks = task_order([r.task for r in mine])
    figure, grid = _grid(len(tasks))
    methods = list(dict.fromkeys((r.group, r.method) for r in mine))
    for axes, task in zip(grid, tasks, strict=False):
        for r in mine:
            if r.task != task:
                continue
            axes.errorbar(r.tokens, 100 * r.accuracy, fmt="o", capsize=3, yerr=[
                [100 * max(r.accuracy - r.accuracy_low, 0)],
                [100 * max(r.accuracy_high - r.accuracy, 0)]],
                color=_COLORS[methods.index((r.group, r.method)) % len(_COLORS)],
                label=_escape(f"{r.group}/{r.method}" if r.group else r.method))
        papers = _paper_points(task, [r.group for r in mine])
        for tokens, accuracy, label in papers:
            axes.scatter([tokens], [accuracy], marker="x", color="#999999", s=25)
            axes.annotate(label, (tokens, accuracy), fontsize=6, color="#777777",
                          xytext=(3, 3), textcoords="offset points")
        axes.set_title(heading(task), fontsize=10)
        axes.set_xlabel("tokens a completion")
        axes.set_ylabel("Pass@1, %")
        axes.legend(fontsize=7)
        widest = max([r.tokens for r in mine if r.task == task] + [p[0] for p in papers])
        axes.set_xlim(0, 1.3 * widest or 1)     # room for the labels
    return _finished(figure, "tradeoff", "Accuracy against tokens",
                     "Upper left is better. Bars are Wilson's 95 % intervals; crosses are the "
                     "paper's numbers, where it has the set.")


def _paper_points(task: str, groups: Sequence[str]) -> list[tuple[float, float, str]]:
    return [(found[task].tokens, 100 * found[task].accuracy,
             f"{student.rpartition('-')[2]} {method} (paper)")
            for student, methods in paper_figures("table1", groups).items()
            for method, found in methods.items() if task in found]


def _of(scored: Sequence[Scored], task: str) -> list[Scored]:
    return [s for s in scored if s.task.column == task]


def _label(scored: Scored) -> str:
    run = scored.run
    return _escape(f"{run.group}/{run.name}" if run.group else run.name)


def _escape(text: str) -> str:
    """matplotlib reads dollars as mathematics and a leading underscore as "no legend"."""
    text = "".join(c if c.isprintable() else "?" for c in text).replace("$", "\\$")
    return text if not text.startswith("_") else " " + text


def _color(scored: Sequence[Scored], one: Scored) -> str:
    keys = list(dict.fromkeys((s.run.group, s.run.name) for s in scored))
    return _COLORS[keys.index((one.run.group, one.run.name)) % len(_COLORS)]


def _grid(panels: int) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    columns = min(panels, 2)
    rows = math.ceil(panels / columns)
    figure = Figure(figsize=(5.2 * columns, 3.4 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    flat = [axes for line in grid for axes in line]
    for spare in flat[panels:]:
        spare.set_visible(False)
    return figure, flat


def _panels(name: str, title: str, caption: str, scored: Sequence[Scored],
            panel: Callable[[Axes, str], None]) -> Picture:
    tasks = task_order([s.task.column for s in scored])
    figure, grid = _grid(len(tasks))
    for axes, task in zip(grid, tasks, strict=False):
        panel(axes, task)
        axes.set_title(heading(task), fontsize=10)
        axes.legend(fontsize=7)
    return _finished(figure, name, title, caption)


def _finished(figure: Figure, name: str, title: str, caption: str) -> Picture:
    import matplotlib

    written = {}
    with matplotlib.rc_context({"svg.hashsalt": "drp", "svg.fonttype": "path"}):
        for kind, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
            out = io.BytesIO()
            figure.savefig(out, format=kind, metadata=metadata, dpi=150)
            written[kind] = out.getvalue()
    return Picture(name, title, caption, written["svg"], written["png"])
