"""Pictures of more than 8 bits become 8-bit images: which of their values are black and white.

One hot pixel must not decide that. The window of a set reaches from its smallest to its largest value, unless those are
outliers: then from percentile 0.1 or to 99.9. A value is an outlier where it lies further outside the percentiles than
these are apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from data.names import Refused

OUTSIDE = 0.001  # the share of pixels on each side that may be outliers
SAMPLED = 2**14  # values taken of a picture that has others than those counted one by one
COUNTED = (-(2**15), 2**16)  # whole numbers that are counted one by one


class Window(NamedTuple):
    """The value that becomes 0 and the one that becomes 255."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


FULL = Window(0, 2**16 - 1)  # of 16 bits without a sign


class Tally:
    """The values of a set of pictures, gathered one by one: whole numbers of up to 16 bits by count, others sampled."""

    def __init__(self) -> None:
        self._counts = np.zeros(COUNTED[1] - COUNTED[0], np.int64)
        self._values: list[ndarray] = []
        self._weights: list[ndarray] = []

    def add(self, values: ndarray) -> None:
        """Add the pixels of a picture; those that are no numbers do not count."""
        if values.dtype.kind in "iu" and values.dtype.itemsize <= 2:
            counts = np.bincount(values.ravel().astype(np.int64) - COUNTED[0], minlength=len(self._counts))
            self._counts += counts
            return
        finite = values[np.isfinite(values)].astype(np.float64)
        if not len(finite):
            return
        step = max(1, len(finite) // SAMPLED)
        sample = np.concatenate([finite[::step], [finite.min(), finite.max()]])
        weights = np.full(len(sample), float(step))
        weights[-2:] = 0  # the extremes are known, but have been counted
        self._values.append(sample)
        self._weights.append(weights)

    def _levels(self) -> tuple[Float[ndarray, " v"], Float[ndarray, " v"]]:
        """The values in rising order and how often each occurs."""
        present = np.flatnonzero(self._counts)
        values = np.concatenate([(present + COUNTED[0]).astype(np.float64), *self._values])
        weights = np.concatenate([self._counts[present].astype(np.float64), *self._weights])
        order = np.argsort(values, kind="stable")
        return values[order], weights[order]

    @property
    def extremes(self) -> Window:
        """The smallest and the largest value."""
        values, _ = self._levels()
        return Window(*(values[[0, -1]].tolist() if len(values) else (0.0, 0.0)))

    def window(self) -> Window:
        """The robust window; the extremes where all but outliers is one value."""
        values, weights = self._levels()
        if not len(values):
            return Window(0.0, 1.0)
        outside = max(1.0, OUTSIDE * weights.sum())
        below = np.cumsum(weights)
        low = values[np.searchsorted(below, outside, side="right").clip(max=len(values) - 1)]
        above = np.cumsum(weights[::-1])
        high = values[::-1][np.searchsorted(above, outside, side="right").clip(max=len(values) - 1)]
        span, least, most = high - low, values[0], values[-1]
        if span <= 0:
            low, high = least, most
        else:
            low = least if least >= low - span else low
            high = most if most <= high + span else high
        return Window(float(low), float(high if high > low else low + 1))


def robust(values: ndarray) -> Window:
    """The robust window of one picture."""
    tally = Tally()
    tally.add(values)
    return tally.window()


def to_bytes(values: ndarray, window: Window, inverted: bool = False) -> UInt8[ndarray, "..."]:
    """Values as 0..255, those outside the window clipped; `inverted` where the lowest is white. NaN is the lowest."""
    wide = values.dtype.itemsize > 2
    scaled = (values.astype(np.float64 if wide else np.float32) - window.low) * 255 / (window.high - window.low)
    pixels = np.nan_to_num(np.rint(scaled), nan=0.0, posinf=255.0, neginf=0.0).clip(0, 255).astype(np.uint8)
    return 255 - pixels if inverted else pixels


def require_window(window: Sequence[float | int] | None) -> Window | None:
    """The option `window` as a Window. Refused unless it is [low, high]."""
    if not window:
        return None
    if len(window) != 2 or not window[0] < window[1]:
        raise Refused(f"window={list(window)!r} must be two numbers, the value that becomes black and a larger one")
    return Window(float(window[0]), float(window[1]))
