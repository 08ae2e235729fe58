"""The picture of a run's budget curve: its main metric large, all others small below it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy import ndarray
from numpy.typing import ArrayLike

from data.names import Refused
from experiments.pictures.canvas import BLUE, DPI, GREY, INK, PALE, free_side, heighten, quiet, rounded, write_figure

CHANGES_NO_RESULT = True


def save_curve(
    path: Path,
    n_labelled: ArrayLike,
    values_by_metric: Mapping[str, ArrayLike],
    title: str,
    main: str,
    trivial: Mapping[str, float] | None = None,
    full: Mapping[str, float] | None = None,
    beside: Mapping[str, Mapping[str, float]] | None = None,
    along: str = "labelled images",
) -> Path:
    """Write the budget curve of one run as PNG: the metric `main` large, all others as small panels below it.

    `n_labelled` (or what `along` names) and each entry of `values_by_metric` are (T,); values that are not finite leave
    a gap. Dashed lines show what a prediction reaches that looks at no image, and what all labels reach, of the metrics
    in `trivial` and `full`, and by name whatever else a metric stands `beside`. No axis shows less than `least_height`.
    Raises ValueError if `main` is no metric, or if lengths differ.
    """
    budgets = np.asarray(n_labelled, dtype=float)
    curves = {name: np.asarray(values, dtype=float) for name, values in values_by_metric.items()}
    if main not in curves:
        known = ", ".join(curves) or "at least one metric"
        raise Refused(f"main metric {main!r} has no values; expected one of {known}")
    for name, values in curves.items():
        if values.shape != budgets.shape or budgets.ndim != 1 or not budgets.size:
            shapes = f"values of shape {values.shape}, n_labelled {budgets.shape}"
            raise Refused(f"metric {name!r} has {shapes}: expected one per budget")

    others = [name for name in curves if name != main]
    columns = 3
    rows = -(-len(others) // columns)
    width, head, large, small = 7.6, 0.42, 3.5, 1.75
    height = head + large + rows * small
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    figure.text(0.2 / width, 1 - 0.16 / height, title, ha="left", va="top", fontsize=11, color=INK, parse_math=False)

    def place(left: float, top: float, w: float, h: float) -> Axes:
        return figure.add_axes((left / width, 1 - (top + h) / height, w / width, h / height))

    marks = {n: {k: v[n] for k, v in (("trivial", trivial), ("all labels", full)) if v and n in v} for n in curves}
    marks = {name: {**known, **(beside or {}).get(name, {})} for name, known in marks.items()}
    _curve(place(0.75, head + 0.36, width - 1.45, large - 1.0), budgets, curves[main], main, marks[main], along)
    for i, name in enumerate(others):
        row, column = divmod(i, columns)
        left = 0.62 + column * (width - 0.2) / columns
        axes = place(left, head + large + row * small + 0.32, (width - 0.2) / columns - 1.12, small - 0.72)
        _curve(axes, budgets, curves[name], name, marks[name])
    return write_figure(figure, path)


def _curve(
    axes: Axes,
    budgets: Float[ndarray, " t"],
    values: Float[ndarray, " t"],
    name: str,
    marks: Mapping[str, float],
    large: str = "",
) -> None:
    """One metric over the budget; its last value is written beside the point, the name of a mark on its line.

    `large` is what the budget counts where the panel is the large one.
    """
    size, line, mark = (9.0, 2.0, 4.5) if large else (7.0, 1.3, 2.5)
    axes.plot(budgets, values, color=BLUE, linewidth=line, marker="o", markersize=mark, clip_on=False, zorder=3)
    known = np.flatnonzero(np.isfinite(values))
    if known.size:
        last = known[-1]
        place = {"xy": (budgets[last], values[last]), "xytext": (7, 0), "textcoords": "offset points", "va": "center"}
        look = {"fontsize": size + 1, "fontweight": "bold", "color": BLUE, "annotation_clip": False}
        axes.annotate(rounded(float(values[last])), **place, **look)
    look = {"fontsize": size + 1.5, "fontweight": "bold", "color": INK}
    axes.set_title(name.replace("_", " "), loc="left", y=1.0, pad=7, parse_math=False, **look)
    quiet(axes, size)
    axes.yaxis.set_major_locator(MaxNLocator(5 if large else 3))
    axes.xaxis.set_major_locator(MaxNLocator(8 if large else 4, integer=True, min_n_ticks=1))
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(y=0.08)
    if known.size:
        for mark, value in heighten(axes, values[known], marks).items():
            axes.axhline(value, color=GREY, linewidth=0.7, linestyle=(0, (4, 3)), zorder=1)
            x, side = free_side(values[known], value)
            where = {"ha": side, "va": "bottom" if value < sum(axes.get_ylim()) / 2 else "top", "zorder": 2}
            white = [withStroke(linewidth=2, foreground="white")]
            look = {"color": GREY, "fontsize": size - 1, "path_effects": white}
            axes.text(x, value, f"{mark} {rounded(value)}", transform=axes.get_yaxis_transform(), **where, **look)
    if not known.size:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no value", ha="center", va="center", fontsize=size, color=GREY, transform=axes.transAxes)
    beside = 0.02 * np.ptp(budgets) or 1.0
    axes.set_xlim(budgets.min() - beside, budgets.max() + beside)
    if large:
        axes.set_xlabel(large, fontsize=size, color=GREY)
