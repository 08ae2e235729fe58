"""Lazy greedy maximisation of submodular functions, and similarities of which no N x N matrix is made."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from data.names import Refused

FIRST_BLOCK, LAST_BLOCK = 8, 256  # candidates whose gains are brought up to date at once
# Numbers in one intermediate array: small enough for the cache of a processor core, large enough to hide the cost of a
# call.
CHUNK = 2**18


def lazy_greedy(
    bounds: Float[ndarray, " n"],
    gains_of: Callable[[list[int], float], tuple[Sequence[float], float]],
    take: Callable[[int], None],
    n_query: int,
    rng: np.random.Generator,
    tolerance: float,
) -> Int[ndarray, " q"]:
    """The picks of plain greedy, looking only at candidates whose stale gain could still win (Minoux, 1978).

    The gain of a candidate of a submodular function only falls as the batch grows, so its gain for an earlier, smaller
    batch is an upper bound. `bounds` are such bounds for the empty batch; `gains_of(candidates, best)` gives the gains
    for the current batch (or, where they are below `best`, bounds below it) and a slack, the amount by which a gain may
    exceed a bound (0 where gains are exact); `take(pick)` extends the batch. Gains that agree after rounding to
    `tolerance` are equal and drawn among at random. Raises ValueError if there are fewer than `n_query` candidates.
    """
    if not 0 <= n_query <= len(bounds):
        raise Refused(f"cannot pick {n_query} images from a pool of {len(bounds)}")
    ranks = rng.permutation(len(bounds)).tolist()
    heap = list(zip((-np.round(bounds / tolerance)).tolist(), ranks, range(len(bounds)), strict=True))
    heapq.heapify(heap)
    picks: list[int] = []
    while len(picks) < n_query:
        fresh: list[tuple[float, int, int]] = []
        best, slack, block = (
            np.inf,
            0.0,
            FIRST_BLOCK,
        )  # keys are minus gains in units of the tolerance: smaller is better
        while heap and heap[0][0] - slack < best:
            stale = [heapq.heappop(heap) for _ in range(min(block, len(heap)))]
            gains, slack = gains_of([candidate for _, _, candidate in stale], -best * tolerance)
            slack = slack / tolerance
            fresh += [(-round(gain / tolerance), rank, i) for gain, (_, rank, i) in zip(gains, stale, strict=True)]
            best, block = min(fresh)[0], min(2 * block, LAST_BLOCK)
        chosen = min(fresh)
        for entry in fresh:
            if entry is not chosen:
                heapq.heappush(heap, entry)
        picks.append(chosen[2])
        if len(picks) < n_query:
            take(chosen[2])
    return np.array(picks, dtype=np.int64)


def facility_location(
    similarities: Float[Tensor, "n r"],
    cover: Float[Tensor, " r"],
    n_query: int,
    rng: np.random.Generator,
    bonus: Float[Tensor, " n"] | None = None,
) -> Int[ndarray, " q"]:
    """Greedy maximum of sum_r max(cover_r, max_{a in A} s_ar) + sum_{a in A} bonus_a over batches A of `n_query`
    candidates.

    Every represented image r counts by its similarity to its nearest pick; `cover` is what it has before the first one.
    Lazy greedy: at worst O(N R) per pick, in practice a few hundred rows of R.
    """
    cover = cover.clone()
    bonus = similarities.new_zeros(len(similarities)) if bonus is None else bonus

    def gains(rows: Tensor, extra: Tensor) -> Tensor:
        return (rows - cover).clamp_min_(0).sum(1) + extra

    def gains_of(candidates: list[int], best: float) -> tuple[list[float], float]:
        index = torch.tensor(candidates, device=similarities.device)
        return gains(similarities[index], bonus[index]).tolist(), 0.0

    def take(pick: int) -> None:
        torch.maximum(cover, similarities[pick], out=cover)

    block = rows_of(similarities.shape[1])
    pairs = zip(similarities.split(block), bonus.split(block), strict=True)
    bounds = torch.cat([gains(rows, extra) for rows, extra in pairs]).cpu().numpy()
    return lazy_greedy(bounds, gains_of, take, n_query, rng, tolerance=1e-7 * max(similarities.shape[1], 1))


def cosines(embeddings: Float[Tensor, "n d"], others: Float[Tensor, "r d"]) -> Float[Tensor, "n r"]:
    """Cosines between all pairs in 0..1, negative ones taken as 0; 0 with an embedding of zeros. Block by block: no
    copy of either.
    """
    dtype = torch.promote_types(embeddings.dtype, torch.float32)
    found = torch.empty(len(embeddings), len(others), dtype=dtype, device=embeddings.device)
    directions = _unit(others.to(dtype)).T
    block = rows_of(max(embeddings.shape[1], len(others)))
    for rows, out in zip(embeddings.split(block), found.split(block), strict=True):
        torch.matmul(_unit(rows.to(dtype)), directions, out=out).clamp_(0, 1)
    return found


def nearest(embeddings: Float[Tensor, "n d"], others: Float[Tensor, "m d"]) -> Float[Tensor, " n"]:
    """Similarity of each image to the nearest of the others, 0 if there are none."""
    dtype = torch.promote_types(embeddings.dtype, torch.float32)
    found = torch.zeros(len(embeddings), dtype=dtype, device=embeddings.device)
    for block in others.split(rows_of(len(embeddings))) if len(others) else ():
        torch.maximum(found, cosines(embeddings, block).amax(1), out=found)
    return found


def _unit(rows: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    return rows / rows.norm(dim=1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)


def rows_of(width: int) -> int:
    """Rows of `width` numbers that make up one block of work."""
    return max(1, 16 * CHUNK // max(width, 1))


def sample(
    n: int, n_candidates: int, max_similarities: int, rng: np.random.Generator, like: Tensor
) -> Int[Tensor, " r"]:
    """All of range(n), or as large a random sample as `max_similarities` allows beside `n_candidates`."""
    size = min(n, max(1, max_similarities // max(n_candidates, 1)))
    index = np.arange(n) if size == n else np.sort(rng.choice(n, size, replace=False))
    return torch.from_numpy(index).to(like.device)
