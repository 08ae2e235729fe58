"""Strong changes of whole batches for learning without labels; images (B, channels, H, W) in 0..1, inputs left alone.

What a network says of an image before such a change, it learns to say after it.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from data.augment.colours import blurred, jittered
from data.augment.images import randaugment

Images = Float[Tensor, "b channels h w"]


def strong(images: Images, rng: np.random.Generator) -> Images:
    """RandAugment (Cubuk et al., 2020) and then a cutout, as the strong view of FixMatch (Sohn et al., 2020, 2.3)."""
    return cutout(randaugment(images, rng)[0], rng)


def cutout(images: Images, rng: np.random.Generator) -> Images:
    """One square of each image in mid grey, around any of its pixels, its side up to half of the image's shorter one.

    DeVries and Taylor (2017, arXiv 1708.04552) with a random side, as FixMatch's published code; parts of the square
    may lie outside.
    """
    n, _, height, width = images.shape
    half = rng.uniform(0, min(height, width) / 4, n)
    inside = []
    for side in (height, width):
        away = np.abs(np.arange(side) + 0.5 - rng.uniform(0, side, n)[:, None])
        inside.append(torch.from_numpy(away < half[:, None]).to(images.device))
    return images.masked_fill((inside[0][:, :, None] & inside[1][:, None, :])[:, None], 0.5)


def appearance(images: Images, rng: np.random.Generator) -> Images:
    """Jitter of the colours; noise (std up to 0.08), blur (up to 0.7 pixels) or neither with equal chances.

    Nothing moves, so that maps of classes stay. Strengths as in `data.augment.boxes`.
    """
    n = len(images)
    images = jittered(images, rng, brightness=0.3, contrast=0.3, saturation=0.3, hue=0.03)
    which, strength = rng.integers(3, size=n), rng.uniform(size=n)
    noise = torch.from_numpy(rng.standard_normal(tuple(images.shape), dtype=np.float32)).to(images)
    spread = torch.from_numpy(np.where(which == 1, 0.08 * strength, 0)).to(images)
    images = torch.addcmul(images, noise, spread[:, None, None, None]).clamp_(0, 1)
    return blurred(images, torch.from_numpy(np.where(which == 2, 0.25 * strength, 0)).to(images))
