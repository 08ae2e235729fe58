"""Augmentation of whole batches on their device: every image draws its own parameters from one numpy generator.

Each function of AUGMENTATIONS takes images (B, channels, H, W) in 0..1, a generator and, for segmentation, class maps
(B, H, W), and returns new images in 0..1 and the class maps, moved by the same geometry. Channels are 1 (grey) or 3
(colour). The strengths are choices of this project, except where a source is named.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from torch import Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample

from data.augment.colours import blurred, jittered, recoloured, restained, uniform

Images = Float[Tensor, "b channels h w"]
Masks = Int[Tensor, "b h w"] | None
PerImage = Float[Tensor, " b"]


def none(images: Images, rng: np.random.Generator, masks: Masks = None) -> tuple[Images, Masks]:
    """The images and masks as they are."""
    return images, masks


def hflip(images: Images, rng: np.random.Generator, masks: Masks = None) -> tuple[Images, Masks]:
    """Mirror left and right with probability 1/2."""
    rows = _rows(rng.random(len(images)) < 0.5, images)
    flipped = images.index_copy(0, rows, images[rows].flip(-1))
    return flipped, None if masks is None else masks.index_copy(0, rows, masks[rows].flip(-1))


def flips_rot90(images: Images, rng: np.random.Generator, masks: Masks = None) -> tuple[Images, Masks]:
    """One of the 8 symmetries of the square, all equally likely; of the 4 of the rectangle where H and W differ."""
    square = images.shape[-1] == images.shape[-2]
    # Bits: mirror horizontally, mirror vertically, transpose.
    element = rng.integers(8 if square else 4, size=len(images))
    moved, moved_masks = torch.empty_like(images), None if masks is None else torch.empty_like(masks)
    for which in np.unique(element):
        rows = _rows(element == which, images)
        axes = [axis for bit, axis in ((1, -1), (2, -2)) if which & bit]
        for source, target in ((images, moved), (masks, moved_masks)):
            if source is not None and target is not None:
                chosen = source[rows].transpose(-1, -2) if which & 4 else source[rows]
                target[rows] = chosen.flip(axes) if axes else chosen
    return moved, moved_masks


def segmentation(images: Images, rng: np.random.Generator, masks: Masks = None) -> tuple[Images, Masks]:
    """Symmetries of the square and a mild jitter of the colours."""
    images, masks = flips_rot90(images, rng, masks)
    return jittered(images, rng, brightness=0.1, contrast=0.1, saturation=0.1, hue=0.01), masks


def dermoscopy(images: Images, rng: np.random.Generator, masks: Masks = None) -> tuple[Images, Masks]:
    """For skin lesions, which have no upright: flips, any rotation, scale 0.8 to 1.25, jitter of the colours."""
    n = len(images)
    angle, log_scale = rng.uniform(0, 2 * math.pi, n), rng.uniform(math.log(0.8), math.log(1.25), n)
    mirror = np.where(rng.random(n) < 0.5, -1.0, 1.0)
    cos, sin = np.cos(angle) / np.exp(log_scale), np.sin(angle) / np.exp(log_scale)
    images, masks = warped(
        images, masks, np.stack([np.stack([mirror * cos, -sin], 1), np.stack([mirror * sin, cos], 1)], 1)
    )
    return jittered(images, rng, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.05), masks


def histology(images: Images, rng: np.random.Generator, masks: Masks = None) -> tuple[Images, Masks]:
    """For stained tissue: symmetries of the square, stains, brightness and contrast, a blur of up to 0.7 pixels.

    The stains are separated by colour deconvolution, each scaled and shifted at random, and put together again (Tellez
    et al., 2018, "Whole-slide mitosis detection", augmentation of the haematoxylin-eosin-DAB space). Grey images keep
    the rest.
    """
    images, masks = flips_rot90(images, rng, masks)
    if images.shape[1] == 3:
        images = restained(images, uniform(rng, 0.9, 1.1, images, 3), uniform(rng, -0.03, 0.03, images, 3))
    images = jittered(images, rng, brightness=0.1, contrast=0.1)
    weight = np.where(rng.random(len(images)) < 0.5, rng.uniform(0, 0.25, len(images)), 0)
    return blurred(images, torch.from_numpy(weight).to(images)), masks


def randaugment(images: Images, rng: np.random.Generator, masks: Masks = None) -> tuple[Images, Masks]:
    """RandAugment (Cubuk et al., 2020): N = 2 of 14 operations, drawn with replacement, at magnitude M = 9 of 30.

    Ranges as in torchvision's, signs at random. What a shift or a rotation brings in from outside is reflected, not
    black. Colour saturation leaves grey images unchanged.
    """
    for _ in range(2):
        # The last operation is the identity.
        operation = rng.integers(len(_COLOUR_OPERATIONS) + len(_MATRICES) + 1, size=len(images))
        sign = rng.choice([-1.0, 1.0], size=len(images))
        images = images.clone()
        for which, act in enumerate(_COLOUR_OPERATIONS):
            if (operation == which).any():
                rows = _rows(operation == which, images)
                images[rows] = act(images[rows], torch.from_numpy(sign[operation == which]).to(images))
        geometric = np.flatnonzero(
            (operation >= len(_COLOUR_OPERATIONS)) & (operation < len(_COLOUR_OPERATIONS) + len(_MATRICES))
        )
        if len(geometric):
            theta = np.stack([_MATRICES[operation[i] - len(_COLOUR_OPERATIONS)](sign[i]) for i in geometric])
            rows = torch.from_numpy(geometric).to(images.device)
            images[rows], warped_masks = warped(images[rows], None if masks is None else masks[rows], theta)
            if masks is not None and warped_masks is not None:
                masks = masks.index_copy(0, rows, warped_masks)
    return images, masks


AUGMENTATIONS: dict[str, Callable[..., tuple[Tensor, Tensor | None]]] = {
    function.__name__: function
    for function in (none, hflip, flips_rot90, segmentation, randaugment, dermoscopy, histology)
}


def crop_example(
    image: UInt8[ndarray, "h w c"], mask: ndarray | None, size: int, rng: np.random.Generator
) -> tuple[UInt8[ndarray, "size size c"], ndarray | None]:
    """A random window of size x size pixels of an image and its mask (H, W), as copies; short sides are reflected."""
    short = [max(0, size - side) for side in image.shape[:2]]
    margins = [(missing // 2, missing - missing // 2) for missing in short]
    window = tuple(
        slice(start, start + size) for start in (int(rng.integers(max(side - size, 0) + 1)) for side in image.shape[:2])
    )
    cropped = np.pad(image[window], [*margins, (0, 0)], mode="reflect")
    return cropped, None if mask is None else np.pad(mask[window], margins, mode="reflect")


def _rows(chosen: Bool[ndarray, " b"], images: Tensor) -> Int[Tensor, " r"]:
    return torch.from_numpy(np.flatnonzero(chosen)).to(images.device)


def warped(images: Images, masks: Masks, theta: Float[ndarray, "b 2 k"]) -> tuple[Images, Masks]:
    """Sample the batch at theta @ (x, y, 1), or theta @ (x, y): bilinear, masks nearest, reflected at the borders.

    x and y run from -1 to 1 over an image of equal sides; the linear part is adapted to H x W here, so that a rotation
    stays one.
    """
    height, width = images.shape[-2:]
    full = np.concatenate([theta, np.zeros((len(theta), 2, 3 - theta.shape[2]))], axis=2)
    full[:, 0, 1] *= height / width
    full[:, 1, 0] *= width / height
    grid = affine_grid(torch.from_numpy(full).to(images), [len(images), 1, height, width], align_corners=False)
    sampled = grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False).clamp_(0, 1)
    if masks is None:
        return sampled, None
    moved = grid_sample(
        masks[:, None].to(images.dtype), grid, mode="nearest", padding_mode="reflection", align_corners=False
    )
    return sampled, moved[:, 0].round().to(masks.dtype)


# RandAugment at magnitude 9 of 30: a factor off by 0.27 for the enhancements, 7 bits, threshold 0.7.
_STRENGTH = 9 / 30
_SHIFT = 2 * 150 / 331 * _STRENGTH


def _enhanced(which: int) -> Callable[[Images, PerImage], Images]:
    def enhance(images: Images, sign: PerImage) -> Images:
        one, factor = torch.ones_like(sign), 1 + 0.9 * _STRENGTH * sign
        brightness, contrast, saturation = (factor if part == which else one for part in range(3))
        return recoloured(images, brightness, contrast, saturation, torch.zeros_like(sign))

    return enhance


def _sharpened(images: Images, sign: PerImage) -> Images:
    """Away from (or towards) the image smoothed by the 3x3 kernel of 5 amid ones, over 13; edges are kept."""
    channels = images.shape[1]
    kernel = images.new_ones(channels, 1, 3, 3)
    kernel[:, :, 1, 1] = 5
    smooth = images.clone()
    smooth[..., 1:-1, 1:-1] = conv2d(images, kernel / 13, groups=channels)
    return torch.lerp(smooth, images, (1 + 0.9 * _STRENGTH * sign)[:, None, None, None]).clamp_(0, 1)


def _posterised(images: Images, sign: PerImage) -> Images:
    step = 2 ** round(4 * _STRENGTH)  # 7 of 8 bits stay
    return (images * 255).div_(step).floor_().mul_(step / 255).clamp_(0, 1)


def _solarised(images: Images, sign: PerImage) -> Images:
    return torch.where(images >= 1 - _STRENGTH, 1 - images, images)


def _autocontrasted(images: Images, sign: PerImage) -> Images:
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    return torch.where(high > low, (images - low) / (high - low).clamp(min=1e-6), images).clamp_(0, 1)


def _equalised(images: Images, sign: PerImage) -> Images:
    # Late: pulls in seconds of imports that no other augmentation needs.
    from torchvision.transforms.v2.functional import equalize

    return equalize(images)


_COLOUR_OPERATIONS = (
    *(_enhanced(which) for which in range(3)),
    _sharpened,
    _posterised,
    _solarised,
    _autocontrasted,
    _equalised,
)
_MATRICES: tuple[Callable[[float], ndarray], ...] = (
    lambda sign: np.array([[1, 0.3 * _STRENGTH * sign, 0], [0, 1, 0]]),  # shear along x
    lambda sign: np.array([[1, 0, 0], [0.3 * _STRENGTH * sign, 1, 0]]),  # shear along y
    lambda sign: np.array([[1, 0, _SHIFT * sign], [0, 1, 0]]),  # shift along x, by a part of the width
    lambda sign: np.array([[1, 0, 0], [0, 1, _SHIFT * sign]]),  # shift along y
    lambda sign: _rotation(math.radians(30 * _STRENGTH) * sign),
)


def _rotation(angle: float) -> ndarray:
    return np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0]])
