"""Augmentation of one training image with its boxes, on their device; one numpy generator gives all randomness.

Each function of AUGMENTATIONS takes an image (channels, H, W) in 0..1 with 1 or 3 channels, boxes (M, 5) (xyxy in
pixels and the class) and a generator, and returns an image in 0..1 and the boxes, moved by the same geometry. Inputs
are left alone. The strengths are choices of this project.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from data.augment.colours import blurred, jittered

Image = Float[Tensor, "channels h w"]
Moved = Float[Tensor, "channels h2 w2"]  # of the same size: sides change places only where they are equal
Boxes = Float[Tensor, "m 5"]


def none(image: Image, boxes: Boxes, rng: np.random.Generator) -> tuple[Image, Boxes]:
    """The image and boxes as they are."""
    return image, boxes


def hflip(image: Image, boxes: Boxes, rng: np.random.Generator) -> tuple[Image, Boxes]:
    """Mirror left and right with probability 1/2."""
    return _moved(image, boxes, int(rng.integers(2)))


def flips_rot90(image: Image, boxes: Boxes, rng: np.random.Generator) -> tuple[Image, Boxes]:
    """One of the 8 symmetries of the square, all equally likely; of the 4 of the rectangle where H and W differ."""
    return _moved(image, boxes, int(rng.integers(8 if image.shape[1] == image.shape[2] else 4)))


weak = flips_rot90  # geometry alone: what a teacher sees


def strong(image: Image, boxes: Boxes, rng: np.random.Generator) -> tuple[Image, Boxes]:
    """`flips_rot90`, then a changed `appearance`: what a student learns from."""
    image, boxes = flips_rot90(image, boxes, rng)
    return appearance(image, rng), boxes


def appearance(image: Image, rng: np.random.Generator) -> Image:
    """Jitter of the colours; noise (std up to 0.08), blur (up to 0.7 pixels) or neither with equal chances; cutout.

    Nothing moves, so that boxes stay. Cutout (DeVries and Taylor, 2017, arXiv 1708.04552) fills one rectangle, with
    sides of 5 to 20 % of those of the image, with the mean colour, in half of the images: small enough to leave most of
    an object.
    """
    image = jittered(image[None], rng, brightness=0.3, contrast=0.3, saturation=0.3, hue=0.03)[0]
    degraded, strength = int(rng.integers(3)), float(rng.uniform())
    if degraded == 1:
        noise = torch.from_numpy(rng.standard_normal(tuple(image.shape), dtype=np.float32)).to(image)
        image = torch.add(image, noise, alpha=0.08 * strength).clamp_(0, 1)
    if degraded == 2:
        image = blurred(image[None], image.new_tensor([0.25 * strength]))[0]
    return _cut_out(image, rng) if rng.uniform() < 0.5 else image


AUGMENTATIONS: dict[str, Callable[[Tensor, Tensor, np.random.Generator], tuple[Tensor, Tensor]]] = {
    function.__name__: function for function in (none, hflip, flips_rot90, strong)
}


def _moved(image: Image, boxes: Boxes, element: int) -> tuple[Moved, Boxes]:
    """Apply the symmetry whose bits say: 1 mirror left and right, 2 top and bottom, and, before these, 4 transpose."""
    x1, y1, x2, y2, label = boxes.unbind(1)
    if element & 4:
        image = image.transpose(1, 2)
        x1, y1, x2, y2 = y1, x1, y2, x2
    height, width = image.shape[1:]
    if element & 1:
        image = image.flip(2)
        x1, x2 = width - x2, width - x1
    if element & 2:
        image = image.flip(1)
        y1, y2 = height - y2, height - y1
    return image.contiguous(), torch.stack([x1, y1, x2, y2, label], dim=1)


def _cut_out(image: Image, rng: np.random.Generator) -> Image:
    height, width = (
        max(1, round(side * part))
        for side, part in zip(image.shape[1:], rng.uniform(0.05, 0.2, 2).tolist(), strict=True)
    )
    top, left = (int(rng.integers(side - cut + 1)) for side, cut in zip(image.shape[1:], (height, width), strict=True))
    cut = image.clone()
    cut[:, top : top + height, left : left + width] = image.mean((1, 2), keepdim=True)
    return cut
