"""Figures of a study, as in a paper: curves, penalty matrix, ranks, class balance of the picks, time and accuracy.

Each `draw_*` returns a figure; `experiments.pictures.canvas.write_figure` writes it as PNG or PDF. A strategy has the
same colour in all figures that name the same strategies. Figures grow with the number of strategies and the length of
names, so that no text covers or leaves anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy import ndarray
from numpy.typing import ArrayLike

from analysis.comparisons import cliques
from analysis.curves import Curves, sample_std
from analysis.figure_parts import LINE, ROW, TALL, TILT, WIDE, class_colours, label_above, label_ends, panel, styles
from analysis.wording import with_unit
from data.names import Refused
from experiments.pictures.canvas import DPI, GREY, INK, heighten, wrapped


def draw_curves(
    curves: Curves,
    metric: str,
    title: str,
    full: float | None = None,
    bands: Mapping[str, tuple[Float[ndarray, " t"], Float[ndarray, " t"]]] | None = None,
    x_label: str = "labelled images",
    trivial: tuple[str, float] | None = None,
) -> Figure:
    """Mean curves over the runs, labelled at their last values.

    Dashed lines stand for `full`, the value with all labels, and for `trivial`, name and value of a prediction that
    looks at no image. The axis is never lower than `experiments.pictures.canvas.least_height`.

    `bands` holds low and high (T,) by strategy, as `analysis.curves.mean_interval` does; without it they are one sample
    standard deviation from the mean, none for a strategy with a single run. Where the mean is NaN the line has a gap.
    """
    names = [*curves, *(["all labels"] if full is not None else []), *([trivial[0]] if trivial else [])]
    beside = max(1.73, 0.4 + 0.085 * max(map(len, names)))
    figure, axes = panel(title, x_label, with_unit(metric), tall=max(TALL, ROW * len(names)), beside=beside)
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10], integer=True, min_n_ticks=1))
    shade = min(0.12, 0.6 / len(curves))  # many bands would end in one grey
    ends = {}
    for name, (colour, marker, line) in styles(list(curves)).items():
        budgets, values = curves[name].columns.to_numpy(np.float64), curves[name].to_numpy(np.float64)
        mean, std = values.mean(axis=0), sample_std(values)
        low, high = bands[name] if bands else (mean - std, mean + std)
        axes.plot(budgets, mean, color=colour, linestyle=line, linewidth=1.8, marker=marker, markersize=4, zorder=3)
        axes.fill_between(budgets, low, high, color=colour, alpha=shade, linewidth=0 if len(budgets) > 1 else 8)
        last = np.flatnonzero(np.isfinite(mean))[-1:]
        ends[name] = (budgets[last].item(), mean[last].item(), colour) if last.size else (np.nan, np.nan, colour)
    if full is not None:
        axes.axhline(full, color=GREY, linewidth=1, linestyle="--")
        ends["all labels"] = (axes.get_xlim()[1], full, GREY)
    middle = pd.DataFrame({name: table.mean() for name, table in curves.items()}).mean(axis=1).dropna().tolist() or [
        0.0
    ]
    for name, value in heighten(axes, middle, dict([trivial] if trivial else [])).items():
        axes.axhline(value, color=GREY, linewidth=0.7, linestyle=(0, (2, 2)))
        ends[name] = (axes.get_xlim()[1], value, GREY)
    label_ends(axes, ends)
    return figure


def draw_penalties(matrix: pd.DataFrame, title: str) -> Figure:
    """Heat map of `analysis.comparisons.penalty_matrix`, best strategy first; below it each column's mean."""
    k = len(matrix)
    mean = matrix.to_numpy().sum(axis=0) / max(k - 1, 1)  # the diagonal is no comparison
    order = np.argsort(mean, kind="stable")
    names = [str(matrix.index[i]) for i in order]
    cells = np.vstack([matrix.to_numpy()[np.ix_(order, order)], mean[order]])
    shown = np.where(np.vstack([np.eye(k, dtype=bool), np.zeros((1, k), dtype=bool)]), np.nan, cells)
    rows = np.r_[np.arange(k), k + 0.25]  # the means stand apart
    longest = max(map(len, names))
    cell = 0.56 if k < 10 else 0.42
    side, left = cell * k, 0.3 + 0.078 * max(longest, 5)
    beside = max(
        0.25, *(0.3 + 0.055 * len(name) - cell * (k - i - 0.5) for i, name in enumerate(names))
    )  # the names above are tilted
    width = max(left + side + beside, 4.6)
    title = wrapped(title, width - 0.3, 11.0)
    top = 0.5 + LINE * title.count("\n") + 0.045 * longest + 0.2
    height = top + side + 1.25 * cell + 0.4
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    figure.text(0.15 / width, 1 - 0.15 / height, title, ha="left", va="top", fontsize=11, color=INK, parse_math=False)
    axes = figure.add_axes((left / width, 0.3 / height, side / width, (height - top - 0.3) / height))
    colours = mpl.colormaps["Blues"].with_extremes(bad="white")
    for y, row in zip(rows, shown, strict=True):
        axes.imshow(row[None], cmap=colours, vmin=0, vmax=1, extent=(-0.5, k - 0.5, y + 0.5, y - 0.5), aspect="auto")
        for x, value in enumerate(row):
            text = "" if np.isnan(value) else f"{value:.2f}" if value else "0"
            ink = "white" if value > 0.55 else INK if value else GREY
            axes.text(x, y, text, ha="center", va="center", fontsize=9, color=ink)
    axes.set_xlim(-0.5, k - 0.5)
    axes.set_ylim(k + 0.75, -0.5)
    axes.set_xticks(range(k), names, rotation=35, ha="left", parse_math=False)
    axes.set_yticks(rows, [*names, "mean"], parse_math=False)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=9, labelcolor=INK)
    axes.spines[:].set_visible(False)
    figure.text(
        0.15 / width, 0.12 / height, "share of budgets at which the row beats the column", fontsize=8, color=GREY
    )
    return figure


def draw_ranks(mean_ranks: pd.Series, difference: float, title: str) -> Figure:
    """Critical-difference diagram: strategies on an axis of mean ranks, best left; bars join those that do not differ.

    `difference` is `analysis.comparisons.critical_difference`.
    """
    ordered = mean_ranks.sort_values()
    k, half = len(ordered), (len(ordered) + 1) // 2
    groups = cliques(ordered, difference)
    first = 0.42 + 0.14 * len(groups)  # inches below the axis, as all heights here
    deep = first + 0.27 * half
    beside = max(1.7, 0.9 + 0.075 * max(len(str(name)) for name in ordered.index))
    wide = max(4.0, 0.22 * k)
    width = wide + 2 * beside
    title = wrapped(title, width - 0.4, 11.0)
    top = 0.95 + LINE * title.count("\n")
    height = top + deep + 0.1
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    figure.text(0.2 / width, 1 - 0.15 / height, title, ha="left", va="top", fontsize=11, color=INK, parse_math=False)
    axes = figure.add_axes((beside / width, 0, wide / width, 1))
    axes.set_axis_off()
    axes.set_xlim(1, max(k, 2))
    axes.set_ylim(height, 0)
    axes.hlines(top, 1, max(k, 2), color=INK, linewidth=1)
    for rank in range(1, k + 1):
        axes.vlines(rank, top - 0.06, top, color=INK, linewidth=1, clip_on=False)
        axes.text(rank, top - 0.1, str(rank), ha="center", va="bottom", fontsize=8.5, color=GREY)
    right = max(k, 2)
    axes.hlines(top - 0.33, right - difference, right, color=GREY, linewidth=1.5, clip_on=False)
    axes.text(
        right + 0.03 * k,
        top - 0.33,
        f"critical difference {difference:.2f}",
        ha="left",
        va="center",
        fontsize=8.5,
        color=GREY,
    )
    palette = styles([str(name) for name in ordered.index])
    for i, (name, rank) in enumerate(ordered.items()):
        on_left = i < half
        y = top + first + 0.27 * (i if on_left else k - 1 - i)
        edge, sign = (1 - 0.03 * k, -1) if on_left else (right + 0.03 * k, 1)
        colour = palette[str(name)][0]
        axes.plot([rank, rank, edge], [top, y, y], color=colour, linewidth=1.3, clip_on=False)
        text = f"{name}  {rank:.2f}" if on_left else f"{rank:.2f}  {name}"
        axes.text(
            edge + 0.01 * sign * k,
            y,
            text,
            ha="right" if on_left else "left",
            va="center",
            fontsize=9,
            color=INK,
            parse_math=False,
        )
    for i, (best, worst) in enumerate(groups):
        y = top + 0.16 + 0.14 * i
        axes.hlines(y, ordered[best] - 0.01 * k, ordered[worst] + 0.01 * k, color=INK, linewidth=3.5, clip_on=False)
    return figure


def draw_balance(
    shares: Mapping[str, ArrayLike], class_names: Sequence[str], pool: ArrayLike | None, title: str
) -> Figure:
    """What share of the picks of each cycle fell to each class: one panel per strategy, stacked bars, mean over runs.

    `shares` holds (cycles, classes) by strategy, counts or shares; rows are scaled to 1, and a row without picks stays
    empty. `pool` (classes,), where given, stands as a bar of its own on the right: what picking at random would tend
    to.
    """
    columns = min(len(shares), 3)
    lines = -(-len(shares) // columns)
    width = max(2.5 * columns + 0.7, 5.0)
    abreast = int(
        np.clip((width - 0.2) / (0.5 + 0.068 * max(map(len, class_names))), 1, 5)
    )  # class names beside each other
    height = 0.9 + 2.0 * lines + 0.25 * (-(-len(class_names) // abreast))
    figure = Figure(
        figsize=(width, height), dpi=DPI, facecolor="white", layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
    )
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    colours = class_colours(len(class_names))
    for axes, name in zip(grid.flat, shares, strict=False):
        counts = np.asarray(shares[name], dtype=np.float64)
        x = np.arange(len(counts))
        if pool is not None:
            counts, x = np.vstack([counts, np.asarray(pool, dtype=np.float64)]), np.r_[x, len(counts) + 0.6]
        total = counts.sum(axis=1, keepdims=True)
        parts = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
        for c, bottom in enumerate((np.cumsum(parts, axis=1) - parts).T):
            look = {"edgecolor": "white", "linewidth": min(0.4, 8 / len(x)), "label": class_names[c]}
            axes.bar(x, parts[:, c], 0.9, bottom, color=colours[c], **look)
        ticks = {float(i): f"{i:g}" for i in x[:: -(-len(x) // 8)]}
        if pool is not None:  # its name needs room, and stands at no whole number
            ticks = {i: text for i, text in ticks.items() if x[-1] - i > 0.15 * len(x)} | {float(x[-1]): "pool"}
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
        axes.set_title(
            wrapped(name, 2.2, 9.5), loc="left", fontsize=9.5, color=INK, fontweight="bold", parse_math=False
        )
        axes.spines[:].set_visible(False)
        axes.tick_params(labelsize=8, colors=GREY, length=0)
        axes.margins(0.01)
        axes.set_xlabel("cycle", fontsize=8.5, color=GREY)
    for axes in grid.flat[len(shares) :]:
        axes.set_visible(False)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    look = {"ncols": abreast, "fontsize": 8, "frameon": False, "handlelength": 1, "handleheight": 1}
    legend = figure.legend(handles, labels, loc="outside lower left", **look)
    for text in legend.get_texts():
        text.set_parse_math(False)
    figure.suptitle(wrapped(title, width - 0.2, 11.0), x=0.01, ha="left", fontsize=11, color=INK, parse_math=False)
    return figure


def draw_times(
    seconds: pd.Series, scores: pd.DataFrame, metric: str, title: str, x_label: str = "seconds per query"
) -> Figure:
    """What a strategy takes against what it reaches: its `seconds` (logarithmic) and its mean score ± sample std.

    `scores` are runs x strategies (`analysis.curves.areas` or `finals`), `seconds` > 0 by strategy. Raises ValueError
    for seconds that a logarithm does not take.
    """
    means = scores.mean()
    taken = {str(name): float(seconds.loc[name]) for name in means.index}
    for name, spent in taken.items():
        if not 0 < spent < np.inf:
            raise Refused(f"{name} takes {spent} seconds: a logarithmic axis needs finite numbers above 0")
    longest, wide = max(map(len, taken)), max(WIDE, ROW / np.sin(TILT) * len(taken))
    above, beside = 0.35 + 0.08 * np.sin(TILT) * longest, 0.2 + 0.08 * np.cos(TILT) * longest
    figure, axes = panel(title, x_label, with_unit(metric), wide, beside=beside, above=above)
    tips = {}
    for name, (colour, marker, _) in styles(list(taken)).items():
        (std,) = np.nan_to_num(sample_std(scores[[name]].dropna().to_numpy(np.float64)))
        axes.errorbar(taken[name], means[name], std, color=colour, marker=marker, markersize=7, linewidth=1.3)
        tips[name] = (taken[name], means[name] + std, colour)
    span = max(taken.values()) / min(taken.values())
    room = span**0.06 if span > 1 else 2.0
    axes.set_xscale("log")
    axes.set_xlim(min(taken.values()) / room, max(taken.values()) * room)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if span < 300 else (1,)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    label_above(axes, tips)
    return figure
