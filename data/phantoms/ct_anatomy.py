"""Anatomy of the CT phantom, in Hounsfield units: wall, organs, bones, vessels, bowel of abdomen, chest and pelvis.

Positions are relative to the body: u to the right of the image (the patient's left), v down (the patient's back), the
centre of the body at 0 and its half width 1. Tissues are those of a portal-venous contrast phase.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from data.phantoms.painting import noise, stamp_ellipses

AIR, LUNG, FAT, WATER, MUSCLE, MARROW, CORTEX, BARIUM = -1000.0, -850.0, -102.0, 8.0, 60.0, 200.0, 620.0, 320.0
Real = float | int
Cover = Float[ndarray, "h w"]  # 0 outside, 1 inside, between on the edge


@dataclass(frozen=True)
class Site:
    """Where lesions may grow and what they look like there."""

    cover: Cover
    tissue: Float[ndarray, "h w"]  # HU when it was painted: where they have changed since, another organ lies over it
    share: float  # of the lesions of a slice, relative to its other sites
    contrast: tuple[Real, Real]  # range of HU relative to the tissue around
    radius: tuple[Real, Real]  # range in pixels of an image of 128 x 128


@dataclass
class Body:
    """A slice while it is painted."""

    rng: np.random.Generator
    hu: Float[ndarray, "h w"]
    u: Float[ndarray, "h w"]
    v: Float[ndarray, "h w"]
    depth: Float[ndarray, "h w"]  # under the skin, along the ray to the centre
    unit: float  # pixels per unit of u, v and depth
    origin: tuple[float, float]  # x and y of the centre in pixels
    flat: float  # half height of the body
    fat: float  # mean depth of the body wall's muscle
    wall: float  # mean depth of the cavity
    fine: Float[ndarray, "h w"]  # noise from which `grain` and `cloud` take theirs
    coarse: Float[ndarray, "h w"]
    sites: list[Site] = field(default_factory=list)

    def may_host(self, cover: Cover, share: Real, contrast: tuple[Real, Real], radius: tuple[Real, Real]) -> None:
        """Lesions may grow where `cover` is, see Site."""
        self.sites.append(Site(cover, self.hu.copy(), share, contrast, radius))

    @property
    def cavity(self) -> Cover:
        return self.deeper(self.wall)

    def deeper(self, depth: Real | Cover) -> Cover:
        """What lies deeper under the skin."""
        return np.clip((self.depth - depth) * self.unit + 0.5, 0, 1)

    def paint(self, cover: Cover, value: Real | Cover) -> Cover:
        """Replace the tissue under `cover`, which is returned."""
        self.hu += cover * (value - self.hu)
        return cover

    def grain(self) -> Float[ndarray, "h w"]:
        """Fine texture, mean 0 and variance 1, another at every call."""
        return np.roll(self.fine, self.rng.integers(0, len(self.hu), 2), (0, 1))

    def cloud(self) -> Float[ndarray, "h w"]:
        """Coarse texture, mean 0 and variance 1, another at every call."""
        return np.roll(self.coarse, self.rng.integers(0, len(self.hu), 2), (0, 1))

    def at(self, p: Real, q: Real) -> tuple[float, float]:
        """(u, v) of a place in the cavity, whose wall is near the unit circle of p and q."""
        return p * (1 - self.wall), q * (self.flat - self.wall)

    def near(self, p: Real, q: Real, spread: Real) -> tuple[float, float]:
        """`at` with a normal shift of standard deviation `spread`."""
        u, v = self.at(p, q)
        return u + self.rng.normal(0, spread), v + self.rng.normal(0, spread)

    def organ(self, p: Real, q: Real, a: Real, b: Real, degrees: Real = 0.0, wobble: Real = 0.05) -> Cover:
        """An ellipse that grows with the cavity, a little random: centre as in `at`, semi-axes in its mean radius."""
        mean_radius = np.sqrt((1 - self.wall) * (self.flat - self.wall))
        a, b = mean_radius * np.array([a, b]) * np.exp(self.rng.normal(0, 0.06, 2))
        u, v = self.near(p, q, 0.015)
        return self.ellipse(u, v, a, b, degrees + self.rng.normal(0, 5), wobble)

    def ellipse(self, u: Real, v: Real, a: Real, b: Real, degrees: Real = 0.0, wobble: Real = 0.0) -> Cover:
        """A soft-edged ellipse in body units, whose outline `wobble` makes irregular."""
        cover = np.zeros(self.hu.shape)
        x, y = (int(o + self.unit * c) for o, c in zip(self.origin, (u, v), strict=True))
        # Coordinates are warped and tilted by up to 0.12.
        reach = int(self.unit * (max(a, b) * (1 + 2 * wobble) + 0.12)) + 2
        window = np.s_[max(0, y - reach) : max(0, y + reach), max(0, x - reach) : max(0, x + reach)]
        du, dv = self.u[window] - u, self.v[window] - v
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        along, across = (du * cos + dv * sin) / a, (dv * cos - du * sin) / b
        radius = np.hypot(along, across)
        if wobble:
            turn = (along + 1j * across) / np.maximum(radius, 1e-9)  # its k-th power has waves k times around
            c2, c3, c4, c6 = np.exp(2j * np.pi * self.rng.random(4)) / np.sqrt((1, 2, 3, 5))
            radius = radius / (1 + wobble * (turn**2 * (c2 + turn * (c3 + turn * (c4 + turn**2 * c6)))).real)
        cover[window] = np.clip((1 - radius) * min(a, b) * self.unit + 0.5, 0, 1)
        return cover

    def tree(self, u: Real, v: Real, degrees: Real, length: Real, radius: Real, generations: int) -> Cover:
        """Branching vessels from (u, v), thinner with every generation."""
        points, radii = [], []
        growing = [(u, v, np.radians(degrees), length, radius, generations)]
        while growing:
            u, v, angle, length, radius, generation = growing.pop()
            steps = max(2, int(length / max(radius, 1 / self.unit)))
            for step in range(steps):
                angle += self.rng.normal(0, 0.16)
                u, v = u + length / steps * np.cos(angle), v + length / steps * np.sin(angle)
                points.append((u, v))
                radii.append(radius * (1 - 0.35 * step / steps))
            for side in (-1, 1) if generation > 1 else ():
                turn, share = side * self.rng.uniform(0.25, 0.75), self.rng.uniform(0.55, 0.9)
                growing.append((u, v, angle + turn, share * length, 0.65 * radius, generation - 1))
        return self.band(np.array(points), np.array(radii))

    def band(self, points: Float[ndarray, "n 2"], radii: Float[ndarray, " n"]) -> Cover:
        """Discs along a line of points (u, v), everything in body units; those below a pixel are faint."""
        cover, radii = np.zeros(self.hu.shape), radii * self.unit
        centres = (np.array(self.origin) + self.unit * points)[:, ::-1]
        stamp_ellipses(
            cover,
            centres,
            np.maximum(radii, 0.6)[:, None].repeat(2, 1),
            np.zeros(len(radii)),
            np.clip(radii + 0.2, 0.25, 1),
        )
        return cover


def body(rng: np.random.Generator, size: int) -> Body:
    """Skin, subcutaneous fat and the muscles around a cavity full of fat, on a couch."""
    unit, flat, tilt = size / 2 * rng.uniform(0.84, 0.95), rng.uniform(0.64, 0.78), rng.normal(0, 0.025)
    origin = (size / 2 + rng.normal(0, 0.012) * size, size / 2 - rng.uniform(0.0, 0.04) * size)
    y, x = np.mgrid[:size, :size]
    x, y = (x + 0.5 - origin[0]) / unit, (y + 0.5 - origin[1]) / unit
    u = x * np.cos(tilt) + y * np.sin(tilt) + 0.014 * noise(rng, (size, size), 0.12 * size)
    v = y * np.cos(tilt) - x * np.sin(tilt) + 0.014 * noise(rng, (size, size), 0.12 * size)
    power = rng.uniform(2.15, 2.6)
    radius = (np.abs(u) ** power + np.abs(v / flat) ** power) ** (1 / power)
    ray = np.where(radius > 0.01, np.hypot(u, v) / np.maximum(radius, 0.01), flat)
    depth = (1 - radius) * ray
    fat, muscle = rng.uniform(0.04, 0.16), rng.uniform(0.04, 0.065)
    fine, coarse = (noise(rng, (size, size), length * size) for length in (0.01, 0.035))
    painted = Body(rng, np.full((size, size), AIR), u, v, depth, unit, origin, flat, fat, fat + muscle, fine, coarse)
    _couch(painted, x, y)
    painted.paint(painted.deeper(0.0), 30.0)
    painted.paint(painted.deeper(0.02), FAT)
    sideways = np.abs(u) / np.maximum(np.hypot(u, v), 0.05)
    bulge = 1 + 0.45 * (sideways - 0.5) + 0.25 * (v > 0) * (1 - sideways)
    # Fat is thicker at the flanks and the back.
    painted.depth = depth - fat * (bulge - 1) * np.clip(1 - depth / 0.35, 0, 1)
    painted.paint(painted.deeper(fat), MUSCLE + 8 * painted.grain())
    for side in (-1, 1):  # the straight muscles beside the middle of the belly
        straight = painted.ellipse(side * 0.2, 0.03 + fat + 0.6 * muscle - flat, 0.18, 0.75 * muscle, side * 6)
        painted.paint(straight * painted.deeper(0.8 * fat), MUSCLE)
    cavity = painted.deeper(painted.wall + 0.03 * (y < 0))
    painted.paint(cavity, FAT + 5 * painted.grain())
    return painted


def _couch(painted: Body, x: Cover, y: Cover) -> None:
    """Two thin shells under the back."""
    for gap, value in ((0.05, 0.0), (0.16, -60.0)):
        below = y - (painted.flat + gap - 0.1 * x**2)
        shell = np.clip(1.2 - np.abs(below) * painted.unit / (0.012 * painted.unit), 0, 1) * (np.abs(x) < 0.8)
        painted.paint(shell, value)


def spine(body: Body, q: Real) -> None:
    """A vertebra at (0, q) with canal, arch and processes, between the muscles of the back."""
    rng, s = body.rng, 0.92 * np.sqrt((1 - body.wall) * (body.flat - body.wall))
    u, v = body.near(0, q, 0.01)
    for side in (-1, 1):
        back = body.ellipse(u + side * 0.27 * s, v + 0.34 * s, 0.24 * s, 0.19 * s, side * 12, 0.04)
        body.paint(back * body.deeper(0.6 * body.fat), MUSCLE - 4 + 10 * body.grain())
    spongy = MARROW + 45 * body.grain() + rng.normal(0, 30)
    for side in (-1, 1):
        process = body.ellipse(u + side * 0.27 * s, v + 0.2 * s, 0.15 * s, 0.035 * s, side * 15)
        body.paint(process * body.deeper(body.fat), 430.0)
    body.paint(body.ellipse(u, v + 0.44 * s, 0.032 * s, 0.12 * s) * body.deeper(0.7 * body.fat), 450.0)
    body.paint(body.ellipse(u, v + 0.24 * s, 0.155 * s, 0.13 * s), 480.0)
    body.paint(body.ellipse(u, v, 0.235 * s, 0.18 * s, 0, 0.02), CORTEX)
    marrow = body.paint(body.ellipse(u, v, 0.21 * s, 0.155 * s, 0, 0.02), spongy)
    body.paint(body.ellipse(u, v + 0.225 * s, 0.1 * s, 0.08 * s), 5.0)
    body.paint(body.ellipse(u, v + 0.225 * s, 0.06 * s, 0.05 * s), 42.0)
    body.may_host(marrow, 0.10, (-190, -110), (1.8, 4.5))
    body.may_host(marrow, 0.04, (250, 450), (1.5, 3.5))


def ribs(body: Body, n: int) -> None:
    """Sections through ribs in the wall, all around except in the very front."""
    rng = body.rng
    for angle in np.linspace(-0.33, 1.33, n) * np.pi + rng.normal(0, 0.07, n):
        cos, sin = np.cos(angle), np.sin(angle)
        depth = body.wall + rng.uniform(-0.03, -0.005)
        u, v = (1 - depth) * np.sign(cos) * abs(cos) ** 0.87, (body.flat - depth) * np.sign(sin) * abs(sin) ** 0.87
        tangent = np.degrees(np.arctan2(body.flat * cos, -sin))
        long, thick = rng.uniform(0.05, 0.14), rng.uniform(0.022, 0.031)
        body.paint(body.ellipse(u, v, long, thick, tangent), 480.0)
        body.paint(body.ellipse(u, v, 0.8 * long, 0.5 * thick, tangent), 230.0)


def round_vessel(body: Body, p: Real, q: Real, radius: Real, value: Real, calcified: Real) -> Cover:
    """A vessel in cross section; with probability `calcified` its wall has bright plaques."""
    (u, v), rng = body.near(p, q, 0.01), body.rng
    cover = body.paint(body.ellipse(u, v, radius, radius * rng.uniform(0.85, 1.1), rng.uniform(0, 180), 0.03), value)
    for _ in range(rng.integers(1, 4) if rng.random() < calcified else 0):
        angle = rng.uniform(0, 2 * np.pi)
        plaque = body.ellipse(
            u + radius * np.cos(angle), v + radius * np.sin(angle), 0.022, 0.014, np.degrees(angle) + 90
        )
        body.paint(plaque, rng.uniform(450, 900))
    return cover


def bowel(body: Body, n: int, least_v: Real, most_v: Real) -> None:
    """Loops in the fat that is left: collapsed, with fluid, contrast medium, or gas above a level, or with faeces."""
    rng, loops = body.rng, []
    free = (body.hu < FAT / 2) & (body.cavity > 0.9) & (body.v > least_v) & (body.v < most_v)
    places = np.argwhere(free)
    for y, x in places[rng.permutation(len(places))[: 6 * n]]:
        u, v, a = float(body.u[y, x]), float(body.v[y, x]), rng.uniform(0.07, 0.16)
        if len(loops) == n or any(np.hypot(u - lu, v - lv) < 0.85 * (a + la) for lu, lv, la in loops):
            continue
        loops.append((u, v, a))
        b, degrees = a * rng.uniform(0.65, 1.0), rng.uniform(0, 180)
        outer = body.ellipse(u, v, a, b, degrees, 0.07) * body.cavity * (body.hu < 30)
        body.paint(outer, MUSCLE + rng.uniform(5, 45))
        inner, kind = body.ellipse(u, v, 0.74 * a, 0.7 * b, degrees, 0.05) * (outer > 0.5), rng.random()
        if kind < 0.35:
            body.paint(inner, rng.uniform(10, 40))
        elif kind < 0.55:
            body.paint(inner, BARIUM * rng.uniform(0.6, 1.2))
        elif kind < 0.75:
            body.paint(inner, rng.uniform(0, 200) * (rng.random() < 0.5) + 15)
            body.paint(inner * (body.v < v + rng.uniform(-0.4, 0.6) * b), AIR)
        elif kind < 0.87:
            body.paint(inner, 20 + 160 * np.minimum(body.grain(), 0.6))


def mesentery(body: Body, q: Real) -> None:
    """Thin vessels that fan out through the fat of the belly."""
    u, v = body.at(0.0, q)
    for degrees in body.rng.uniform(-170, -10, body.rng.integers(3, 7)):
        strand = body.tree(u, v, degrees, 0.16, 0.014, 3) * (body.hu < FAT / 2) * body.cavity
        body.paint(strand * np.clip(body.cloud() + 0.4, 0, 1), 110.0)
