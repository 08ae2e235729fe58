"""Outlines of class maps: along the edges of pixels, outer ones and holes, exact or simplified."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Integer
from numpy import ndarray
from skimage.measure import label


class Region(NamedTuple):
    """One connected piece of one class. Corners (x, y) are edges of pixels counted from 0, the first one not repeated;
    on the screen `outer` runs clockwise and the holes against it.
    """

    label: int
    outer: Int[ndarray, "points 2"]
    holes: list[Int[ndarray, "points 2"]]


def regions(class_map: Integer[ndarray, "h w"], tolerance: float = 0.0) -> list[Region]:
    """The pieces of each class above 0, by class and then from the top; pixels belong together across edges, not across
    corners. Filling what is returned gives the map again, to the pixel with `tolerance` 0; else no corner that is left
    out lies farther than that many pixels from its outline (Douglas and Peucker, 1973). Holes smaller than it vanish,
    pieces never do.
    """
    components = np.asarray(label(class_map, background=0, connectivity=1))
    found = []
    for c in present(class_map):
        outer, holes = {}, {}
        rings, of_holes = _rings(class_map == c)
        for ring, simple, hole in zip(rings, _simplified(rings, tolerance), of_holes, strict=True):
            x, y = ring[0].tolist()  # of the uppermost corners the left one
            owner = int(components[y - 1 if hole else y, x])
            if not hole:
                outer[owner] = simple if area(simple) > 0 else ring
            elif area(simple) < 0:
                holes.setdefault(owner, []).append(simple)
        found += [Region(c, ring, holes.get(owner, [])) for owner, ring in outer.items()]
    return found


def present(class_map: Integer[ndarray, "h w"]) -> list[int]:
    """The classes above 0 that a map has."""
    return (np.flatnonzero(np.bincount(class_map.ravel())[1:]) + 1).tolist()


def keyholed(region: Region) -> Int[ndarray, "points 2"]:
    """The region as one polygon, for formats without holes: a cut of no width leads to each hole and back.

    Cuts run along edges of pixels, so that they pass through the centre of none.
    """
    polygon = region.outer
    for hole in sorted(region.holes, key=lambda hole: hole[:, 0].min()):
        start = int(hole[:, 0].argmin())
        there = hole[start]
        at = int(np.abs(polygon - there).sum(1).argmin())
        around = np.concatenate([hole[start:], hole[: start + 1]])
        bend = np.array([[polygon[at, 0], there[1]]])
        polygon = np.concatenate([polygon[: at + 1], bend, around, bend, polygon[at:]])
    return polygon


def _rings(mask: Bool[ndarray, "h w"]) -> tuple[list[Int[ndarray, "_ 2"]], list[bool]]:
    """The corners of every boundary, and which are those of holes.

    Corners in a row of the grid, or in a column, are joined two by two. Where pixels touch at a corner it is there
    twice, once for each of them.
    """
    padded = np.pad(mask, 1)
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]  # around each corner
    touching = (a == d) & (b == c) & (a != b)
    turning = (a ^ b ^ c ^ d) | touching
    y, x = np.nonzero(turning)
    y, x = (np.repeat(values, 1 + touching[y, x]) for values in (y, x))
    both = touching[y, x]
    second = np.zeros(len(y), bool)  # of two at one corner, the one whose edge runs to the right
    second[1:] = both[1:] & (y[1:] == y[:-1]) & (x[1:] == x[:-1])
    lower = both & (second == a[y, x])  # and the one whose edge runs down
    beside = np.arange(len(y)) ^ 1  # partners lie side by side, here by rows
    by_columns = np.lexsort((lower, y, x))
    below = np.empty(len(y), np.int64)
    below[by_columns] = by_columns[beside]
    corners, hole = np.column_stack([x, y]), (~d[y, x]).tolist()  # at the first corner of a boundary
    cycles = list(_cycles(beside.tolist(), below.tolist(), hole))
    return [corners[places] for places in cycles], [hole[places[0]] for places in cycles]


def _cycles(beside: list[int], below: list[int], hole: list[bool]) -> Iterator[list[int]]:
    """The places of each boundary, from its first on."""
    seen = bytearray(len(beside))
    for first in range(len(beside)):
        if seen[first]:
            continue
        places, place, sideways = [], first, not hole[first]
        while not seen[place]:
            seen[place] = 1
            places.append(place)
            place = beside[place] if sideways else below[place]
            sideways = not sideways
        yield places


def _simplified(rings: list[Int[ndarray, "_ 2"]], tolerance: float) -> list[Int[ndarray, "_ 2"]]:
    """The rings with fewer corners, all at once; the first corner of each stays."""
    if tolerance <= 0 or not rings:
        return rings
    points = np.concatenate([np.concatenate([ring, ring[:1]]) for ring in rings]).astype(np.float64)
    ends = np.cumsum([len(ring) + 1 for ring in rings])
    starts = np.concatenate([[0], ends[:-1]])
    kept = np.zeros(len(points), bool)
    kept[starts] = kept[ends - 1] = True
    at = np.flatnonzero(~kept)
    while len(at):  # each piece between two kept corners is split at the corner that is farthest from its chord
        known = np.flatnonzero(kept)
        piece = np.searchsorted(known, at)
        distance = _distance(points[at], points[known[piece - 1]], points[known[piece]])
        first = np.flatnonzero(np.diff(piece, prepend=-1))  # of each piece
        farthest = np.maximum.reduceat(distance, first)
        members = np.diff(first, append=len(piece))
        highest = np.flatnonzero(distance == np.repeat(farthest, members))
        highest = highest[np.diff(piece[highest], prepend=-1) > 0]  # one of several that are as far
        kept[at[highest[farthest > tolerance]]] = True
        at = at[np.repeat(farthest > tolerance, members)]
        at = at[~kept[at]]
    return [ring[kept[start : start + len(ring)]] for ring, start in zip(rings, starts.tolist(), strict=True)]


def _distance(
    points: Float[ndarray, "n 2"], start: Float[ndarray, "n 2"], end: Float[ndarray, "n 2"]
) -> Float[ndarray, " n"]:
    """From each point to its own chord, which may be a single point."""
    chord, away = end - start, points - start
    along = (away * chord).sum(1) / np.maximum((chord**2).sum(1), 1e-9)
    return np.linalg.norm(away - np.clip(along, 0, 1)[:, None] * chord, axis=1)


def area(ring: Integer[ndarray, "points 2"]) -> float:
    """Square pixels within a ring: positive where it runs clockwise on the screen."""
    x, y = ring.T.astype(np.float64)
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
