"""What all phantoms are painted with: noise, soft-edged ellipses, stains, and a key of the code that painted them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

PARTS = ("train", "test", "prototype")  # the second number of a generator's address
GOLDEN = (5**0.5 - 1) / 2  # its multiples modulo 1 fill 0..1 evenly, however many are taken
# Optical density per colour channel of one unit of stain.
H_AND_E = np.array(
    [[0.62, 0.71, 0.34], [0.13, 0.86, 0.38]]
)  # between Ruifrok & Johnston (2001) and Macenko et al. (2009)


def generator_fingerprint(sources: list[Path], *arguments: object) -> str:
    """Digest of the text of the generating modules and their arguments: a changed generator reads no old cache."""
    return hashlib.sha256(repr((arguments, [file.read_text() for file in sources])).encode()).hexdigest()[:16]


def noise(
    rng: np.random.Generator, shape: tuple[int, int], length: float, stretch: float = 1.0, angle: float = 0.0
) -> Float[ndarray, "h w"]:
    """Smooth periodic Gaussian noise, mean 0 and variance 1.

    `length` is the correlation length in pixels, `stretch` makes it that many times longer along `angle` (radians from
    the x axis).
    """
    fy, fx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
    along, across = fx * np.cos(angle) + fy * np.sin(angle), fy * np.cos(angle) - fx * np.sin(angle)
    transfer = np.exp(-2 * (np.pi * length) ** 2 * ((stretch * along) ** 2 + across**2))
    transfer[0, 0] = 0
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * transfer, shape)
    return field / field.std()


def stamp_ellipses(
    canvas: Float[ndarray, "h w"],
    centres: Float[ndarray, "m 2"],
    axes: Float[ndarray, "m 2"],
    angles: Float[ndarray, " m"],
    heights: Float[ndarray, " m"],
) -> None:
    """Draw soft-edged ellipses (centres y x, semi-axes and edges in pixels, first angle) into `canvas` by maximum."""
    if len(centres) == 0:
        return
    reach = int(np.ceil(axes.max())) + 1
    offsets = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    corner = np.floor(centres).astype(int)
    y, x = corner[:, :1] + offsets[0], corner[:, 1:] + offsets[1]
    dy, dx = y - centres[:, :1], x - centres[:, 1:]
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    radius = np.hypot((dx * cos + dy * sin) / axes[:, :1], (dy * cos - dx * sin) / axes[:, 1:])
    cover = np.clip((1 - radius) * axes.min(1)[:, None] + 0.5, 0, 1) * heights[:, None]
    seen = (cover > 0) & (y >= 0) & (y < canvas.shape[0]) & (x >= 0) & (x < canvas.shape[1])
    np.maximum.at(canvas, (y[seen], x[seen]), cover[seen])


def develop(
    amounts: Float[ndarray, "stains h w"], stains: Float[ndarray, "stains rgb"], white: float = 245.0
) -> Float[ndarray, "h w rgb"]:
    """Colour of light behind the stains, 0..255: white * 10^-(amounts . stains), Beer-Lambert's law per channel."""
    return white * np.power(10.0, -np.einsum("shw,sc->hwc", amounts, stains))
