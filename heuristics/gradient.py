"""Gradient: choose images whose labels would pull the last layer far and in different directions."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from data.names import Refused
from heuristics.core.clustering import Points, check_pool, completed, frame, seed
from heuristics.core.registry import selector


@selector
def badge(
    probs: Float[Tensor, "n c *s"], embeddings: Float[Tensor, "n d"], n_query: int, rng: np.random.Generator
) -> Int[ndarray, " q"]:
    """k-means++ seeding on gradient embeddings: uncertain, hence long, and different gradients (Ash et al., 2020, alg.
    1).

    The gradient of the cross-entropy in the weights of the last linear layer, for the predicted class as the label, is
    g_i = (p_i - y_i) h_i^T with y_i the one-hot prediction and h_i the embedding. The N x C D matrix is never formed:
    g_i.g_j = ((p_i - y_i).(p_j - y_j)) (h_i.h_j). As in the authors' code the first pick is the longest gradient
    (chance decides among equals), and each further one is drawn with p_i ~ min_j |g_i - g_j|^2 over the picks j only:
    the origin is no centre. An image whose gradient equals that of a pick is drawn only when nothing else is left. O(N
    (C + D) n_query) time, O(32 N) memory beside the evidence.

    Raises ValueError for maps of probabilities (embeddings that are pooled over pixels do not determine their
    gradients), for a non-finite input and for more queries than images.
    """
    if probs.ndim != 2:
        raise Refused(
            f"badge needs one probability per class and image, not {tuple(probs.shape)}: use it for classification"
        )
    check_pool(embeddings, n_query, probs=probs)
    n = len(embeddings)
    if n_query == 0:
        return completed([], n, 0, rng)
    residuals = residual(probs)
    points = Points(embeddings, frame(embeddings, metric="dot"), residuals)
    order = torch.from_numpy(rng.permutation(n)).to(embeddings.device)
    first = int(order[points.squares[order].argmax()])
    return completed(seed(points, n_query, first, rng), n, n_query, rng)


def residual(probs: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
    """p - y for the predicted class y. The predicted class's -(1 - p_y) is minus the sum of the others: 1 - p would
    cancel.
    """
    predicted = probs.argmax(1, keepdim=True)
    others = probs.scatter(1, predicted, 0)
    return others.scatter(1, predicted, -others.sum(1, keepdim=True))
