"""Views of images for learning without labels: random parts of them, brought back to their size, in other colours.

Each function of VIEWS takes images (B, channels, H, W) in 0..1 and a generator and returns new ones of the same shape,
every image with parameters of its own. Geometry is one sampling of the batch, colour one affine map. Strengths are
choices of this project, except where a source is named. torchvision draws one set of parameters for a whole batch, and
from a global generator, so that only its formulas are used here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from data.augment.colours import blurred, recoloured, restained, uniform
from data.augment.images import warped

Images = Float[Tensor, "b channels h w"]
RATIO = (3 / 4, 4 / 3)  # of width and height of a part
TRIES = 10  # parts that are drawn before the whole image is taken, as torchvision does


def simsiam_cifar(images: Images, rng: np.random.Generator) -> Images:
    """The CIFAR-10 recipe of SimSiam (Chen and He, 2021, appendix D), without blur.

    Parts of .2 to 1 of the area, mirrored or not; brightness, contrast, saturation and hue by .4, .4, .4 and .1 with
    probability .8, in this order and not in a random one; grey with probability .2.
    """
    images = _moved(images, _part(len(images), rng, 0.2) @ _mirror(len(images), rng))
    return _coloured(images, rng, (0.4, 0.4, 0.4, 0.1), p=0.8, grey=0.2)


def simsiam_histology(images: Images, rng: np.random.Generator) -> Images:
    """For stained tissue, which has no upright.

    Parts of .2 to 1, the 8 symmetries of the square, amounts of the stains (grey images keep the rest), brightness and
    contrast by .2, a blur of up to .7 pixels for a half.
    """
    n = len(images)
    quarter = _turn(rng.integers(4, size=n) * (math.pi / 2))
    images = _moved(images, _part(n, rng, 0.2) @ quarter @ _mirror(n, rng))
    if images.shape[1] == 3:
        images = restained(images, uniform(rng, 0.75, 1.25, images, 3), uniform(rng, -0.05, 0.05, images, 3))
    return _softened(_coloured(images, rng, (0.2, 0.2, 0.1, 0.02), p=0.8), rng)


def simsiam_radiograph(images: Images, rng: np.random.Generator) -> Images:
    """For radiographs, whose left is not their right: no mirror, no colours.

    Parts of .3 to 1, turned by up to 10 degrees, brightness and contrast by .4, a blur of up to .7 pixels for a half.
    """
    n = len(images)
    images = _moved(images, _part(n, rng, 0.3) @ _turn(rng.uniform(-1, 1, n) * math.radians(10)))
    return _softened(_coloured(images, rng, (0.4, 0.4, 0.0, 0.0), p=0.8), rng)


def simsiam_dermoscopy(images: Images, rng: np.random.Generator) -> Images:
    """For skin lesions, which have no upright and whose colours tell: never grey.

    Parts of .3 to 1 in any rotation, mirrored or not; brightness, contrast, saturation and hue by .3, .3, .3 and .03
    with probability .8, a blur of up to .7 pixels for a half.
    """
    n = len(images)
    images = _moved(images, _part(n, rng, 0.3) @ _turn(rng.uniform(0, 2 * math.pi, n)) @ _mirror(n, rng))
    return _softened(_coloured(images, rng, (0.3, 0.3, 0.3, 0.03), p=0.8), rng)


VIEWS: dict[str, Callable[[Tensor, np.random.Generator], Tensor]] = {
    function.__name__: function
    for function in (simsiam_cifar, simsiam_histology, simsiam_radiograph, simsiam_dermoscopy)
}


def _part(n: int, rng: np.random.Generator, smallest: float) -> Float[ndarray, "b 3 3"]:
    """Random parts as maps from the view, -1 to 1 along both sides, into the image: `smallest` to 1 of its area."""
    area = rng.uniform(smallest, 1, (n, TRIES))
    ratio = np.exp(rng.uniform(math.log(RATIO[0]), math.log(RATIO[1]), (n, TRIES)))
    sides = np.stack([np.sqrt(area * ratio), np.sqrt(area / ratio)], 2)  # width and height, 1 for the whole image
    fits = np.all(sides <= 1, axis=2)
    first = fits.argmax(1)
    side = np.where(fits.any(1)[:, None], sides[np.arange(n), first], 1.0)
    part = np.tile(np.eye(3), (n, 1, 1))
    part[:, [0, 1], [0, 1]] = side
    part[:, :2, 2] = rng.uniform(-1, 1, (n, 2)) * (1 - side)
    return part


def _mirror(n: int, rng: np.random.Generator) -> Float[ndarray, "b 3 3"]:
    mirror = np.tile(np.eye(3), (n, 1, 1))
    mirror[:, 0, 0] = np.where(rng.random(n) < 0.5, -1.0, 1.0)
    return mirror


def _turn(angles: Float[ndarray, " b"]) -> Float[ndarray, "b 3 3"]:
    turn = np.tile(np.eye(3), (len(angles), 1, 1))
    turn[:, 0, 0] = turn[:, 1, 1] = np.cos(angles)
    turn[:, 0, 1], turn[:, 1, 0] = -np.sin(angles), np.sin(angles)
    return turn


def _moved(images: Images, maps: Float[ndarray, "b 3 3"]) -> Images:
    return warped(images, None, maps[:, :2])[0]


def _coloured(
    images: Images, rng: np.random.Generator, strength: tuple[float, float, float, float], p: float, grey: float = 0.0
) -> Images:
    """Jitter brightness, contrast, saturation and hue of a share `p` of the images; a share `grey` loses its colour."""
    acts = torch.from_numpy(rng.random(len(images)) < p).to(images.device)
    still = torch.ones(len(images), dtype=images.dtype, device=images.device)
    factors = [torch.where(acts, uniform(rng, 1 - part, 1 + part, images), still) for part in strength[:3]]
    hue = torch.where(acts, uniform(rng, -2 * math.pi * strength[3], 2 * math.pi * strength[3], images), 0 * still)
    keeps = torch.from_numpy(rng.random(len(images)) >= grey).to(images)
    return recoloured(images, factors[0], factors[1], factors[2] * keeps, hue)


def _softened(images: Images, rng: np.random.Generator) -> Images:
    weight = np.where(rng.random(len(images)) < 0.5, rng.uniform(0, 0.25, len(images)), 0)
    return blurred(images, torch.from_numpy(weight).to(images))
