"""Outlines of class maps: filling them gives the map again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageDraw
from scipy.ndimage import distance_transform_edt
from skimage.measure import label

from data.formats import outlines
from experiments.rounds.contours import area, keyholed, regions

MAPS = arrays.arrays(
    np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.sampled_from([0, 0, 1, 2])
)


def filled(rings, height, width):
    return outlines.filled([ring.astype(float) for ring in rings], height, width)


def drawn(found, shape):
    """By holes that are taken out again."""
    target = np.zeros(shape, np.uint8)
    for region in found:
        target[filled([region.outer], *shape) & ~filled(region.holes, *shape)] = region.label
    return target


def blobs(seed=0, size=120, share=0.5):
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft2(rng.normal(size=(size, size)))
    y, x = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    smooth = np.fft.irfft2(spectrum * np.exp(-((x**2 + y**2) * 900)), (size, size))
    return (smooth > np.quantile(smooth, 1 - share)).astype(np.uint8)


@settings(max_examples=150, deadline=None)
@given(MAPS)
def test_any_map_to_the_pixel(class_map):
    found = regions(class_map)
    assert np.array_equal(drawn(found, class_map.shape), class_map)
    cut = np.zeros_like(class_map)
    for region in found:
        cut[filled([keyholed(region)], *class_map.shape)] = region.label
    assert np.array_equal(cut, class_map)
    assert len(found) == label(class_map, background=0, connectivity=1).max()
    assert all(area(region.outer) > 0 and all(area(hole) < 0 for hole in region.holes) for region in found)
    for region in found:
        inside = area(region.outer) + sum(area(hole) for hole in region.holes)
        assert inside == area(keyholed(region)) == filled([keyholed(region)], *class_map.shape).sum()


def test_a_ring_by_hand():
    mask = np.ones((3, 4), int)
    mask[1, 1] = 0
    (region,) = regions(mask)
    assert region.outer.tolist() == [[0, 0], [4, 0], [4, 3], [0, 3]]
    assert [hole.tolist() for hole in region.holes] == [[[1, 1], [1, 2], [2, 2], [2, 1]]]
    assert keyholed(region).tolist()[:4] == [[0, 0], [0, 1], [1, 1], [1, 2]]


def test_pixels_that_touch_at_a_corner_are_two_pieces_and_a_hole_is_open_there():
    two = regions(np.array([[1, 0], [0, 1]]))
    assert [region.outer.tolist() for region in two] == [
        [[0, 0], [1, 0], [1, 1], [0, 1]],
        [[1, 1], [2, 1], [2, 2], [1, 2]],
    ]
    other = regions(np.array([[0, 1], [1, 0]]))
    assert [region.outer.tolist()[0] for region in other] == [[1, 0], [0, 1]]
    (snail,) = regions(np.array([[0, 1, 1], [1, 0, 1], [1, 1, 1]]))
    assert not snail.holes and area(snail.outer) == 7


@pytest.mark.parametrize("tolerance", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_simplified_within_the_tolerance(tolerance, seed):
    mask = blobs(seed)
    exact, simple = regions(mask), regions(mask, tolerance)
    wrong = drawn(simple, mask.shape) != mask
    around = np.pad(mask, 1)
    to_edge = np.where(around > 0, distance_transform_edt(around), distance_transform_edt(1 - around))[1:-1, 1:-1] - 0.5
    assert to_edge[wrong].max(initial=0) <= tolerance + 0.5
    corners = [
        sum(len(ring) for region in found for ring in (region.outer, *region.holes)) for found in (exact, simple)
    ]
    assert len(simple) == len(exact) and corners[1] < (0.9 if tolerance < 1 else 0.5) * corners[0]


def test_pieces_smaller_than_the_tolerance_stay_and_such_holes_vanish():
    mask = np.zeros((20, 20), int)
    mask[1, 1] = 1
    mask[4:18, 4:18] = 1
    mask[10, 10] = 0
    small, large = regions(mask, 3.0)
    assert small.outer.tolist() == [[1, 1], [2, 1], [2, 2], [1, 2]]
    assert large.holes == [] and area(large.outer) == 14 * 14


def test_another_program_draws_the_same():
    mask = blobs(5, 60)
    scale = 8  # PIL paints the border of a polygon too, half of a pixel wide
    target = np.zeros((60 * scale, 60 * scale), np.uint8)
    for region in regions(mask):
        canvas = Image.new("1", target.shape[::-1])
        ImageDraw.Draw(canvas).polygon([tuple(p) for p in (keyholed(region) * scale).tolist()], fill=1)
        target[np.asarray(canvas)] = 1
    assert np.array_equal(target[scale // 2 :: scale, scale // 2 :: scale], mask)


def test_nothing_and_all():
    assert regions(np.zeros((3, 4), int)) == []
    (region,) = regions(np.full((1, 1), 7))
    assert region.label == 7 and area(region.outer) == 1
