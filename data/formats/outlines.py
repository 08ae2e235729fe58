"""Outlines of objects as annotation tools write them: polygons, and the run lengths of COCO."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from skimage.draw import polygon

from data.formats.coco_table import finite_numbers
from data.names import Refused


def polygons_of(outline: Any) -> list[Float[ndarray, "_ 2"]] | None:
    """The polygons of a COCO segmentation as corners (x, y) in pixels; None where it is none of polygons."""
    if not isinstance(outline, list) or not outline:
        return None
    if not isinstance(outline[0], list):  # one polygon without the list around it
        outline = [outline]
    found = []
    for points in outline:
        if isinstance(points, list) and points and isinstance(points[0], list):  # [[x, y], ...]
            points = [side for point in points if isinstance(point, list) for side in point]
        numbers = finite_numbers(points)
        if numbers is None or len(numbers) < 6 or len(numbers) % 2 or not np.isfinite(numbers).all():
            return None
        found.append(np.array(numbers).reshape(-1, 2))
    return found


def around(outline: Any, size: tuple[int, int] | None) -> list[float] | None:
    """x1, y1, x2, y2 around a segmentation; None where it cannot be understood. `size` is (width, height)."""
    polygons = polygons_of(outline)
    if polygons is not None:
        points = np.concatenate(polygons)
        return [*points.min(0).tolist(), *points.max(0).tolist()]
    if not isinstance(outline, dict) or size is None:
        return None
    mask = run_lengths(outline, size[1], size[0], "a segmentation")
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]


def filled(polygons: list[Float[ndarray, "_ 2"]], height: int, width: int) -> Bool[ndarray, "h w"]:
    """The pixels whose centres lie in any of the polygons; corners are edges of pixels counted from 0."""
    mask = np.zeros((height, width), bool)
    for points in polygons:
        mask[polygon(points[:, 1] - 0.5, points[:, 0] - 0.5, (height, width))] = True
    return mask


def run_lengths(outline: dict, height: int, width: int, where: str) -> Bool[ndarray, "h w"]:
    """The mask of COCO's run lengths: pixels down the columns, first those outside; as numbers or as packed text."""
    counts, size = outline.get("counts"), finite_numbers(outline.get("size"), 2)
    if size != [height, width]:
        raise Refused(f"{where} is run lengths of size {outline.get('size')}, expected [{height}, {width}]")
    runs = _unpacked(counts, where) if isinstance(counts, str) else finite_numbers(counts)
    if runs is None or any(not 0 <= run <= height * width or run != int(run) for run in runs):
        raise Refused(f"{where} has counts {str(counts)[:60]!r}, expected lengths of runs")
    if sum(runs) != height * width:
        raise Refused(f"{where} has runs of {sum(runs):g} pixels, expected {height * width} ({width} x {height})")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, np.array(runs, np.int64)).reshape(width, height).T


def _unpacked(text: str, where: str) -> list[float]:
    """Runs from COCO's text: 5 bits a character, signed, from the third on differences to the run two before."""
    runs: list[int] = []
    place = 0
    while place < len(text):
        value = shift = 0
        while True:
            if place == len(text):
                raise Refused(f"{where} has counts that end in the middle of a number")
            code = ord(text[place]) - 48
            if not 0 <= code < 64 or shift > 60:
                raise Refused(f"{where} has counts with {text[place]!r}, which is no part of packed run lengths")
            value |= (code & 31) << shift
            place, shift = place + 1, shift + 5
            if not code & 32:
                break
        if code & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    return [float(run) for run in runs]
