"""Multinomial logistic regression, solved exactly in the span of the examples, and its strength by cross-validation.

    minimise over W (C, D), b (C):  sum_i w_i CE(softmax(W x_i + b), t_i) + l2 / 2 |W|^2

`l2` is the precision of a Gaussian prior on the weights, 1 / C of scikit-learn; the intercept has none. With fewer
examples L than features D the solution lies in their span (Kimeldorf and Wahba, 1971), so that L numbers per class are
sought in place of D: the examples are turned to their principal axes, which also tells L-BFGS how curved each is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.optimize import minimize
from scipy.special import logsumexp

GRID = tuple(10.0**k for k in range(4, -2, -1))  # strengths that cross-validation tries
FOLDS = 5
MOST_VALIDATED = 1000  # examples that cross-validation looks at
NEGLIGIBLE = 1e-10  # share of the largest eigenvalue below which one, and its principal axis, is left out
GRADIENT, GRADIENT_VALIDATED = 1e-9, 1e-3  # largest entry of the gradient, per example, at which a solution stands


class Linear(NamedTuple):
    """Logits are x @ weight.T + bias."""

    weight: Float[ndarray, "c d"]
    bias: Float[ndarray, " c"]


@dataclass(frozen=True)
class Turned:
    """Examples on their principal axes around their weighted mean: x = mean + axes.T @ z."""

    examples: Float[ndarray, "l r"]
    axes: Float[ndarray, "r d"]
    mean: Float[ndarray, " d"]
    lengths: Float[ndarray, " r"]  # of the axes: z has this length along each

    @classmethod
    def of(cls, x: Float[ndarray, "l d"], weights: Float[ndarray, " l"]) -> Turned:
        mean = weights @ x / weights.sum()
        centred = x - mean
        few = len(x) <= x.shape[1]
        squares, vectors = np.linalg.eigh(centred @ centred.T if few else centred.T @ centred)
        kept = squares > NEGLIGIBLE**2 * max(squares[-1], 1e-300) if not few else squares > NEGLIGIBLE * squares[-1]
        lengths, vectors = np.sqrt(squares[kept]), vectors[:, kept]
        axes = (vectors / lengths).T @ centred if few else vectors.T
        return cls(centred @ axes.T, axes, mean, lengths)

    def back(self, weight: Float[ndarray, "c r"], bias: Float[ndarray, " c"]) -> Linear:
        """The same function of the examples as they were."""
        whole = weight @ self.axes
        return Linear(whole, bias - whole @ self.mean)


def fit(x: Float[ndarray, "l d"], targets: Float[ndarray, "l c"], weights: Float[ndarray, " l"], l2: float) -> Linear:
    """The minimum: targets sum to 1 over the classes. Rows of `weight` sum to 0 over the classes, as does `bias`."""
    turned = Turned.of(x, weights)
    return turned.back(*_solved(turned, targets, weights, l2, GRADIENT))


def strength(
    x: Float[ndarray, "l d"],
    targets: Float[ndarray, "l c"],
    weights: Float[ndarray, " l"],
    folds: Int[ndarray, " l"],
) -> float:
    """The `l2` of GRID with the least weighted log loss on examples that were left out; of equal ones the stronger.

    Examples of fold -1 are always learnt from. The middle of GRID where nothing can be left out.
    """
    numbers = np.unique(folds[folds >= 0])
    if len(numbers) < 2:
        return GRID[len(GRID) // 2]
    turned, losses = Turned.of(x, weights), np.zeros(len(GRID))
    for number in numbers:
        learnt, left = folds != number, folds == number
        start = None
        for k, l2 in enumerate(GRID):  # from strong to weak, each from the solution before
            part = Turned(turned.examples[learnt], turned.axes, turned.mean, turned.lengths)
            start = _solved(part, targets[learnt], weights[learnt], l2, GRADIENT_VALIDATED, start)
            losses[k] += _loss(turned.examples[left], targets[left], weights[left], *start)
    return GRID[int(losses.argmin())]


def folds_of(classes: Int[ndarray, " l"], rng: np.random.Generator) -> Int[ndarray, " l"]:
    """A fold for each example, equally many of each class in each as far as that goes.

    -1, always learnt from, for the one example of a class, and for what exceeds MOST_VALIDATED examples.
    """
    folds, dealt = np.full(len(classes), -1), 0
    order = rng.permutation(len(classes))[:MOST_VALIDATED]
    for c in np.unique(classes):
        members = order[classes[order] == c]
        if len(members) > 1:
            folds[members] = (dealt + np.arange(len(members))) % FOLDS
            dealt += len(members)
    return folds


def _loss(z: ndarray, targets: ndarray, weights: ndarray, weight: ndarray, bias: ndarray) -> float:
    logits = z @ weight.T + bias
    return float(weights @ (logsumexp(logits, 1) - (targets * logits).sum(1)))


def _solved(
    turned: Turned,
    targets: Float[ndarray, "l c"],
    weights: Float[ndarray, " l"],
    l2: float,
    gradient: float,
    start: tuple[ndarray, ndarray] | None = None,
) -> tuple[Float[ndarray, "c r"], Float[ndarray, " c"]]:
    """Weights and intercepts on the principal axes, by L-BFGS on coordinates in which all curvatures are alike."""
    z, (_, c) = turned.examples, targets.shape
    r = z.shape[1]
    # The curvature of the loss is at most 1/2 of the examples' squares (Böhning, 1992)
    scale = 1 / np.sqrt(0.25 * weights.mean() * turned.lengths**2 + l2)
    scale_bias = 1 / np.sqrt(0.25 * weights.sum())
    scaled = z * scale

    def value(theta: ndarray) -> tuple[float, ndarray]:
        w, b = theta[: c * r].reshape(c, r), theta[c * r :]
        logits = scaled @ w.T + b * scale_bias
        logits -= logits.max(1, keepdims=True)
        p = np.exp(logits)
        total = p.sum(1, keepdims=True)
        loss = weights @ (np.log(total[:, 0]) - (targets * logits).sum(1))
        error = (p / total - targets) * weights[:, None]
        shrunk = w * scale**2
        full = loss + 0.5 * l2 * (w * shrunk).sum()
        return full, np.concatenate([(error.T @ scaled + l2 * shrunk).ravel(), error.sum(0) * scale_bias])

    theta = np.zeros(c * (r + 1))
    if start is not None:
        theta = np.concatenate([(start[0] / scale).ravel(), start[1] / scale_bias])
    options = {"maxiter": 2000, "maxcor": 20, "gtol": gradient, "ftol": 0 if gradient == GRADIENT else 1e-7}
    found = minimize(value, theta, jac=True, method="L-BFGS-B", options=options).x
    bias = found[c * r :] * scale_bias
    return found[: c * r].reshape(c, r) * scale, bias - bias.mean()
