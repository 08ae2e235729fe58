"""A picture of what one cycle of a classification run chose to label: thumbnails with name, class and score."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure
from numpy import ndarray
from numpy.typing import ArrayLike

from data.names import Refused
from experiments.pictures.canvas import GREY, INK, PHOTO_DPI, VERMILION, rounded, score_histogram, write_figure

CHANGES_NO_RESULT = True

COLUMNS, MAX_THUMBNAILS = 8, 48
CELL = 1.25  # inches, as all sizes below
LETTERS = 21  # of the caption's font, beside each other in a cell


class Thumbnail(TypedDict):
    """One image that was chosen for labelling."""

    name: str
    image: UInt8[ndarray, "h w channels"]  # 1 or 3 channels
    truth: str  # name of its class, revealed by the choice
    predicted: str  # name of the likeliest class before the choice
    probability: float  # of that class, 0..1
    score: float  # NaN where the heuristic scores no single image


def save_gallery(
    path: Path,
    thumbnails: Sequence[Thumbnail],
    n_picked: int,
    scores_pool: ArrayLike,
    scores_picked: ArrayLike,
    title: str,
) -> Path:
    """Write what one cycle chose as PNG: where the picks' scores lie in the pool's, then the images, best first.

    Below each image stand its name, the predicted class with its probability, and the score; where the prediction was
    wrong, it is marked and the true class stands below it. The first 48 are drawn; where `n_picked` is more, the title
    says so. `scores_pool` (N,) holds the picked ones too; without any, the histogram is left out. Images may differ in
    size. Raises ValueError without thumbnails, or for an image that has neither 1 nor 3 channels.
    """
    if not thumbnails:
        raise Refused("no picked image to draw: thumbnails is empty")
    for thumbnail in thumbnails:
        shape = thumbnail["image"].shape
        if len(shape) != 3 or shape[2] not in (1, 3) or 0 in shape:
            raise Refused(f"{thumbnail['name']}: image has shape {shape}, expected (h, w, 1) or (h, w, 3)")
    drawn = thumbnails[:MAX_THUMBNAILS]
    if n_picked > len(drawn):
        title = f"{title} · {len(drawn)} of {n_picked} picks drawn"

    pool = np.asarray(scores_pool, dtype=float)
    gap, margin, caption, head = 0.14, 0.25, 0.64, 0.5
    chart = 1.55 if pool.size else 0.0
    rows = -(-len(drawn) // COLUMNS)
    width = 2 * margin + COLUMNS * CELL + (COLUMNS - 1) * gap
    height = head + chart + rows * (CELL + caption) + margin
    figure = Figure(figsize=(width, height), dpi=PHOTO_DPI, facecolor="white")
    figure.text(margin / width, 1 - 0.14 / height, title, ha="left", va="top", fontsize=11, color=INK, parse_math=False)
    if pool.size:
        axes = figure.add_axes((margin / width, 1 - (head + 0.95) / height, 1 - 2 * margin / width, 0.95 / height))
        score_histogram(axes, pool, np.asarray(scores_picked, dtype=float))
    for number, thumbnail in enumerate(drawn):
        row, column = divmod(number, COLUMNS)
        left, top = margin + column * (CELL + gap), head + chart + row * (CELL + caption)
        axes = figure.add_axes((left / width, 1 - (top + CELL) / height, CELL / width, CELL / height))
        axes.set_axis_off()
        axes.imshow(
            _colour_of(thumbnail["image"]),
            interpolation="nearest" if max(thumbnail["image"].shape) < 128 else "antialiased",
        )
        for line, (text, colour) in enumerate(_caption(thumbnail)):
            y = 1 - (top + CELL + 0.04 + 0.135 * line) / height
            figure.text(left / width, y, text, ha="left", va="top", fontsize=6.5, color=colour, parse_math=False)
    return write_figure(figure, path)


def _caption(thumbnail: Thumbnail) -> list[tuple[str, str]]:
    """The lines below an image and their colours."""
    wrong = thumbnail["predicted"] != thumbnail["truth"]
    lines = [
        (shortened(thumbnail["name"], LETTERS), GREY),
        (
            f"{shortened(thumbnail['predicted'], LETTERS - 5)} {thumbnail['probability']:.2f}",
            VERMILION if wrong else INK,
        ),
    ]
    if wrong:
        lines.append((shortened(f"is {thumbnail['truth']}", LETTERS), VERMILION))
    if not np.isnan(thumbnail["score"]):
        lines.append((f"score {rounded(thumbnail['score'])}", GREY))
    return lines


def shortened(text: str, letters: int) -> str:
    """The text, or its beginning and its end where it is longer: file names differ at their end."""
    if len(text) <= letters:
        return text
    tail = (letters - 1) // 2
    return f"{text[: letters - 1 - tail]}…{text[len(text) - tail :]}"


def _colour_of(image: UInt8[ndarray, "h w channels"]) -> UInt8[ndarray, "h w rgb"]:
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
