"""What is chosen of volumes: single slices that are no neighbours, or whole volumes.

A volume is told by a name for each image; '' is an image of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy import ndarray

from heuristics.core.selecting import Picks

Names = Shaped[ndarray, " n"]
Numbers = Int[ndarray, " n"]

# From the scores of a volume's slices to that of the volume.
VOLUME_SCORES: dict[str, Callable[[ndarray], float]] = {
    "mean": lambda scores: float(scores.mean()),
    "median": lambda scores: float(np.median(scores)),
    "max": lambda scores: float(scores.max()),
    "sum": lambda scores: float(scores.sum()),
}


def members(volumes: Names) -> list[Int[ndarray, " _"]]:
    """The positions of the images of each volume, in the order of the first of them."""
    found: dict[object, list[int]] = {}
    for i, volume in enumerate(volumes.tolist()):
        found.setdefault(volume or i, []).append(i)
    return [np.array(positions) for positions in found.values()]


def volume_scores(
    scores: Float[ndarray, " n"], volumes: Sequence[Int[ndarray, " _"]], how: str = "mean"
) -> Float[ndarray, " v"]:
    """One score for each volume by an entry of VOLUME_SCORES. With `sum` a volume of more slices scores higher."""
    return np.array([VOLUME_SCORES[how](scores[positions]) for positions in volumes])


def whole(order: Int[ndarray, " v"], sizes: Int[ndarray, " v"], n_query: int) -> Int[ndarray, " _"]:
    """Volumes to label, best first, for `n_query` slices: each in its turn if all its slices are still to be had.

    The best volume is taken in any case, so that something is labelled.
    """
    taken, left = [], n_query
    for volume in order.tolist():
        if not taken or sizes[volume] <= left:
            taken.append(volume)
            left -= int(sizes[volume])
    return np.array(taken, dtype=np.int64)


def spread(
    order: Int[ndarray, " m"], volumes: Names, slices: Numbers, apart: int, most: int, least: int | None = None
) -> Picks:
    """Of positions in their order the first `most` of which no two are slices of a volume closer than `apart`.

    Where these are fewer than `least` (by default `most`), the first of the others follow until it is reached.
    """
    taken: list[int] = []
    passed: list[int] = []
    near: dict[str, list[int]] = {}
    for position in order.tolist():
        if len(taken) == most:
            break
        volume, number = str(volumes[position]), int(slices[position])
        if volume and any(abs(number - other) < apart for other in near.get(volume, ())):
            passed.append(position)
            continue
        near.setdefault(volume, []).append(number)
        taken.append(position)
    lacking = max(0, (most if least is None else least) - len(taken))
    return np.array(taken + passed[:lacking], dtype=np.int64)


def thinned(volumes: Names, slices: Numbers, apart: int, rng: np.random.Generator) -> Picks:
    """Rising positions of every `apart`-th slice of each volume, from one that is drawn; all other images stay."""
    _, of = np.unique(volumes, return_inverse=True)
    first = rng.integers(0, apart, of.max(initial=0) + 1)
    return np.flatnonzero((volumes == "") | (slices % apart == first[of.reshape(-1)]))
