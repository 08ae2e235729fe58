"""A picture of what one cycle of a segmentation run chose to label: each image beside its truth and its prediction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy import ndarray
from numpy.typing import ArrayLike

from data.names import Refused
from experiments.pictures.canvas import CLASS_COLOURS, GREY, INK, PHOTO_DPI, rounded, score_histogram, write_figure

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


def save_picks(
    path: Path,
    rows: Sequence[PickedImage],
    scores_pool: ArrayLike,
    scores_picked: ArrayLike,
    title: str,
    class_names: Sequence[str],
) -> Path:
    """Write what one cycle chose as PNG: where the picks' scores lie in the pool's, then one row of pictures per pick.

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
        picked = np.asarray(scores_picked, dtype=float)
        score_histogram(place(margin, 0.48, width - 2 * margin, histogram), pool, picked)
    together = np.concatenate([m.ravel() for m in maps]) if maps else np.array([0.0, 1.0])
    scale = Normalize(*np.percentile(together, [0.5, 99.5]))
    many = len(class_names) > 2
    top = head
    headings = {
        "input": "input",
        "truth": "ground truth",
        "prediction": "likeliest class" if many else f"probability of {class_names[1]}",
        "uncertainty": "uncertainty",
    }
    for column, panel in enumerate(panels):
        corner = (margin + column * (cell + gap)) / width, 1 - (top - 0.02) / height
        figure.text(*corner, headings[panel], fontsize=10, color=INK, fontweight="bold", va="bottom", parse_math=False)
    for row, tall in zip(drawn, heights, strict=True):
        top += caption
        text = row["name"] if np.isnan(row["score"]) else f"{row['name']}   score {rounded(float(row['score']))}"
        corner = margin / width, 1 - (top - 0.05) / height
        figure.text(*corner, text, fontsize=8.5, color=GREY, va="bottom", parse_math=False)
        for column, panel in enumerate(panels):
            _picture(place(margin + column * (cell + gap), top, cell, tall), row, panel, scale, many)
        top += tall

    def bar(column: int, norm: Normalize, colours: str, steps: int) -> None:
        axes = place(margin + column * (cell + gap), top + 0.12, cell, 0.1)
        values, ticks = ScalarMappable(norm, colours), MaxNLocator(steps)
        colour_bar = figure.colorbar(values, cax=axes, orientation="horizontal", ticks=ticks)
        colour_bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
        axes.tick_params(labelsize=7.5, colors=GREY, length=2)

    if many:
        patches = [Patch(facecolor=_colour(c), label=name) for c, name in enumerate(class_names) if c]
        columns = min(len(patches), 4)
        legend = {"fontsize": 8, "frameon": False, "ncols": columns, "handlelength": 1, "labelcolor": INK}
        corner = ((margin + cell + gap) / width, 1 - (top + 0.1) / height)
        figure.legend(handles=patches, loc="upper left", bbox_to_anchor=corner, borderaxespad=0, **legend)
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
