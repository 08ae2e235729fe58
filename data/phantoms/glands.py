"""Built-in segmentation data: procedural gland-like histology, made in seconds from a seed.

An image is painted as amounts of haematoxylin and eosin per pixel (stroma with fibres and nuclei; glands with lumen,
cytoplasm and a rim of nuclei) and turned into colour by the Beer-Lambert law. Group 0 has regular, separate,
near-elliptic glands; group 1 has deformed, fused and disrupted ones. Most of the pool are near-duplicates of a few
prototypes; a few images are of rare, hard kinds, which the test set covers evenly: what is chosen for labelling decides
how well the rare kinds are learnt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Float, UInt8, UInt16
from numpy import ndarray
from scipy import ndimage

from data.limits import Between
from data.names import Refused
from data.phantoms import gland_nuclei, painting
from data.phantoms.gland_nuclei import rim_nuclei, stroma_nuclei
from data.phantoms.painting import (
    GOLDEN,
    H_AND_E,
    PARTS,
    develop,
    generator_fingerprint,
    noise,
    stamp_ellipses,
)
from data.store import Images, Record, cached

KINDS = ("common", "counterstain", "pale", "tiny", "huge", "solid")  # all but the first are rare in the pool
RARE_SHARE = {"train": 0.15, "test": 0.6}
DUPLICATE_SHARE = {"train": 0.65, "test": 0.0}
N_PROTOTYPES = 8
MARGIN = 5  # pixels at size 128: near-duplicates are shifted by up to this much
# The brown is diaminobenzidine (Ruifrok & Johnston, 2001).
BLUE_AND_BROWN = np.array([[0.72, 0.58, 0.36], [0.27, 0.57, 0.78]])


@dataclass(frozen=True)
class Scene:
    """One painted specimen, a margin larger than the image on every side."""

    kind: str
    group: int
    ids: UInt16[ndarray, "h w"]
    amounts: Float[ndarray, "2 h w"]  # haematoxylin and eosin, 0 to about 1.5
    stains: Float[ndarray, "2 rgb"]  # optical density of one unit of each


def glands(
    n_pool: int = 200, n_test: int = 100, size: int = 128, seed: int = 2015, cache_root: Path | None = None
) -> Images:
    """The phantom: parts 'train' (the pool) and 'test', RGB (size, size, 3) with instance ids, grouped by grade.

    Image i of a part depends on `seed`, the part and i alone. Its name ends in its kind, one of KINDS.

    Raises ValueError when a count is not positive or `size` is below 32.
    """
    for name, value, least in (("n_pool", n_pool, 1), ("n_test", n_test, 1), ("size", size, 32)):
        if value < least:
            raise Refused(f"{name}={value} of the phantom must be at least {least}")
    sources = [Path(module) for module in (painting.__file__, gland_nuclei.__file__, __file__)]
    digest = generator_fingerprint(sources, n_pool, n_test, size, seed)
    records = partial(_records, n_pool, n_test, size, seed)
    return cached("phantom", digest, "instance_map", ("background", "gland"), records, n_pool + n_test, cache_root)


def phantom(
    cache_root: Path | None = None,
    n_pool: Annotated[int, Between(1, 1_000_000)] = 200,
    n_test: Annotated[int, Between(1, 1_000_000)] = 100,
    size: Annotated[int, Between(16, 4096)] = 128,
) -> Images:
    """The built-in dataset of segment.py: `glands` at `size` pixels a side."""
    return glands(n_pool, n_test, size, cache_root=cache_root)


def _records(n_pool: int, n_test: int, size: int, seed: int) -> Iterator[Record]:
    prototypes = {}
    for part, count in (("train", n_pool), ("test", n_test)):
        start = np.random.default_rng([seed, PARTS.index(part)]).random()
        for i in range(count):
            rng = np.random.default_rng([seed, PARTS.index(part), i])
            rank = (start + i * GOLDEN) % 1  # so every kind has its share in a pool of any size
            if rank < DUPLICATE_SHARE[part]:
                p = int(rng.choice(N_PROTOTYPES, p=_popularity(N_PROTOTYPES)))
                if p not in prototypes:
                    prototypes[p] = _scene(
                        np.random.default_rng([seed, PARTS.index("prototype"), p]), "common", p % 2, size
                    )
                scene = prototypes[p]
            else:
                rarity = (rank - 1 + RARE_SHARE[part]) / RARE_SHARE[part]  # below 0: common
                kind = "common" if rarity < 0 else KINDS[1 + int(rarity * (len(KINDS) - 1))]
                scene = _scene(rng, kind, int(rng.integers(2)), size)
            image, ids = _photograph(rng, scene, size)
            yield Record(f"{part}_{i:04d}_{scene.kind}", image, ids, scene.group, part)


def _popularity(n: int) -> Float[ndarray, " n"]:
    weights = 1 / np.sqrt(np.arange(1, n + 1))
    return weights / weights.sum()


def _scene(rng: np.random.Generator, kind: str, group: int, size: int) -> Scene:
    scale = size / 128
    extent = size + 2 * round(MARGIN * scale)
    ids = _gland_map(rng, kind, group, extent, scale)
    amounts = _paint(rng, ids, kind, group, scale)
    stains = (BLUE_AND_BROWN if kind == "counterstain" else H_AND_E) + rng.normal(0, 0.04, (2, 3))
    gains = np.exp(rng.normal(0, 0.16, (2, 1))) * (0.5 if kind == "pale" else 1)
    return Scene(kind, group, ids, amounts, np.clip(stains, 0.02, None) * gains)


def _gland_map(rng: np.random.Generator, kind: str, group: int, extent: int, scale: float) -> UInt16[ndarray, "h w"]:
    """Instance ids: ellipses on warped coordinates, each pixel given to the gland in whose ellipse it lies deepest."""
    least, most = {"tiny": (6, 9.5), "huge": (36, 50)}.get(kind, (14, 25))
    gap = 0.95 if group else 1.1
    centres, radii = np.empty((0, 2)), np.empty(0)
    wanted = {"tiny": rng.integers(10, 22), "huge": rng.integers(1, 3)}.get(kind, rng.integers(6, 14))
    for attempt in range(150):
        radius = scale * rng.uniform(least, most)
        centre = rng.uniform(0.25, 0.75, 2) * extent if attempt == 0 else rng.uniform(-0.03, 1.03, 2) * extent
        if (np.hypot(*(centres - centre).T) > gap * (radii + radius)).all():
            centres, radii = np.vstack([centres, centre]), np.append(radii, radius)
        if len(radii) == wanted:
            break
    aspect = np.exp(rng.uniform(-1, 1, len(radii)) * (0.45 if group else 0.22))
    angles = rng.uniform(0, np.pi, len(radii))
    owner = np.arange(1, len(radii) + 1)
    if group and len(radii) > 1:  # fuse the two nearest glands into one of two lobes
        apart = np.hypot(*(centres[:, None] - centres[None]).transpose(2, 0, 1)) + 1e9 * np.eye(len(radii))
        first, second = divmod(int(apart.argmin()), len(radii))
        if apart.min() < 1.35 * (radii[first] + radii[second]):
            owner[second] = owner[first]
            centres = np.vstack([centres, (centres[first] + centres[second]) / 2])
            owner = np.append(owner, owner[first])
            angles = np.append(angles, np.arctan2(*(centres[second] - centres[first])))
            radii, aspect = np.append(radii, 0.6 * min(radii[first], radii[second])), np.append(aspect, 1.7)
    coarse = (0.26 if group else 0.07) * radii.mean()
    fine = (1.3 if group else 0.4) * scale * (0.6 if kind == "tiny" else 1)
    y, x = np.mgrid[:extent, :extent] + 0.5
    y = (
        y
        + coarse * noise(rng, (extent, extent), 0.45 * radii.mean())
        + fine * noise(rng, (extent, extent), 2.2 * scale)
    )
    x = (
        x
        + coarse * noise(rng, (extent, extent), 0.45 * radii.mean())
        + fine * noise(rng, (extent, extent), 2.2 * scale)
    )
    dy, dx = y[None] - centres[:, 0, None, None], x[None] - centres[:, 1, None, None]
    cos, sin = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    along, across = (radii * aspect)[:, None, None], (radii / aspect)[:, None, None]
    depth = ((dx * cos + dy * sin) / along) ** 2 + ((dy * cos - dx * sin) / across) ** 2
    nearest = depth.argmin(0)
    ids = np.where(np.take_along_axis(depth, nearest[None], 0)[0] < 1, owner[nearest], 0)
    return _without_fragments(ids.astype(np.uint16), 25 * scale**2)


def _without_fragments(ids: UInt16[ndarray, "h w"], least_area: float) -> UInt16[ndarray, "h w"]:
    """The same instances with ids 1..n without holes; those smaller than `least_area` pixels become background."""
    area = np.bincount(ids.ravel())
    kept = area >= least_area
    kept[0] = False
    return (np.cumsum(kept) * kept).astype(np.uint16)[ids]


def _paint(
    rng: np.random.Generator, ids: UInt16[ndarray, "h w"], kind: str, group: int, scale: float
) -> Float[ndarray, "2 h w"]:
    """Amounts of haematoxylin and eosin of the tissue whose glands are `ids`."""
    shape = ids.shape
    grown, shrunk = ndimage.maximum_filter(ids, 3), ndimage.minimum_filter(ids, 3)
    # 0 outside and on borders between glands.
    depth = np.asarray(ndimage.distance_transform_edt((ids > 0) & (grown == shrunk))) / scale
    outside = np.asarray(ndimage.distance_transform_edt(ids == 0)) / scale
    h, e, white = _stroma(rng, outside, scale)

    n = int(ids.max()) + 1
    loss = rng.beta(1.2, 5, n) if kind != "pale" else rng.uniform(0.3, 0.6, n)  # how far a gland fades into the stroma
    rim = rng.uniform(4.5, 6.5, n) * (0.7 if kind == "tiny" else 1)
    wall = rim + (rng.uniform(2.0, 6.0, n) if kind != "tiny" else rng.uniform(0, 1.5, n))
    if kind == "solid":
        wall += 100
    elif group:
        wall += np.where(rng.random(n) < 0.15, 100, 0) * (kind != "huge")
    wobble = (3.2 if group else 1.2) * noise(rng, shape, 3 * scale)
    inside = ids > 0
    lumen = np.clip((depth + wobble - wall[ids]) / 1.5, 0, 1) * inside
    grain, vacuoles = noise(rng, shape, 0.8 * scale), noise(rng, shape, 1.8 * scale)
    goblet = np.clip(vacuoles - rng.uniform(0.6, 1.8), 0, 0.8)  # mucus-filled cells pale the cytoplasm
    cell_h, cell_e = 0.20 + 0.05 * grain - 0.2 * goblet, 0.30 + 0.05 * grain - 0.25 * goblet
    debris = np.clip(noise(rng, shape, 1.5 * scale) - rng.uniform(1.0, 2.5), 0, 1)
    cell_h = cell_h * (1 - lumen) + lumen * (0.02 + 0.25 * debris)
    cell_e = cell_e * (1 - lumen) + lumen * (0.03 + 0.25 * debris)
    keep = 1 - loss[ids]
    fade = np.clip(depth / 1.5, 0, 1) * inside * keep
    h, e = h + fade * (cell_h - h), e + fade * (cell_e - e)

    nuclei = np.zeros(shape)
    rim_nuclei(rng, nuclei, depth, inside, kind, group, scale, rim[ids], lumen)
    nuclei *= keep
    stroma_nuclei(rng, nuclei, outside, white, group, scale)
    h = h * (1 - 0.5 * nuclei) + nuclei * (0.72 + 0.10 * grain)
    e = e * (1 - 0.3 * nuclei)
    blur = scale * rng.uniform(0.45, 0.85)
    return np.clip(np.stack([ndimage.gaussian_filter(h, blur), ndimage.gaussian_filter(e, blur)]), 0, None)


def _stroma(
    rng: np.random.Generator, outside: Float[ndarray, "h w"], scale: float
) -> tuple[ndarray, ndarray, Float[ndarray, "h w"]]:
    """Haematoxylin, eosin and empty space (0..1) of connective tissue: fibres both ways, clefts, vessels, halos."""
    shape = outside.shape
    angle = rng.uniform(0, np.pi)
    first, second = (noise(rng, shape, 0.9 * scale, 6.0, a) for a in (angle, angle + rng.uniform(0.5, 2.5)))
    which = 1 / (1 + np.exp(-3 * noise(rng, shape, 16 * scale)))
    fibres = which * first + (1 - which) * second
    cellular = noise(rng, shape, 12 * scale)
    white = np.clip(1.3 * (fibres - rng.uniform(1.0, 2.6)), 0, 1)
    halo = rng.uniform(-1.5, 2.0)
    white = np.maximum(
        white, np.clip(halo + 0.6 * noise(rng, shape, 5 * scale) - outside / 1.2, 0, 0.9) * (outside > 0)
    )
    spaces = np.zeros(shape)  # vessels and fat: pale and round like a lumen, without a rim of epithelium
    n = rng.poisson(1.8)
    radii = scale * np.exp(rng.uniform(np.log(3), np.log(11), (n, 1))) * np.exp(rng.normal(0, 0.2, (n, 2)))
    stamp_ellipses(spaces, rng.uniform(0, shape[0], (n, 2)), radii, rng.uniform(0, np.pi, n), np.ones(n))
    white = np.maximum(white, spaces * np.clip(outside / 2 - 1, 0, 1))
    h = (0.07 + 0.02 * cellular) * (1 - white) + 0.01
    e = (0.34 + 0.09 * fibres + 0.05 * cellular) * (1 - 0.92 * white) + 0.01
    return h, e, white


def _photograph(
    rng: np.random.Generator, scene: Scene, size: int
) -> tuple[UInt8[ndarray, "s s 3"], UInt16[ndarray, "s s"]]:
    """A picture of the scene, (size, size): a crop at a random offset, with small changes of stain, light and grain."""
    top, left = rng.integers(0, scene.ids.shape[0] - size + 1, 2)
    crop = (slice(top, top + size), slice(left, left + size))
    stains = scene.stains * np.exp(rng.normal(0, 0.025, (2, 1)))
    grain = rng.standard_normal((size, size, 3)).astype(np.float32)
    colour = develop(scene.amounts[:, crop[0], crop[1]], stains, 245 + rng.normal(0, 2)) + 3.0 * grain
    ids = _without_fragments(scene.ids[crop], 12 * (size / 128) ** 2)
    return np.clip(colour, 0, 255).astype(np.uint8), ids
