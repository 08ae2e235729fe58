"""What all figures share: colours, sizes, the height of an axis and marks beside a curve, and how a figure is written.

Figures are built without pyplot, so that no backend, window or global style of the caller is touched; files appear
whole or not at all. Colours are those of Okabe and Ito (2008, Color Universal Design) and perceptually uniform maps,
told apart with any colour vision.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy import ndarray
from numpy.typing import ArrayLike

from data.files import atomic
from data.names import Refused

CHANGES_NO_RESULT = True

BLUE, VERMILION, INK, GREY, PALE = "#0072B2", "#D55E00", "#222222", "#6E6E6E", "#D9D9D9"
CLASS_COLOURS = (
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
    "#000000",
)  # foreground classes 1, 2, ...
DPI = 150
PHOTO_DPI = 120  # photographs hardly compress: 8 rows are 4 MB, at 150 dots per inch 6 MB


def least_height(values: ArrayLike) -> float:
    """What an axis shows at least, lest noise look like a rise: a tenth of the largest value, of shares 0.05."""
    known = np.abs(np.asarray(values, dtype=float))
    largest = float(known.max(initial=0.0, where=np.isfinite(known)))
    return max(0.1 * largest, 0.05 if largest <= 1 else 0.0)


def free_side(curve: Sequence[float] | ndarray, mark: float) -> tuple[float, str]:
    """Where to write about a mark, as a share of the axes and an alignment: at the end of the curve farther from it."""
    return (0.99, "right") if abs(curve[-1] - mark) > abs(curve[0] - mark) else (0.01, "left")


def heighten(axes: Axes, curve: Sequence[float] | ndarray, marks: Mapping[str, float]) -> dict[str, float]:
    """Make an axis that fits `curve` at least `least_height` high; let it hold the near marks, and return these.

    A mark that is farther away than the axis is high would flatten the curves: it is named at the edge.
    """
    low, high = axes.get_ylim()
    more = max(least_height(curve) - (high - low), 0.0) / 2
    low, high = low - more, high + more
    tall = high - low
    near = {name: value for name, value in marks.items() if low - tall <= value <= high + tall}
    low, high = (
        min([low, *(v - 0.04 * tall for v in near.values())]),
        max([high, *(v + 0.04 * tall for v in near.values())]),
    )
    axes.set_ylim(low, high)
    for below in (True, False):
        far = {n: v for n, v in marks.items() if n not in near and np.isfinite(v) and (v < low) == below}
        if far:
            text = ("↓ " if below else "↑ ") + ", ".join(f"{n} {rounded(v)}" for n, v in far.items())
            (x, side), (y, edge) = free_side(curve, min(far.values())), (0.02, "bottom") if below else (0.98, "top")
            look = {"fontsize": 7.5, "color": GREY, "parse_math": False, "zorder": 4}
            look["path_effects"] = [withStroke(linewidth=2, foreground="white")]
            axes.text(x, y, text, ha=side, va=edge, transform=axes.transAxes, **look)
    return near


def score_histogram(axes: Axes, pool: Float[ndarray, " n"], picked: Float[ndarray, " q"]) -> None:
    """Scores of the pool as bars, those of the picks as marks on top of them."""
    counts, _, _ = axes.hist(
        pool, bins=min(41, max(11, len(pool) // 4 | 1)), color=PALE, edgecolor="white", linewidth=0.5
    )
    tallest = float(np.max(counts)) or 1.0
    axes.vlines(picked, 0, 1.12 * tallest, color=VERMILION, linewidth=0.8, alpha=0.8)
    axes.plot(
        picked,
        np.full(len(picked), 1.16 * tallest),
        linestyle="none",
        marker="v",
        markersize=5,
        color=VERMILION,
        clip_on=False,
    )
    axes.set_ylim(0, 1.2 * tallest)
    axes.set_yticks([])
    quiet(axes, 8.0)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(7))
    axes.set_xlabel(f"score · {len(pool)} images in the pool, {len(picked)} picked (marked)", fontsize=8.5, color=GREY)


def rounded(value: float) -> str:
    return f"{value:.3f}" if 0.01 <= abs(value) < 10 or value == 0 else f"{value:.3g}"


def quiet(axes: Axes, size: float) -> None:
    """Leave the axes without box, with short grey ticks."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(PALE)
    axes.tick_params(labelsize=size, colors=GREY, length=2.5, width=0.6)


def write_figure(figure: Figure, path: Path) -> Path:
    """Write what the ending of `path` says, .png or .pdf, whole or not at all; ValueError for other endings.

    Text in a PDF stays text.
    """
    path, kind = Path(path), kind_of_figure(path)
    undated = {"CreationDate": None} if kind == "pdf" else None  # equal figures are equal files
    # TrueType: journals refuse matplotlib's default, Type 3
    with atomic(path) as beside, mpl.rc_context({"pdf.fonttype": 42}):
        figure.savefig(beside, format=kind, metadata=undated)
    return path


def kind_of_figure(path: Path) -> str:
    """png or pdf, as the ending of the path says. ValueError for other endings."""
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in ("png", "pdf"):
        raise Refused(f"{path}: a figure is written as .png or .pdf")
    return kind


def wrapped(text: str, inches: float, points: float) -> str:
    """The text in lines that fit into a width, in letters of this size."""
    return textwrap.fill(text, max(int(inches / (0.0085 * points)), 8))
