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


def start(
    name: str, embeddings: Float[Tensor, "n d"], n_start: int, rng: np.random.Generator, n_classes: int = 0
) -> Int[ndarray, " q"]:
    """`n_start` of N images by one of STARTS, a selector of the same name that is told that nothing is labelled.

    `n_classes`: how many classes whole images have, 0 where images are not of one class each. `probcover` estimates its
    radius with as many clusters (Yehuda et al., 2022, section 3.3), else with those it has by default. Raises Refused
    for an unknown name and for more images than there are.
    """
    require_one_of("initial", name, STARTS)
    nothing = embeddings[:0]
    known = {"n_clusters": n_classes} if name == "probcover" and n_classes > 1 else {}
    return get(name)(embeddings=embeddings, labelled_embeddings=nothing, n_query=n_start, rng=rng, **known)
