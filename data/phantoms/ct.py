"""Built-in detection data: CT-like slices of abdomen, chest and pelvis with lesions in boxes, from a seed in seconds.

Lesions grow in liver, spleen, kidneys, lungs, bones and, as lymph nodes, in fat; some are tiny, some hardly differ from
the tissue around. Vessels in cross section, calcifications, the gall bladder and bowel look like lesions and are none.
The regions are unequally frequent in the pool and equally in the test set.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from scipy import ndimage

from data.limits import Between
from data.names import Refused
from data.phantoms import ct_anatomy, ct_regions, painting
from data.phantoms.ct_anatomy import FAT, Body, Site
from data.phantoms.painting import GOLDEN, generator_fingerprint, noise
from data.store import Images, Record, cached

PARTS = ("train", "test")
REGIONS = ("abdomen", "chest", "pelvis")
REGION_SHARE = {"train": (0.6, 0.25, 0.15), "test": (1 / 3, 1 / 3, 1 / 3)}
WINDOWS = {"abdomen": (-165.0, 255.0), "chest": (-1050.0, 300.0), "pelvis": (-165.0, 275.0)}  # HU shown as 0..255
COUNT_SHARE = (0.2, 0.38, 0.22, 0.12, 0.08)  # of slices with 0, 1, 2, 3, 4 lesions


def ct_slices(
    n_pool: int = 300,
    n_test: int = 100,
    size: int = 128,
    seed: int = 0,
    growth: float = 1.0,
    contrast: float = 1.0,
    cache_root: Path | None = None,
) -> Images:
    """The phantom: parts 'train' (the pool) and 'test', grey (size, size, 1), kind 'boxes' with the one class 'lesion'.

    A box is the least that holds every pixel of which a lesion covers half. Slice i of a part depends on `seed`, the
    part and i alone. Its name ends in its region, and `group` is the region's index in REGIONS.

    `growth` multiplies the radii of the lesions and `contrast` how much they differ from the tissue around: at 1 they
    are as hard to find as in the clinic, which a small detector needs thousands of slices for.

    Raises ValueError when a count is not positive, `size` is below 64, or a factor not between 0.1 and 4.
    """
    for name, factor in (("growth", growth), ("contrast", contrast)):
        if not 0.1 <= factor <= 4:
            raise Refused(f"{name}={factor} of the CT phantom must be between 0.1 and 4")
    for name, value, least in (("n_pool", n_pool, 1), ("n_test", n_test, 1), ("size", size, 64)):
        if value < least:
            raise Refused(f"{name}={value} of the CT phantom must be at least {least}")
    sources = [Path(module) for module in (painting.__file__, ct_anatomy.__file__, ct_regions.__file__, __file__)]
    digest = generator_fingerprint(sources, n_pool, n_test, size, seed, growth, contrast)
    records = partial(_records, n_pool, n_test, size, seed, growth, contrast)
    return cached("phantom_ct", digest, "boxes", ("lesion",), records, n_pool + n_test, cache_root)


def phantom(
    cache_root: Path | None = None,
    n_pool: Annotated[int, Between(1, 1_000_000)] = 300,
    n_test: Annotated[int, Between(1, 1_000_000)] = 100,
    size: Annotated[int, Between(32, 4096)] = 128,
    growth: Annotated[float, Between(0.1, 10)] = 1.8,
    contrast: Annotated[float, Between(0.1, 10)] = 2.0,
) -> Images:
    """The built-in dataset of detect.py: `ct_slices` with lesions larger and plainer than in the clinic.

    So a small detector learns from some dozens of slices; growth=1 contrast=1 makes them lifelike.
    """
    return ct_slices(n_pool, n_test, size, growth=float(growth), contrast=float(contrast), cache_root=cache_root)


def _records(n_pool: int, n_test: int, size: int, seed: int, growth: float, contrast: float) -> Iterator[Record]:
    limits = np.cumsum(COUNT_SHARE)[:-1]
    for part, count in (("train", n_pool), ("test", n_test)):
        start = np.random.default_rng([seed, PARTS.index(part)]).random()
        for i in range(count):
            rng = np.random.default_rng([seed, PARTS.index(part), i])
            region = str(rng.choice(REGIONS, p=REGION_SHARE[part]))
            # Every number has its share.
            n_lesions = int(np.searchsorted(limits, (start + i * GOLDEN) % 1, side="right"))
            body = anatomy(rng, region, size)
            boxes = grow_lesions(body, n_lesions, growth, contrast)
            target = np.concatenate([boxes, np.zeros((len(boxes), 1))], axis=1).astype(np.float32)
            yield Record(f"{part}_{i:04d}_{region}", _scan(body, region), target, REGIONS.index(region), part)


def anatomy(rng: np.random.Generator, region: str, size: int) -> Body:
    """A healthy slice of one of REGIONS with the places where lesions may grow."""
    body = ct_anatomy.body(rng, size)
    {"abdomen": ct_regions.abdomen, "chest": ct_regions.chest, "pelvis": ct_regions.pelvis}[region](body)
    healthy_fat = (body.hu < FAT / 2) & (body.hu > 2 * FAT)
    body.may_host(healthy_fat * body.cavity, 0.2, (110, 165), (2.0, 5.0))  # lymph nodes
    body.may_host(healthy_fat * body.deeper(0.03) * (body.depth < body.fat), 0.05, (120, 160), (1.6, 4.0))
    return body


def grow_lesions(body: Body, count: int, growth: float = 1.0, contrast: float = 1.0) -> Float[ndarray, "m 4"]:
    """Paint `count` lesions that keep apart, or as many as there is room for, and return their boxes, xyxy pixels."""
    rng, scale = body.rng, len(body.hu) / 128
    shares = np.array([site.share for site in body.sites])
    hosts = [(site.cover > 0.5) & (site.tissue == body.hu) for site in body.sites]
    rooms: dict[int, ndarray] = {}  # site -> distance to its border
    found: list[tuple[float, float, float]] = []
    boxes = np.empty((0, 4))
    y, x = np.mgrid[: len(body.hu), : len(body.hu)]
    while len(boxes) < count and shares.max() > 1e-6:
        s = int(rng.choice(len(shares), p=shares / shares.sum()))
        if s not in rooms:
            rooms[s] = np.asarray(ndimage.distance_transform_edt(hosts[s]))
        least, most = np.log(body.sites[s].radius)
        radius = growth * scale * np.exp(rng.uniform(least, most))
        apart = [np.hypot(y - fy, x - fx) > 1.8 * (radius + fr) + 3 * scale for fy, fx, fr in found]
        places = np.argwhere(np.logical_and.reduce([rooms[s] >= 0.8 * radius, *apart]))
        if not len(places):
            shares[s] *= 0.5  # look elsewhere more often
            continue
        cy, cx = map(int, places[rng.integers(len(places))])
        found.append((cy, cx, radius))
        boxes = np.vstack([boxes, _grow(body, body.sites[s], hosts[s], cy, cx, radius, contrast)])
    return boxes


def _grow(
    body: Body, site: Site, host: Bool[ndarray, "h w"], cy: int, cx: int, radius: float, factor: float
) -> Float[ndarray, " 4"]:
    """One lesion around pixel (cy, cx): an irregular ellipse; of the large ones, some have a dark core."""
    rng = body.rng
    u, v, r = body.u[cy, cx], body.v[cy, cx], radius / body.unit
    aspect, degrees = np.exp(rng.uniform(0, 0.3)), rng.uniform(0, 180)
    cover = body.ellipse(u, v, r * aspect, r / aspect, degrees, rng.uniform(0.03, 0.14))
    rows, columns = (np.flatnonzero((cover >= 0.5).any(axis)) for axis in (1, 0))
    around = np.median(body.hu[(cover >= 0.5) & host])
    contrast = factor * rng.uniform(*site.contrast)
    texture = 0.1 * abs(contrast) * body.grain()
    body.paint(cover, around + contrast + texture)
    if radius > 4 * len(body.hu) / 128 and rng.random() < 0.4:
        core = body.ellipse(u, v, 0.6 * r * aspect, 0.6 * r / aspect, degrees, 0.12)
        body.hu -= core * rng.uniform(15, 40)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)


def _scan(body: Body, region: str) -> UInt8[ndarray, "h w 1"]:
    """What the scanner shows: blurred, noisy most in the middle, streaked along the width, windowed, field of view."""
    rng, shape = body.rng, body.hu.shape
    scale = shape[0] / 128
    hu = ndimage.gaussian_filter(body.hu, scale * rng.uniform(0.45, 0.65))
    strength = (
        rng.uniform(7, 15) * (2.0 if region == "chest" else 1.0) * (0.7 + 0.8 * np.clip(body.depth / body.flat, 0, 1))
    )
    hu += strength * noise(rng, shape, 0.55 * scale)
    hu += 0.35 * strength * noise(rng, shape, 0.7 * scale, rng.uniform(6, 12), rng.normal(0, 0.05))
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    hu[np.hypot(y - shape[0] / 2, x - shape[1] / 2) > shape[0] / 2] = -2000
    low, high = WINDOWS[region]
    return np.rint(np.clip((hu - low) / (high - low), 0, 1) * 255).astype(np.uint8)[..., None]
