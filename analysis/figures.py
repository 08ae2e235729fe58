"""Figures of a study, as one would put them in a paper: curves, penalty matrix, ranks, class balance of the picks, time against accuracy.

Each `draw_*` returns a figure; `save` writes it as PNG and PDF. A strategy has the same colour in all figures that name the same
strategies.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, NullFormatter
from numpy import ndarray
from numpy.typing import ArrayLike
from scipy.optimize import isotonic_regression

from analysis.comparisons import cliques
from analysis.curves import Curves, sample_std
from analysis.plots import CLASS_COLOURS, DPI, GREY, INK, PALE, write_figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito (2008), without the yellow no line shows in
MARKERS = ("o", "s", "^", "D", "v", "P")
BASELINE = "random"  # black in every figure

LINES = ("-", "--", ":")


def save(figure: Figure, path: Path) -> tuple[Path, Path]:
    """Write `path` with the endings .png and .pdf, each whole or not at all; text in the PDF stays text."""
    path = Path(path)
    png, pdf = write_figure(figure, path.with_suffix(".png")), path.with_suffix(".pdf")
    beside = pdf.with_name(f".{pdf.name}.{os.getpid()}.part")
    try:
        with mpl.rc_context({"pdf.fonttype": 42}):  # TrueType: journals refuse matplotlib's default, Type 3
            figure.savefig(beside, format="pdf", metadata={"CreationDate": None})
        os.replace(beside, pdf)
    finally:
        beside.unlink(missing_ok=True)
    return png, pdf


def styles(names: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """Colour, marker and line of each strategy; marker and line change when the six colours begin again."""
    others = [name for name in sorted(names) if name != BASELINE]
    found = {name: (COLOURS[i % 6], MARKERS[(i + i // 6) % 6], LINES[i // 6 % 3]) for i, name in enumerate(others)}
    return found | ({BASELINE: ("#000000", "o", "-")} if BASELINE in names else {})


def draw_curves(
    curves: Curves,
    metric: str,
    title: str,
    full: float | None = None,
    bands: Mapping[str, tuple[Float[ndarray, " t"], Float[ndarray, " t"]]] | None = None,
    x_label: str = "labelled images",
) -> Figure:
    """Mean curves over the runs, labelled at their ends, `full` the value with all labels as a dashed line.

    `bands` holds low and high (T,) by strategy, such as `analysis.curves.bootstrap_interval`; without it they are mean ± one sample
    standard deviation, and a strategy with a single run has none.
    """
    width = 5.8 + max(1.4, 0.085 * max(map(len, curves)))  # room for the longest name
    figure, axes = _panel((width, 4.4), (0.72 / width, 0.13, 4.75 / width, 0.76), title, x_label, metric)
    ends = {}
    for name, (colour, marker, line) in styles(list(curves)).items():
        budgets, values = curves[name].columns.to_numpy(np.float64), curves[name].to_numpy(np.float64)
        mean, std = values.mean(axis=0), sample_std(values)
        low, high = bands[name] if bands else (mean - std, mean + std)
        axes.plot(budgets, mean, color=colour, linestyle=line, linewidth=1.8, marker=marker, markersize=4, zorder=3)
        axes.fill_between(budgets, low, high, color=colour, alpha=0.11, linewidth=0)
        ends[name] = (budgets[-1], mean[-1], colour)
    if full is not None:
        axes.axhline(full, color=GREY, linewidth=1, linestyle="--")
        ends["all labels"] = (axes.get_xlim()[1], full, GREY)
    _label_ends(axes, ends)
    return figure


def draw_penalties(matrix: pd.DataFrame, title: str) -> Figure:
    """Heat map of `analysis.comparisons.penalty_matrix`, best strategy first, with the mean of each column below it (lower is better)."""
    k = len(matrix)
    mean = matrix.to_numpy().sum(axis=0) / max(k - 1, 1)  # the diagonal is no comparison
    order = np.argsort(mean, kind="stable")
    names = [str(matrix.index[i]) for i in order]
    cells = np.vstack([matrix.to_numpy()[np.ix_(order, order)], mean[order]])
    shown = np.where(np.vstack([np.eye(k, dtype=bool), np.zeros((1, k), dtype=bool)]), np.nan, cells)
    rows = np.r_[np.arange(k), k + 0.25]  # the means stand apart
    longest = max(map(len, names))
    side, left, top = 0.62 * k, max(1.55, 0.085 * longest), max(1.35, 0.4 + 0.06 * longest)
    width, height = max(left + side + 0.85, 4.6), top + side + 1.05
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    figure.text(0.15 / width, 1 - 0.15 / height, title, ha="left", va="top", fontsize=11, color=INK, parse_math=False)
    axes = figure.add_axes((left / width, 0.3 / height, side / width, (height - top - 0.3) / height))
    colours = mpl.colormaps["Blues"].with_extremes(bad="white")
    for y, row in zip(rows, shown, strict=True):
        axes.imshow(row[None], cmap=colours, vmin=0, vmax=1, extent=(-0.5, k - 0.5, y + 0.5, y - 0.5), aspect="auto")
        for x, value in enumerate(row):
            text = "" if np.isnan(value) else f"{value:.2f}"
            axes.text(x, y, text, ha="center", va="center", fontsize=9, color="white" if value > 0.55 else INK)
    axes.set_xlim(-0.5, k - 0.5)
    axes.set_ylim(k + 0.75, -0.5)
    axes.set_xticks(range(k), names, rotation=35, ha="left", parse_math=False)
    axes.set_yticks(rows, [*names, "mean"], parse_math=False)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=9, labelcolor=INK)
    axes.spines[:].set_visible(False)
    figure.text(0.15 / width, 0.12 / height, "share of budgets at which the row beats the column", fontsize=8, color=GREY)
    return figure


def draw_ranks(mean_ranks: pd.Series, difference: float, title: str) -> Figure:
    """Critical-difference diagram: strategies on an axis of mean ranks, 1 the best on the left; bars join those that do not differ.

    `difference` is `analysis.comparisons.critical_difference`.
    """
    ordered = mean_ranks.sort_values()
    k, half = len(ordered), (len(ordered) + 1) // 2
    groups = cliques(ordered, difference)
    first = 0.42 + 0.14 * len(groups)  # inches below the axis, as all heights here
    deep = first + 0.27 * half
    beside = 0.9 + 0.075 * max(len(str(name)) for name in ordered.index)
    top, width = 0.95, 4.0 + 2 * max(beside, 1.7)
    height = top + deep + 0.1
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    figure.text(0.2 / width, 1 - 0.15 / height, title, ha="left", va="top", fontsize=11, color=INK, parse_math=False)
    axes = figure.add_axes((0.5 - 2.0 / width, 0, 4.0 / width, 1))
    axes.set_axis_off()
    axes.set_xlim(1, max(k, 2))
    axes.set_ylim(height, 0)
    axes.hlines(top, 1, max(k, 2), color=INK, linewidth=1)
    for rank in range(1, k + 1):
        axes.vlines(rank, top - 0.06, top, color=INK, linewidth=1, clip_on=False)
        axes.text(rank, top - 0.1, str(rank), ha="center", va="bottom", fontsize=8.5, color=GREY)
    right = max(k, 2)
    axes.hlines(0.62, right - difference, right, color=GREY, linewidth=1.5, clip_on=False)
    axes.text(right + 0.03 * k, 0.62, f"critical difference {difference:.2f}", ha="left", va="center", fontsize=8.5, color=GREY)
    palette = styles([str(name) for name in ordered.index])
    for i, (name, rank) in enumerate(ordered.items()):
        on_left = i < half
        y = top + first + 0.27 * (i if on_left else k - 1 - i)
        edge, sign = (1 - 0.03 * k, -1) if on_left else (right + 0.03 * k, 1)
        colour = palette[str(name)][0]
        axes.plot([rank, rank, edge], [top, y, y], color=colour, linewidth=1.3, clip_on=False)
        text = f"{name}  {rank:.2f}" if on_left else f"{rank:.2f}  {name}"
        axes.text(edge + 0.01 * sign * k, y, text, ha="right" if on_left else "left", va="center", fontsize=9, color=INK, parse_math=False)
    for i, (best, worst) in enumerate(groups):
        y = top + 0.16 + 0.14 * i
        axes.hlines(y, ordered[best] - 0.01 * k, ordered[worst] + 0.01 * k, color=INK, linewidth=3.5, clip_on=False)
    return figure


def draw_balance(shares: Mapping[str, ArrayLike], class_names: Sequence[str], pool: ArrayLike | None, title: str) -> Figure:
    """What share of the picks of each cycle fell to each class: one panel per strategy, stacked bars, mean over runs.

    `shares` holds (cycles, classes) by strategy, counts or shares; rows are scaled to 1, and a row without picks stays empty. `pool`
    (classes,), where given, stands as a bar of its own on the right: what picking at random would tend to.
    """
    columns = min(len(shares), 3)
    lines = -(-len(shares) // columns)
    width, height = max(2.5 * columns + 0.7, 5.0), 0.9 + 2.0 * lines + 0.25 * (-(-len(class_names) // 5))
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    colours = _class_colours(len(class_names))
    for axes, name in zip(grid.flat, shares, strict=False):
        counts = np.asarray(shares[name], dtype=np.float64)
        x = np.arange(1, len(counts) + 1)
        if pool is not None:
            counts, x = np.vstack([counts, np.asarray(pool, dtype=np.float64)]), np.r_[x, len(counts) + 1.6]
        total = counts.sum(axis=1, keepdims=True)
        parts = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
        for c, bottom in enumerate((np.cumsum(parts, axis=1) - parts).T):
            axes.bar(x, parts[:, c], 0.9, bottom, color=colours[c], edgecolor="white", linewidth=0.4, label=class_names[c])
        every = -(-len(counts) // 8)
        ticks = {int(i): str(int(i)) for i in x[: len(x) - (pool is not None)][::every]}
        axes.set_xticks([*ticks, *([x[-1]] if pool is not None else [])], [*ticks.values(), *(["pool"] if pool is not None else [])])
        axes.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
        axes.set_title(name, loc="left", fontsize=9.5, color=INK, fontweight="bold", parse_math=False)
        axes.spines[:].set_visible(False)
        axes.tick_params(labelsize=8, colors=GREY, length=0)
        axes.margins(0.01)
        axes.set_xlabel("cycle", fontsize=8.5, color=GREY)
    for axes in grid.flat[len(shares) :]:
        axes.set_visible(False)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=5, fontsize=8, frameon=False, handlelength=1, handleheight=1)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK, parse_math=False)
    return figure


def draw_times(seconds: pd.Series, scores: pd.DataFrame, metric: str, title: str, x_label: str = "seconds per query") -> Figure:
    """What a strategy takes against what it reaches: a point per strategy at its `seconds` (logarithmic) and its mean score ± sample std.

    `scores` are runs x strategies (`analysis.curves.areas` or `finals`), `seconds` > 0 by strategy. Raises ValueError for seconds that a
    logarithm does not take.
    """
    means = scores.mean().sort_values()
    names = [str(name) for name in means.index]
    taken = {name: float(seconds.loc[name]) for name in names}
    for name, spent in taken.items():
        if not 0 < spent < np.inf:
            raise ValueError(f"{name} takes {spent} seconds: a logarithmic axis needs finite numbers above 0")
    figure, axes = _panel((6.8, 4.2), (0.12, 0.14, 0.7, 0.68), title, x_label, metric, pad=40)
    axes.set_xscale("log")
    palette = styles(names)
    for name in names:
        colour, marker, _ = palette[name]
        (std,) = np.nan_to_num(sample_std(scores[[name]].dropna().to_numpy(np.float64)))
        axes.errorbar(taken[name], means[name], std, color=colour, marker=marker, markersize=7, linewidth=1.3)
        above = {"rotation": 38, "rotation_mode": "anchor", "xytext": (2, 5 if std else 8), "textcoords": "offset points"}
        tip = (taken[name], means[name] + std)
        axes.annotate(name, tip, **above, fontsize=9, color=_dark(colour), annotation_clip=False, parse_math=False)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(0.08)
    return figure


def _panel(
    size: tuple[float, float], place: tuple[float, float, float, float], title: str, x: str, y: str, pad: int = 9
) -> tuple[Figure, Axes]:
    """A figure with one quiet pair of axes."""
    figure = Figure(figsize=size, dpi=DPI, facecolor="white")
    axes = figure.add_axes(place)
    axes.set_title(title, loc="left", fontsize=11, color=INK, pad=pad, parse_math=False)
    axes.set_xlabel(x, fontsize=9.5, color=INK)
    axes.set_ylabel(y.replace("_", " "), fontsize=9.5, color=INK, parse_math=False)
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(PALE)
    axes.tick_params(labelsize=9, colors=GREY, length=2.5, width=0.6)
    return figure, axes


def _label_ends(axes: Axes, ends: Mapping[str, tuple[float, float, str]]) -> None:
    """Write each name beside the end (x, y, colour) of its line, moved as little as keeps the names apart, with a thin line to it."""
    names = sorted(ends, key=lambda name: ends[name][1])
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    heights = _apart(np.array([ends[name][1] for name in names]), 0.055 * (high - low))
    for name, height in zip(names, heights, strict=True):
        x, y, colour = ends[name]
        link = {"arrowstyle": "-", "color": colour, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 4, "relpos": (0, 0.5)}
        where = {"xycoords": "data", "textcoords": ("axes fraction", "data"), "va": "center", "annotation_clip": False}
        look = {"color": _dark(colour), "fontsize": 9, "fontweight": "bold", "parse_math": False}
        axes.annotate(name, (x, y), (1.03, height), arrowprops=link, **where, **look)


def _apart(heights: Float[ndarray, " n"], gap: float) -> Float[ndarray, " n"]:
    """The rising heights nearest to `heights` (least squares) of which neighbours keep a gap."""
    steps = gap * np.arange(len(heights))
    return isotonic_regression(heights - steps).x + steps


def _dark(colour: str) -> tuple[float, float, float]:
    """The colour dark enough for letters on white."""
    r, g, b = (0.72 * part for part in to_rgb(colour))
    return r, g, b


def _class_colours(n: int) -> list:
    """Up to nine colours that any eye tells apart, else as many steps of a map that grows in lightness."""
    distinct = [*CLASS_COLOURS, "#999999"]
    return distinct[:n] if n <= len(distinct) else [mpl.colormaps["cividis"](i / (n - 1)) for i in range(n)]
