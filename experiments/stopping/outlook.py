"""What more labels would bring: families of learning curves fitted to the rounds so far, and how far they differ.

Each family rises to the right, y(n) = a - b g(n; c) with b >= 0, where more is better:

    power         g = n^-c         Figueroa et al., 2012, Predicting sample size required for classification performance
    exponential   g = exp(-n / c)
    hyperbola     g = c / (n + c)  Michaelis and Menten's, by its distance from the asymptote
    logarithm     g = -ln n        which has no asymptote

a and y stay at or below what the metric can be at best. Learning curves are not known to follow any of them (Viering
and Loog, 2022, The shape of learning curves: a review), and single families promise too much (Mahmood et al., 2022, How
much more data do I need?): what is reported is the range over all that fit, each with a bootstrap over its residuals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, nan

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import stats

from experiments.measures.intervals import percentiles
from experiments.stopping.sample import CANNOT_TELL, Interval

LEAST_ROUNDS = 4  # that are fitted: three numbers describe a curve
HORIZON = 10  # times the labels so far, beyond which no curve is asked
HUBER = 1.345  # in standard deviations: residuals beyond it count less (Huber, 1964)
WORTH = 0.01  # of the metric: families that differ by less do not disagree
TOLD = "told"

Shape = Callable[[ndarray, ndarray], ndarray]  # labels, c -> g


@dataclass(frozen=True)
class Family:
    """One family of curves."""

    g: Shape
    labels_at: Shape  # g, c -> labels: the inverse; g at or below 0 is never reached
    scales: tuple[float, float]  # of c: least and largest, times the first and the last number of labels if `in_labels`
    in_labels: bool
    n_free: int  # numbers that are fitted
    bounded: bool = True  # whether a is what the curve comes to


FAMILIES = {
    "power": Family(lambda n, c: n**-c, lambda g, c: g ** (-1 / c), (0.05, 3.0), False, 3),
    "exponential": Family(lambda n, c: np.exp(-n / c), lambda g, c: -c * np.log(g), (0.25, 5.0), True, 3),
    "hyperbola": Family(lambda n, c: c / (n + c), lambda g, c: c / g - c, (0.1, 20.0), True, 3),
    "logarithm": Family(lambda n, c: -np.log(n) + 0 * c, lambda g, c: np.exp(-g), (1.0, 1.0), False, 2, False),
}
N_SCALES = 100


@dataclass(frozen=True)
class Fitted:
    """S curves of one family: that of the rounds first, then those of the bootstrap."""

    family: str
    a: Float[ndarray, " s"]
    b: Float[ndarray, " s"]
    c: Float[ndarray, " s"]
    best: float  # what the metric can be at best, where more is better
    variance: float = nan  # of the residuals of the first

    def at(self, n: Float[ndarray, " m"]) -> Float[ndarray, "s m"]:
        """The height of each curve with n labels."""
        g = FAMILIES[self.family].g(n[None], self.c[:, None])
        return np.minimum(self.a[:, None] - self.b[:, None] * g, self.best)

    def labels_for(self, target: float, most: float) -> Float[ndarray, " s"]:
        """Labels with which each curve reaches a target; inf where it never does, or with more than `most` alone."""
        family = FAMILIES[self.family]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            g = (self.a - target) / self.b
            n = family.labels_at(g, self.c)
        reached = (self.b > 0) & (target <= self.best) & ((g > 0) | (not family.bounded))
        n = np.where(reached, n, np.where((self.b == 0) & (self.a >= target), 0.0, inf))
        return np.where(n <= most, np.maximum(n, 0.0), inf)


@dataclass(frozen=True)
class Outlook:
    """What the rounds so far let one expect of the next one."""

    verdict: str  # TOLD or CANNOT_TELL
    why: str = ""  # in words, where nothing can be told
    gain: Interval = Interval(nan)  # of the next round, 0 or more, in the direction that is better
    more_labels: Interval = Interval(nan)  # until the target is reached; inf beyond the horizon
    by_family: Mapping[str, Interval] = field(default_factory=dict)  # gain of the next round
    fits: Sequence[Fitted] = ()
    sign: int = 1  # -1 where less is better: the curves are of minus the metric

    def range_at(self, n: Float[ndarray, " m"], level: float = 0.95) -> Float[ndarray, "3 m"]:
        """Low end, median and high end of the metric over families and bootstrap with n labels."""
        heights = self.sign * np.concatenate([fit.at(n) for fit in self.fits])
        ends = [(1 - level) / 2, 0.5, (1 + level) / 2]
        return np.quantile(heights, ends, axis=0, method="inverted_cdf")

    def gain_of(self, now: float, more: float | int, level: float = 0.95) -> Interval:
        """What `more` labels bring beyond `now`: median of the families, ends over families and bootstrap."""
        return _pooled(_gains(self.fits, now, more), level) if self.fits else Interval(nan)


def outlook(
    n_labelled: Float[ndarray, " t"],
    values: Float[ndarray, " t"],
    n_query: int,
    rng: np.random.Generator,
    target: float | None = None,
    more_is_better: bool = True,
    best: float | None = None,
    level: float = 0.95,
    n_resamples: int = 200,
) -> Outlook:
    """Fit every family to a metric over the labels; what `n_query` more bring, and how many more a target needs.

    Rounds without a value do not count. `best` is what the metric can be at best: 1 where more is better, else 0, by
    default. A family is left out where its residual variance exceeds that of the family that fits best by more than
    chance does (F at 95 %). CANNOT_TELL with fewer than LEAST_ROUNDS, and where the intervals that the remaining
    families give for the next round have nothing in common and span more than WORTH times the metric; and where the
    curve bends upwards, as none of them does.
    """
    known = np.isfinite(values)
    n, sign = n_labelled[known].astype(np.float64), 1 if more_is_better else -1
    y = sign * values[known].astype(np.float64)
    if len(n) < LEAST_ROUNDS:
        return Outlook(CANNOT_TELL, f"{len(n)} of the {LEAST_ROUNDS} rounds that a curve needs", sign=sign)
    ceiling = max(sign * (best if best is not None else (1.0 if more_is_better else 0.0)), float(y.max()))
    fits = _plausible([fit(name, n, y, ceiling, rng, n_resamples) for name in FAMILIES], len(n))
    gains = _gains(fits, float(n[-1]), n_query)
    by_family = {name: Interval(float(g[0]), *percentiles(g, level)) for name, g in gains.items()}
    gain = _pooled(gains, level)
    more_labels = Interval(nan)
    if target is not None:
        needed = [each.labels_for(sign * target, HORIZON * n[-1]) - n[-1] for each in fits]
        needed = [np.maximum(each, 0.0) for each in needed]
        middle = float(np.quantile([each[0] for each in needed], 0.5, method="inverted_cdf"))
        more_labels = Interval(middle, *percentiles(np.concatenate(needed), level))
    apart = max(g.low for g in by_family.values()) > min(g.high for g in by_family.values())
    apart = apart and gain.high - gain.low > WORTH * abs(y[-1])
    why = "the curves that fit the rounds disagree" if apart else ""
    why = "it rises faster from round to round, and no curve that is fitted does" if _rises_faster(n, y) else why
    return Outlook(CANNOT_TELL if why else TOLD, why, gain, more_labels, by_family, fits, sign)


def _gains(fits: Sequence[Fitted], now: float, more: float | int) -> dict[str, Float[ndarray, " s"]]:
    at = np.array([now, now + more])
    return {each.family: np.diff(each.at(at), axis=1)[:, 0] for each in fits}


def _pooled(gains: Mapping[str, Float[ndarray, " s"]], level: float) -> Interval:
    middle = float(np.median([g[0] for g in gains.values()]))
    return Interval(middle, *percentiles(np.concatenate(list(gains.values())), level))


def _rises_faster(n: Float[ndarray, " t"], y: Float[ndarray, " t"]) -> bool:
    """Whether a parabola through the rounds bends upwards by more than chance, one-sided at 5 %."""
    powers = np.vander(n / n[-1], 3)
    solved, *_ = np.linalg.lstsq(powers, y, rcond=None)
    free = len(n) - 3
    variance = float(((y - powers @ solved) ** 2).sum()) / free
    error = np.sqrt(max(variance, 1e-12) * np.linalg.inv(powers.T @ powers)[0, 0])
    return bool(solved[0] > stats.t.ppf(0.95, free) * error)


def fit(
    name: str,
    n: Float[ndarray, " t"],
    y: Float[ndarray, " t"],
    best: float,
    rng: np.random.Generator,
    n_resamples: int,
) -> Fitted:
    """A family fitted to the rounds, and to as many resamples of its residuals about the curve.

    Residuals are widened by sqrt(T / (T - numbers fitted)), as a fit takes up so much of the noise.
    """
    family = FAMILIES[name]
    low, high = family.scales
    scales = np.geomspace(low * n[0], high * n[-1], N_SCALES) if family.in_labels else np.geomspace(low, high, N_SCALES)
    scales = np.unique(scales)
    g = family.g(n[None], scales[:, None])
    ceiling = best if family.bounded else inf
    a, b, at = _robust(g, y[None], ceiling)
    curve = np.minimum(a - b * g[at][0], best)
    residuals = y - curve
    free = max(len(n) - family.n_free, 1)
    widened = residuals * np.sqrt(len(n) / free)
    drawn = curve + widened[rng.integers(len(n), size=(n_resamples, len(n)))]
    more_a, more_b, more_at = _robust(g, drawn, ceiling)
    a, b, c = np.concatenate([a, more_a]), np.concatenate([b, more_b]), scales[np.concatenate([at, more_at])]
    return Fitted(name, a, b, c, best, float(residuals @ residuals / free))


def _plausible(fits: Sequence[Fitted], rounds: int) -> list[Fitted]:
    """The families whose residual variance may be that of the one that fits best."""
    free = {each.family: max(rounds - FAMILIES[each.family].n_free, 1) for each in fits}
    first = min(fits, key=lambda each: each.variance)
    least = max(first.variance, 1e-12)  # of curves without noise
    return [
        each
        for each in fits
        if each.variance / least <= stats.f.ppf(0.95, free[each.family], free[first.family]) or each is first
    ]


def _robust(
    g: Float[ndarray, "scales t"], y: Float[ndarray, "s t"], ceiling: float, steps: int = 3
) -> tuple[Float[ndarray, " s"], Float[ndarray, " s"], ndarray]:
    """a, b and the number of the scale of S curves by Huber's M-estimate, with weights renewed in each step.

    For each scale the curve is linear in a and b, so that all resamples and scales are solved at once, exactly.
    """
    weights, rows = np.ones_like(y), np.arange(len(y))
    for _ in range(steps):
        a, b, squares = _linear(g, y, weights, ceiling)
        at = squares.argmin(1)
        a, b = a[rows, at], b[rows, at]
        off = np.abs(y - a[:, None] + b[:, None] * g[at])
        spread = 1.4826 * np.median(off, axis=1, keepdims=True)  # that of a normal distribution
        weights = np.minimum(1.0, HUBER * np.maximum(spread, 1e-9) / np.maximum(off, 1e-9))
    return a, b, at


def _linear(
    g: Float[ndarray, "scales t"], y: Float[ndarray, "s t"], w: Float[ndarray, "s t"], ceiling: float
) -> tuple[Float[ndarray, "s scales"], Float[ndarray, "s scales"], Float[ndarray, "s scales"]]:
    """Weighted least squares of y = a - b g with b >= 0 and a <= ceiling, for every curve and scale: a, b and the mean
    squares that are left.
    """
    w = w / w.sum(1, keepdims=True)
    mean_g, mean_y = w @ g.T, (w * y).sum(1, keepdims=True)
    gg, yy = w @ (g**2).T - mean_g**2, (w * (y - mean_y) ** 2).sum(1, keepdims=True)
    gy = (w * (y - mean_y)) @ g.T
    b = np.maximum(-gy / np.maximum(gg, 1e-300), 0.0)
    a = mean_y + b * mean_g
    if (above := a > ceiling).any():
        at_ceiling = ((w * (ceiling - y)) @ g.T) / np.maximum(w @ (g**2).T, 1e-300)
        a, b = np.where(above, ceiling, a), np.where(above, np.maximum(at_ceiling, 0.0), b)
    return a, b, yy + 2 * b * gy + b**2 * gg + (mean_y - a + b * mean_g) ** 2
