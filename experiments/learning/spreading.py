"""Labels spread over a graph of neighbours in the space of frozen features (Zhou et al., 2004; Iscen et al., 2019).

    F = (1 - a) (I - a S)^-1 Y        S = D^-1/2 (A + A') D^-1/2        A_ij = max(0, cos(x_i, x_j))^3

for j among the K nearest of i. Y (N, C) holds the labels that there are, and F how much of each class arrives at each
image. The graph is sparse and (I - a S) positive definite, so that F comes from conjugate gradients: memory and time
grow as N K, the search for neighbours aside, which looks at all pairs, in blocks, once a run.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.sparse import csr_matrix, diags_array
from torch import Tensor
from torch.nn.functional import normalize

NEIGHBOURS = 50  # of each image, as in Iscen et al. (2019)
POWER = 3  # of the cosine
ALPHA = 0.99  # share of what an image gets that comes from its neighbours
BLOCK = 2**24  # similarities that are held at once
RESIDUAL, MOST_STEPS = 1e-6, 500  # at which a solution stands, relative to Y, and where it stands at the latest


def graph(features: Float[Tensor, "n d"], neighbours: int = NEIGHBOURS) -> csr_matrix:
    """S of the images with these features, sparse (N, N), symmetric, its eigenvalues at most 1."""
    n, k = len(features), min(neighbours, len(features) - 1)
    unit = normalize(features.float(), dim=1)
    nearest, weights = [], []
    for block in torch.arange(n, device=unit.device).split(max(1, BLOCK // n)):
        cosines = unit[block] @ unit.T
        cosines[torch.arange(len(block), device=unit.device), block] = -2  # not its own neighbour
        found = cosines.topk(k, dim=1)
        nearest.append(found.indices.cpu().numpy())
        weights.append(found.values.clamp_min(0).double().pow(POWER).cpu().numpy())
    rows = np.repeat(np.arange(n), k)
    one_way = csr_matrix((np.concatenate(weights).ravel(), (rows, np.concatenate(nearest).ravel())), (n, n))
    both = one_way + one_way.T
    degree = np.asarray(both.sum(1)).ravel()
    scale = diags_array(1 / np.sqrt(np.where(degree > 0, degree, 1.0)))
    return csr_matrix(scale @ both @ scale)


def spread(graph: csr_matrix, labels: Float[ndarray, "n c"], alpha: float = ALPHA) -> Float[ndarray, "n c"]:
    """F of the labels Y, each class by conjugate gradients, all classes at once."""
    target = (1 - alpha) * labels
    found, residual = np.zeros_like(target), target.copy()
    direction, squares = residual.copy(), (residual**2).sum(0)
    enough = squares * RESIDUAL**2
    for _ in range(MOST_STEPS):
        if (squares <= enough).all():
            break
        moved = direction - alpha * (graph @ direction)
        curvature = (direction * moved).sum(0)
        step = np.divide(squares, curvature, out=np.zeros_like(squares), where=curvature > 0)
        found += step * direction
        residual -= step * moved
        before, squares = squares, (residual**2).sum(0)
        direction = residual + np.divide(squares, before, out=np.zeros_like(squares), where=before > 0) * direction
    return found


def told(arrived: Float[ndarray, "n c"]) -> tuple[Int[ndarray, " n"], Float[ndarray, " n"]]:
    """The class of each image, and how certain it is: 1 - H(p) / ln C of its shares p (Iscen et al., 2019, eq. 8).

    0 where nothing arrives. With one class all that it reaches is certain.
    """
    kept = np.maximum(arrived, 0)
    total = kept.sum(1)
    shares = kept / np.where(total > 0, total, 1.0)[:, None]
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(1)
    certain = 1 - entropy / (np.log(arrived.shape[1]) or 1.0)
    return kept.argmax(1), np.where(total > 0, np.maximum(certain, 0), 0.0)
