"""Cell nuclei of the gland phantom: of the epithelium along the rims, of fibroblasts and lymphocytes between."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy import ndimage

from data.phantoms.painting import noise, stamp_ellipses


def _sparse_maxima(rng: np.random.Generator, where: Bool[ndarray, "h w"], spacing: float) -> Int[ndarray, "m 2"]:
    """Random pixels of `where` (y x), no two within `spacing` / 2 of each other along both axes."""
    height = np.where(where, rng.random(where.shape), -1.0)
    return np.argwhere(where & (height == ndimage.maximum_filter(height, max(1, round(spacing)))))


def rim_nuclei(
    rng: np.random.Generator,
    nuclei: Float[ndarray, "h w"],
    depth: Float[ndarray, "h w"],
    inside: Bool[ndarray, "h w"],
    kind: str,
    group: int,
    scale: float,
    rim: Float[ndarray, "h w"],
    lumen: Float[ndarray, "h w"],
) -> None:
    """Nuclei of the epithelium: upright in one row in regular glands, stratified and askew in irregular ones."""
    small = 0.75 if kind == "tiny" else 1.0
    rows = inside & (lumen < 0.1) & (depth > 1.8 * small)
    rows &= True if kind == "solid" else depth < rim * (1.5 if group else 0.8)
    gaps = noise(rng, depth.shape, 6 * scale) > (0.9 if group else 1.9)  # where the rim is disrupted
    at = _sparse_maxima(rng, rows & ~gaps, scale * small * rng.uniform(4, 5.5))
    slope = np.array(np.gradient(ndimage.gaussian_filter(depth, 1.5 * scale)))[:, at[:, 0], at[:, 1]]
    askew = rng.normal(0, 0.7 if group else 0.2, len(at))
    long = scale * small * rng.uniform(2.3, 3.3, len(at))
    axes = np.stack([long, long * rng.uniform(0.5, 0.75, len(at))], 1)
    stamp_ellipses(
        nuclei, at.astype(float), axes, np.arctan2(slope[0], slope[1]) + askew, rng.uniform(0.75, 1.0, len(at))
    )


def stroma_nuclei(
    rng: np.random.Generator,
    nuclei: Float[ndarray, "h w"],
    outside: Float[ndarray, "h w"],
    white: Float[ndarray, "h w"],
    group: int,
    scale: float,
) -> None:
    """Spindle nuclei of fibroblasts everywhere, round lymphocytes in patches."""
    free = (outside > 1.5) & (white < 0.3)
    patch = noise(rng, free.shape, 10 * scale)
    spindles = _sparse_maxima(rng, free, scale * rng.uniform(9, 16))
    crowd = _sparse_maxima(rng, free & (patch > rng.uniform(0.8, 3.0)), 4 * scale)
    n, m = len(spindles), len(crowd)
    axes = np.concatenate(
        [
            np.stack([rng.uniform(2.2, 4.2, n), rng.uniform(0.9, 1.4, n)], 1),
            np.repeat(rng.uniform(1.3, 1.9, (m, 1)), 2, 1),
        ]
    )
    angles = np.concatenate([rng.normal(rng.uniform(0, np.pi), 0.7, n), np.zeros(m)])
    heights = rng.uniform(0.55, 1.0, n + m)
    stamp_ellipses(nuclei, np.concatenate([spindles, crowd]).astype(float), scale * axes, angles, heights)
