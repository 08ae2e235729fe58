"""Pieces of the figures of a study: how strategies look, one quiet panel, and names that stand apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy import ndarray
from scipy.optimize import isotonic_regression

from experiments.pictures.canvas import CLASS_COLOURS, DPI, GREY, INK, PALE, wrapped

COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
)  # Okabe and Ito (2008), without the yellow no line shows in
MARKERS = ("o", "s", "^", "D", "v", "P")
BASELINE = "random"  # black in every figure
LINES = ("-", "--", ":")
WIDE, TALL, ROW, LINE = (
    4.75,
    3.34,
    0.185,
    0.18,
)  # inches: axes; from one name beside them, or one line of a title, to the next
TILT = np.radians(50)  # of the names above the axes


def styles(names: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """Colour, marker and line of each strategy; marker and line change when the six colours begin again."""
    others = [name for name in sorted(names) if name != BASELINE]
    found = {name: (COLOURS[i % 6], MARKERS[(i + i // 6) % 6], LINES[i // 6 % 3]) for i, name in enumerate(others)}
    return found | ({BASELINE: ("#000000", "o", "-")} if BASELINE in names else {})


def panel(
    title: str, x: str, y: str, wide: float = WIDE, tall: float = TALL, beside: float = 0.3, above: float = 0.1
) -> tuple[Figure, Axes]:
    """A figure with one quiet pair of axes, this `wide` and `tall`, with room `beside` and `above` them; inches."""
    width = 0.75 + wide + beside
    title = wrapped(title, width - 0.85, 11.0)
    height = 0.55 + tall + above + 0.3 + LINE * (title.count("\n") + 1)
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    axes = figure.add_axes((0.75 / width, 0.55 / height, wide / width, tall / height))
    figure.text(0.75 / width, 1 - 0.2 / height, title, ha="left", va="top", fontsize=11, color=INK, parse_math=False)
    axes.set_xlabel(x, fontsize=9.5, color=INK)
    axes.set_ylabel(y, fontsize=9.5, color=INK, parse_math=False)
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(PALE)
    axes.tick_params(labelsize=9, colors=GREY, length=2.5, width=0.6)
    return figure, axes


def label_ends(axes: Axes, ends: Mapping[str, tuple[float, float, str]]) -> None:
    """Write each name beside the end (x, y, colour) of its line, with a line to it, moved little enough to part them.

    The name of a line without any value, whose end is NaN, stands at the bottom.
    """
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    tall = axes.get_window_extent().height / DPI
    heights = {name: 0 if np.isnan(y) else tall * (y - low) / (high - low) for name, (_, y, _) in ends.items()}
    names = sorted(ends, key=heights.__getitem__)
    for name, height in zip(names, _apart(np.array([heights[name] for name in names]), ROW, tall), strict=True):
        _label(axes, name, ends[name], (1.03, height / tall), va="center", fontweight="bold")


def label_above(axes: Axes, tips: Mapping[str, tuple[float, float, str]]) -> None:
    """Write each name above the axes, in the order of the tips (x, y, colour), with a thin line to its own."""
    names = sorted(tips, key=lambda name: tips[name][0])
    axes.set_ylim(axes.get_ylim())
    wide = axes.get_window_extent().width / DPI
    places = axes.transAxes.inverted().transform(axes.transData.transform([tips[name][:2] for name in names]))[:, 0]
    for name, place in zip(names, _apart(wide * places, ROW / np.sin(TILT), wide), strict=True):
        tilted = {"rotation": np.degrees(TILT), "rotation_mode": "anchor", "va": "center"}
        _label(
            axes, name, tips[name], ((place + 0.05) / wide, 1.03), **tilted
        )  # half a letter on: the line begins at the lower left


def _label(
    axes: Axes, name: str, end: tuple[float, float, str], place: tuple[float, float], **look: float | str
) -> None:
    """Write a name at a place, in shares of the axes, with a thin line to the end (x, y, colour) if there is one."""
    x, y, colour = end
    link = {
        "arrowstyle": "-",
        "color": colour,
        "linewidth": 0.7,
        "shrinkA": 0,
        "shrinkB": 4,
        "relpos": (0, 0.5 * ("rotation" not in look)),
    }
    written = {"color": _dark(colour), "fontsize": 9, "annotation_clip": False, "parse_math": False, **look}
    axes.annotate(
        name, (x, y), place, textcoords="axes fraction", arrowprops=link if np.isfinite(y) else None, **written
    )


def _apart(places: Float[ndarray, " n"], gap: float, end: float) -> Float[ndarray, " n"]:
    """The rising places in 0..end nearest to `places` (least squares) whose neighbours keep a gap; all must fit."""
    steps = gap * np.arange(len(places))
    return np.clip(isotonic_regression(places - steps).x, 0, end - steps[-1]) + steps


def _dark(colour: str) -> tuple[float, float, float]:
    """The colour dark enough for letters on white."""
    r, g, b = (0.72 * part for part in to_rgb(colour))
    return r, g, b


def class_colours(n: int) -> list:
    """Up to nine colours that any eye tells apart, else as many steps of a map that grows in lightness."""
    distinct = [*CLASS_COLOURS, "#999999"]
    return distinct[:n] if n <= len(distinct) else [mpl.colormaps["cividis"](i / (n - 1)) for i in range(n)]
