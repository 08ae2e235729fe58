"""Uncertain and representative: diversity within those images of which the model is least sure.

Selectors over the whole pool: `n_query` distinct pool indices, best first. For maps of probabilities the uncertainty of
an image is the mean over its pixels. Raises ValueError for a non-finite input or for more queries than images.
"""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from data.limits import Between
from data.names import Refused
from heuristics.core.agglomerating import agglomerate
from heuristics.core.clustering import blocks, check_pool, completed, frame
from heuristics.core.evidence import entropy_of
from heuristics.core.registry import selector
from heuristics.uncertainty import margin


@selector
def representative(
    probs: Float[Tensor, "n c *s"],
    embeddings: Float[Tensor, "n d"],
    n_query: int,
    rng: np.random.Generator,
    candidates: Annotated[float | int, Between(1, 10**6)] = 2.0,
    max_points: Annotated[int, Between(1, 10**6)] = 5000,
) -> Int[ndarray, " q"]:
    """Suggestive annotation: of the most uncertain images, those that together represent the pool best (Yang et al.,
    2017, section 2.3).

    Candidates are the `candidates` x n_query images of highest entropy (the paper has 16 for 8). Greedily, the
    candidate that adds most to F(S) = sum_x max_{s in S} cos(x, s) is picked, x over the pool or, where it is larger
    than `max_points`, over a random part of that size. F is submodular, so that an outdated gain is an upper bound and
    only the leading candidates are evaluated again; the picks are those of plain greedy. O(candidates n_query
    max_points D) time for the similarities, which take 4 candidates n_query max_points bytes.
    """
    check_pool(embeddings, n_query, probs=probs)
    if candidates < 1:
        raise Refused(f"candidates={candidates} must be at least 1: it counts candidates per query")
    n, device = len(embeddings), embeddings.device
    if n_query == 0:
        return completed([], n, 0, rng)
    uncertain = _lowest(-_per_image(entropy_of(probs)), math.ceil(candidates * n_query), rng)
    points = rng.permutation(n)[:max_points]
    framed = frame(embeddings, metric="cosine", least=torch.float64)
    rows = framed(embeddings[torch.from_numpy(uncertain).to(device)])
    # 1 - cos: of features with a common offset all cosines are nearly 1, and float32 holds the digits of what is near
    # 0.
    apart = torch.empty(len(uncertain), len(points), device=device)
    for part in blocks(len(points)):
        apart[:, part] = 1 - rows @ framed(embeddings[torch.from_numpy(points[part]).to(device)]).T
    best = torch.full((len(points),), 2.0, device=device)  # of the least possible cosine: the first gain is F itself
    gain = torch.full((len(uncertain),), torch.inf, dtype=torch.float64, device=device)
    picks: list[int] = []
    while len(picks) < n_query:
        fresh = torch.zeros(len(uncertain), dtype=torch.bool, device=device)
        while not fresh[leader := int(gain.argmax())]:
            leaders = gain.topk(min(32, len(gain))).indices
            leaders[-1] = leader  # of more equals than are looked at, `topk` need not list the first
            leaders = leaders[~fresh[leaders] & (gain[leaders] > -1)]
            gain[leaders] = (best - apart[leaders]).clamp_min_(0).sum(1, dtype=torch.float64)
            fresh[leaders] = True
        picks.append(int(uncertain[leader]))
        best = torch.minimum(best, apart[leader])
        gain[leader] = -1  # below any gain
    return completed(picks, n, n_query, rng)


@selector
def cluster_margin(
    probs: Float[Tensor, "n c *s"],
    embeddings: Float[Tensor, "n d"],
    n_query: int,
    rng: np.random.Generator,
    candidates: Annotated[float | int, Between(1, 10**6)] = 10.0,
    cluster_size: Annotated[float | int, Between(1, 10**6)] = 10.0,
    max_exact: Annotated[int, Between(1, 10**6)] = 4000,
) -> Int[ndarray, " q"]:
    """Of the images of lowest margin, one from each cluster in turn, small clusters first (Citovsky et al., 2021, alg.
    1 and 2).

    The pool is clustered by average linkage into N / `cluster_size` clusters. The `candidates` x n_query images of
    lowest margin p_(1) - p_(2) are dealt to their clusters; in every round each cluster gives one of them at random, in
    rising order of how many it holds, until n_query are picked. Above `max_exact` images the linkage is confined to
    cells of a k-means (see `agglomerate`).

    The paper clusters once, before the first cycle, since its embeddings stay the same. Here the network is retrained
    in every cycle and its embeddings with it, so the clusters are made once in each call, for the pool that is left.
    That also keeps the strategy free of state: a restarted cycle repeats itself. O(N max_exact) time, O(max_exact^2)
    memory.
    """
    check_pool(embeddings, n_query, probs=probs)
    if candidates < 1 or cluster_size < 1:
        raise Refused(f"candidates={candidates} and cluster_size={cluster_size} must be at least 1")
    n = len(embeddings)
    if n_query == 0:
        return completed([], n, 0, rng)
    # `margin` is negated: high is uncertain.
    uncertain = _lowest(-_per_image(margin(probs)), math.ceil(candidates * n_query), rng)
    labels = agglomerate(embeddings, max(round(n / cluster_size), 1), rng, max_exact)[uncertain]
    return uncertain[in_turn(labels, rng)[:n_query]]


def in_turn(labels: Int[ndarray, " m"], rng: np.random.Generator) -> Int[ndarray, " m"]:
    """All positions, dealt in rounds: one random member of every cluster per round, the smallest cluster first."""
    shuffled = rng.permutation(len(labels))
    sizes = np.bincount(labels)
    rank = np.lexsort((rng.random(len(sizes)), sizes)).argsort()  # of each cluster: smaller first, ties at random
    grouped = shuffled[np.argsort(labels[shuffled], kind="stable")]
    starts = np.searchsorted(labels[grouped], labels[grouped])
    turn = np.arange(len(labels)) - starts  # how many of its cluster come before it
    return grouped[np.lexsort((rank[labels[grouped]], turn))]


def _per_image(scores: Float[Tensor, "n *s"]) -> Float[ndarray, " n"]:
    return scores.flatten(1).mean(1).cpu().numpy() if scores.ndim > 1 else scores.cpu().numpy()


def _lowest(scores: Float[ndarray, " n"], size: int, rng: np.random.Generator) -> Int[ndarray, " m"]:
    """Indices of the `size` lowest scores, lowest first; chance decides among equals."""
    shuffled = rng.permutation(len(scores))
    return shuffled[np.argsort(scores[shuffled], kind="stable")][:size]
