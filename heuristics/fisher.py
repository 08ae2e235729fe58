"""Fisher information: choose images whose labels leave least to be known about the last layer, for all of the pool."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from data.limits import Between
from data.names import Refused
from heuristics.core.clustering import blocks, check_pool, completed
from heuristics.core.registry import selector

ROWS = 512  # images whose products with a matrix of E columns are held at once
EQUAL = 1e-9  # scores that differ by less than this share are equal
LEAST = 1e-7  # lambda as a share of the largest information of an image: with less, float64 loses its inverse


@selector
def bait(
    embeddings: Float[Tensor, "n d"],
    probs: Float[Tensor, "n c *s"],
    labelled_embeddings: Float[Tensor, "l d"],
    labelled_probs: Float[Tensor, "l c *s"],
    n_query: int,
    rng: np.random.Generator,
    regularization: Annotated[float | int, Between(1e-6, 1e9)] = 1.0,
    max_exact: Annotated[int, Between(1, 10**5)] = 2560,
) -> Int[ndarray, " q"]:
    """The batch S that minimises tr[(lambda I + F_labelled + F_S)^-1 F_all], greedily forward and backward (BAIT; Ash
    et al., 2021, alg. 1).

    F_x = (diag p - p p^T) x z z^T is the Fisher information of the last layer at image x, F_all its sum over pool and
    labelled set. 2 n_query images are added one by one, then n_query are taken away again, each time the one that makes
    the trace smallest; lambda is `regularization`. Rows of the weights that are moved together change no probability:
    in the (C - 1) D directions that are left the trace is the same, and where these are at most `max_exact` it is
    computed exactly. Above, each image counts as a binary question, whether its predicted class is right (probability
    p): F_x = p (1 - p) z z^T, of D x D (Huseljic et al., 2024, section 4). For two classes that is exact, but for the
    scale of lambda. A lambda below 1e-7 of the largest tr F_x of the pool is raised to that: its inverse is lost in
    float64, and picks hardly change below.

    Each image holds two R x R matrices, z^T M^-1 z and z^T M^-1 F_all M^-1 z, which follow every pick by Woodbury's
    identity. With R = C - 1, or 1 in the binary form, and E = R D, in float64: O(N E^2 + E^3) time at the start and O(N
    D R^2 + E^2 R) per pick, O(E^2 + N R^2) memory. Raises ValueError for maps of probabilities, for input that is not
    finite and for more queries than images.
    """
    if probs.ndim != 2:
        raise Refused(f"bait needs one probability per class and image, not {tuple(probs.shape)}")
    check_pool(embeddings, n_query, labelled_embeddings=labelled_embeddings, probs=probs)
    n = len(embeddings)
    if n_query == 0:
        return completed([], n, 0, rng)
    exact = (probs.shape[1] - 1) * embeddings.shape[1] <= max_exact
    pool = Pool(embeddings, factors(probs, exact))
    pool.start(labelled_embeddings, factors(labelled_probs, exact), regularization)
    rank = torch.from_numpy(rng.permutation(n)).to(embeddings.device)  # of equally good images the first is taken
    left = torch.ones(n, dtype=torch.bool, device=embeddings.device)
    picks: list[int] = []
    while len(picks) < min(2 * n_query, n):
        picks.append(pool.best(left, rank))
        left[picks[-1]] = False
        pool.follow(picks[-1], 1)
    pool.keep(picks)
    while len(picks) > n_query:
        rise = pool.change(slice(None), -1)
        least = (rise <= rise.min() + rise.min().abs() * EQUAL).nonzero().squeeze(1).tolist()
        worst = max(least, key=lambda at: int(rank[picks[at]]))
        pool.follow(worst, -1)
        del picks[worst]
        pool.keep([at for at in range(len(picks) + 1) if at != worst])
    return np.array(picks, dtype=np.int64)


def factors(probs: Float[Tensor, "n c"], exact: bool) -> Float[Tensor, "n r r"]:
    """S of F_x = S x z z^T: diag p - p p^T in a basis of the directions that sum to 0, or p (1 - p) of the likeliest
    class.
    """
    p = probs.double()
    if not exact:
        others = p.scatter(1, p.argmax(1, keepdim=True), 0).sum(1)  # 1 - p would round to 0
        return (p.amax(1) * others)[:, None, None]
    n_classes = p.shape[1]
    basis = torch.linalg.qr(torch.eye(n_classes, dtype=p.dtype, device=p.device)[:, 1:] - 1 / n_classes).Q
    means = p @ basis
    return torch.einsum("nc,ci,cj->nij", p, basis, basis) - means[:, :, None] * means[:, None]


class Pool:
    """What each image of a pool would change in tr(M^-1 F), kept up to date while images are added to M or taken away.

    `inverse` is M^-1 and `product` M^-1 F M^-1, both (E, E); `own` and `cross` are their products with each image, z^T
    M^-1 z and z^T M^-1 F M^-1 z, one for each pair of classes: (N, R, R).
    """

    def __init__(self, embeddings: Float[Tensor, "n d"], shapes: Float[Tensor, "n r r"]):
        self.embeddings, self.shapes = embeddings, shapes

    def start(self, labelled: Float[Tensor, "l d"], shapes: Float[Tensor, "l r r"], regularization: float) -> None:
        """M of the labelled images, F of these and the pool."""
        known = _summed(labelled, shapes)
        everything = known + _summed(self.embeddings, self.shapes)
        known.diagonal().add_(max(regularization, LEAST * self.largest()))
        self.inverse = torch.cholesky_inverse(torch.linalg.cholesky(known))
        self.product = self.inverse @ everything @ self.inverse
        self.own, self.cross = (_products(self.embeddings, m, self.shapes) for m in (self.inverse, self.product))

    def largest(self) -> float:
        """The largest information of an image, tr F_x = tr S |z|^2."""
        traces = self.shapes.diagonal(dim1=1, dim2=2).sum(1)
        parts = blocks(len(traces), ROWS)
        return max(float((traces[p] * self.embeddings[p].double().square().sum(1)).max()) for p in parts)

    def change(self, index: Tensor | slice, sign: int) -> Float[Tensor, " m"]:
        """How much adding (1) images would lower the trace, or taking them away (-1) raise it.

        tr[(I +- S H)^-1 S K], where H and K are `own` and `cross` of the image.
        """
        shape, own, cross = self.shapes[index], self.own[index], self.cross[index]
        if shape.shape[1] == 1:
            return (shape * cross / (1 + sign * shape * own)).flatten()
        unit = torch.eye(shape.shape[1], dtype=shape.dtype, device=shape.device)
        solved = torch.linalg.solve(unit + sign * (shape @ own), shape @ cross)
        return solved.diagonal(dim1=1, dim2=2).sum(1)

    def best(self, left: Tensor, rank: Int[Tensor, " n"]) -> int:
        """The image, of those left, that lowers the trace most; tr(S K) bounds it and saves solving for most images."""
        bound = (self.shapes * self.cross).sum((1, 2)).masked_fill_(~left, -torch.inf)
        order = bound.argsort(descending=True)[: int(left.sum())]
        known = bound.new_full((len(order),), -torch.inf)
        for part in blocks(len(order), ROWS):
            known[part] = self.change(order[part], 1)
            if part.stop < len(order) and known.max() > bound[order[part.stop]] * (1 + EQUAL):
                break
        tied = order[known >= known.max() - known.max().abs() * EQUAL]
        return int(tied[rank[tied].argmin()])

    def keep(self, images: list[int]) -> None:
        """Forget all other images."""
        self.embeddings, self.shapes = self.embeddings[images], self.shapes[images]
        self.own, self.cross = self.own[images], self.cross[images]

    def follow(self, pick: int, sign: int) -> None:
        """Add an image to M (1) or take it away (-1): M^-1 -= sign U U^T, where U = M^-1 B (I + sign B^T M^-1 B)^-1/2
        and the information of the image is B B^T.
        """
        z, shape = self.embeddings[pick].double(), self.shapes[pick]
        values, vectors = torch.linalg.eigh(shape)
        root = vectors * values.clamp_min(0).sqrt()
        n_rows = len(shape)
        middle = torch.eye(n_rows, dtype=z.dtype, device=z.device) + sign * root.T @ self.own[pick] @ root
        lower = torch.linalg.cholesky(middle)
        sides = [(m.view(len(m), n_rows, len(z)) @ z) @ root for m in (self.inverse, self.product)]
        u, w = (torch.linalg.solve_triangular(lower, side.T, upper=False).T for side in sides)
        inner = torch.linalg.solve_triangular(lower, root.T @ self.cross[pick] @ root, upper=False)
        inner = torch.linalg.solve_triangular(lower, inner.T, upper=False)  # U^T F U
        x = w - sign / 2 * u @ inner
        self.inverse.addmm_(u, u.T, alpha=-sign)
        self.product.addmm_(u, x.T, alpha=-sign).addmm_(x, u.T, alpha=-sign)
        both = torch.cat([u, x], 1).view(n_rows, len(z), 2 * n_rows).transpose(0, 1).flatten(1)
        for part in blocks(len(self.embeddings)):
            rows = (self.embeddings[part].double() @ both).view(-1, n_rows, 2 * n_rows)
            along_u, along_x = rows.split(n_rows, 2)
            self.own[part].baddbmm_(along_u, along_u.transpose(1, 2), alpha=-sign)
            self.cross[part].baddbmm_(along_u, along_x.transpose(1, 2), alpha=-sign)
            self.cross[part].baddbmm_(along_x, along_u.transpose(1, 2), alpha=-sign)


def _summed(embeddings: Float[Tensor, "n d"], shapes: Float[Tensor, "n r r"]) -> Float[Tensor, "e e"]:
    """sum_n S_n x z_n z_n^T, the classes before the features; only pairs of classes i <= j are computed."""
    n_rows, dim = shapes.shape[1], embeddings.shape[1]
    total = shapes.new_zeros(n_rows, dim, n_rows, dim)
    for part in blocks(len(embeddings), ROWS):
        z = embeddings[part].double()
        for i in range(n_rows):
            weighted = shapes[part, i, i:, None] * z[:, None]
            total[i, :, i:] += (z.T @ weighted.flatten(1)).view(dim, n_rows - i, dim)
    for i in range(n_rows):
        total[i + 1 :, :, i] = total[i, :, i + 1 :].permute(1, 2, 0)
    return total.view(n_rows * dim, n_rows * dim)


def _products(
    embeddings: Float[Tensor, "n d"], matrix: Float[Tensor, "e e"], shapes: Float[Tensor, "n r r"]
) -> Float[Tensor, "n r r"]:
    """z^T M_ij z for the D x D block M_ij of every pair of classes."""
    found = torch.empty_like(shapes)
    n_rows, dim = shapes.shape[1], embeddings.shape[1]
    by_class = matrix.view(n_rows, dim, n_rows, dim)
    for part in blocks(len(embeddings), ROWS):
        z = embeddings[part].double()
        for i in range(n_rows):
            side = (z @ by_class[i, :, i:].flatten(1)).view(len(z), n_rows - i, dim)
            found[part, i, i:] = found[part, i:, i] = (side @ z[:, :, None]).squeeze(2)
    return found
