"""Small pictures for a page, and over them what a model makes of them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
from jaxtyping import Integer, UInt8
from numpy import ndarray
from PIL import Image

from experiments.rounds.contours import area, regions
from experiments.rounds.exports.colours import colour_of
from experiments.rounds.exports.target import inside
from experiments.rounds.suggestion import Prediction

SIDE, QUALITY = 256, 80  # pixels at most; of a JPEG
FINE = 2  # outlines are followed on a grid so much finer than the small picture
MOST_CORNERS = 4000  # of the outlines on one picture: else on its own grid, and then of the largest pieces
MOST_BOXES, NAMED = 60, 8  # boxes that are drawn, the surest first, and up to how many with their names


def small(picture: UInt8[ndarray, "h w channels"]) -> tuple[str, tuple[int, int]]:
    """The picture within SIDE x SIDE pixels as a data URI, and its width and height."""
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    image.save(written, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(written.getvalue()).decode(), image.size


def overlay(prediction: Prediction, classes: Sequence[str], size: tuple[int, int], width: int, height: int) -> str:
    """An SVG of the outlines or boxes of a file of `size` (height, width), on a picture of width x height; '' for
    classes of whole pictures.
    """
    if prediction.class_map is not None:
        grid, drawn = _outlines(prediction.class_map, width, height)
    elif prediction.boxes is not None:
        grid, drawn = (width, height), _boxes(prediction, classes, size, width, height)
    else:
        return ""
    return f'<svg class="overlay" viewBox="0 0 {grid[0]} {grid[1]}" aria-hidden="true">{drawn}</svg>'


def _outlines(class_map: Integer[ndarray, "h w"], width: int, height: int) -> tuple[tuple[int, int], str]:
    for fine in (FINE, 1):
        found = regions(_nearest(class_map, fine * width, fine * height), 0.5 * fine)
        corners = [sum(map(len, (region.outer, *region.holes))) for region in found]
        if sum(corners) <= MOST_CORNERS:
            break
    else:
        largest = np.argsort([-area(region.outer) for region in found], kind="stable")
        found = [found[i] for i in largest[np.cumsum(np.array(corners)[largest]) <= MOST_CORNERS]]
    drawn = ""
    for c in sorted({region.label for region in found}):
        rings = [ring for region in found if region.label == c for ring in (region.outer, *region.holes)]
        path = "".join(f"M{' '.join(map(str, ring.ravel().tolist()))}Z" for ring in rings)
        drawn += _twice(f'<path d="{path}"', colour_of(c - 1))
    return (fine * width, fine * height), drawn


def _boxes(prediction: Prediction, classes: Sequence[str], size: tuple[int, int], width: int, height: int) -> str:
    boxes = inside(prediction, size)
    boxes = boxes[np.argsort(-boxes[:, 5], kind="stable")][:MOST_BOXES]
    boxes[:, :4] *= np.tile([width / size[1], height / size[0]], 2)
    drawn = ""
    for x1, y1, x2, y2, c, score in boxes[::-1].tolist():  # the surest on top
        place = f'x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}"'
        drawn += _twice(f'<rect rx="1" {place}', colour_of(int(c)))
        if len(boxes) <= NAMED:
            below = y1 - 3 if y1 > 12 else y1 + 10
            text = escape(f"{classes[int(c)]} {score:.2f}")
            at, anchor = (x1 + 1, "start") if x1 < 0.6 * width else (x2 - 1, "end")
            style = f'text-anchor="{anchor}" style="--c:{colour_of(int(c))}"'
            drawn += f'<text x="{at:.1f}" y="{below:.1f}" {style}>{text}</text>'
    return drawn


def _twice(shape: str, colour: str) -> str:
    """A line in the colour of a class with a dark rim, which is seen on any tissue."""
    return f'{shape} class="rim"/>{shape} class="line" style="--c:{colour}"/>'


def _nearest(class_map: Integer[ndarray, "h w"], width: int, height: int) -> Integer[ndarray, "h2 w2"]:
    h, w = class_map.shape
    rows = ((np.arange(height) + 0.5) * h / height).astype(int)
    columns = ((np.arange(width) + 0.5) * w / width).astype(int)
    return class_map[rows[:, None], columns]
