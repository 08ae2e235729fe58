"""Built-in volumes: cardiac short-axis magnetic resonance, painted in seconds from a seed.

A patient is a left ventricle (a cup of muscle round a cavity), the right ventricle that clings to it, and what lies
around them, in millimetres; a volume is a stack of thick slices through it at end-diastole (ED) or end-systole (ES).
Spacing differs between patients. Slices above the base show an atrium that is no class, and slices beyond the apex
nothing at all. Papillary muscles belong to the cavity, as in ACDC. The signal is that of balanced cine sequences: blood
and fat bright, muscle dark, with the blur of thick slices, breath-holds that differ, flow, a coil's bias field and
Rician noise (Gudbjartsson & Patz, 1995).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from data.limits import Between
from data.phantoms import painting
from data.phantoms.painting import PARTS, generator_fingerprint, noise
from data.phases import PHASES
from data.store import Images, Record, cached

CLASSES = ("background", "right ventricle", "myocardium", "left ventricle")
KINDS = ("normal", "dilated", "thick", "wide right")  # of hearts; `group` is the index
SEED = 2017
GAPS = (5.0, 8.0, 10.0)  # mm between slices
WITHIN = (-0.3, 0.3)  # where in a slice, as shares of the gap, the planes lie whose mean it shows


class Signal(NamedTuple):
    """Brightness of tissues, 0..1."""

    blood: float
    muscle: float
    fat: float
    liver: float
    lung: float


@dataclass(frozen=True)
class Heart:
    """One heart in one phase; lengths in millimetres, angles in radians from the x axis."""

    centre: Float[ndarray, " 2"]  # y, x of the left ventricle at the base
    lean: Float[ndarray, " 2"]  # how far the centre moves per millimetre towards the apex
    towards_right: float  # direction from the left to the right ventricle
    length: float  # from base to apex
    radius: float  # of the left cavity at the base
    wall: float
    width: float  # of the right ventricle beyond the septum
    waves: Float[ndarray, "2 2"]  # amplitude and angle of the second and third harmonic of the outline
    papillary: Float[ndarray, " 2"]  # directions of the two muscles


class Outlines(NamedTuple):
    """Signed distances in millimetres from the edges of one plane, positive inside."""

    cavity: Float[ndarray, "h w"]
    outer: Float[ndarray, "h w"]  # cavity and myocardium
    right: Float[ndarray, "h w"]  # with what the left ventricle covers of it
    radius: float  # of the left cavity there, 0 beyond its end


@dataclass(frozen=True)
class Scan:
    """What all slices of a patient share but the heart."""

    grid: Float[ndarray, "2 h w"]  # y and x of the pixels in mm
    side: float  # of a pixel, mm
    gap: float  # between slices, mm
    signal: Signal
    grain: Float[ndarray, "h w"]  # noise of 2 mm
    cloud: Float[ndarray, "h w"]  # noise of 7 mm
    liver: Float[ndarray, "h w"]  # how far a pixel lies below the dome of the liver at the base, mm
    chest: Float[ndarray, "h w"]  # how far it lies beyond the inner side of the chest wall, mm
    layers: Float[ndarray, " 3"]  # thickness of muscle, fat and muscle of the chest wall, mm
    aorta: Float[ndarray, "h w"]  # how far it lies within, mm
    coil: Float[ndarray, "h w"]  # bias field
    sigma: float  # of the noise


def heart_phantom(
    cache_root: Path | None = None,
    n_pool: Annotated[int, Between(1, 100_000)] = 16,
    n_test: Annotated[int, Between(1, 100_000)] = 8,
    size: Annotated[int, Between(32, 1024)] = 128,
) -> Images:
    """Slices (size, size, 1) of two volumes of each patient, with classes as CLASSES; `group` is the index in KINDS.

    `n_pool` patients are part 'train' and `n_test` part 'test'. Volumes are called patient_ED and patient_ES. A
    patient depends on its part and number alone.
    """
    digest = generator_fingerprint([Path(painting.__file__), Path(__file__)], n_pool, n_test, size, SEED)
    return cached(
        "heart_phantom", digest, "class_map", CLASSES, partial(_records, n_pool, n_test, size), None, cache_root
    )


def _records(n_pool: int, n_test: int, size: int) -> Iterator[Record]:
    for part, count in (("train", n_pool), ("test", n_test)):
        for i in range(count):
            patient, kind = f"{part}{i:03d}", i % len(KINDS)
            address = [SEED, PARTS.index(part), i]
            rng = np.random.default_rng(address)
            side = rng.uniform(1.3, 1.8) * 128 / size
            relaxed = _heart(rng, KINDS[kind], side * size)
            scan = _scan(rng, size, side, relaxed.centre)
            shown = rng.uniform(0.2, 1.0) * scan.gap  # how much is seen above the base and below the apex
            for phase, heart in zip(PHASES, (relaxed, _contracted(rng, relaxed, KINDS[kind])), strict=True):
                volume = f"{patient}_{phase}"
                for k, depth in enumerate(np.arange(-shown, relaxed.length + shown, scan.gap).tolist()):
                    own = np.random.default_rng([*address, 1 + PHASES.index(phase), k])
                    image, labels = _slice(own, scan, heart, depth)
                    spacing = (side, side, scan.gap)
                    yield Record(f"{volume}_slice_{k}", image, labels, kind, part, patient, volume, k, spacing)


def _scan(rng: np.random.Generator, size: int, side: float, centre: Float[ndarray, " 2"]) -> Scan:
    """Contrast, neighbours of the heart and disturbances of one patient."""
    grid = (np.mgrid[:size, :size] + 0.5) * side
    y, x = grid - centre[:, None, None]
    grain, cloud = noise(rng, y.shape, 2 / side), noise(rng, y.shape, 7 / side)
    slope = rng.uniform(0.3, 0.8)
    fall = rng.normal(0.8, 0.35, 2) / (side * size)
    middle = (grid - grid.mean((1, 2), keepdims=True)) * fall[:, None, None]
    levels = ((0.6, 0.8), (0.2, 0.34), (0.6, 0.85), (0.26, 0.42), (0.04, 0.1))
    return Scan(
        grid=grid,
        side=side,
        gap=float(rng.choice(GAPS)),
        signal=Signal(*(rng.uniform(*level) for level in levels)),
        grain=grain,
        cloud=cloud,
        liver=y - rng.uniform(26, 42) - (x + rng.uniform(10, 40)) ** 2 / rng.uniform(250, 500) + 2 * cloud,
        chest=-y * np.cos(slope) - x * np.sin(slope) - rng.uniform(48, 62) + 5 * noise(rng, y.shape, 25 / side),
        layers=rng.uniform([5, 4, 3], [10, 9, 8]),
        aorta=rng.uniform(9, 13) - np.hypot(y - rng.uniform(44, 60), x - rng.uniform(16, 34)),
        coil=np.exp(-middle.sum(0)) * rng.uniform(0.8, 1.1),
        sigma=rng.uniform(0.02, 0.05),
    )


def _heart(rng: np.random.Generator, kind: str, extent: float) -> Heart:
    """A relaxed heart near the middle of a field of view of `extent` mm."""
    radius, wall = {"dilated": (31, 7.5), "thick": (20, 14)}.get(kind, (24, 8.5))
    waves = np.stack([rng.uniform(0, 0.05, 2), rng.uniform(0, 2 * np.pi, 2)], axis=1)
    return Heart(
        centre=extent / 2 + np.array([4.0, 18.0]) + rng.normal(0, 6, 2),
        lean=rng.normal([0.05, 0.1], 0.07),
        towards_right=np.pi + rng.normal(0.25, 0.22),
        length=rng.normal(82, 6),
        radius=radius * np.exp(rng.normal(0, 0.07)),
        wall=wall * np.exp(rng.normal(0, 0.1)),
        width=(42 if kind == "wide right" else 29) * np.exp(rng.normal(0, 0.1)),
        waves=waves,
        papillary=np.array([0.9, -1.1]) + rng.normal(0, 0.2, 2),
    )


def _contracted(rng: np.random.Generator, heart: Heart, kind: str) -> Heart:
    """The heart at end-systole: shorter and narrower, with the muscle that it has."""
    narrower = {"dilated": 0.87, "thick": 0.55}.get(kind, 0.68) + rng.normal(0, 0.03)
    length, radius = 0.88 * heart.length, narrower * heart.radius
    muscle = ((heart.radius + heart.wall) ** 2 - heart.radius**2) * heart.length / length
    wall = float(np.sqrt(radius**2 + muscle) - radius)
    return replace(
        heart, length=length, radius=radius, wall=wall, width=heart.width * (0.85 if kind == "wide right" else 0.7)
    )


def _slice(
    rng: np.random.Generator, scan: Scan, heart: Heart, depth: float
) -> tuple[UInt8[ndarray, "s s 1"], UInt8[ndarray, "s s"]]:
    """Image and classes of a slice `depth` mm below the base."""
    heart = replace(heart, centre=heart.centre + rng.normal(0, 1.2, 2))  # another breath-hold
    shift = rng.integers(0, scan.grain.shape[0], 2)
    grain, cloud = (np.roll(field, shift, (0, 1)) for field in (scan.grain, scan.cloud))
    around = _surroundings(scan, depth)
    brightness = 1 + 0.06 * rng.standard_normal() + 0.08 * cloud  # blood that flows in
    planes = [_paint(scan, heart, depth + share * scan.gap, around, brightness, grain, cloud) for share in WITHIN]
    real, other = rng.normal(0, scan.sigma, (2, *scan.coil.shape))
    image = np.hypot(np.mean(planes, axis=0) * scan.coil + real, other)
    pixels = np.clip(255 * image, 0, 255).astype(np.uint8)[..., None]
    return pixels, _classes(_outlines(heart, depth, scan.grid), depth)


def _outlines(heart: Heart, depth: float, grid: Float[ndarray, "2 h w"]) -> Outlines:
    """The edges of a plane; above the base the outlines of the base go on, as those of atrium and outflow tract."""
    dy, dx = grid - (heart.centre + heart.lean * depth)[:, None, None]
    angle, distance = np.arctan2(dy, dx), np.hypot(dy, dx)
    waves = [a * np.cos(k * (angle - shift)) for k, (a, shift) in zip((2, 3), heart.waves, strict=True)]
    rounder = distance / (1 + waves[0] + waves[1])
    down = max(depth, 0.0)
    radius = heart.radius * _cup(down, heart.length - heart.wall)
    outer = (heart.radius + heart.wall) * _cup(down, heart.length)
    size = _cup(down, 0.86 * heart.length)
    along = dx * np.cos(heart.towards_right) + dy * np.sin(heart.towards_right)
    across = dy * np.cos(heart.towards_right) - dx * np.sin(heart.towards_right)
    reach = outer + heart.width * size
    middle = max(0.45 * outer, (reach - 0.3 * outer) / 2)  # it never reaches round the left ventricle
    half = max(reach - middle, 1e-3)
    high = max(1.12 * (heart.radius + heart.wall) * size, 1e-3)
    ellipse = np.hypot((along - middle) / half, across / high)
    right = (1 - ellipse) * min(half, high) if size > 0 else np.full_like(distance, -1e3)
    inside = lambda r: r - rounder if r > 0 else np.full_like(distance, -1e3)  # noqa: E731
    return Outlines(inside(radius), inside(outer), right, radius)


def _cup(depth: float, length: float) -> float:
    """Width of a cup at a depth, as a share of that at its brim; 0 beyond its end."""
    return float(np.sqrt(max(0.0, 1 - (depth / length) ** 2.6)))


def _classes(edges: Outlines, depth: float) -> UInt8[ndarray, "h w"]:
    """What an expert draws: the right ventricle begins a little above the left, see the evaluation page of ACDC."""
    labels = np.zeros(edges.outer.shape, np.uint8)
    if depth > -4:
        labels[(edges.right > 0) & (edges.outer <= 0)] = 1
    if depth >= 0:
        labels[edges.outer > 0] = 2
        labels[edges.cavity > 0] = 3
    return labels


def _paint(
    scan: Scan,
    heart: Heart,
    depth: float,
    around: Float[ndarray, "h w"],
    brightness: Float[ndarray, "h w"],
    grain: Float[ndarray, "h w"],
    cloud: Float[ndarray, "h w"],
) -> Float[ndarray, "h w"]:
    """The brightness of one plane; `brightness` is that of its blood, about 1."""
    edges, signal, side = _outlines(heart, depth, scan.grid), scan.signal, scan.side
    blood = signal.blood * brightness
    sac = np.maximum(edges.outer, edges.right + 3)
    fat = np.minimum(sac + 2.5 + 3 * cloud, sac + 8)
    image = _laid(around, fat, signal.fat * (0.8 + 0.08 * grain), side)
    image = _laid(image, sac, signal.muscle, side)
    trabeculae = 1 - 0.2 * np.clip(grain, 0, 1.5)
    image = _laid(image, np.minimum(edges.right + 0.9 * grain - 0.4, -edges.outer), blood * trabeculae, side)
    image = _laid(image, edges.outer, signal.muscle * (1 + 0.07 * grain), side)
    thinner = 0.45 * heart.wall if depth < 0 else 0.0  # walls of an atrium
    image = _laid(image, edges.cavity + thinner + 0.7 * grain, blood, side)
    if 0.12 < depth / heart.length < 0.75:
        axis = heart.centre + heart.lean * depth
        for direction, share in zip(heart.papillary, (0.19, 0.15), strict=True):
            out = np.array([np.sin(direction), np.cos(direction)])
            y, x = scan.grid - (axis + 0.68 * edges.radius * out)[:, None, None]
            along, across = y * out[0] + x * out[1], x * out[0] - y * out[1]
            spot = share * heart.radius + 0.6 - np.hypot(0.75 * along, across) + 0.5 * grain
            image = _laid(image, np.minimum(spot, edges.cavity), 1.2 * signal.muscle, side)
    return image


def _surroundings(scan: Scan, depth: float) -> Float[ndarray, "h w"]:
    """Lungs, liver with vessels, chest wall and descending aorta."""
    signal, grain, cloud, side = scan.signal, scan.grain, scan.cloud, 1.5 * scan.side
    image = signal.lung * (1 + 0.5 * np.clip(grain, -1, 3))
    vessels = np.clip(grain - 1.3, 0, 1)
    image = _laid(image, scan.liver + 0.25 * depth, signal.liver * (1 + 0.9 * vessels + 0.06 * cloud), side)
    begins = np.concatenate([[0], np.cumsum(scan.layers)])
    for begin, value in zip(begins, (signal.muscle, signal.fat, signal.muscle, signal.fat), strict=True):
        image = _laid(image, scan.chest - begin, 0.9 * value * (1 + 0.08 * grain + 0.08 * cloud), side)
    image = _laid(image, scan.chest - begins[-1] - 14, 0.0, side)  # air
    image = _laid(image, scan.aorta + 2, signal.muscle, side)
    return _laid(image, scan.aorta, signal.blood, side)


def _laid(
    image: Float[ndarray, "h w"], distance: Float[ndarray, "h w"], value: float | Float[ndarray, "h w"], soft: float
) -> Float[ndarray, "h w"]:
    """The image with a tissue laid over where `distance` (mm) is positive; its edge is `soft` mm wide."""
    return image + np.clip(0.5 + distance / soft, 0, 1) * (value - image)
