"""Stratification by class: a batch of which each class gets its share, for maps and for single predictions."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from data.limits import Between
from data.names import Refused
from heuristics.core.evidence import entropy_of
from heuristics.core.registry import chooser_for, scorer
from heuristics.core.selecting import power


@scorer
def clasp(mc_mean: Float[Tensor, "b c *s"]) -> Float[Tensor, "b r"]:
    """Entropy of the mean prediction, H[E p], ranked for each class by the mean over space of p_c H and once as it is;
    a batch takes from all rankings, noisy at first (class-stratified power entropy, ClaSP PE; nnActive, 2026).

    The row of an image is (mean H, mean p_c H for each class c) in nats; of maps class 0 is the background and has no
    ranking. 66 % of the batch (`share`) go in equal quotas to the rankings of the classes, what does not divide to
    classes drawn at random, the rest to H; an image that one ranking has taken is left out of the next. Every ranking
    is by log score + Gumbel noise of scale 1 / beta, where beta grows from `first_beta` to `last_beta` in powers over
    the cycles of a run; beta to infinity is the plain top. The paper labels patches; here whole images are labelled,
    and quotas and noise carry over. Nothing but the rows is held, however large the maps. O(B C S) time.
    """
    entropy = entropy_of(mc_mean)
    of_classes = (mc_mean[:, 1:] if mc_mean.ndim > 2 else mc_mean) * entropy[:, None]
    return torch.cat([_over_space(entropy)[:, None], _over_space(of_classes)], 1)


def _over_space(maps: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The mean over the last two axes of maps; what has no space stays as it is."""
    return maps.mean((-2, -1)) if maps.ndim > 2 else maps


@chooser_for(clasp)
def clasp_batch(
    scores: Float[ndarray, "n r"],
    n_query: int,
    rng: np.random.Generator,
    progress: float,
    share: Annotated[float, Between(0, 1)] = 0.66,
    first_beta: Annotated[float, Between(1e-3, 1e9)] = 1.0,
    last_beta: Annotated[float, Between(1e-3, 1e9)] = 100.0,
) -> Int[ndarray, " q"]:
    """Pool indices by the rankings in the columns of `scores`: those of the classes, in random order, then H."""
    if not 0 <= n_query <= len(scores):
        raise Refused(f"cannot pick {n_query} images from a pool of {len(scores)}")
    beta = first_beta * (last_beta / first_beta) ** progress
    n_classes = scores.shape[1] - 1
    quotas = np.zeros(n_classes + 1, dtype=np.int64)
    each, more = divmod(int(n_query * share), n_classes)
    classes = 1 + rng.permutation(n_classes)
    quotas[classes] = each
    quotas[classes[:more]] += 1
    quotas[0] = n_query - quotas.sum()
    left, picks = np.ones(len(scores), dtype=bool), []
    for column in (*classes, 0) if n_query else ():
        keys = power(scores[:, column], rng, beta)
        order = np.lexsort((rng.random(len(keys)), -keys))
        taken = order[left[order]][: quotas[column]]
        left[taken] = False
        picks.append(taken)
    return np.concatenate(picks) if picks else np.empty(0, dtype=np.int64)
