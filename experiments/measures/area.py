"""The area under the budget curve."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from data.names import Refused


def aubc(n_labelled: ArrayLike, values: ArrayLike) -> float:
    """Area under the curve `values` (T,) over the budget `n_labelled` (T,), whose range counts as 1.

    aubc = sum_t (n[t+1] - n[t]) (v[t] + v[t+1]) / 2 / (n[-1] - n[0]), the mean height of the curve in the unit of
    `values` (Zhan et al., 2021, A comparative survey: benchmarking for pool-based active learning). A single point has
    its own value.

    Raises ValueError for unequal lengths, no point at all, budgets that do not increase, or anything that is not
    finite.
    """
    budgets, heights = np.asarray(n_labelled, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if budgets.ndim != 1 or budgets.shape != heights.shape or not budgets.size:
        got = f"got shapes {budgets.shape} and {heights.shape}"
        raise Refused(f"a budget curve needs as many values as budgets, at least one; {got}")
    for name, numbers in (("n_labelled", budgets), ("values", heights)):
        wrong = np.flatnonzero(~np.isfinite(numbers))
        if wrong.size:
            raise Refused(f"{name}[{wrong[0]}] is {numbers[wrong[0]]}: a budget curve needs finite numbers")
    steps = np.diff(budgets)
    if (steps <= 0).any():
        t = int(np.flatnonzero(steps <= 0)[0])
        raise Refused(f"budgets must increase, but n_labelled[{t + 1}] = {budgets[t + 1]:g} follows {budgets[t]:g}")
    if budgets.size == 1:
        return float(heights[0])
    return float(np.trapezoid(heights, budgets) / (budgets[-1] - budgets[0]))
