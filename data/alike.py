"""Images that look alike on two sides of a division: a difference hash of 64 bits, and the brightness of its cells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt64
from numpy import ndarray

from data.store import Images

CHANGES_NO_RESULT = True

ROWS, COLUMNS = 8, 9  # cells of an image: each row gives 8 bits, whether a cell is brighter than its left neighbour
SIDE = 64  # pixels of the shorter side that are looked at, at least; larger images are sampled on a grid
CHUNK = 2**24  # values at a time
MOST_IMAGES, MOST_BYTES = 20_000, 10**9  # of a part; of a larger one as many are taken at equal distances
TOLERANCE = 3.0  # grey levels between the cells of images that look alike, on average
FLAT = 2.0  # standard deviation of the cells (grey levels) below which an image has nothing to be compared by


class Looks(NamedTuple):
    """What images of one part look like."""

    codes: UInt64[ndarray, " m"]
    cells: Float[ndarray, "m rows columns"]  # mean grey level of each cell
    positions: Int[ndarray, " m"]  # of the images within the part; flat ones are left out


def looks_of(images: Images) -> Looks:
    """Hash and cells of the images of a part, or of a regular sample of them."""
    n = len(images)
    shapes = images.pixels.shapes[images.rows]
    most = min(n, MOST_IMAGES, max(1, int(MOST_BYTES / max(1.0, shapes.prod(1).mean()))))
    sample = np.unique(np.linspace(0, n - 1, most).round().astype(np.int64))
    cells = np.empty((len(sample), ROWS, COLUMNS), np.float32)
    for members, pixels in _stacked(images, sample):
        cells[members] = _cells(pixels)
    bits = (cells[:, :, 1:] > cells[:, :, :-1]).reshape(len(sample), -1)
    codes = np.packbits(bits, axis=1).view(np.uint64)[:, 0]
    telling = cells.std((1, 2)) >= FLAT
    return Looks(codes[telling], cells[telling], sample[telling])


def alike(one: Looks, other: Looks) -> Iterator[tuple[int, int]]:
    """Positions of pairs: for each image of `other` that looks like one of `one`, the first of these, and itself."""
    shared = np.isin(one.codes, other.codes)
    having = defaultdict(list)
    for i in np.flatnonzero(shared).tolist():
        having[int(one.codes[i])].append(i)
    for j in np.flatnonzero(np.isin(other.codes, one.codes[shared])).tolist():
        others = having[int(other.codes[j])]
        distances = np.abs(one.cells[others] - other.cells[j]).mean((1, 2))
        near = np.flatnonzero(distances <= TOLERANCE)
        if len(near):
            yield int(one.positions[others[near[0]]]), int(other.positions[j])


def _stacked(images: Images, sample: Int[ndarray, " m"]) -> Iterator[tuple[Int[ndarray, " b"], ndarray]]:
    """Places within the sample of images of one size, and their pixels (b, h, w, channels), sampled on a grid."""
    _, kind = np.unique(images.pixels.shapes[images.rows[sample]], axis=0, return_inverse=True)
    for size in range(kind.max(initial=-1) + 1):
        members = np.flatnonzero(kind.reshape(-1) == size)
        h, w, channels = images.raw(int(sample[members[0]])).shape
        step = max(1, min(h, w) // SIDE)
        at_once = max(1, CHUNK // max(1, (h // step) * (w // step) * channels))
        for start in range(0, len(members), at_once):
            chosen = members[start : start + at_once]
            yield chosen, np.stack([images.raw(i)[::step, ::step] for i in sample[chosen].tolist()])


def _cells(pixels: ndarray) -> Float[ndarray, "b rows columns"]:
    grey = pixels.mean(3, dtype=np.float32)
    for axis, n in ((1, ROWS), (2, COLUMNS)):
        length = grey.shape[axis]
        starts = np.arange(n) * length // n  # of a side that is shorter than its cells some pixels stand twice
        widths = np.maximum(np.diff([*starts, length]), 1).astype(np.float32)
        grey = np.add.reduceat(grey, starts, axis) / widths.reshape([-1 if k == axis else 1 for k in range(3)])
    return grey
