"""The images to label before there is any label: strategies on embeddings of a network that has seen none (pre-trained,
say).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from data.names import require_one_of
from heuristics.core.registry import get

STARTS = ("kmeans", "typiclust", "probcover", "maxherding")  # those that look at embeddings
INITIAL = ("random", "stratified", *STARTS)


def start(name: str, embeddings: Float[Tensor, "n d"], n_start: int, rng: np.random.Generator) -> Int[ndarray, " q"]:
    """`n_start` of N images by one of STARTS, a selector of the same name that is told that nothing is labelled.

    Raises Refused for an unknown name and for more images than there are.
    """
    require_one_of("initial", name, STARTS)
    nothing = embeddings[:0]
    return get(name)(embeddings=embeddings, labelled_embeddings=nothing, n_query=n_start, rng=rng)
