"""The picture of an advice: the curve with what it may become, and below it how the models agreed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.pictures.canvas import (
    BLUE,
    DPI,
    GREY,
    INK,
    PALE,
    VERMILION,
    heighten,
    quiet,
    rounded,
    wrapped,
    write_figure,
)
from experiments.stopping.advice import Advice, sentence

CHANGES_NO_RESULT = True

WIDTH, TOP, BELOW, LINE = 7.6, 3.0, 1.5, 0.17  # inches
STEADY = 0.99  # the threshold of `stopping.rules.stable`
SHOWN = 3  # rounds ahead


def save_advice(path: Path, advice: Advice, title: str) -> Path:
    """Write PNG or PDF: the metric over the labels with the interval of the last round, the range of the curves that
    fit (median and 95 % over families and bootstrap) for SHOWN rounds ahead, and the target; below, agreement and
    changed share on the stop set, where they are known. The sentence stands beneath.
    """
    rounds = advice.rounds
    with_stop = bool(np.isfinite(rounds.agreement).any())
    said = wrapped(sentence(advice), WIDTH - 0.4, 8.5)
    foot = 0.25 + LINE * (said.count("\n") + 1)
    height = 0.75 + TOP + (BELOW + 0.45 if with_stop else 0) + 0.5 + foot
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white")
    figure.text(0.2 / WIDTH, 1 - 0.16 / height, title, ha="left", va="top", fontsize=11, color=INK, parse_math=False)
    figure.text(0.2 / WIDTH, foot / height, said, ha="left", va="top", fontsize=8.5, color=INK, parse_math=False)

    def place(top: float, tall: float) -> Axes:
        axes = figure.add_axes((0.75 / WIDTH, 1 - (top + tall) / height, (WIDTH - 1.2) / WIDTH, tall / height))
        quiet(axes, 9.0)
        axes.grid(axis="y", color=PALE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
        return axes

    curve = place(0.75, TOP)
    _draw_curve(curve, advice)
    last = curve
    if with_stop:
        last = place(0.75 + TOP + 0.45, BELOW)
        _draw_stop_set(last, advice)
        last.set_xlim(curve.get_xlim())
    last.set_xlabel("labelled images", fontsize=9, color=GREY)
    return write_figure(figure, path)


def _draw_curve(axes: Axes, advice: Advice) -> None:
    rounds, expected = advice.rounds, advice.expected
    n, values = rounds.n_labelled, rounds.values
    axes.set_title(advice.metric.replace("_", " "), loc="left", fontsize=10.5, color=INK, fontweight="bold")
    if expected.fits:
        ahead = np.linspace(n[0], n[-1] + SHOWN * rounds.n_query, 200)
        low, middle, high = expected.range_at(ahead)
        past = ahead <= n[-1]
        axes.fill_between(ahead, low, high, where=(~past).tolist(), color=VERMILION, alpha=0.22, linewidth=0)
        axes.plot(ahead[past], middle[past], color=GREY, linewidth=0.9)
        axes.plot(ahead[~past], middle[~past], color=VERMILION, linewidth=1.4, linestyle=(0, (3, 2)))
    axes.plot(n, values, color=BLUE, linewidth=1.8, marker="o", markersize=4.5, zorder=3)
    found = advice.sample
    if np.isfinite([found.low, found.high]).all():
        axes.plot([n[-1]] * 2, [found.low, found.high], color=BLUE, linewidth=1.4, zorder=3)
    known = values[np.isfinite(values)]
    marks = {} if advice.target is None or not known.size else {"target": advice.target}
    for name, value in (heighten(axes, known, marks) if known.size else {}).items():
        axes.axhline(value, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        where = {"ha": "left", "va": "bottom", "transform": axes.get_yaxis_transform()}
        axes.text(0.01, value, f"{name} {rounded(value)}", color=GREY, fontsize=8, **where)


def _draw_stop_set(axes: Axes, advice: Advice) -> None:
    rounds = advice.rounds
    axes.set_title("agreement with the model before, and share changed", loc="left", fontsize=9.5, color=INK)
    look = {"linewidth": 1.5, "marker": "o", "markersize": 3.5, "clip_on": False}
    axes.plot(rounds.n_labelled, rounds.agreement, color=BLUE, label="agreement", **look)
    axes.plot(rounds.n_labelled, rounds.changed, color=VERMILION, label="changed", **look)
    axes.axhline(STEADY, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    axes.set_ylim(min(0.0, float(np.nanmin(rounds.agreement))), 1.0)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.legend(loc="center right", fontsize=8, frameon=False)
