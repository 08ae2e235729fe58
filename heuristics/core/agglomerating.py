"""Agglomerative clustering of a pool of any size, through SciPy on the CPU; no N x N matrix of a large pool is made."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from heuristics.core.clustering import frame, lloyd


def agglomerate(
    embeddings: Float[Tensor, "n d"], n_clusters: int, rng: np.random.Generator, max_exact: int = 4000
) -> Int[ndarray, " n"]:
    """Agglomerative clustering (average linkage, Euclidean) cut at `n_clusters`: the cluster of every row.

    Exact up to `max_exact` rows. Above, the pool is first divided by k-means into cells of at most `max_exact / 2`
    rows, and all cells are agglomerated to one common height: the lowest merges of all cells happen, as they would
    without cells, and only those across a boundary of cells are missed (there are at least as many clusters as cells).
    SciPy's O(n^2) algorithm, so O(N max_exact) time and O(max_exact^2) memory.
    """
    n = len(embeddings)
    cells = [np.arange(n)] if n <= max_exact else list(_cells(embeddings, np.arange(n), max_exact // 2, rng))
    merges = [
        _average_linkage(embeddings if len(cell) == n else embeddings[_index(cell, embeddings)]) for cell in cells
    ]
    heights = np.concatenate([merge[:, 2] for merge in merges])
    lowest = np.zeros(len(heights), dtype=bool)
    lowest[np.argsort(heights, kind="stable")[: max(n - n_clusters, 0)]] = True
    labels, found, at = np.empty(n, dtype=np.int64), 0, 0
    for cell, merge in zip(cells, merges, strict=True):
        # Heights never fall along a dendrogram of average linkage, so that the merges that happen are its first ones.
        happen = int(lowest[at : at + len(merge)].sum())
        at += len(merge)
        members: dict[int, list[int]] = {i: [i] for i in range(len(cell))}
        for step, (a, b) in enumerate(merge[:happen, :2].astype(int)):
            members[len(cell) + step] = members.pop(a) + members.pop(b)
        for rows in members.values():
            labels[cell[rows]] = found
            found += 1
    return labels


def _index(rows: Int[ndarray, " m"], like: Tensor) -> Tensor:
    return torch.from_numpy(rows).to(like.device)


def _cells(
    embeddings: Tensor, rows: Int[ndarray, " m"], max_size: int, rng: np.random.Generator
) -> Iterator[Int[ndarray, " k"]]:
    """Divide the rows by k-means until no part is above `max_size`; identical rows at random."""
    if len(rows) <= max_size:
        yield rows
        return
    labels, _ = lloyd(embeddings[_index(rows, embeddings)], math.ceil(2 * len(rows) / max_size), rng, max_rounds=10)
    found = np.unique(labels)
    if len(found) == 1:
        yield from np.array_split(rng.permutation(rows), math.ceil(len(rows) / max_size))
        return
    for label in found:
        yield from _cells(embeddings, rows[labels == label], max_size, rng)


def _average_linkage(embeddings: Float[Tensor, "m d"]) -> Float[ndarray, "merges 4"]:
    if len(embeddings) < 2:
        return np.empty((0, 4))
    # In float32 near pairs of a wide pool would all seem alike.
    rows = frame(embeddings, least=torch.float64)(embeddings)
    distances = torch.cdist(rows, rows, compute_mode="use_mm_for_euclid_dist").cpu().numpy()
    return linkage(squareform(distances, checks=False), "average")
