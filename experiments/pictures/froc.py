"""Free-response curves of a run: how many lesions are found at which price in false positives, cycle by cycle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy import ndarray

from data.names import Refused
from experiments.measures.froc import FPS, sensitivity_at
from experiments.pictures.canvas import DPI, GREY, INK, PALE, write_figure

CHANGES_NO_RESULT = True

LEFT, RIGHT = 1 / 8, 16.0  # false positives per image that are drawn
TICKS = {1 / 8: "1/8", 1 / 4: "1/4", 1 / 2: "1/2", 1: "1", 2: "2", 4: "4", 8: "8", 16: "16"}
MOST_NAMES = 12


def save_froc(file: Path, curves: Mapping[str, Float[ndarray, "points 2"]], title: str, convention: str) -> Path:
    """Write the free-response curves of the cycles as PNG, the first pale, the last dark and with its sensitivities.

    `curves` maps a name, such as "40 labelled", to the corners of a staircase: false positives per image and
    sensitivity, both rising. Dots mark the operating points; dots beyond the end of a curve, where it is dotted, repeat
    its last value. `convention` says what counts as a hit and what becomes of second hits. Of more than 12 curves all
    are drawn and some named. Raises ValueError without curves.
    """
    if not curves:
        raise Refused("no free-response curve to draw: curves is empty")
    width, height = 7.6, 4.5
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    figure.text(0.2 / width, 1 - 0.16 / height, title, ha="left", va="top", fontsize=11, color=INK, parse_math=False)
    axes = figure.add_axes((0.75 / width, 0.62 / height, (width - 2.35) / width, (height - 1.5) / height))
    axes.set_title(f"sensitivity · {convention}", loc="left", fontsize=8.5, color=GREY, pad=19, parse_math=False)

    shades = (
        colormaps["viridis_r"](np.linspace(0.12, 1.0, len(curves))) if len(curves) > 1 else colormaps["viridis"]([0.0])
    )
    named = set(np.linspace(0, len(curves) - 1, min(len(curves), MOST_NAMES)).round().astype(int).tolist())
    for i, ((name, curve), shade) in enumerate(zip(curves.items(), shades, strict=True)):
        _staircase(axes, curve, tuple(shade), name if i in named else "_", last=i == len(curves) - 1)

    axes.set_xscale("log", base=2)
    axes.set_xlim(LEFT, RIGHT * 1.06)
    axes.set_ylim(0, 1.02)
    axes.set_xticks(list(TICKS), list(TICKS.values()))
    axes.set_xlabel("false positives per image", fontsize=9, color=GREY)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(PALE)
    axes.tick_params(labelsize=9, colors=GREY, length=2.5, width=0.6)
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    beside = {
        "loc": "upper left",
        "bbox_to_anchor": (1.03, 1.02),
        "borderaxespad": 0,
        "frameon": False,
        "reverse": True,
    }
    legend = axes.legend(fontsize=8.5, labelcolor=INK, handlelength=1.4, **beside)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return write_figure(figure, file)


def _staircase(axes: Axes, curve: Float[ndarray, "points 2"], colour: tuple[float, ...], name: str, last: bool) -> None:
    """One curve with its operating points; the last of a run is drawn thicker, with numbers."""
    line = 2.0 if last else 1.2
    x = np.maximum(curve[:, 0], LEFT / 2)  # a logarithmic axis has no 0; these lie left of what is drawn
    axes.plot(x, curve[:, 1], drawstyle="steps-post", color=colour, linewidth=line, label=name)
    end = x[-1], curve[-1, 1]
    if end[0] < RIGHT:
        axes.plot([end[0], RIGHT], [end[1], end[1]], color=colour, linewidth=line, linestyle=(0, (1, 2)))
    sensitivities = sensitivity_at(curve)
    axes.plot(
        FPS,
        sensitivities,
        linestyle="none",
        marker="o",
        markersize=5 if last else 3,
        color=colour,
        clip_on=False,
        zorder=3,
    )
    if last:
        for fps, value in zip(FPS, sensitivities, strict=True):
            label = {
                "textcoords": "offset points",
                "fontsize": 8,
                "color": colour,
                "ha": "center",
                "fontweight": "bold",
                "zorder": 4,
            }
            label["path_effects"] = [
                withStroke(linewidth=2.5, foreground="white")
            ]  # legible where the curve crosses it
            axes.annotate(f"{value:.2f}", (fps, value), (0, 7), annotation_clip=False, **label)
