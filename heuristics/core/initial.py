"""The images to label before there is any label: strategies on embeddings of a network that has seen none (pre-trained, say)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from heuristics.diversity import kmeans, typiclust


def kmeans_start(embeddings: Float[Tensor, "n d"], n_start: int, rng: np.random.Generator) -> Int[ndarray, " q"]:
    """The image nearest each of `n_start` k-means centroids (see `kmeans`). Raises ValueError for more images than there are."""
    return kmeans(embeddings, n_start, rng)


def typiclust_start(embeddings: Float[Tensor, "n d"], n_start: int, rng: np.random.Generator) -> Int[ndarray, " q"]:
    """The most typical image of each of `n_start` clusters (see `typiclust`). Raises ValueError for more images than there are."""
    return typiclust(embeddings, embeddings[:0], n_start, rng)


STARTS = {"kmeans": kmeans_start, "typiclust": typiclust_start}
