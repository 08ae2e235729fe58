"""Diversity: choose images whose embeddings spread over the pool or cover it, whatever the model predicts.

All see the whole pool at once and return `n_query` distinct pool indices, best first; when a strategy has nothing more
to say (all that is left are duplicates of picks, or everything is covered) the rest is drawn at random. All work on the
device of the tensors and without any N x N matrix. Raises ValueError for a non-finite embedding or for more queries
than images.
"""

from __future__ import annotations

import heapq
import math
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from data.limits import Between, OneOf
from data.names import Refused
from heuristics.core.clustering import (
    BLOCK,
    METRICS,
    blocks,
    check_pool,
    completed,
    frame,
    lloyd,
    nearest_centre,
    squared_norms,
)
from heuristics.core.near import Placed
from heuristics.core.registry import selector

FRONT = 2048  # images whose distances the k-centre search keeps up to date
FIRST_CENTRES = 64  # labelled images that every image is compared with, for its first bound


@selector
def kmeans(embeddings: Float[Tensor, "n d"], n_query: int, rng: np.random.Generator) -> Int[ndarray, " q"]:
    """The image nearest each centroid of a k-means clustering of the pool into `n_query` clusters, largest cluster
    first.

    O(N D n_query) time per round, at most 20 rounds (Zhdanov, 2019, section 3, without weights).
    """
    check_pool(embeddings, n_query)
    if n_query == 0:
        return completed([], len(embeddings), 0, rng)
    labels, squared = lloyd(embeddings, n_query, rng)
    sizes = np.bincount(labels, minlength=n_query)
    tie = rng.permutation(len(labels))
    order = np.lexsort((tie, squared, labels))  # by cluster, nearest its centroid first
    nearest = order[np.unique(labels[order], return_index=True)[1]]
    by_size = np.lexsort((tie[nearest], -sizes[labels[nearest]]))
    return completed(nearest[by_size].tolist(), len(labels), n_query, rng)


@selector
def coreset(
    embeddings: Float[Tensor, "n d"],
    labelled_embeddings: Float[Tensor, "l d"],
    n_query: int,
    rng: np.random.Generator,
    metric: Annotated[str, OneOf(METRICS)] = "l2",
) -> Int[ndarray, " q"]:
    """Greedy k-centre: again and again the image farthest from its nearest labelled or chosen one (Sener & Savarese,
    2018, alg. 1).

    `metric` is l2 or cosine. Without labelled images the first pick is random. The picks are those of the plain
    algorithm, which updates N distances after every pick, in O((L + n_query) N D) time. Here the distances are upper
    bounds that only a small front of the farthest images keeps up to date; the farthest of the front is the farthest of
    all as long as it lies above the bounds of the others. Memory is O((FRONT + L + n_query) D + N) beside the
    embeddings. Among equally far images (duplicates) chance decides.
    """
    check_pool(embeddings, n_query, labelled_embeddings=labelled_embeddings)
    framed = frame(embeddings, labelled_embeddings, metric)
    n, device = len(embeddings), embeddings.device
    order = torch.from_numpy(rng.permutation(n)).to(device)  # of equally far images the first in this order is picked
    picks: list[int] = []
    if n_query == 0:
        return completed(picks, n, 0, rng)
    n_labelled = len(labelled_embeddings)
    centres = torch.empty(n_labelled + n_query, embeddings.shape[1], dtype=framed.dtype, device=device)
    for part in blocks(n_labelled):
        centres[:n_labelled][part] = framed(labelled_embeddings[part])
    n_centres = n_labelled
    if not n_labelled:
        picks.append(int(order[0]))
        centres[0], n_centres = framed(embeddings[order[:1]])[0], 1

    # A first bound for every image, from some of the centres: most images never come near the front and need no better
    # one.
    first = min(n_centres, FIRST_CENTRES)
    bound = torch.cat([nearest_centre(framed(embeddings[part]), centres[:first])[0] for part in blocks(n)])[order]
    if picks:
        bound[0] = -1  # images that are picked stay below all others
    known = torch.full((n,), first, device=device)  # how many of the centres each bound takes into account
    while len(picks) < n_query:
        front, cutoff, tied = _front(bound, FRONT)
        rows, distance, age = framed(embeddings[order[front]]), bound[front], known[front]
        squares = squared_norms(rows)
        for stale in age.argsort().split(FRONT // 8):  # of similar age, so that few centres are visited twice
            oldest = int(age[stale].min())
            if oldest < n_centres:
                nearest = nearest_centre(rows[stale], centres[oldest:n_centres], squares[stale])[0]
                distance[stale] = torch.minimum(distance[stale], nearest)
        while len(picks) < n_query:
            at = int(distance.argmax())  # the first one of equals
            if distance[at] < cutoff or (distance[at] == cutoff and front[at] > tied):
                break
            picks.append(int(order[front[at]]))
            centres[n_centres] = rows[at]
            distance = torch.minimum(
                distance, nearest_centre(rows, rows[at : at + 1], squares, squares[at : at + 1])[0]
            )
            distance[at] = -1
            n_centres += 1
        bound[front], known[front] = distance, n_centres
    return completed(picks, n, n_query, rng)


def _front(bound: Float[Tensor, " n"], size: int) -> tuple[Int[Tensor, " m"], float, int]:
    """Positions of the largest bounds in rising order, the largest bound outside, and the first position outside that
    has it.

    Of equal bounds those at the first positions are inside.
    """
    if len(bound) <= size:
        return torch.arange(len(bound), device=bound.device), -math.inf, len(bound)
    cutoff = bound.topk(size + 1, sorted=True).values[-1]
    above, equal = (bound > cutoff).nonzero().squeeze(1), (bound == cutoff).nonzero().squeeze(1)
    room = size - len(above)
    return torch.cat([above, equal[:room]]).sort().values, float(cutoff), int(equal[room])


@selector
def typiclust(
    embeddings: Float[Tensor, "n d"],
    labelled_embeddings: Float[Tensor, "l d"],
    n_query: int,
    rng: np.random.Generator,
    max_clusters: Annotated[int, Between(1, 10**6)] = 500,
    neighbours: Annotated[int, Between(1, 10**6)] = 20,
    min_size: Annotated[int, Between(0, 10**6)] = 5,
) -> Int[ndarray, " q"]:
    """The most typical image of each of the largest clusters without a label (Hacohen et al., 2022, alg. 1).

    k-means of labelled and pool images into min(L + n_query, `max_clusters`) clusters. Each pick comes from the
    clusters with the fewest labels (picks included), of these the largest, and is its image of highest typicality, the
    inverse of the mean distance to the `neighbours` nearest others in its cluster (eq. 4). Clusters below `min_size`
    images serve only when no other has images left. In a cluster of more than 5,000 images a random 5,000 stand for it.
    O(N D k) time for the clusters, O(5,000 N D) at most for the typicality; memory of one copy of the embeddings where
    L > 0.
    """
    check_pool(embeddings, n_query, labelled_embeddings=labelled_embeddings)
    if n_query == 0:
        return completed([], len(embeddings), 0, rng)
    n_labelled = len(labelled_embeddings)
    everything = torch.cat([labelled_embeddings.to(embeddings.dtype), embeddings]) if n_labelled else embeddings
    labels, _ = lloyd(everything, min(n_labelled + n_query, max_clusters), rng)
    order = np.argsort(labels, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    queue = []
    for cluster, rows in enumerate(members):
        labelled = int((rows < n_labelled).sum())
        if labelled < len(rows):
            queue.append((len(rows) < min_size, labelled, -len(rows), rng.random(), cluster))
    heapq.heapify(queue)
    typical: dict[int, list[int]] = {}
    picks: list[int] = []
    while queue and len(picks) < n_query:
        small, labelled, size, tie, cluster = heapq.heappop(queue)
        if cluster not in typical:
            typical[cluster] = _by_typicality(everything, members[cluster], n_labelled, neighbours, rng)
        picks.append(typical[cluster].pop() - n_labelled)
        if typical[cluster]:
            heapq.heappush(queue, (small, labelled + 1, size, tie, cluster))
    return completed(picks, len(embeddings), n_query, rng)


def _by_typicality(
    everything: Float[Tensor, "m d"],
    rows: Int[ndarray, " k"],
    n_labelled: int,
    neighbours: int,
    rng: np.random.Generator,
) -> list[int]:
    """The rows of one cluster that are no labelled ones, the most typical one last."""
    if len(rows) > 5000:
        labelled = rows[rows < n_labelled]
        rows = np.concatenate([labelled[:2500], rng.permutation(rows[len(labelled) :])[: 5000 - len(labelled[:2500])]])
    rows = rng.permutation(rows)  # so that chance decides among equals
    vectors = everything[torch.from_numpy(rows).to(everything.device)]
    placed = Placed(vectors, frame(vectors, least=torch.float64))
    k = min(neighbours, len(rows) - 1)
    mean = torch.zeros_like(placed.squares)
    for part in blocks(len(rows), BLOCK // 4):
        squared = placed.squared(part, placed)
        squared.diagonal(part.start).fill_(torch.inf)  # an image is no neighbour of its own
        if k:
            mean[part] = squared.topk(k, 1, largest=False).values.sqrt_().mean(1)
    ranked = rows[mean.argsort(descending=True, stable=True).cpu().numpy()]
    return ranked[ranked >= n_labelled].tolist()


@selector
def probcover(
    embeddings: Float[Tensor, "n d"],
    labelled_embeddings: Float[Tensor, "l d"],
    n_query: int,
    rng: np.random.Generator,
    delta: Annotated[float | int, Between(0, 1e9)] = 0.0,
    purity: Annotated[float | int, Between(0.01, 1)] = 0.95,
    n_clusters: Annotated[int, Between(1, 10**6)] = 10,
    max_points: Annotated[int, Between(1, 10**6)] = 10_000,
) -> Int[ndarray, " q"]:
    """Again and again the image whose ball of radius `delta` holds the most uncovered images (Yehuda et al., 2022, alg.
    1).

    Images within delta of a labelled one are covered from the start. delta=0 asks for the paper's estimate (section
    3.3): the largest radius at which a share `purity` of the balls hold one cluster only of a k-means into
    `n_clusters`, which should be the number of classes. Where the pool is larger than `max_points` (and than 4 n_query)
    a random part of that size stands for it, as centres and as points to be covered. O(m^2 D) time and m^2 bytes for m
    = min(N, max_points), independent of N.
    """
    check_pool(embeddings, n_query, labelled_embeddings=labelled_embeddings)
    if delta < 0 or not 0 < purity <= 1:
        raise Refused(f"delta={delta} must not be negative and purity={purity} must be in 0..1")
    if n_query == 0:
        return completed([], len(embeddings), 0, rng)
    n, device = len(embeddings), embeddings.device
    some = rng.permutation(n)[: max(max_points, 4 * n_query)]  # in random order, so that chance decides among equals
    points = embeddings[torch.from_numpy(some).to(device)]
    framed = frame(points, labelled_embeddings, least=torch.float64)
    radius = delta * framed.scale or pure_radius(points, n_clusters, purity, rng) * framed.scale
    placed = Placed(points, framed)
    uncovered = torch.ones(len(points), dtype=torch.bool, device=device)
    for part in blocks(len(labelled_embeddings)):
        centres = Placed(labelled_embeddings[part], framed)
        for own in blocks(len(points), BLOCK // 4):
            uncovered[own] &= ~placed.within(own, centres, radius).any(1)
    # covers[y, x]: the ball of x holds y. Kept once, so that degrees lose exactly what was counted.
    covers = torch.empty(len(points), len(points), dtype=torch.bool, device=device)
    degree = torch.zeros(len(points), dtype=torch.int64, device=device)
    for part in blocks(len(points), BLOCK // 4):
        covers[part] = placed.within(part, placed, radius)
        covers[part].diagonal(part.start).fill_(True)
        degree += covers[part][uncovered[part]].sum(0)
    picks: list[int] = []
    while len(picks) < n_query:
        best = int(degree.argmax())
        if degree[best] == 0:
            break
        picks.append(int(some[best]))
        new = (covers[:, best] & uncovered).nonzero().squeeze(1)
        uncovered[new] = False
        for part in new.split(BLOCK // 4):
            degree -= covers[part].sum(0)
    return completed(picks, n, n_query, rng)


def pure_radius(points: Float[Tensor, "m d"], n_clusters: int, purity: float, rng: np.random.Generator) -> float:
    """The largest radius at which a share `purity` of the balls around the points hold points of one k-means cluster
    only.

    A ball is pure up to the distance of its centre to the nearest point of another cluster, so that this radius is a
    quantile of those distances. Infinite where all points are one cluster. O(m^2 D) time, O(BLOCK m) memory.
    """
    labels = torch.from_numpy(lloyd(points, n_clusters, rng)[0]).to(points.device)
    framed = frame(points, least=torch.float64)
    placed = Placed(points, framed)
    everyone = torch.arange(len(points), device=points.device)
    nearest = []
    for part in blocks(len(points), BLOCK // 4):
        other = placed.squared(part, placed).masked_fill_(labels[part, None] == labels, torch.inf).min(1)
        exact = placed.apart(everyone[part], placed, other.indices)
        nearest.append(torch.where(other.values.isinf(), torch.inf, exact))
    ranked = torch.cat(nearest).sqrt_().sort().values
    impure = min(int((1 - purity) * len(ranked) + 1e-9), len(ranked) - 1)  # so many balls may be impure at the radius
    return float(ranked[impure]) / framed.scale * (1 - 1e-5)  # just below the distance at which the next one is
