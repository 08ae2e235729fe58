"""Uncertainty of one prediction: a score per image, or a map of scores per image for segmentation. Higher is less
certain.

All cost one pass over the evidence, O(B C S) time and memory, and O(1) in the number of stochastic passes.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from data.names import Refused
from heuristics.core.evidence import entropy_of
from heuristics.core.registry import scorer, selector
from heuristics.core.selecting import select


@selector
def random(n_pool: int, n_query: int, rng: np.random.Generator) -> Int[ndarray, " q"]:
    """Every image of the pool is as likely as another: the baseline that any strategy has to beat. O(N)."""
    if not 0 <= n_query <= n_pool:
        raise Refused(f"cannot pick {n_query} images from a pool of {n_pool}")
    return rng.permutation(n_pool)[:n_query]


@selector
def random_balanced(probs: Float[Tensor, "n c"], n_query: int, rng: np.random.Generator) -> Int[ndarray, " q"]:
    """Random images, dealt to the predicted classes in turn, rarest first: the baseline where classes are rare. O(N log
    N).
    """
    return select(rng.random(len(probs)), n_query, rng, predicted=probs.argmax(1).cpu().numpy())


@scorer
def least_confidence(probs: Float[Tensor, "b c *s"]) -> Float[Tensor, "b *s"]:
    """One minus the probability of the predicted class, 1 - max_c p_c, in 0..1 - 1/C (Lewis & Gale, 1994; Settles,
    2009, eq. 1).
    """
    return probs.scatter(1, probs.argmax(1, keepdim=True), 0).sum(1)  # 1 - p would round to 0 from a logit gap of 17


@scorer
def margin(probs: Float[Tensor, "b c *s"]) -> Float[Tensor, "b *s"]:
    """Minus the gap between the two most probable classes, p_(2) - p_(1), in -1..0 (Scheffer et al., 2001; Settles,
    2009, eq. 2).
    """
    two = probs.topk(2, 1).values
    return two[:, 1] - two[:, 0]


@scorer
def entropy(probs: Float[Tensor, "b c *s"]) -> Float[Tensor, "b *s"]:
    """Entropy of the deterministic prediction, -sum_c p_c log p_c, in 0..log C nats (Settles, 2009, eq. 3)."""
    return entropy_of(probs)


@scorer
def dbal(mc_mean: Float[Tensor, "b c *s"]) -> Float[Tensor, "b *s"]:
    """Entropy of the mean of K stochastic passes, H[E p], in 0..log C nats (Gal et al., 2017, "Max Entropy")."""
    return entropy_of(mc_mean)


@scorer
def bald(mc_mean: Float[Tensor, "b c *s"], mc_entropy: Float[Tensor, "b *s"]) -> Float[Tensor, "b *s"]:
    """Mutual information between label and weights, H[E p] - E H[p], in 0..log C nats (Houlsby et al., 2011, eq. 2)."""
    return (entropy_of(mc_mean) - mc_entropy).clamp_min_(0)


@scorer
def expected_entropy(mc_entropy: Float[Tensor, "b *s"]) -> Float[Tensor, "b *s"]:
    """Mean entropy of the passes, E H[p], in 0..log C nats: the noise that no label can remove (Kendall & Gal, 2017,
    section 2).
    """
    return mc_entropy


@scorer
def mc_variance(mc_votes: Float[Tensor, "b c *s"]) -> Float[Tensor, "b *s"]:
    """Variance of the predicted class over K passes, (1 - sum_c v_c^2) / 2, in 0..(1 - 1/C) / 2 (Gorriz et al., 2017).

    v_c is the share of passes that predict class c. For two classes this is v (1 - v), the variance of the binary class
    map; for more it is half the summed variance of the one-hot maps, which no numbering of the classes can change.
    """
    return (1 - mc_votes.square().sum(1)).div_(2).clamp_min_(0)


@scorer
def mean_std(mc_std: Float[Tensor, "b c *s"]) -> Float[Tensor, "b *s"]:
    """Standard deviation of the probabilities over K passes, mean over classes, in 0..0.5 (Kampffmeyer et al., 2016;
    Gal et al., 2017).
    """
    return mc_std.mean(1)


@scorer
def variation_ratio(mc_votes: Float[Tensor, "b c *s"]) -> Float[Tensor, "b *s"]:
    """Share of passes against the majority, 1 - max_c v_c, in 0..1 - 1/C (Freeman, 1965; Gal et al., 2017)."""
    return 1 - mc_votes.amax(1)
