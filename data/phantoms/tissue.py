"""Built-in classification data: small procedural patches of nine kinds of tissue, made in seconds from a seed.

The kinds differ in how many nuclei they have and of which shape, in the direction and length of fibres and in what is
empty; their ranges overlap. Half of the pool are near-duplicates of a few prototypes, some patches show two tissues, a
few labels are wrong, and the classes have a long tail; the test set is balanced, without near-duplicates and without
wrong labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from data.limits import Between
from data.names import Refused
from data.phantoms import painting
from data.phantoms.painting import GOLDEN, H_AND_E, PARTS, develop, generator_fingerprint, noise, stamp_ellipses
from data.store import Images, Record, cached

Amounts = tuple[ndarray, ndarray]  # haematoxylin and eosin, (H, W) each
KINDS = ("single", "duplicate", "mixture", "mislabelled")
TAIL = 0.76  # each class of the pool is this much as frequent as the one before it
N_PROTOTYPES = 8  # of each class
DUPLICATE_SHARE = {"train": 0.5, "test": 0.0}
MIXTURE_SHARE = {"train": 0.15, "test": 0.15}
MISLABELLED_SHARE = {"train": 0.02, "test": 0.0}


class Patch(NamedTuple):
    """One painted patch, a margin larger than the image on every side."""

    amounts: Float[ndarray, "2 h w"]
    stains: Float[ndarray, "2 rgb"]


def tissue(
    n_pool: int = 3000, n_test: int = 1000, size: int = 32, seed: int = 2016, cache_root: Path | None = None
) -> Images:
    """The phantom: parts 'train' (the pool) and 'test', RGB (size, size, 3) with a class of CLASSES, their group too.

    Image i of a part depends on `seed`, the part and i alone. Its name ends in its kind, one of KINDS.

    Raises ValueError when a count is not positive or `size` is below 16.
    """
    for name, value, least in (("n_pool", n_pool, 1), ("n_test", n_test, 1), ("size", size, 16)):
        if value < least:
            raise Refused(f"{name}={value} of the tissue phantom must be at least {least}")
    digest = generator_fingerprint([Path(painting.__file__), Path(__file__)], n_pool, n_test, size, seed)
    records = partial(_records, n_pool, n_test, size, seed)
    return cached("phantom_tissue", digest, "class", CLASSES, records, n_pool + n_test, cache_root)


def phantom(
    image_size: int | None = None,
    cache_root: Path | None = None,
    n_pool: Annotated[int, Between(1, 1_000_000)] = 3000,
    n_test: Annotated[int, Between(1, 1_000_000)] = 1000,
) -> Images:
    """The built-in dataset of classify.py: `tissue` painted at `image_size` pixels a side, 32 where it is None."""
    return tissue(n_pool, n_test, image_size or 32, cache_root=cache_root)


def _records(n_pool: int, n_test: int, size: int, seed: int) -> Iterator[Record]:
    prototypes: dict[tuple[int, int], Patch] = {}
    frequencies = {"train": TAIL ** np.arange(len(CLASSES)), "test": np.ones(len(CLASSES))}
    for part, count in (("train", n_pool), ("test", n_test)):
        limits = np.cumsum(frequencies[part]) / frequencies[part].sum()
        start = np.random.default_rng([seed, PARTS.index(part)]).random()
        for i in range(count):
            rng = np.random.default_rng([seed, PARTS.index(part), i])
            label = int(np.searchsorted(limits[:-1], (start + i * GOLDEN) % 1, side="right"))
            kind = str(rng.choice(KINDS[:3], p=_kind_shares(part)))
            if kind == "duplicate":
                p = label, int(rng.integers(N_PROTOTYPES))
                if p not in prototypes:
                    prototypes[p] = _patch(
                        np.random.default_rng([seed, PARTS.index("prototype"), *p]), label, None, size
                    )
                patch = prototypes[p]
            else:
                other = (label + int(rng.integers(1, len(CLASSES)))) % len(CLASSES)
                patch = _patch(rng, label, other if kind == "mixture" else None, size)
            image = _photograph(rng, patch, size)
            if rng.random() < MISLABELLED_SHARE[part]:
                kind, label = "mislabelled", (label + int(rng.integers(1, len(CLASSES)))) % len(CLASSES)
            yield Record(f"{part}_{i:05d}_{kind}", image, np.array(label, dtype=np.int64), label, part)


def _kind_shares(part: str) -> list[float]:
    return [1 - DUPLICATE_SHARE[part] - MIXTURE_SHARE[part], DUPLICATE_SHARE[part], MIXTURE_SHARE[part]]


def _patch(rng: np.random.Generator, label: int, other: int | None, size: int) -> Patch:
    """A patch of one class; with `other`, of which another class covers 20 to 45 %."""
    scale = size / 32
    extent = size + 2 * round(2 * scale)
    amounts = np.stack(PAINTERS[label](rng, (extent, extent), scale))
    if other is not None:
        border = noise(rng, (extent, extent), 6 * scale)
        mask = np.clip(2 * (border - np.quantile(border, rng.uniform(0.55, 0.8))) + 0.5, 0, 1)
        amounts += mask * (np.stack(PAINTERS[other](rng, (extent, extent), scale)) - amounts)
    stains = np.clip(H_AND_E + rng.normal(0, 0.05, (2, 3)), 0.02, None) * np.exp(rng.normal(0, 0.25, (2, 1)))
    return Patch(np.clip(amounts + 0.02 * rng.standard_normal(amounts.shape), 0, None), stains)


def _photograph(rng: np.random.Generator, patch: Patch, size: int) -> UInt8[ndarray, "s s 3"]:
    """A picture of the patch, (size, size): a crop at a random offset, with small changes of stain, light and grain."""
    top, left = rng.integers(0, patch.amounts.shape[1] - size + 1, 2)
    stains = patch.stains * np.exp(rng.normal(0, 0.03, (2, 1)))
    colour = develop(patch.amounts[:, top : top + size, left : left + size], stains, 242 + rng.normal(0, 4))
    return np.clip(colour + 5.0 * rng.standard_normal(colour.shape), 0, 255).astype(np.uint8)


def _scattered(
    rng: np.random.Generator,
    shape: tuple[int, int],
    spacing: float,
    axes: tuple[float, float, float],
    angle: float,
    askew: float,
) -> Float[ndarray, "h w"]:
    """Cover 0..1 of nuclei on a jittered grid: `axes` gives least and most length and the ratio of the second axis."""
    n = max(1, round(shape[0] / spacing))
    grid = np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), -1).reshape(-1, 2)
    centres = (grid + rng.uniform(0, 1, grid.shape)) * spacing
    long = rng.uniform(axes[0], axes[1], len(grid))
    cover = np.zeros(shape)
    shapes = np.stack([long, long * axes[2] * np.exp(rng.normal(0, 0.12, len(grid)))], 1)
    stamp_ellipses(cover, centres, shapes, rng.normal(angle, askew, len(grid)), rng.uniform(0.6, 1.0, len(grid)))
    return cover


def _with_nuclei(rng: np.random.Generator, h: ndarray, e: ndarray, nuclei: Float[ndarray, "h w"]) -> Amounts:
    return h + nuclei * (rng.uniform(0.5, 0.85) - 0.5 * h), e * (1 - 0.3 * nuclei)


def _fibrous(
    rng: np.random.Generator,
    shape: tuple[int, int],
    scale: float,
    stretch: float,
    eosin: float,
    contrast: float,
    spacing: float,
) -> Amounts:
    """Fibres along one direction with spindle nuclei beside them."""
    angle = rng.uniform(0, np.pi)
    fibres = noise(rng, shape, rng.uniform(0.8, 1.2) * scale, stretch, angle)
    h, e = 0.06 + 0.01 * fibres, eosin + contrast * fibres
    nuclei = _scattered(rng, shape, spacing * scale, (1.8 * scale, 3.2 * scale, 0.4), angle, 1.2 / stretch)
    return _with_nuclei(rng, h, e, nuclei)


def _stroma(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Amounts:
    """Wavy fibres of medium length, gaps, some spindle nuclei."""
    h, e = _fibrous(
        rng, shape, scale, rng.uniform(1.5, 4.0), rng.uniform(0.25, 0.42), rng.uniform(0.06, 0.12), rng.uniform(6, 11)
    )
    gaps = np.clip(noise(rng, shape, 1.5 * scale, 2.0, rng.uniform(0, np.pi)) - rng.uniform(0.8, 2.2), 0, 1)
    return h * (1 - gaps), e * (1 - 0.9 * gaps)


def _muscle(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Amounts:
    """Long parallel fibres, strongly eosinophilic, few aligned nuclei."""
    return _fibrous(
        rng, shape, scale, rng.uniform(3.5, 8.0), rng.uniform(0.35, 0.55), rng.uniform(0.04, 0.10), rng.uniform(8, 14)
    )


def _mucus(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Amounts:
    """Pale bluish streaks, now and then a cell."""
    h, e = _fibrous(
        rng, shape, scale, rng.uniform(2.0, 6.0), rng.uniform(0.06, 0.22), rng.uniform(0.02, 0.07), rng.uniform(12, 25)
    )
    return h + rng.uniform(0.0, 0.12), e


def _tumour(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Amounts:
    """Crowded large nuclei of unequal size and shape in purple cytoplasm."""
    grain = noise(rng, shape, 1.0 * scale)
    nuclei = _scattered(rng, shape, rng.uniform(4.2, 6.0) * scale, (1.6 * scale, 3.2 * scale, 0.72), 0.0, 2.0)
    return _with_nuclei(rng, rng.uniform(0.10, 0.25) + 0.03 * grain, rng.uniform(0.2, 0.4) + 0.05 * grain, nuclei)


def _lymphocytes(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Amounts:
    """Crowded small round nuclei, little between them."""
    grain = noise(rng, shape, 1.0 * scale)
    nuclei = _scattered(rng, shape, rng.uniform(3.4, 5.2) * scale, (1.2 * scale, 2.1 * scale, 0.92), 0.0, 2.0)
    return _with_nuclei(rng, rng.uniform(0.06, 0.2) + 0.02 * grain, rng.uniform(0.12, 0.36) + 0.05 * grain, nuclei)


def _mucosa(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Amounts:
    """Part of a gland: nuclei in a ring around pale cytoplasm and a lumen, stroma outside."""
    h, e = _stroma(rng, shape, scale)
    centre = rng.uniform(0.2, 0.8, 2) * shape[0]
    radius = rng.uniform(8, 15) * scale
    y, x = np.mgrid[: shape[0], : shape[1]]
    distance = np.hypot(y - centre[0], (x - centre[1]) * rng.uniform(0.75, 1.3)) + 0.8 * scale * noise(
        rng, shape, 3 * scale
    )
    inside = np.clip(radius - distance, 0, 1)
    lumen = np.clip(radius - rng.uniform(5, 9) * scale - distance, 0, 1)
    h += inside * (rng.uniform(0.08, 0.2) * (1 - lumen) - h)
    e += inside * (rng.uniform(0.15, 0.32) * (1 - 0.9 * lumen) - e)
    ring = np.clip(1 - np.abs(distance - radius + 2.2 * scale) / (1.8 * scale), 0, 1)
    nuclei = _scattered(rng, shape, rng.uniform(2.8, 3.6) * scale, (1.4 * scale, 2.4 * scale, 0.8), 0.0, 2.0)
    return _with_nuclei(rng, h, e, nuclei * np.minimum(1, 2.5 * ring))


def _debris(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Amounts:
    """Granular remains: blurred clumps of every size without whole nuclei or fibres."""
    clumps, grain = (
        noise(rng, shape, rng.uniform(1.8, 3.0) * scale),
        noise(rng, shape, 0.7 * scale, rng.uniform(1.0, 2.0)),
    )
    specks = np.clip(grain + 0.5 * clumps - rng.uniform(1.0, 1.8), 0, 1)
    return np.clip(0.10 + 0.05 * clumps + rng.uniform(0.2, 0.6) * specks, 0, None), rng.uniform(
        0.2, 0.4
    ) + 0.08 * clumps + 0.05 * grain


def _adipose(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Amounts:
    """Large empty cells with thin walls: the borders of a Voronoi diagram."""
    seeds = rng.uniform(-0.2, 1.2, (rng.integers(8, 22), 2)) * shape[0]
    y, x = np.mgrid[: shape[0], : shape[1]]
    distance = np.sort(np.hypot(y[None] - seeds[:, :1, None], x[None] - seeds[:, 1:, None]), 0)
    wall = np.exp(-(((distance[1] - distance[0]) / (rng.uniform(1.0, 2.5) * scale)) ** 2))
    wall *= np.clip(1 + 0.4 * noise(rng, shape, 2 * scale), 0, 1.5) * rng.uniform(0.4, 1.0)
    return 0.02 + 0.06 * wall, 0.02 + 0.35 * wall


def _background(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Amounts:
    """Glass with a little dust, smears and sometimes a shred of tissue."""
    smear = np.clip(
        0.5 * noise(rng, shape, 5 * scale, rng.uniform(1.0, 3.0), rng.uniform(0, np.pi)) + 0.3, 0, None
    ) * rng.uniform(0, 0.12)
    dust = np.clip(noise(rng, shape, 0.8 * scale) - rng.uniform(1.8, 3.5), 0, 0.6)
    shred = np.clip(noise(rng, shape, 4 * scale) - rng.uniform(1.0, 4.0), 0, 0.4)
    return 0.01 + 0.3 * smear + 0.5 * dust + 0.1 * shred, 0.01 + smear + 0.3 * dust + 0.6 * shred


# In order of their frequency in the pool.
PAINTERS = (_stroma, _tumour, _muscle, _mucosa, _lymphocytes, _debris, _adipose, _mucus, _background)
CLASSES = tuple(painter.__name__.lstrip("_") for painter in PAINTERS)
