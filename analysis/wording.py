"""How numbers are written in tables: three digits, what is missing as a dash, what lies beyond the last budget as `> 44`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def number(value: float) -> str:
    """Three digits behind the point; a dash for NaN."""
    return "–" if np.isnan(value) else f"{value:.3f}"


def with_spread(mean: float, std: float) -> str:
    """Mean ± standard deviation, which a single value has not."""
    return number(mean) if np.isnan(std) else f"{number(mean)} ± {number(std)}"


def interval(low: float, high: float, write: Callable[[float], str] = number) -> str:
    """From low to high; a dash where there is none."""
    return "–" if np.isnan(low) else f"{write(low)} to {write(high)}"


def labels(value: float, first: float, last: float) -> str:
    """A number of labels; inf is more than the last budget, and where a curve begins at its target nobody knows how few would do."""
    return f"> {last:g}" if np.isinf(value) else f"≤ {first:g}" if value <= first else f"{value:.0f}"


def saved(value: float) -> str:
    """Labels saved; inf where only the strategy reached the target, -inf where only the baseline did."""
    return "–" if np.isnan(value) else f"{value:.0f}" if np.isfinite(value) else "> 0" if value > 0 else "< 0"
