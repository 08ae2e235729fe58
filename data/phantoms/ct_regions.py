"""The three regions of the CT phantom: which organs lie in abdomen, chest and pelvis, and where."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from data.phantoms import ct_anatomy
from data.phantoms.ct_anatomy import AIR, FAT, LUNG, MUSCLE, WATER, Body


def abdomen(body: Body) -> None:
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


def chest(body: Body) -> None:
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


def pelvis(body: Body) -> None:
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
