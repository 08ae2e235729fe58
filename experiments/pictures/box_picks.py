"""A picture of what one cycle of a detection run chose to label: each image with true and found boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy import ndarray
from numpy.typing import ArrayLike

from data.names import Refused
from experiments.pictures.canvas import GREY, INK, PHOTO_DPI, rounded, score_histogram, write_figure
from experiments.pictures.class_picks import shortened

CHANGES_NO_RESULT = True

MAX_PICTURES, COLUMNS = 12, 2
LEAST_SCORE, MOST_BOXES = 0.3, 20  # of the detections that are drawn
PANEL, TALLEST = 2.8, 1.25  # width of an image in inches, as all sizes below, and its height at most, in widths
LETTERS = 44  # of the caption's font, beside each other below an image
POINT = 1 / 72
LINE, RIM, TAG = 1.2, 0.5, 5.5  # of a box, of the darkness on either side of it, of the letters above it; in points
ROOM = (LINE + 2 * RIM) * POINT  # around an image for the lines of boxes at its border
DARK = "#1A1A1A"
# Classes 0, 1, ...: with a dark rim they stand out from stained and grey tissue, and from each other for all eyes
BOX_COLOURS = ("#00E5C8", "#F0E442", "#D55E00", "#FFFFFF", "#0072B2", "#CC79A7", "#E69F00", "#009E73")
DOTTED = {
    "color": "#E6E6E6",
    "linewidth": 0.8,
    "linestyle": (0, (1, 2)),
    "path_effects": [withStroke(linewidth=1.4, foreground=DARK)],
}


class PickedPicture(TypedDict):
    """One image that was chosen for labelling; boxes are xyxy in pixels, edges counted from 0."""

    name: str
    image: UInt8[ndarray, "h w channels"]  # 1 or 3 channels
    truth: Float[ndarray, "n 5"]  # boxes and their class, revealed by the choice
    boxes: Float[ndarray, "m 4"]  # detections before the choice
    labels: Int[ndarray, " m"]  # their class
    scores: Float[ndarray, " m"]  # and its probability, 0..1
    proposals: Float[ndarray, "m 4"]  # from which they were regressed
    score: float  # NaN where the heuristic scores no single image


def save_box_gallery(
    path: Path,
    pictures: Sequence[PickedPicture],
    n_picked: int,
    scores_pool: ArrayLike,
    scores_picked: ArrayLike,
    title: str,
    classes: Sequence[str],
) -> Path:
    """Write what one cycle chose as PNG: where the picks' scores lie in the pool's, then the images, best first.

    Each image stands there twice: with its true boxes, and with the detections (at most 20, with a score of 0.3 or
    more, which is written above the box) and the proposals they came from. Boxes have the colour of their class; where
    more than 8 `classes` (the foreground's) share the colours, its name is written as well. The first 12 images are
    drawn; where `n_picked` is more, the title says so. `scores_pool` (N,) holds the picked ones too; without any, the
    histogram is left out. Images may differ in size. Raises ValueError without pictures, or for one whose image or
    boxes have wrong shapes or whose classes are unknown.
    """
    if not pictures:
        raise Refused("no picked image to draw: pictures is empty")
    for picture in pictures:
        _check(picture, len(classes))
    drawn = pictures[:MAX_PICTURES]
    if n_picked > len(drawn):
        title = f"{title} · {len(drawn)} of {n_picked} picks drawn"

    pool = np.asarray(scores_pool, dtype=float)
    between, gap, margin, caption, head, key = 0.08, 0.34, 0.25, 0.5, 0.5, 0.55
    chart = 1.55 if pool.size else 0.0
    grid = [drawn[i : i + COLUMNS] for i in range(0, len(drawn), COLUMNS)]
    heights = [max(_height(picture) for picture in row) for row in grid]
    pair = 2 * PANEL + between
    width = 2 * margin + COLUMNS * pair + (COLUMNS - 1) * gap
    height = head + chart + key + sum(heights) + caption * len(grid)
    figure = Figure(figsize=(width, height), dpi=PHOTO_DPI, facecolor="white")

    def place(left: float, top: float, w: float, h: float) -> Axes:
        return figure.add_axes((left / width, 1 - (top + h) / height, w / width, h / height))

    def write(left: float, top: float, text: str, size: float, colour: str) -> None:
        figure.text(
            left / width, 1 - (top + size * POINT) / height, text, fontsize=size, color=colour, parse_math=False
        )

    write(margin, 0.16, title, 11.0, INK)
    if pool.size:
        score_histogram(place(margin, head, width - 2 * margin, 0.95), pool, np.asarray(scores_picked, dtype=float))
    top = head + chart
    _legend(figure, drawn, classes, (margin / width, 1 - top / height))
    write(
        margin,
        top + 0.2,
        f"found: detections that score {LEAST_SCORE:g} or more, at most {MOST_BOXES} per image",
        8.0,
        GREY,
    )
    top += key
    for row, tall in zip(grid, heights, strict=True):
        for column, picture in enumerate(row):
            left, below = margin + column * (pair + gap), top + tall + 0.06
            right = left + PANEL + between
            truth, shown = picture["truth"], _shown(picture["scores"])
            axes = place(left - ROOM, top - ROOM, PANEL + 2 * ROOM, tall + 2 * ROOM)
            _draw_image(axes, picture)
            _draw_boxes(axes, truth[:, :4], truth[:, 4].astype(int), classes)
            axes = place(right - ROOM, top - ROOM, PANEL + 2 * ROOM, tall + 2 * ROOM)
            _draw_image(axes, picture)
            _draw_proposals(axes, picture["proposals"][shown])
            _draw_boxes(axes, picture["boxes"][shown], picture["labels"][shown], classes, picture["scores"][shown])
            write(left, below, f"truth · {len(truth)} {'box' if len(truth) == 1 else 'boxes'}", 8.0, INK)
            write(right, below, f"found · {len(shown)} of {len(picture['scores'])} detections", 8.0, INK)
            write(left, below + 0.15, shortened(picture["name"], LETTERS), 7.5, GREY)
            if not np.isnan(picture["score"]):
                write(right, below + 0.15, f"score {rounded(picture['score'])}", 7.5, GREY)
        top += tall + caption
    return write_figure(figure, path)


def _check(picture: PickedPicture, n_classes: int) -> None:
    name, shape, m = picture["name"], picture["image"].shape, len(picture["scores"])
    if len(shape) != 3 or shape[2] not in (1, 3) or 0 in shape:
        raise Refused(f"{name}: image has shape {shape}, expected (h, w, 1) or (h, w, 3)")
    expected = {
        "truth": (len(picture["truth"]), 5),
        "boxes": (m, 4),
        "labels": (m,),
        "scores": (m,),
        "proposals": (m, 4),
    }
    for part, wanted in expected.items():
        if picture[part].shape != wanted:
            raise Refused(f"{name}: {part} has shape {picture[part].shape}, expected {wanted}")
    for part, labels in (("truth", picture["truth"][:, 4]), ("labels", picture["labels"])):
        if unknown := [int(c) for c in labels if not 0 <= c < n_classes]:
            raise Refused(f"{name}: {part} names class {unknown[0]}, expected 0 to {n_classes - 1}")


def _shown(scores: Float[ndarray, " m"]) -> Int[ndarray, " shown"]:
    """Indices of the detections that are drawn, the surest last and so on top."""
    surest = np.argsort(-scores, kind="stable")[:MOST_BOXES]
    return surest[scores[surest] >= LEAST_SCORE][::-1]


def _height(picture: PickedPicture) -> float:
    h, w = picture["image"].shape[:2]
    return PANEL * min(h / w, TALLEST)


def _draw_image(axes: Axes, picture: PickedPicture) -> None:
    """The image in the coordinates of its boxes."""
    h, w = picture["image"].shape[:2]
    room = ROOM * h / _height(picture)
    axes.set_axis_off()
    axes.imshow(np.broadcast_to(picture["image"], (h, w, 3)), extent=(0, w, h, 0), interpolation="antialiased")
    axes.set(xlim=(-room, w + room), ylim=(h + room, -room), anchor="NW")


def _draw_boxes(
    axes: Axes,
    boxes: Float[ndarray, "m 4"],
    labels: Int[ndarray, " m"],
    classes: Sequence[str],
    scores: Float[ndarray, " m"] | None = None,
) -> None:
    """Solid boxes, their lines outside of what they hold; above them the score and, if need be, the class."""
    frame = -axes.get_xlim()[0]  # width of a line with its rim: that of the room around the image
    rim = [withStroke(linewidth=LINE + 2 * RIM, foreground=DARK)]
    for m, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        colour = BOX_COLOURS[label % len(BOX_COLOURS)]
        corner, (w, h) = box[:2] - frame / 2, box[2:] - box[:2] + frame
        axes.add_patch(
            Rectangle((corner[0], corner[1]), w, h, fill=False, edgecolor=colour, linewidth=LINE, path_effects=rim)
        )
        words = [] if scores is None else [f"{scores[m]:.2f}".removeprefix("0")]
        if len(classes) > len(BOX_COLOURS):
            words.append(classes[int(label)])
        if words:
            _tag(axes, box, " ".join(words), colour)


def _tag(axes: Axes, box: Float[ndarray, "4"], text: str, colour: str) -> None:
    """The text above the box; below it where the image ends, and inside where both ends are near."""
    (h, w), frame, (x1, y1, x2, y2) = axes.images[0].get_size(), -axes.get_xlim()[0], box
    letter = TAG * POINT * frame / ROOM  # its height in pixels of the image
    ha, x = ("left", x1) if x1 + 0.7 * letter * len(text) < w else ("right", x2)
    if y1 > 1.8 * letter:
        va, y = "bottom", y1 - 1.2 * frame
    elif y2 + 1.8 * letter < h:
        va, y = "top", y2 + 1.2 * frame
    else:
        va, y = "top", y1 + 1.2 * frame
    paper = {"facecolor": colour, "edgecolor": DARK, "linewidth": RIM, "pad": 0.6}
    ink = "white" if np.dot(to_rgb(colour), (0.3, 0.59, 0.11)) < 0.5 else DARK
    axes.text(x, y, text, fontsize=TAG, color=ink, ha=ha, va=va, bbox=paper, parse_math=False, zorder=3)


def _draw_proposals(axes: Axes, boxes: Float[ndarray, "m 4"]) -> None:
    for x1, y1, x2, y2 in boxes:
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, **DOTTED))


def _legend(
    figure: Figure, drawn: Sequence[PickedPicture], classes: Sequence[str], corner: tuple[float, float]
) -> None:
    """The colours of the classes that occur, unless their names stand at the boxes, and the dotted line."""
    present = sorted({int(c) for p in drawn for c in (*p["truth"][:, 4], *p["labels"][_shown(p["scores"])])})
    rim = [withStroke(linewidth=2 + 2 * RIM, foreground=DARK)]
    named = present if len(classes) <= len(BOX_COLOURS) else []
    lines = [
        Line2D([], [], color=BOX_COLOURS[c], linewidth=2, solid_capstyle="butt", path_effects=rim, label=classes[c])
        for c in named
    ]
    lines.append(Line2D([], [], label="proposal that a detection came from", **DOTTED))
    look = {
        "fontsize": 8,
        "frameon": False,
        "labelcolor": INK,
        "borderpad": 0,
        "borderaxespad": 0,
        "columnspacing": 1.5,
    }
    legend = figure.legend(handles=lines, loc="upper left", bbox_to_anchor=corner, ncols=len(lines), **look)
    for text in legend.get_texts():
        text.set_parse_math(False)
