"""How well the nearest neighbours among known images tell the class of others: what features are worth untrained."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

MOST_NEIGHBOURS = 200
TEMPERATURE = 0.07
AT_ONCE = 1024  # images that are compared with all known ones


def knn_accuracy(
    known: Float[Tensor, "n d"],
    known_classes: Int[Tensor, " n"],
    features: Float[Tensor, "m d"] | None,
    classes: Int[Tensor, " m"] | None,
    n_classes: int,
) -> float:
    """Share of images, 0..1, whose class the k = min(200, n) most similar known images tell.

    Every neighbour votes for its class with exp(s / 0.07), s its cosine (Wu et al., "Unsupervised feature learning via
    non-parametric instance discrimination", CVPR 2018, section 3.4; the monitor of SimSiam). Without `features` each
    known image is asked about by all the others.
    """
    alone = features is None or classes is None
    asked, truth = (known, known_classes) if features is None or classes is None else (features, classes)
    bank, asked = normalize(known.float(), dim=1), normalize(asked.float(), dim=1)
    k = min(MOST_NEIGHBOURS, len(bank) - alone)
    right = 0
    for start in range(0, len(asked), AT_ONCE):
        similar = asked[start : start + AT_ONCE] @ bank.T
        if alone:
            rows = torch.arange(len(similar), device=similar.device)
            similar[rows, rows + start] = -torch.inf
        cosine, nearest = similar.topk(k, dim=1)
        votes = torch.zeros(len(similar), n_classes, dtype=torch.float64, device=similar.device)
        votes.scatter_add_(1, known_classes[nearest], ((cosine.double() - 1) / TEMPERATURE).exp())
        right += int((votes.argmax(1) == truth[start : start + AT_ONCE]).sum())
    return right / len(asked)
