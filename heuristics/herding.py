"""Herding: choose images that together are near, by a smooth kernel, to all of the pool: generalised coverage.

Features are put on the unit sphere; the kernel is k(a, b) = exp(-(|a - b| / delta)^2). It is computed block by block
whenever it is needed: memory beside the embeddings is O(m D + BLOCK^2) for the m = min(N, `max_points`) images that
take part, where the kernel alone would be m^2. Raises ValueError for a non-finite embedding or for more queries than
images.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from data.limits import Between
from heuristics.core.clustering import blocks, check_pool, frame, squared_norms
from heuristics.core.covering import lazy_greedy
from heuristics.core.registry import selector

BLOCK = 512  # images on either side of one block of the kernel: 1 MB of float32, which stays in the cache
WIDE = 0.25  # below this delta the kernel needs float64: in float32, |a - b|^2 is known to 1e-6
SAME = 1e-4  # unit vectors that are nearer differ by the rounding of their features, not by what they show
TEMPERATURES = np.arange(10, 201) / 10
BINS = 15  # of confidence, for the calibration error


@selector
def maxherding(
    embeddings: Float[Tensor, "n d"],
    labelled_embeddings: Float[Tensor, "l d"],
    n_query: int,
    rng: np.random.Generator,
    delta: Annotated[float | int, Between(1e-3, 1e3)] = 1.0,
    max_points: Annotated[int, Between(1, 10**7)] = 35_000,
) -> Int[ndarray, " q"]:
    """The images that most raise the coverage of the pool, mean_n max_a k(a, n) over labelled and picked a (Bae et al.,
    2024, alg. 1).

    Again and again argmax_x mean_n max(0, k(x, n) - m(n)), where m(n) is the coverage of n so far, 0 where nothing is
    labelled. Labelled images are covered by themselves, so that the mean over pool and labelled set has the same picks
    as the mean over the pool. Coverage is submodular: picks are those of the plain algorithm, found by lazy greedy.
    Where the pool is larger than `max_points` (and than 4 n_query) a random part of that size stands for it, as
    candidates and as points to be covered; the authors draw 35,000 too. O(m (m / 2 + L + c) D) time for c gains that
    had to be brought up to date.
    """
    check_pool(embeddings, n_query, labelled_embeddings=labelled_embeddings)
    return _herd(embeddings, labelled_embeddings, None, delta, n_query, rng, max_points)


@selector
def uherding(
    embeddings: Float[Tensor, "n d"],
    logits: Float[Tensor, "n c"],
    labelled_embeddings: Float[Tensor, "l d"],
    labelled_logits: Float[Tensor, "l c"],
    labelled_targets: Int[Tensor, " l"],
    n_query: int,
    rng: np.random.Generator,
    max_points: Annotated[int, Between(1, 10**7)] = 35_000,
) -> Int[ndarray, " q"]:
    """maxherding that covers uncertain images: mean_n u(n) max(0, k(x, n) - m(n)) (Bae, Sutherland & Oliveira, 2025,
    alg. 1).

    u(n) = 1 - (p_(1) - p_(2)) is one minus the margin of softmax(logits / T), 0 for labelled images. T is the one of 1,
    1.1, ..., 20 of least expected calibration error on the labelled images, the smallest of equal ones; delta is the
    smallest distance between labelled images that is not 0 (above 1e-4, which is rounding). Without labelled images T
    is 1, and delta is 1 where they have no such distance. The authors calibrate on labelled images that a second
    training left out; here they are those that the network was trained on, on which it is nearly always right, so that
    T is often 1. Cost and `max_points` as of maxherding.
    """
    check_pool(embeddings, n_query, labelled_embeddings=labelled_embeddings, logits=logits)
    two = (logits.double() / temperature(labelled_logits, labelled_targets)).softmax(1).topk(2, 1).values
    uncertainty = 1 - (two[:, 0] - two[:, 1])
    delta = least_distance(labelled_embeddings)
    return _herd(embeddings, labelled_embeddings, uncertainty, delta, n_query, rng, max_points)


def temperature(logits: Float[Tensor, "l c"], targets: Int[Tensor, " l"]) -> float:
    """The temperature in 1, 1.1, ..., 20 of least expected calibration error, the smallest of equal ones; 1 for L = 0.

    The error is sum_b |b| / L |accuracy(b) - confidence(b)| over 15 bins of equal width (Guo et al., 2017, eq. 3).
    """
    if not len(logits):
        return 1.0
    right = (logits.argmax(1) == targets).double()
    errors = []
    for value in TEMPERATURES:
        confidence = (logits.double() / value).softmax(1).amax(1)
        in_bin = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
        gaps = torch.zeros(BINS, dtype=torch.float64, device=logits.device).index_add_(0, in_bin, right - confidence)
        errors.append(float(gaps.abs().sum()) / len(logits))
    return float(TEMPERATURES[int(np.argmin(np.round(errors, 12)))])


def least_distance(embeddings: Float[Tensor, "l d"]) -> float:
    """The smallest distance above SAME between embeddings of length 1; 1 where there is none. O(L^2 D) time."""
    rows = frame(embeddings, metric="cosine", least=torch.float64)(embeddings)
    least = torch.inf
    for part in blocks(len(rows), BLOCK):
        squared = (rows[part].square().sum(1, keepdim=True) + rows.square().sum(1)).sub_(rows[part] @ rows.T, alpha=2)
        apart = squared[squared > SAME**2]
        least = min(least, float(apart.min()) if len(apart) else torch.inf)
    return float(np.sqrt(least)) if np.isfinite(least) else 1.0


def _herd(
    embeddings: Float[Tensor, "n d"],
    labelled: Float[Tensor, "l d"],
    weights: Float[Tensor, " n"] | None,
    delta: float,
    n_query: int,
    rng: np.random.Generator,
    max_points: int,
) -> Int[ndarray, " q"]:
    """Greedy maximum of sum_n w_n max(m_n, max_{a in A} k(a, n)) over batches A, from the coverage m by `labelled`."""
    some = np.arange(len(embeddings))
    if len(some) > max(max_points, 4 * n_query):
        some = np.sort(rng.choice(len(some), max(max_points, 4 * n_query), replace=False))
    framed = frame(embeddings, metric="cosine", least=torch.float32 if delta >= WIDE else torch.float64)
    index = torch.from_numpy(some).to(embeddings.device)
    points = torch.empty(len(some), embeddings.shape[1], dtype=framed.dtype, device=embeddings.device)
    for part in blocks(len(some)):
        points[part] = framed(embeddings[index[part]])
    placed = points, squared_norms(points)
    weight = points.new_ones(len(some)) if weights is None else weights[index].to(points.dtype)
    covered = points.new_zeros(len(some))

    def take(rows: Float[Tensor, "a d"]) -> None:
        taken = rows, squared_norms(rows)
        for part in blocks(len(points), BLOCK):
            covered[part] = torch.maximum(covered[part], _kernel(_part(placed, part), taken, delta).amax(1))

    def gains_of(candidates: list[int], best: float) -> tuple[list[float], float]:
        rows, gains = _part(placed, candidates), points.new_zeros(len(candidates))
        for part in blocks(len(points), BLOCK):
            gains += _kernel(rows, _part(placed, part), delta).sub_(covered[part]).clamp_min_(0) @ weight[part]
        return gains.tolist(), 0.0

    for part in blocks(len(labelled), BLOCK):
        take(framed(labelled[part]))
    bounds = points.new_zeros(len(points))
    for part in blocks(len(points), BLOCK):  # each block of the kernel serves both of its sides
        for other in blocks(part.stop, BLOCK):
            near = _kernel(_part(placed, part), _part(placed, other), delta)
            bounds[part] += (near - covered[other]).clamp_min_(0) @ weight[other]
            if other != part:
                bounds[other] += weight[part] @ near.sub_(covered[part, None]).clamp_min_(0)
    tolerance = 1e-7 * max(float(weight.sum()), torch.finfo(points.dtype).tiny)
    picks = lazy_greedy(
        bounds.cpu().numpy(), gains_of, lambda pick: take(points[pick : pick + 1]), n_query, rng, tolerance
    )
    return some[picks]


def _part(placed: tuple[Tensor, Tensor], index: slice | list[int]) -> tuple[Tensor, Tensor]:
    return placed[0][index], placed[1][index]


def _kernel(rows: tuple[Tensor, Tensor], others: tuple[Tensor, Tensor], delta: float) -> Float[Tensor, "a b"]:
    """exp(-|a - b|^2 / delta^2) of unit vectors, each given with its squared length: that of a row of zeros is 0."""
    closeness = torch.addmm(others[1], rows[0], others[0].T, beta=-1, alpha=2)
    return closeness.sub_(rows[1][:, None]).mul_(1 / delta**2).clamp_(max=0).exp_()
