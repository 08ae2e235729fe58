"""Which images of a pool are near each other, however far the pool is spread.

|x|^2 + |y|^2 - 2 x.y loses what is small beside |x|^2: in float32 all distances below 3e-4 |x|. Here the products are
in float64, and where even they leave a doubt the coordinates are subtracted.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from heuristics.core.clustering import Frame, squared_norms

NUMBERS = 2**20  # coordinates of pairs that are subtracted at once


class Placed:
    """Embeddings in a frame of float64, beside the given ones. Lengths are in units of the frame."""

    def __init__(self, given: Float[Tensor, "n d"], framed: Frame):
        self.given, self.framed = given, framed
        self.rows = framed(given)
        self.squares = squared_norms(self.rows)

    def __len__(self) -> int:
        return len(self.given)

    def squared(self, part: slice, others: Placed) -> Float[Tensor, "m k"]:
        """Squared distances from the images of one part to all others, to about 1e-15 of their squared distance to the
        mean.
        """
        found = torch.addmm(others.squares, self.rows[part], others.rows.T, alpha=-2)
        return found.add_(self.squares[part, None]).clamp_min_(0)

    def apart(self, index: Int[Tensor, " p"], others: Placed, partners: Int[Tensor, " p"]) -> Float[Tensor, " p"]:
        """Squared distances of single pairs, from the differences of the given coordinates."""
        size = max(1, NUMBERS // max(1, self.given.shape[1]))
        pairs = zip(index.split(size), partners.split(size), strict=True)
        scale = self.framed.scale
        return torch.cat(
            [(self.given[i].double() * scale - others.given[j].double() * scale).square_().sum(1) for i, j in pairs]
        )

    def within(self, part: slice, others: Placed, radius: float) -> Bool[Tensor, "m k"]:
        """Whether the others lie within a radius of the images of one part: what differences say, at the cost of a
        product.
        """
        squared = self.squared(part, others)
        inside = squared <= radius * radius
        rounding = 4 * (self.rows.shape[1] + 4) * torch.finfo(squared.dtype).eps
        slack = torch.add(self.squares[part, None], others.squares).mul_(rounding)
        i, j = (squared.sub_(radius * radius).abs_() < slack).nonzero().T
        if len(i):
            inside[i, j] = self.apart(i + (part.start or 0), others, j) <= radius * radius
        return inside
