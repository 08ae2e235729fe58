"""The figure of scored stopping rules: what each spends too much, and what it gives away."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figure_parts import COLOURS, LINE, MARKERS
from experiments.pictures.canvas import DPI, GREY, INK, PALE, wrapped

ROW, WIDE = 0.24, 2.7  # inches
PANELS = {"too_many": "labels too many, % of the budget", "lost": "metric lost to the full budget, %"}


def draw_rules(found: Mapping[str, pd.DataFrame]) -> Figure:
    """Two panels with a row for each rule: mean and 95 % interval of the labels beyond the oracle's, and of the metric
    that is lost against the full budget; one colour a task. `found`: title -> `analysis.stopping.means`.
    """
    rules = list(dict.fromkeys(str(rule) for table in found.values() for rule in table.index))
    left, gap = 0.3 + 0.075 * max(map(len, rules)), 0.3
    width, tall = left + 2 * WIDE + gap + 0.25, ROW * len(rules)
    titles = [wrapped(title, width - 0.6, 8.5) for title in found]
    below = 0.65 + LINE * sum(title.count("\n") + 1 for title in titles) + 0.1
    height = 0.45 + tall + below
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    figure.text(0.15 / width, 1 - 0.12 / height, "Rules that end labelling", va="top", fontsize=11, color=INK)
    for i, (name, label) in enumerate(PANELS.items()):
        at = (left + i * (WIDE + gap)) / width, below / height, WIDE / width, tall / height
        axes = figure.add_axes(at)
        _draw(axes, found, rules, name)
        axes.set_xlabel(label, fontsize=9, color=INK)
        axes.set_yticks(range(len(rules)), rules if i == 0 else [""] * len(rules), parse_math=False)
    handles = figure.axes[0].get_legend_handles_labels()[0]
    where = {"loc": "lower left", "bbox_to_anchor": (0.1 / width, 0.02 / height)}
    legend = figure.legend(handles, titles, fontsize=8.5, frameon=False, **where)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def _draw(axes: Axes, found: Mapping[str, pd.DataFrame], rules: list[str], name: str) -> None:
    for row in range(len(rules)):
        axes.axhline(row, color=PALE, linewidth=0.6, zorder=0)
    for i, (title, table) in enumerate(found.items()):
        known = table.reindex(rules)
        middle, low, high = (100 * known[f"{name}{end}"].to_numpy(float) for end in ("", "_low", "_high"))
        y = np.arange(len(rules)) + 0.16 * (i - (len(found) - 1) / 2)
        axes.hlines(y, np.maximum(low, 0), high, color=COLOURS[i % 6], linewidth=1.3)
        look = {"color": COLOURS[i % 6], "marker": MARKERS[i % 6], "markersize": 4.5, "linestyle": "none"}
        axes.plot(middle, y, label=title, zorder=3, **look)
    axes.set_ylim(len(rules) - 0.5, -0.5)
    axes.set_xlim(left=-0.5)
    axes.tick_params(labelsize=8.5, colors=GREY, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(PALE)
