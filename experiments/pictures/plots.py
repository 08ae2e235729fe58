"""Pictures of a run: its budget curve, and what a cycle of a segmentation run chose to label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy import ndarray
from numpy.typing import ArrayLike

from data.names import Refused
from experiments.pictures.canvas import (
    BLUE,
    CLASS_COLOURS,
    DPI,
    GREY,
    INK,
    PALE,
    PHOTO_DPI,
    free_side,
    heighten,
    quiet,
    rounded,
    score_histogram,
    write_figure,
)

CHANGES_NO_RESULT = True

OUTLINE = "#00E5C8"  # absent from stained tissue and from grey images
MAX_ROWS = 8


class PickedImage(TypedDict):
    """One image that was chosen for labelling."""

    name: str
    image: UInt8[ndarray, "h w channels"]  # 1 or 3 channels
    truth: Int[ndarray, "h w"]  # class of each pixel, 0 is background
    prediction: Float[ndarray, "c h w"]  # mean probabilities, c >= 2
    uncertainty: Float[ndarray, "h w"] | None  # any unit, higher is less certain; None where the heuristic has no map
    score: float  # NaN where the heuristic scores no single image


def save_curve(
    path: Path,
    n_labelled: ArrayLike,
    values_by_metric: Mapping[str, ArrayLike],
    title: str,
    main: str,
    trivial: Mapping[str, float] | None = None,
    full: Mapping[str, float] | None = None,
) -> Path:
    """Write the budget curve of one run as PNG: the metric `main` large, all others as small panels below it.

    `n_labelled` and each entry of `values_by_metric` are (T,); values that are not finite leave a gap. Dashed lines
    show what a prediction reaches that looks at no image, and what all labels reach, of the metrics in `trivial` and
    `full`. No axis shows less than `least_height`. Raises ValueError if `main` is no metric, or if lengths differ.
    """
    budgets = np.asarray(n_labelled, dtype=float)
    curves = {name: np.asarray(values, dtype=float) for name, values in values_by_metric.items()}
    if main not in curves:
        raise Refused(
            f"main metric {main!r} has no values; expected one of {', '.join(curves) or 'at least one metric'}"
        )
    for name, values in curves.items():
        if values.shape != budgets.shape or budgets.ndim != 1 or not budgets.size:
            raise Refused(
                f"metric {name!r} has values of shape {values.shape}, n_labelled {budgets.shape}: expected "
                "one per budget"
            )

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
    _curve(place(0.75, head + 0.36, width - 1.45, large - 1.0), budgets, curves[main], main, marks[main], large=True)
    for i, name in enumerate(others):
        row, column = divmod(i, columns)
        left = 0.62 + column * (width - 0.2) / columns
        axes = place(left, head + large + row * small + 0.32, (width - 0.2) / columns - 1.12, small - 0.72)
        _curve(axes, budgets, curves[name], name, marks[name])
    return write_figure(figure, path)


def _curve(
    axes: Axes, budgets: ndarray, values: ndarray, name: str, marks: Mapping[str, float], large: bool = False
) -> None:
    """One metric over the budget; its last value is written beside the point, the name of a mark on its line."""
    size, line, mark = (9.0, 2.0, 4.5) if large else (7.0, 1.3, 2.5)
    axes.plot(budgets, values, color=BLUE, linewidth=line, marker="o", markersize=mark, clip_on=False, zorder=3)
    known = np.flatnonzero(np.isfinite(values))
    if known.size:
        last = known[-1]
        label = {
            "textcoords": "offset points",
            "fontsize": size + 1,
            "color": BLUE,
            "va": "center",
            "annotation_clip": False,
        }
        axes.annotate(rounded(float(values[last])), (budgets[last], values[last]), (7, 0), fontweight="bold", **label)
    axes.set_title(
        name.replace("_", " "), loc="left", fontsize=size + 1.5, color=INK, fontweight="bold", pad=7, parse_math=False
    )
    quiet(axes, size)
    axes.yaxis.set_major_locator(MaxNLocator(5 if large else 3))
    axes.xaxis.set_major_locator(MaxNLocator(8 if large else 4, integer=True, min_n_ticks=1))
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(y=0.08)
    if known.size:
        for mark, value in heighten(axes, values[known], marks).items():
            axes.axhline(value, color=GREY, linewidth=0.7, linestyle=(0, (4, 3)), zorder=1)
            white = [withStroke(linewidth=2, foreground="white")]
            low_half = value < sum(axes.get_ylim()) / 2
            text = {"color": GREY, "fontsize": size - 1, "va": "bottom" if low_half else "top", "path_effects": white}
            x, side = free_side(values[known], value)
            axes.text(
                x, value, f"{mark} {rounded(value)}", ha=side, transform=axes.get_yaxis_transform(), zorder=2, **text
            )
    if not known.size:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no value", ha="center", va="center", fontsize=size, color=GREY, transform=axes.transAxes)
    beside = 0.02 * np.ptp(budgets) or 1.0
    axes.set_xlim(budgets.min() - beside, budgets.max() + beside)
    if large:
        axes.set_xlabel("labelled images", fontsize=size, color=GREY)


def save_picks(
    path: Path,
    rows: Sequence[PickedImage],
    scores_pool: ArrayLike,
    scores_picked: ArrayLike,
    title: str,
    class_names: Sequence[str],
) -> Path:
    """Write what one cycle chose as PNG: where the scores of the picks lie in the pool's, then one row of pictures per
    pick.

    A row shows the input, the truth, the mean prediction (probability of the foreground; for more than two classes the
    likeliest class), and the uncertainty map with the truth's outline. Uncertainty has one scale for all rows, from the
    0.5th to the 99.5th percentile. The first 8 rows are drawn and the title counts the rest. `scores_pool` (N,) holds
    the picked ones too; without any, the histogram is left out. `class_names` (C,) begins with the background. Images
    may differ in size. Raises ValueError without rows, or if a map does not fit its image or the classes.
    """
    if not rows:
        raise Refused("no picked image to draw: rows is empty")
    for row in rows:
        _check(row, len(class_names))
    drawn = rows[:MAX_ROWS]
    if len(rows) > len(drawn):
        title = f"{title} · {len(drawn)} of {len(rows)} picks drawn"
    maps = [row["uncertainty"] for row in drawn if row["uncertainty"] is not None]
    panels = ["input", "truth", "prediction", "uncertainty"][: 4 if maps else 3]

    cell, gap, margin, caption = 2.35, 0.1, 0.25, 0.27  # inches, as all below
    pool = np.asarray(scores_pool, dtype=float)
    histogram, foot = 1.0, 0.55
    head = 2.24 if pool.size else 0.76
    heights = [cell * min(row["image"].shape[0] / row["image"].shape[1], 1.6) for row in drawn]
    width = 2 * margin + len(panels) * cell + (len(panels) - 1) * gap
    height = head + sum(heights) + caption * len(drawn) + foot
    figure = Figure(figsize=(width, height), dpi=PHOTO_DPI, facecolor="white")
    figure.text(margin / width, 1 - 0.14 / height, title, ha="left", va="top", fontsize=11, color=INK, parse_math=False)

    def place(left: float, top: float, w: float, h: float) -> Axes:
        return figure.add_axes((left / width, 1 - (top + h) / height, w / width, h / height))

    if pool.size:
        score_histogram(
            place(margin, 0.48, width - 2 * margin, histogram), pool, np.asarray(scores_picked, dtype=float)
        )
    scale = (
        Normalize(*np.percentile(np.concatenate([m.ravel() for m in maps]), [0.5, 99.5])) if maps else Normalize(0, 1)
    )
    many = len(class_names) > 2
    top = head
    headings = {
        "input": "input",
        "truth": "ground truth",
        "prediction": "likeliest class" if many else f"probability of {class_names[1]}",
        "uncertainty": "uncertainty",
    }
    for column, panel in enumerate(panels):
        x = (margin + column * (cell + gap)) / width
        figure.text(
            x,
            1 - (top - 0.02) / height,
            headings[panel],
            fontsize=10,
            color=INK,
            fontweight="bold",
            va="bottom",
            parse_math=False,
        )
    for row, tall in zip(drawn, heights, strict=True):
        top += caption
        text = row["name"] if np.isnan(row["score"]) else f"{row['name']}   score {rounded(float(row['score']))}"
        figure.text(
            margin / width, 1 - (top - 0.05) / height, text, fontsize=8.5, color=GREY, va="bottom", parse_math=False
        )
        for column, panel in enumerate(panels):
            _picture(place(margin + column * (cell + gap), top, cell, tall), row, panel, scale, many)
        top += tall

    def bar(column: int, norm: Normalize, colours: str, steps: int) -> None:
        axes = place(margin + column * (cell + gap), top + 0.12, cell, 0.1)
        colour_bar = figure.colorbar(
            ScalarMappable(norm, colours), cax=axes, orientation="horizontal", ticks=MaxNLocator(steps)
        )
        colour_bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
        axes.tick_params(labelsize=7.5, colors=GREY, length=2)

    if many:
        patches = [Patch(facecolor=_colour(c), label=name) for c, name in enumerate(class_names) if c]
        legend = {
            "loc": "upper left",
            "fontsize": 8,
            "frameon": False,
            "ncols": min(len(patches), 4),
            "handlelength": 1,
            "labelcolor": INK,
        }
        corner = ((margin + cell + gap) / width, 1 - (top + 0.1) / height)
        figure.legend(handles=patches, bbox_to_anchor=corner, borderaxespad=0, **legend)
    else:
        bar(2, Normalize(0, 1), "viridis", 2)
    if maps:
        bar(3, scale, "magma", 4)
    return write_figure(figure, path)


def _check(row: PickedImage, n_classes: int) -> None:
    shape = row["image"].shape
    expected = {"truth": shape[:2], "prediction": (n_classes, *shape[:2]), "uncertainty": shape[:2]}
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise Refused(f"{row['name']}: image has shape {shape}, expected (H, W, 1) or (H, W, 3)")
    if n_classes < 2:
        raise Refused(f"{n_classes} class names: expected the background and at least one more")
    for name, wanted in expected.items():
        given = row[name]
        if given is not None and given.shape != wanted:
            raise Refused(f"{row['name']}: {name} has shape {given.shape}, expected {wanted}")


def _picture(axes: Axes, row: PickedImage, panel: str, scale: Normalize, many: bool) -> None:
    """Draw one panel of a row."""
    axes.set_axis_off()
    axes.set_anchor("NW")
    image, truth = row["image"], row["truth"]
    rgb = np.broadcast_to(image, (*image.shape[:2], 3))
    classes = [int(c) for c in np.flatnonzero(np.bincount(truth.ravel())) if c]
    if panel == "input":
        axes.imshow(rgb)
    elif panel == "truth":
        shade = rgb / 255
        for c in classes:
            shade[truth == c] = 0.8 * shade[truth == c] + 0.2 * np.array(to_rgb(_colour(c) if many else OUTLINE))
        axes.imshow(shade)
        _outline(axes, truth, classes, many, width=1.2)
    elif panel == "prediction" and many:
        palette = np.array([to_rgb(_colour(c)) for c in range(len(row["prediction"]))])
        axes.imshow(palette[row["prediction"].argmax(0)], interpolation="nearest")
    elif panel == "prediction":
        axes.imshow(row["prediction"][1], cmap="viridis", norm=Normalize(0, 1))
    elif row["uncertainty"] is None:
        axes.text(0.5, 0.5, "no map", ha="center", va="center", fontsize=8, color=GREY, transform=axes.transAxes)
    else:
        axes.imshow(row["uncertainty"], cmap="magma", norm=scale)
        _outline(axes, truth, classes, many=False, width=0.7)


def _outline(axes: Axes, truth: Int[ndarray, "h w"], classes: list[int], many: bool, width: float) -> None:
    if min(truth.shape) < 2:
        return  # a contour needs two pixels in both directions
    for c in classes:
        axes.contour(truth == c, levels=[0.5], colors=[_colour(c) if many else OUTLINE], linewidths=width)


def _colour(c: int) -> str:
    """Colour of a class; the background is near white, and colours repeat after 8 foreground classes."""
    return "#F2F2F2" if c == 0 else CLASS_COLOURS[(c - 1) % len(CLASS_COLOURS)]
