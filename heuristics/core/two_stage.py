"""Two stages: the images that a score finds most worth labelling, and among these a choice by their embeddings.

A score alone picks near-duplicates and a selector on embeddings alone picks easy images. The first stage keeps
`candidates` times as many images as are labelled, the second spreads the picks over them, as in suggestive annotation
(Yang et al., 2017, section 2.3).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from data.names import Refused, suggestion
from heuristics.core.registry import get
from heuristics.core.selecting import select

SECOND = ("none", "kmeans", "coreset", "representative")


def shortlist(scores: Float[ndarray, " n"], n_candidates: int, rng: np.random.Generator) -> Int[ndarray, " m"]:
    """Pool indices of the `n_candidates` highest scores, best first, or of all where there are fewer; ties are broken
    at random.

    Raises ValueError for a score that is not finite or a negative `n_candidates`.
    """
    return select(scores, min(n_candidates, len(scores)), rng)


def second_stage(
    name: str,
    embeddings: Float[Tensor, "m d"],
    labelled_embeddings: Float[Tensor, "l d"],
    n_query: int,
    rng: np.random.Generator,
) -> Int[ndarray, " q"]:
    """Positions in the shortlist, whose `embeddings` are given best score first, of the `n_query` images to label.

    none            the first ones
    kmeans          the image nearest each of `n_query` centroids of the shortlist
    coreset         again and again the farthest from what is labelled or picked; it alone reads `labelled_embeddings`
    representative  those that together are most similar to the whole shortlist; all of it counts as uncertain enough

    Raises ValueError for an unknown name and for more queries than the shortlist has images.
    """
    if name not in SECOND:
        raise Refused(f"unknown second stage {name!r}.{suggestion(name, SECOND)} Known: {', '.join(SECOND)}")
    if not 0 <= n_query <= len(embeddings):
        raise Refused(f"cannot pick {n_query} images from a shortlist of {len(embeddings)}")
    if name == "none":
        return np.arange(n_query)
    given = {"embeddings": embeddings, "labelled_embeddings": labelled_embeddings, "n_query": n_query, "rng": rng}
    if name == "representative":  # equal probabilities and room for all: the first stage has said what is uncertain
        return get(name, candidates=float(max(len(embeddings), 1)))(
            probs=embeddings.new_ones(len(embeddings), 1), **given
        )
    return get(name)(**given)
