"""Geometry that several whole-pool strategies share: safe distances, k-means++ seeding and k-means.

Everything runs on the device of the tensors, in blocks: memory beside the embeddings is O(BLOCK D + BLOCK k), and no
N x N matrix is ever made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from data.names import Refused

BLOCK = 4096  # rows per matrix product: large enough for the BLAS, small enough for the cache
METRICS = ("l2", "cosine", "dot")  # of distances between embeddings
CANCELLED = 1e-3  # where |x - c|^2 is below this share of |x|^2 + |c|^2, the product form has lost half its digits


def check_pool(embeddings: Float[Tensor, "n d"], n_query: int, **beside: Tensor | None) -> None:
    """Raise ValueError unless 0 <= n_query <= N, the embeddings are finite and the evidence beside them fits."""
    if not 0 <= n_query <= len(embeddings):
        raise Refused(f"n_query={n_query} must be between 0 and the size of the pool, {len(embeddings)}")
    for name, values in {"embeddings": embeddings, **beside}.items():
        if values is None or not values.numel():
            continue
        low, high = torch.aminmax(values)
        if not (math.isfinite(low) and math.isfinite(high)):
            row = int((~values.flatten(1).isfinite().all(1)).nonzero()[0])
            raise Refused(f"{name} of image {row} are not finite; they must be numbers to be compared")
        if name == "labelled_embeddings" and values.shape[1] != embeddings.shape[1]:
            raise Refused(
                f"labelled_embeddings have {values.shape[1]} features, those of the pool {embeddings.shape[1]}"
            )
        if name == "probs" and len(values) != len(embeddings):
            raise Refused(f"probs are of {len(values)} images, embeddings of {len(embeddings)}")


def completed(picks: list[int], n_pool: int, n_query: int, rng: np.random.Generator) -> Int[ndarray, " q"]:
    """The picks, followed by as many other images as are missing, at random: a strategy with nothing more to say is
    fair.
    """
    picks = picks[:n_query]
    if len(picks) < n_query:
        rest = np.setdiff1d(np.arange(n_pool), picks)
        picks = [*picks, *rng.permutation(rest)[: n_query - len(picks)].tolist()]
    return np.array(picks, dtype=np.int64)


def blocks(n: int, size: int = BLOCK) -> Iterator[slice]:
    """Slices that cover 0..n."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


@dataclass(frozen=True)
class Frame:
    """Maps rows of embeddings, block by block, to where products in float32 are safe; made by `frame`."""

    scale: float  # lengths are multiplied by this
    shift: Tensor | None
    unit: bool
    dtype: torch.dtype

    def __call__(self, rows: Float[Tensor, "m d"]) -> Float[Tensor, "m d"]:
        rows = rows.to(self.dtype)
        if self.unit:
            rows = rows / rows.abs().amax(1, keepdim=True).clamp_min(torch.finfo(self.dtype).tiny)
            return torch.nn.functional.normalize(rows)
        rows = rows * self.scale
        return rows if self.shift is None else rows.sub_(self.shift)


def frame(
    embeddings: Float[Tensor, "n d"],
    labelled: Float[Tensor, "l d"] | None = None,
    metric: str = "l2",
    least: torch.dtype = torch.float32,
) -> Frame:
    """The frame for these embeddings and a metric.

    A power of two takes out the magnitude, exactly, so that squares cannot overflow. "l2" takes out the mean as well,
    since a common offset would cancel in |x|^2 + |c|^2 - 2 x.c. "cosine" puts every row on the unit sphere, a zero row
    at its centre. "dot" only scales. Numbers are of the embeddings' precision, `least` or above. Raises ValueError for
    another metric.
    """
    if metric not in METRICS:
        raise Refused(f"metric={metric!r} must be l2 or cosine")
    dtype = torch.promote_types(embeddings.dtype, least)
    if metric == "cosine":
        return Frame(1.0, None, True, dtype)
    largest = max(
        (float(torch.stack(torch.aminmax(part)).abs().max()) for part in _parts(embeddings, labelled)), default=0.0
    )
    scale = 2.0 ** -max(min(math.frexp(largest)[1], 126), -126)
    if metric == "dot":
        return Frame(scale, None, False, dtype)
    shift = torch.zeros(embeddings.shape[1], dtype=dtype, device=embeddings.device)
    for part in _parts(embeddings):
        shift += (part.to(dtype) * scale).sum(0) / len(embeddings)
    return Frame(scale, shift, False, dtype)


def _parts(*tensors: Tensor | None) -> Iterator[Tensor]:
    return (x[part] for x in tensors if x is not None for part in blocks(len(x)))


def squared_norms(rows: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """|x|^2 of every row."""
    return rows.square().sum(1)  # in half the time of torch.linalg.vecdot


def nearest_centre(
    rows: Float[Tensor, "n d"],
    centres: Float[Tensor, "k d"],
    squares: Float[Tensor, " n"] | None = None,
    centre_squares: Float[Tensor, " k"] | None = None,
) -> tuple[Float[Tensor, " n"], Int[Tensor, " n"]]:
    """Squared distance of each row to its nearest centre, and which one that is; squared norms may be given to save
    time.

    One matrix product, |x|^2 + |c|^2 - 2 x.c; where that cancels (duplicates and near-duplicates), the differences
    themselves.
    """
    squares = squared_norms(rows) if squares is None else squares
    centre_squares = squared_norms(centres) if centre_squares is None else centre_squares
    least, which = torch.addmm(centre_squares, rows, centres.T, alpha=-2).min(1)
    least += squares
    close = (least < CANCELLED * (squares + centre_squares[which])).nonzero().squeeze(1)
    if len(close):
        if len(centres) > 1:  # which of several is the nearest was lost with the digits
            exact = centres.double()
            which[close] = torch.addmm(squared_norms(exact), rows[close].double(), exact.T, alpha=-2).argmin(1)
        least[close] = (rows[close] - centres[which[close]]).square_().sum(1)
    return least, which


class Points:
    """N vectors that are known through their products: rows of embeddings, or outer products of factors with them.

    With `factors` f_i and embeddings h_i the vectors are vec(f_i h_i^T), never formed: their products are
    (f_i.f_j)(h_i.h_j).
    """

    def __init__(self, embeddings: Float[Tensor, "n d"], framed: Frame, factors: Float[Tensor, "n c"] | None = None):
        self.embeddings, self.framed, self.factors = embeddings, framed, factors
        self.squares = torch.cat([framed(part).square_().sum(1) for part in _parts(embeddings)])
        if factors is not None:
            self.squares *= factors.square().sum(1)

    def __len__(self) -> int:
        return len(self.embeddings)

    def squared_distance(self, index: Tensor | slice, centres: list[int]) -> Float[Tensor, " m"]:
        """Squared distance of the vectors at `index` to the nearest of the vectors `centres`."""
        rows, near = self.framed(self.embeddings[index]), self.framed(self.embeddings[centres])
        if self.factors is None:
            return nearest_centre(rows, near, self.squares[index], self.squares[centres])[0]
        factors, near_factors = self.factors[index], self.factors[centres]
        squares, near_squares = self.squares[index], self.squares[centres]
        products = (rows @ near.T).mul_(factors @ near_factors.T)
        least, which = torch.sub(near_squares, products, alpha=2).min(1)
        least += squares
        close = (least < CANCELLED * (squares + near_squares[which])).nonzero().squeeze(1)
        if len(close):  # f h^T - g k^T = f (h - k)^T + (f - g) k^T, whose terms are small for near-duplicates
            if len(centres) > 1:
                f, g, h, k = (x.double() for x in (factors[close], near_factors, rows[close], near))
                exact = (g.square().sum(1) * k.square().sum(1)).sub((h @ k.T).mul_(f @ g.T), alpha=2)
                which[close] = exact.argmin(1)
            f, g, h, k = factors[close], near_factors[which[close]], rows[close], near[which[close]]
            embedding_part, factor_part = h - k, f - g
            least[close] = (
                f.square().sum(1) * embedding_part.square().sum(1)
                + factor_part.square().sum(1) * k.square().sum(1)
                + 2 * (f * factor_part).sum(1) * (embedding_part * k).sum(1)
            ).clamp_min_(0)
        return least


def seed(points: Points, n_seeds: int, first: int, rng: np.random.Generator, refresh: int = 32) -> list[int]:
    """k-means++ seeding from `first`: each further seed is drawn with p_i ~ D_i^2, its squared distance to the nearest
    seed.

    The law is exact. Each draw is a race: every point gets E_i ~ Exp(1), and the least E_i / D_i^2 wins. D_i only
    shrinks, so that an outdated D_i bounds the time from below, and only those in the lead have to be brought up to
    date, ever more of them at once, until one that is stays in the lead. All points are brought up to date together, by
    one matrix product for every `refresh` seeds. O(N D n_seeds) time, O(N refresh) memory. Stops early when all other
    points are duplicates of seeds (Arthur & Vassilvitskii, 2007).
    """
    seeds = [first]
    device, n = points.squares.device, len(points)
    bound = torch.full((n,), torch.inf, dtype=points.squares.dtype, device=device)
    pending = seeds[:]
    while len(seeds) < n_seeds:
        for part in blocks(n):
            bound[part] = torch.minimum(bound[part], points.squared_distance(part, pending))
        bound[pending] = 0
        pending = []
        clocks = rng.standard_exponential((min(refresh, n_seeds - len(seeds)), n), dtype=np.float32)
        for clock in torch.from_numpy(np.maximum(clocks, 1e-30)).to(device):
            times = clock / bound  # infinite for a duplicate of a seed
            stale = torch.full((n,), bool(pending), device=device)
            width = 1
            while stale[leader := int(times.argmin())]:
                index = times.topk(min(width, n), largest=False).indices
                bound[index] = torch.minimum(bound[index], points.squared_distance(index, pending))
                times[index] = clock[index] / bound[index]
                stale[index] = False
                width *= 4
            if math.isinf(float(times[leader])):
                return seeds
            seeds.append(leader)
            pending.append(leader)
            bound[leader] = 0
    return seeds


def lloyd(
    embeddings: Float[Tensor, "n d"],
    n_clusters: int,
    rng: np.random.Generator,
    max_rounds: int = 20,
    tolerance: float = 1e-3,
) -> tuple[Int[ndarray, " n"], Float[ndarray, " n"]]:
    """k-means: the cluster of every row, and its squared distance to the centroid (in an arbitrary unit).

    k-means++ seeds, then Lloyd's rounds until the inertia improves by less than `tolerance` of itself. A cluster that
    runs empty restarts at the row farthest from its centroid. With fewer distinct rows than clusters, some clusters
    stay empty. O(N D k) time per round, O(BLOCK k) memory (Lloyd, 1982).
    """
    n = len(embeddings)
    framed = frame(embeddings)
    seeds = seed(Points(embeddings, framed), min(n_clusters, n), int(rng.integers(n)), rng)
    centroids = framed(embeddings[seeds])
    labels = torch.empty(n, dtype=torch.int64, device=embeddings.device)
    squared = torch.empty(n, dtype=centroids.dtype, device=embeddings.device)
    inertia = math.inf
    for _ in range(max_rounds):
        totals, sizes = (
            torch.zeros_like(centroids),
            torch.zeros(len(centroids), dtype=centroids.dtype, device=centroids.device),
        )
        for part in blocks(n):
            rows = framed(embeddings[part])
            squared[part], labels[part] = nearest_centre(rows, centroids)
            totals.index_add_(0, labels[part], rows)
            sizes += torch.bincount(labels[part], minlength=len(sizes))
        previous, inertia = inertia, float(squared.sum(dtype=torch.float64))
        empty = (sizes == 0).nonzero().squeeze(1)
        if previous - inertia <= tolerance * inertia and not len(empty):
            break
        centroids = torch.where(sizes[:, None] > 0, totals / sizes.clamp_min(1)[:, None], centroids)
        if len(empty):
            centroids[empty] = framed(embeddings[squared.topk(len(empty)).indices])
    return labels.cpu().numpy(), squared.cpu().numpy()
