"""Masks as Label Studio's brush writes them; `data.formats.brush` reads them and names the format."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray

from data.formats.brush import WORD

SIZES = (3, 6, 10, 16)  # bits of the four kinds of lengths: most runs of a mask are short
LONGEST = 2 ** SIZES[-1]


def packed(mask: Bool[ndarray, "h w"]) -> bytes:
    """The run lengths of a mask: four equal values for each pixel, 255 within and 0 outside."""
    values = np.repeat(mask.ravel(), 4)
    starts = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1])
    runs = np.diff(starts, append=len(values))
    pieces = -(-runs // LONGEST)  # of each run, all but the last of the greatest length
    lengths = np.full(pieces.sum(), LONGEST)
    lengths[np.cumsum(pieces) - 1] = runs - (pieces - 1) * LONGEST
    value = np.where(np.repeat(values[starts], pieces), 255, 0)
    which = np.searchsorted(2 ** np.array(SIZES), lengths)
    width = np.array(SIZES)[which]
    # a block: 1 for one value repeated, which size, the length less 1, the value
    code = (((1 << 2 | which) << width | (lengths - 1)) << WORD) | value
    head = [_bits(len(values), 32), _bits(WORD - 1, 5), *(_bits(size - 1, 4) for size in SIZES)]
    return np.packbits(np.concatenate([*head, _joined(code, 3 + width + WORD)])).tobytes()


def _bits(number: int, size: int) -> UInt8[ndarray, " size"]:
    return _joined(np.array([number]), np.array([size]))


def _joined(codes: ndarray, widths: ndarray) -> UInt8[ndarray, " bits"]:
    """The lowest bits of each number, as many as its width, one after another."""
    place = np.arange(int(widths.max()))
    shift = widths[:, None] - 1 - place
    return ((codes[:, None] >> np.maximum(shift, 0)) & 1).astype(np.uint8)[shift >= 0]
