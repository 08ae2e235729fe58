"""Perturbation of features: choose, spread over the feature space, images whose predicted class is easily changed.

Both strategies ask the head for the class of changed features, keep the images on which it changes its mind, cluster
these on the unit sphere into `n_query` clusters and take the image nearest each centroid, largest cluster first. Where
fewer are left than asked for, the rest is drawn at random. Features are changed in blocks: memory is O(BLOCK (D + C))
beside the embeddings and one copy of the candidates. Raises ValueError for a non-finite embedding or for more queries
than images.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from data.limits import Between
from heuristics.core.clustering import blocks, check_pool, completed, frame
from heuristics.core.registry import selector
from heuristics.diversity import kmeans

Head = Callable[[Tensor], Tensor]


@selector
def dropquery(
    embeddings: Float[Tensor, "n d"],
    head: Head,
    n_query: int,
    rng: np.random.Generator,
    dropout: Annotated[float, Between(0.01, 0.99)] = 0.75,
    passes: Annotated[int, Between(1, 1000)] = 3,
) -> Int[ndarray, " q"]:
    """Images whose class changes in more than half of `passes` passes with dropout on their features, clustered (Gupte
    et al., 2024, alg. 1).

    Each feature is left out with probability `dropout`, the others are scaled by 1 / (1 - dropout); then the head alone
    predicts. Fewer candidates than queries lower the threshold pass by pass, down to images whose class changed once;
    then chance fills the batch. O(N (passes D C + D n_query)) time.
    """
    check_pool(embeddings, n_query)
    changed = np.zeros(len(embeddings), dtype=np.int64)
    for part in blocks(len(embeddings)):
        z = embeddings[part].float()
        before = _class_of(head, z)
        for _ in range(passes):
            kept = torch.from_numpy(rng.random(tuple(z.shape), dtype=np.float32) >= dropout).to(z.device)
            changed[part] += (_class_of(head, z * kept / (1 - dropout)) != before).cpu().numpy()
    threshold = passes // 2 + 1
    while threshold > 1 and (changed >= threshold).sum() < n_query:
        threshold -= 1
    return _spread(embeddings, changed >= threshold, n_query, rng)


@selector
def alfamix(
    embeddings: Float[Tensor, "n d"],
    labelled_embeddings: Float[Tensor, "l d"],
    labelled_targets: Int[Tensor, " l"],
    head: Head,
    n_query: int,
    rng: np.random.Generator,
    epsilon: Annotated[float, Between(1e-6, 1e3)] = 0.2,
) -> Int[ndarray, " q"]:
    """Images whose class changes when their features are mixed a little with the mean of a labelled class, clustered
    (ALFA-Mix; Parvaneh et al., 2022, eq. 5 and 6).

    For the mean z* of each labelled class and the gradient g of the cross-entropy at the predicted class with respect
    to the features z: alpha = e |z* - z| g / (|g| (z* - z)), feature by feature, with e = `epsilon` / sqrt(D), is the
    first-order best of its size; the class of alpha z* + (1 - alpha) z is asked for. Where a feature of z* and z is
    equal, mixing cannot change it. O(N D C) time per class that has labels.

    Only the direction of g counts, and it is had from the odds among the other classes: p itself rounds to 1 in
    float32, where a network is certain.
    """
    check_pool(embeddings, n_query, labelled_embeddings=labelled_embeddings)
    anchors = [labelled_embeddings[labelled_targets == c].float().mean(0) for c in labelled_targets.unique()]
    changed = np.zeros(len(embeddings), dtype=bool)
    for part in blocks(len(embeddings)):
        z = embeddings[part].float()
        before = _class_of(head, z)
        gradient = _gradient(head, z, before)
        for anchor in anchors:
            mixed = z + _step(anchor - z, gradient, epsilon / math.sqrt(z.shape[1]))
            changed[part] |= (_class_of(head, mixed) != before).cpu().numpy()
    return _spread(embeddings, changed, n_query, rng)


def _gradient(head: Head, z: Float[Tensor, "b d"], target: Int[Tensor, " b"]) -> Float[Tensor, "b d"]:
    """d CE(head(z), target) / dz of each image, divided by 1 - p_target: that of the logits is then q - e_target, where
    q is the softmax over the other classes.
    """
    with torch.enable_grad():
        at = z.detach().requires_grad_()
        logits = head(at)
        others = logits.detach().scatter(1, target[:, None], -torch.inf).softmax(1)
        return torch.autograd.grad(logits, at, others.scatter(1, target[:, None], -1))[0]


def _step(difference: Float[Tensor, "b d"], gradient: Float[Tensor, "b d"], size: float) -> Float[Tensor, "b d"]:
    """alpha (z* - z) = e |z* - z| g / |g|, where z* and z differ; 0 where the gradient is 0."""
    length = gradient.norm(dim=1, keepdim=True).clamp_min(torch.finfo(gradient.dtype).tiny)
    return torch.where(difference == 0, 0, size * difference.norm(dim=1, keepdim=True) * (gradient / length))


@torch.no_grad()
def _class_of(head: Head, z: Float[Tensor, "b d"]) -> Int[Tensor, " b"]:
    return head(z).argmax(1)


def _spread(
    embeddings: Float[Tensor, "n d"], candidates: Bool[ndarray, " n"], n_query: int, rng: np.random.Generator
) -> Int[ndarray, " q"]:
    """Of the candidates, on the unit sphere, those nearest the centroids of `n_query` clusters; all of too few."""
    index = np.flatnonzero(candidates)
    if len(index) <= n_query:
        return completed(rng.permutation(index).tolist(), len(embeddings), n_query, rng)
    chosen = embeddings[torch.from_numpy(index).to(embeddings.device)]
    return index[kmeans(frame(chosen, metric="cosine")(chosen), n_query, rng)]
