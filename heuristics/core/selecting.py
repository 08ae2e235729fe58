"""From one score per image to the images to label: the best, or a stochastic batch (Kirsch et al., 2023), balanced or
not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from data.names import Refused, suggestion

Scores = Float[ndarray, " n"]
Picks = Int[ndarray, " q"]


def top(scores: Scores, rng: np.random.Generator, beta: float = 1.0) -> Float[ndarray, " n"]:
    """The highest scores; ties are broken at random."""
    return scores.astype(np.float64)


def power(scores: Scores, rng: np.random.Generator, beta: float = 1.0) -> Float[ndarray, " n"]:
    """Sample without replacement with p ~ s^beta, s shifted to be non-negative if it is not (Kirsch et al., 2023).

    By the Gumbel trick this is the top of beta log s + noise. Scores of zero come last, in random order; beta = 0 is
    uniform.
    """
    scores = scores.astype(np.float64)
    positive = scores - np.minimum(scores.min(), 0)
    with np.errstate(divide="ignore"):
        return (beta * np.log(positive) if beta else 0) + rng.gumbel(size=len(scores))


def softmax(scores: Scores, rng: np.random.Generator, beta: float = 1.0) -> Float[ndarray, " n"]:
    """Sample without replacement with p ~ exp(beta s) (Kirsch et al., 2023). Beta is in units of 1 / score."""
    return beta * scores.astype(np.float64) + rng.gumbel(size=len(scores))


def softrank(scores: Scores, rng: np.random.Generator, beta: float = 1.0) -> Float[ndarray, " n"]:
    """Sample without replacement with p ~ r^-beta, r = 1 for the highest score; equal scores share a rank (Kirsch et
    al., 2023).
    """
    from scipy.stats import rankdata  # late: it takes as long to import as all else here

    ranks = rankdata(-scores.astype(np.float64), method="average")
    return -beta * np.log(ranks) + rng.gumbel(size=len(scores))


SELECTIONS: dict[str, Callable[..., Float[ndarray, " n"]]] = {f.__name__: f for f in (top, power, softmax, softrank)}


def select(
    scores: Scores,
    n_query: int,
    rng: np.random.Generator,
    how: str = "top",
    beta: float = 1.0,
    predicted: Int[ndarray, " n"] | None = None,
) -> Picks:
    """Positions of the `n_query` images to label, best first.

    With `predicted` (the predicted class of every image) the picks are dealt to the predicted classes in turn, rarest
    first, as far as each class has images left. Raises ValueError for an unknown way of selecting, a non-finite score,
    or too few images.
    """
    if how not in SELECTIONS:
        raise Refused(f"unknown select {how!r}.{suggestion(how, SELECTIONS)} Known: {', '.join(SELECTIONS)}")
    if not 0 <= n_query <= len(scores):
        raise Refused(f"cannot pick {n_query} images from a pool of {len(scores)}")
    if not np.isfinite(scores).all():
        raise Refused(f"the score at position {int(np.flatnonzero(~np.isfinite(scores))[0])} is not finite")
    if n_query == 0:
        return np.empty(0, dtype=np.int64)
    keys = SELECTIONS[how](scores, rng, beta)
    order = np.lexsort((rng.random(len(keys)), -keys))
    if predicted is None:
        return order[:n_query]
    return _in_turn(order, predicted, n_query)


def _in_turn(order: Int[ndarray, " n"], predicted: Int[ndarray, " n"], n_query: int) -> Picks:
    """Deal the ordered images to the predicted classes round by round; the rarest class goes first in each round."""
    classes, counts = np.unique(predicted, return_counts=True)
    by_class = [order[predicted[order] == c] for c in classes[np.argsort(counts, kind="stable")]]
    rounds = [
        image for turn in range(max(map(len, by_class))) for queue in by_class for image in queue[turn : turn + 1]
    ]
    return np.array(rounds[:n_query], dtype=np.int64)
