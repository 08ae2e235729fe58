"""Changes of colour and sharpness of whole batches: images (B, channels, H, W) in 0..1, one strength per image."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor
from torch.nn.functional import pad

Images = Float[Tensor, "b channels h w"]
PerImage = Float[Tensor, " b"]
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
RGB_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
YIQ_TO_RGB = np.linalg.inv(RGB_TO_YIQ)
# Optical density in red, green and blue of haematoxylin, eosin and diaminobenzidine (Ruifrok and Johnston, 2001).
HED_TO_RGB = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]]).T
HED_TO_RGB = HED_TO_RGB / np.linalg.norm(HED_TO_RGB, axis=0)
RGB_TO_HED = np.linalg.inv(HED_TO_RGB)


def uniform(rng: np.random.Generator, low: float, high: float, images: Images, *shape: int) -> Float[Tensor, " b *s"]:
    return torch.from_numpy(rng.uniform(low, high, (len(images), *shape))).to(images)


def _constant(values: Float[ndarray, "3 3"], images: Images) -> Float[Tensor, "3 3"]:
    return torch.from_numpy(values).to(images)


def jittered(
    images: Images,
    rng: np.random.Generator,
    brightness: float,
    contrast: float,
    saturation: float = 0.0,
    hue: float = 0.0,
) -> Images:
    """Change each image's colours by factors from 1 - strength to 1 + strength, hue by that part of a circle."""
    bright, contrasted, saturated = (
        uniform(rng, 1 - part, 1 + part, images) for part in (brightness, contrast, saturation)
    )
    return recoloured(
        images, bright, contrasted, saturated, uniform(rng, -2 * math.pi * hue, 2 * math.pi * hue, images)
    )


def recoloured(images: Images, brightness: PerImage, contrast: PerImage, saturation: PerImage, hue: PerImage) -> Images:
    """Brightness, contrast and saturation about the mean and own grey, and a turn of hue, as one map of colours.

    All four are affine in the colour (hue as a rotation of the IQ plane of YIQ), so that one matrix per image does them
    at once.
    """
    n, channels = images.shape[:2]
    luma = images.new_tensor(LUMA) if channels == 3 else images.new_ones(1)
    grey = images.mean((2, 3)) @ luma
    offset = (brightness * (1 - contrast) * grey)[:, None, None]
    gain = (brightness * contrast)[:, None, None]
    if channels == 1:
        return torch.addcmul(offset[..., None], images, gain[..., None]).clamp_(0, 1)
    turn = torch.eye(3, dtype=images.dtype, device=images.device).repeat(n, 1, 1)
    turn[:, 1, 1] = turn[:, 2, 2] = saturation * hue.cos()
    turn[:, 1, 2], turn[:, 2, 1] = -saturation * hue.sin(), saturation * hue.sin()
    matrix = gain * (_constant(YIQ_TO_RGB, images) @ turn @ _constant(RGB_TO_YIQ, images))
    return torch.baddbmm(offset, matrix, images.flatten(2)).reshape(images.shape).clamp_(0, 1)


def restained(images: Images, scale: Float[Tensor, "b 3"], shift: Float[Tensor, "b 3"]) -> Images:
    """Scale and shift the amounts of the three stains: affine in the optical density -ln(x), one matrix per image."""
    stains = _constant(HED_TO_RGB, images)
    matrix = stains @ (scale[:, :, None] * _constant(RGB_TO_HED, images))
    offset = -(shift @ stains.T)[:, :, None]
    logarithm = images.clamp(min=1 / 255).log_().flatten(2)
    return torch.baddbmm(offset, matrix, logarithm).exp_().reshape(images.shape).clamp_(0, 1)


def blurred(images: Images, weight: PerImage) -> Images:
    """Smooth rows and columns by [w, 1 - 2 w, w], a blur of standard deviation sqrt(2 w) pixels, 0 <= w <= 1/4."""
    for axis, padding in ((2, (0, 0, 1, 1)), (3, (1, 1, 0, 0))):
        padded = pad(images, padding, mode="replicate")
        length = images.shape[axis]
        neighbours = padded.narrow(axis, 0, length) + padded.narrow(axis, 2, length)
        images = torch.addcmul(images, neighbours.sub_(images, alpha=2), weight[:, None, None, None])
    return images.clamp_(0, 1)
