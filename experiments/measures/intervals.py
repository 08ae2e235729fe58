"""Intervals from few values: percentiles of a bootstrap that are as wide as they should be."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import stats


def widened(level: float, n: int) -> float:
    """The level of a percentile bootstrap over n values at which the interval of a mean is as wide as Student's.

    Bootstrapped means have sqrt((n - 1) / n) of the spread and the tails of a normal distribution: a tail becomes
    Phi(-sqrt(n / (n - 1)) t(n - 1)), the expanded percentile interval (Hesterberg, 2015, What teachers should know
    about the bootstrap).
    """
    tail = stats.norm.cdf(-np.sqrt(n / (n - 1)) * stats.t.ppf((1 + level) / 2, n - 1))
    return float(1 - 2 * tail)


def percentiles(drawn: Float[ndarray, " s"], level: float) -> tuple[float, float]:
    """The two values of the sample that leave (1 - level) / 2 of it beyond each; some may be infinite."""
    ends = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(drawn, ends, method="inverted_cdf")
    return float(low), float(high)
