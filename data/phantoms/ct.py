"""Built-in detection data: CT-like slices of abdomen, chest and pelvis with lesions in boxes, made in seconds from a
seed.

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
from data.phantoms import ct_anatomy, glands
from data.phantoms.ct_anatomy import AIR, FAT, LUNG, MUSCLE, WATER, Body, Site
from data.phantoms.glands import GOLDEN, generator_fingerprint, noise
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
    sources = [Path(module) for module in (glands.__file__, ct_anatomy.__file__, __file__)]
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
    """The built-in dataset of detect.py: `ct_slices` with lesions larger and plainer than in the clinic, so that a
    small detector learns from some dozens of slices; growth=1 contrast=1 makes them lifelike.
    """
    return ct_slices(n_pool, n_test, size, growth=float(growth), contrast=float(contrast), cache_root=cache_root)


def _records(n_pool: int, n_test: int, size: int, seed: int, growth: float, contrast: float) -> Iterator[Record]:
    limits = np.cumsum(COUNT_SHARE)[:-1]
    for part, count in (("train", n_pool), ("test", n_test)):
        start = np.random.default_rng([seed, PARTS.index(part)]).random()
        for i in range(count):
            rng = np.random.default_rng([seed, PARTS.index(part), i])
            region = str(rng.choice(REGIONS, p=REGION_SHARE[part]))
            n_lesions = int(
                np.searchsorted(limits, (start + i * GOLDEN) % 1, side="right")
            )  # every number has its share
            body = anatomy(rng, region, size)
            boxes = grow_lesions(body, n_lesions, growth, contrast)
            target = np.concatenate([boxes, np.zeros((len(boxes), 1))], axis=1).astype(np.float32)
            yield Record(f"{part}_{i:04d}_{region}", _scan(body, region), target, REGIONS.index(region), part)


def anatomy(rng: np.random.Generator, region: str, size: int) -> Body:
    """A healthy slice of one of REGIONS with the places where lesions may grow."""
    body = ct_anatomy.body(rng, size)
    {"abdomen": _abdomen, "chest": _chest, "pelvis": _pelvis}[region](body)
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
    """What the scanner shows: blurred, noisy most in the middle, streaked along the body's width, windowed, round field
    of view.
    """
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


def _abdomen(body: Body) -> None:
    rng = body.rng
    ct_anatomy.ribs(body, int(rng.integers(9, 14)))
    high = rng.random()  # 1: at the dome of the liver, 0: at the lower pole of the kidneys
    for side in (-1, 1):
        body.paint(body.organ(side * 0.27, 0.6, 0.13 * (1.2 - high), 0.17, -side * 20) * body.cavity, MUSCLE)  # psoas
    ct_anatomy.spine(body, 0.62)
    body.paint(body.organ(0.05, 0.08, 0.42, 0.1, -12, 0.12), 88.0 + 14 * body.grain())  # pancreas
    spleen = body.organ(0.74, 0.2, 0.2, 0.36 + 0.15 * high, -22, 0.06) * body.cavity
    body.paint(spleen, rng.uniform(108, 126))
    body.may_host(spleen, 0.08, (-70, -25), (1.8, 5.0))
    _stomach(body)
    _liver(body, high)
    for side in (-1, 1):
        _kidney(body, side, high)
    ct_anatomy.round_vessel(body, 0.07, 0.26, rng.uniform(0.06, 0.09), rng.uniform(155, 210), 0.5)  # aorta
    ct_anatomy.round_vessel(body, -0.17, 0.27, rng.uniform(0.06, 0.085), rng.uniform(125, 170), 0.0)  # vena cava
    for _ in range(rng.integers(3, 8)):  # mesenteric vessels in cross section
        ct_anatomy.round_vessel(
            body, rng.uniform(-0.4, 0.6), rng.uniform(-0.5, 0.2), rng.uniform(0.018, 0.035), 150.0, 0.1
        )
    ct_anatomy.mesentery(body, 0.0)
    ct_anatomy.bowel(body, int(rng.integers(8, 20)), -0.55, 0.25)


def _liver(body: Body, high: float) -> None:
    rng = body.rng
    right = body.organ(-0.55, -0.02, 0.52 + 0.1 * high, 0.62, 12, 0.05)
    left = body.organ(-0.1, -0.5, 0.5, 0.24, -10, 0.08) * (high > 0.2)
    liver = (
        np.maximum(right, left)
        * body.cavity
        * (body.hu < 128)
        * np.clip((0.36 + 0.2 * high - body.v) * body.unit, 0, 1)
    )
    value = rng.uniform(96, 120)
    body.paint(liver, value + 2.5 * body.grain())
    vessels = np.zeros(body.hu.shape)
    for degrees in rng.uniform(120, 280, rng.integers(2, 5)):
        u, v = body.at(-0.28 + rng.normal(0, 0.06), 0.0 + rng.normal(0, 0.1))
        vessels = np.maximum(vessels, body.tree(u, v, degrees, 0.22, 0.03, 3))
    body.paint(vessels * liver, value + rng.uniform(20, 45))
    body.may_host(liver, 0.42, (-75, -22), (1.8, 9.0))
    body.may_host(liver, 0.1, (28, 70), (1.8, 5.0))
    if rng.random() < 0.5:
        body.paint(body.organ(-0.38, -0.3, 0.1, 0.15, 20, 0.04), WATER + rng.uniform(-5, 10))  # gall bladder


def _kidney(body: Body, side: int, high: float) -> None:
    """Bright cortex, darker pyramids, fat in the sinus; smaller near its pole."""
    size = body.rng.uniform(0.75, 1.05) * (1 if high < 0.55 else 0.6)
    if high > 0.75:
        return
    capsule = body.organ(side * 0.5, 0.44, 0.25 * size, 0.31 * size, side * 20, 0.06) * body.cavity
    body.paint(capsule, FAT)
    cortex = body.organ(side * 0.5, 0.44, 0.19 * size, 0.25 * size, side * 20, 0.03)
    body.paint(cortex, 178 - 40 * np.clip(body.grain() - 0.2, 0, 1))
    if size > 0.7:
        body.paint(body.organ(side * 0.44, 0.42, 0.07, 0.11, side * 20, 0.15), FAT + 60)
    body.may_host(cortex, 0.06, (-130, -60), (2.0, 6.0))


def _stomach(body: Body) -> None:
    """A wall around fluid or contrast medium, with gas above a level."""
    rng = body.rng
    wall = body.organ(0.38, -0.42, 0.34, 0.25, rng.uniform(-30, 10), 0.08) * body.cavity
    body.paint(wall, 85.0)
    inside = np.clip(ndimage.gaussian_filter(wall, 0.012 * len(body.hu)) * 4 - 2.6, 0, 1)
    body.paint(inside, rng.choice([15.0, 35.0, 240.0]) + 12 * body.grain())
    level = (-0.42 + rng.uniform(-0.2, 0.1)) * (body.flat - body.wall)
    body.paint(inside * np.clip((level - body.v) * body.unit, 0, 1), AIR)


def _chest(body: Body) -> None:
    rng, shape = body.rng, body.hu.shape
    for side in (-1, 1):  # shoulder blades
        u, v = side * rng.uniform(0.6, 0.68), 0.62 * body.flat
        if rng.random() < 0.6:
            body.paint(body.ellipse(u, v, 0.2, 0.022, side * rng.uniform(-55, -35)), 420.0)
    ct_anatomy.ribs(body, int(rng.integers(11, 16)))
    lungs = np.zeros(shape)
    for side in (-1, 1):
        lungs = np.maximum(lungs, body.organ(side * 0.6, 0.0, 0.56, rng.uniform(0.84, 1.0), side * 4, 0.03))
    lungs *= body.deeper(body.wall + 0.012)
    body.paint(lungs, LUNG + 70 * body.v + 22 * body.grain())
    vessels, dots = np.zeros(shape), np.zeros(shape)
    for side in (-1, 1):
        u, v = body.at(side * 0.24, 0.0)
        for degrees in np.linspace(-80, 80, rng.integers(5, 8)) + rng.normal(0, 10):
            direction = degrees if side == 1 else 180 - degrees
            vessels = np.maximum(
                vessels, body.tree(u, v, direction, rng.uniform(0.14, 0.24), rng.uniform(0.018, 0.03), 4)
            )
    for _ in range(rng.integers(25, 50)):  # vessels in cross section, larger near the middle: they pass for nodules
        u, v = rng.uniform(-1, 1), rng.uniform(-1, 1) * body.flat
        radius = 0.02 * np.exp(-1.4 * np.hypot(u, v)) * rng.uniform(0.7, 1.5)
        dots = np.maximum(dots, min(1, radius * body.unit + 0.15) * body.ellipse(u, v, radius + 0.004, radius + 0.004))
    seen = np.clip(0.9 * body.cloud() + 0.55, 0, 1)  # vessels leave the slice and come back
    body.paint(np.maximum(vessels * seen, dots) * lungs, 70.0)
    _mediastinum(body)
    ct_anatomy.spine(body, 0.66)
    air = lungs * (body.hu < -500)
    body.may_host(air, 0.62, (700, 920), (1.7, 6.5))
    body.may_host(air, 0.2, (170, 380), (2.5, 7.5))  # ground glass


def _mediastinum(body: Body) -> None:
    """Either the level of the heart or that of the arch of the aorta, the windpipe or its branches behind."""
    rng = body.rng
    fat = (
        np.maximum(body.organ(0.02, -0.25, 0.3, 0.5, 0, 0.05), body.organ(0.02, 0.3, 0.22, 0.3, 0, 0.05)) * body.cavity
    )
    body.paint(fat, FAT + 8 * body.grain())
    if rng.random() < 0.5:
        heart = body.paint(body.organ(0.14, -0.2, 0.46, 0.34, 25, 0.04) * body.cavity, rng.uniform(95, 115))
        for p, q in ((0.3, -0.2), (0.0, -0.3), (0.08, 0.0)):
            body.paint(body.organ(p, q, 0.17, 0.14, 25, 0.08) * (heart > 0.5), rng.uniform(140, 175))
    else:
        body.paint(body.organ(-0.14, -0.3, 0.1, 0.11), rng.uniform(130, 220))
        arch = (
            body.organ(0.08, -0.12, 0.13, 0.36, rng.uniform(15, 40), 0.05)
            if rng.random() < 0.5
            else body.organ(0.1, -0.25, 0.13, 0.13)
        )
        body.paint(arch, rng.uniform(140, 190))
    for side in (-1, 1):
        u, v = body.at(side * rng.choice([0.02, 0.16]), 0.16)
        body.paint(body.ellipse(u, v, 0.058, 0.052), 30.0)
        body.paint(body.ellipse(u, v, 0.046, 0.041), AIR)
    ct_anatomy.round_vessel(body, 0.19, 0.42, rng.uniform(0.06, 0.085), rng.uniform(140, 190), 0.5)
    ct_anatomy.round_vessel(body, 0.03, 0.36, 0.035, 45.0, 0.0)  # the gullet


def _pelvis(body: Body) -> None:
    rng, shape = body.rng, body.hu.shape
    low = rng.random() < 0.5  # at the hip joints, else at the wings of the ilium
    for side in (-1, 1):
        buttock = body.organ(side * 0.62, 0.85, 0.5, 0.34, -side * 22, 0.05) * body.deeper(0.5 * body.fat)
        body.paint(buttock, MUSCLE + 12 * np.minimum(body.grain(), 0.7))
        body.paint(body.organ(side * 0.6, -0.15, 0.17, 0.26, side * 15) * body.cavity, MUSCLE)  # psoas and iliacus
        _hip(body, side, low)
    spongy = 165 + 45 * body.grain()
    for p, a in ((-0.22, 0.24), (0.22, 0.24), (0.0, 0.24)):
        body.paint(body.organ(p, 0.78, 0.5 * a if low else a, 0.08 if low else 0.17, p * 60), 480.0)
    sacrum = np.zeros(shape)
    for p, a in ((-0.22, 0.21), (0.22, 0.21), (0.0, 0.21)):
        sacrum = np.maximum(sacrum, body.organ(p, 0.78, 0.5 * a if low else a, 0.055 if low else 0.14, p * 60))
    body.paint(sacrum, spongy)
    body.may_host(sacrum, 0.1, (-190, -110), (1.8, 5.0))
    if low or rng.random() < 0.4:
        body.paint(
            body.organ(0.0, -0.2, 0.4, 0.32, 0, 0.05), 62.0
        )  # bladder: wall, urine, contrast medium at its floor
        urine = body.paint(body.organ(0.0, -0.2, 0.35, 0.28, 0, 0.05), WATER)
        if rng.random() < 0.3:
            body.paint(urine * np.clip((body.v - rng.uniform(-0.2, 0.0)) * body.unit, 0, 1), 290.0)
    body.paint(body.organ(0.02, 0.42, 0.15, 0.14, 0, 0.08), 70.0)  # rectum
    body.paint(body.organ(0.02, 0.42, 0.1, 0.09, 0, 0.1), rng.choice([AIR, 45.0, 30.0]))
    for side in (-1, 1):
        for dp, value in ((0.0, rng.uniform(140, 190)), (0.1, rng.uniform(110, 150))):
            ct_anatomy.round_vessel(body, side * (0.4 - dp), -0.02 + 1.2 * dp, rng.uniform(0.03, 0.05), value, 0.35)
    ct_anatomy.mesentery(body, -0.05)
    ct_anatomy.bowel(body, int(rng.integers(7, 22)), -0.6, 0.25)


def _hip(body: Body, side: int, low: bool) -> None:
    """The wing of the ilium, or the head of the femur in its socket."""
    rng = body.rng
    spongy = 210 + 40 * body.grain()
    if low:
        body.paint(
            body.organ(side * 0.88, 0.1, 0.3, 0.33, 0, 0.04) * body.deeper(0.5 * body.fat) * (body.v > -0.2), MUSCLE
        )
        socket = body.organ(side * 0.7, 0.16, 0.29, 0.33, 0, 0.03) * (body.u * side < 0.78 * (1 - body.wall))
        body.paint(socket, 430.0)
        body.paint(body.organ(side * 0.76, 0.16, 0.235, 0.255, 0, 0.02), 30.0)
        body.paint(body.organ(side * 0.76, 0.16, 0.21, 0.23, 0, 0.02), 450.0)
        head = body.paint(body.organ(side * 0.76, 0.16, 0.18, 0.2, 0, 0.02), spongy)
        body.may_host(head, 0.08, (-220, -120), (1.8, 5.0))
    else:
        t = np.linspace(0, 1, 40)[:, None]
        ends = [np.array(body.at(side * p, q)) for p, q in ((0.84, -0.3), (1.02, 0.25), (0.46, 0.7))]
        line = (1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * ends[1] + t**2 * ends[2]
        half = (0.024 + 0.03 * (2 * t[:, 0] - 1) ** 2) * rng.uniform(0.85, 1.15)
        body.paint(body.band(line, half + 0.1) * body.deeper(body.fat), MUSCLE)
        body.paint(body.band(line, half), 560.0)
        wing = body.paint(body.band(line, half - 0.017), spongy)
        body.may_host(wing, 0.08, (-190, -110), (1.6, 3.5))
