"""The figure of several studies: the rank of each strategy on each dataset, and on how many it beat which other."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from analysis.figure_parts import COLOURS, LINE, MARKERS
from experiments.pictures.canvas import DPI, GREY, INK, PALE, wrapped

ROW = 0.27  # inches
RANKS = 3.1  # width of the axis of ranks


def draw_across(ranks: pd.DataFrame, wins: pd.DataFrame, difference: float, title: str) -> Figure:
    """Two panels with a row for each strategy, best mean rank first.

    On the left its rank on each dataset (`ranks`, sets x strategies) and their mean, with the critical difference as a
    bar; on the right the number of datasets on which it was shown to beat the strategy of the column (`wins`).
    """
    mean = ranks.mean().sort_values(kind="stable")
    names = [str(name) for name in mean.index]
    k, n_sets = len(names), len(ranks)
    letters = 0.078 * max(map(len, names))
    side, left, gap = ROW * k, 0.25 + letters, 0.35
    width = left + RANKS + gap + side + 0.25 + 0.6 * letters
    title = wrapped(title, width - 0.3, 11.0)
    above = 0.4 + LINE * title.count("\n") + 0.8 * letters
    below = 0.75 + 0.2 * (-(-n_sets // 3))
    height = above + side + below
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    figure.text(0.15 / width, 1 - 0.15 / height, title, ha="left", va="top", fontsize=11, color=INK, parse_math=False)
    axes = figure.add_axes((left / width, below / height, RANKS / width, side / height))
    for row, name in enumerate(names):
        axes.axhline(row, color=PALE, linewidth=0.6, zorder=0)
        axes.plot([mean[name]], [row], marker="|", markersize=14, markeredgewidth=2.4, color=INK, zorder=4)
    for i, dataset in enumerate(ranks.index):
        look = {"color": COLOURS[i % 6], "marker": MARKERS[i % 6], "markersize": 5, "alpha": 0.85}
        rows = [float(r) for r in ranks.loc[dataset, names]]
        axes.plot(rows, range(k), linestyle="none", label=str(dataset), zorder=3, **look)
    axes.set_xlim(0.5, k + 0.5)
    axes.set_ylim(k - 0.5, -0.9)
    axes.plot([1, min(1 + difference, k + 0.5)], [-0.7, -0.7], color=GREY, linewidth=2.2, solid_capstyle="butt")
    axes.text(1, -0.85, f"critical difference {difference:.1f}", fontsize=7.5, color=GREY, va="bottom")
    axes.set_yticks(range(k), names, parse_math=False)
    axes.set_xlabel("rank by mean area on each dataset (1 is best); bar: mean", fontsize=8.5, color=INK)
    axes.tick_params(labelsize=8.5, colors=INK, length=0)
    axes.spines[:].set_visible(False)
    legend = figure.legend(
        loc="lower left", bbox_to_anchor=(0.15 / width, 0.05 / height), ncols=3, fontsize=8, frameon=False
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    _draw_wins(figure, wins.loc[names, names], n_sets, ((left + RANKS + gap) / width, below / height), side)
    return figure


def _draw_wins(figure: Figure, wins: pd.DataFrame, n_sets: int, place: tuple[float, float], side: float) -> None:
    width, height = figure.get_size_inches()
    axes = figure.add_axes((*place, side / width, side / height))
    cells, k = wins.to_numpy(float), len(wins)
    axes.imshow(cells, cmap=mpl.colormaps["Blues"], vmin=0, vmax=n_sets, aspect="auto")
    for (row, column), value in [((r, c), cells[r, c]) for r in range(k) for c in range(k) if r != c]:
        ink = "white" if value > 0.55 * n_sets else INK if value else PALE
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color=ink)
    axes.set_ylim(k - 0.5, -0.9)
    axes.set_xticks(range(k), [str(name) for name in wins.columns], rotation=50, ha="left", parse_math=False)
    axes.xaxis.tick_top()
    axes.set_yticks([])
    axes.tick_params(labelsize=8.5, colors=INK, length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(f"of {n_sets} datasets, shown to beat", fontsize=8.5, color=INK)
