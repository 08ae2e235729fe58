"""What a test sample says: a metric with its interval, against a target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy import stats

from data.names import Refused
from experiments.measures.intervals import percentiles, widened

REACHED, NOT_REACHED, CANNOT_TELL = "reached", "not reached", "cannot tell"
SAME = 1e-9  # spread of the resamples of equal values, by rounding
MOST_UNDEFINED = 0.5  # share of the resamples in which a metric may have no value


@dataclass(frozen=True)
class Interval:
    """A value and the interval around it; NaN where there is none."""

    value: float
    low: float = nan
    high: float = nan


def sampled(
    measure: Callable[[Int[ndarray, " n"]], float],
    patients: Sequence[str] | ndarray,
    rng: np.random.Generator,
    level: float = 0.95,
    n_resamples: int = 1000,
    share: bool = True,
) -> Interval:
    """A metric on the N images of a test sample, and a bootstrap interval over patients (Efron and Tibshirani, 1993).

    `measure` gives the metric of the images at these positions, each as often as it stands there: NaN where they define
    none, such as an AUROC of one class. `patients` name the patient of each image, all of whose images are drawn
    together; '' is a patient of its own. Percentiles are `widened` for few patients. A metric that is no mean, such as
    an average precision, may be larger or smaller in most resamples than on the sample: where the percentiles do not
    lie around the value they are moved until it is in their middle. Where all resamples agree a bootstrap has no width,
    but the next patient may still differ: with `share` (a metric in 0..1) n equal patients do not rule out that only a
    share u = (a / 2)^(1 / n) of all is like them, with a = 1 - level (Clopper and Pearson, 1934), which gives
    u value to 1 - u (1 - value). NaN ends with fewer than two patients, or where more than half of the resamples define
    no value.
    """
    names = np.asarray(patients)
    if not len(names):
        raise Refused("a test sample needs at least one image, there is none")
    alone = np.array([f"{i}" if name == "" else f"={name}" for i, name in enumerate(names)])
    owner = np.unique(alone, return_inverse=True)[1]
    n = int(owner.max()) + 1
    value = float(measure(np.arange(len(names))))
    if n < 2 or not np.isfinite(value):
        return Interval(value)
    of_patient = [np.flatnonzero(owner == patient) for patient in range(n)]
    drawn = np.array(
        [float(measure(np.concatenate([of_patient[p] for p in rng.integers(n, size=n)]))) for _ in range(n_resamples)]
    )
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) < (1 - MOST_UNDEFINED) * n_resamples:
        return Interval(value)
    low, high = percentiles(drawn, widened(level, n))
    if np.ptp(drawn) <= SAME and share:
        alike = ((1 - level) / 2) ** (1 / n)
        return Interval(value, alike * value, 1 - alike * (1 - value))
    if not low < value < high and not (share and value in (0.0, 1.0)):
        low, high = value - (high - low) / 2, value + (high - low) / 2
        low, high = (max(low, 0.0), min(high, 1.0)) if share else (low, high)
    return Interval(value, min(low, value), max(high, value))


def mean_of(values: Float[ndarray, " n"]) -> Callable[[Int[ndarray, " n"]], float]:
    """The metric that is a mean over images: accuracy of (0, 1), Dice of each image; NaN are left out."""

    def measure(positions: Int[ndarray, " m"]) -> float:
        found = values[positions]
        known = found[np.isfinite(found)]
        return float(known.mean()) if known.size else nan

    return measure


def against(found: Interval, target: float, more_is_better: bool = True) -> str:
    """Whether a target is REACHED (the whole interval is there), NOT_REACHED (none of it), or CANNOT_TELL."""
    if not np.isfinite([found.low, found.high]).all():
        return CANNOT_TELL
    worst, best = (found.low, found.high) if more_is_better else (-found.high, -found.low)
    goal = target if more_is_better else -target
    return REACHED if worst >= goal else NOT_REACHED if best < goal else CANNOT_TELL


def share_low(value: float, n: int, level: float = 0.95) -> float:
    """Lower end for a mean of n values in 0..1 of which only the mean is known (Wilson, 1927).

    Their spread is at most that of values of 0 and 1 alone: the end is safe for the mean Dice of images, exact in
    spirit for an accuracy. NaN where the mean is not in 0..1.
    """
    if not 0 <= value <= 1 or n < 1:
        return nan
    z = float(stats.norm.ppf((1 + level) / 2))
    middle, half = value + z * z / (2 * n), z * np.sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    return float((middle - half) / (1 + z * z / n))
