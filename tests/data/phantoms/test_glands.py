"""The gland phantom: addressed randomness, masks that fit, and the structure that makes choosing images matter."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from data.phantoms.glands import KINDS, glands
from data.phantoms.painting import develop, noise, stamp_ellipses


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return glands(80, 60, 64, seed=7, cache_root=tmp_path_factory.mktemp("cache"))


def kinds(images):
    return np.array([name.rsplit("_", 1)[1] for name in images.names])


def test_shapes_types_and_classes(phantom):
    assert len(phantom.part("train")) == 80 and len(phantom.part("test")) == 60
    assert phantom.kind == "instance_map" and phantom.classes == ("background", "gland")
    assert len(set(phantom.names)) == 140
    for i in range(0, 140, 7):
        assert phantom.raw(i).shape == (64, 64, 3) and phantom.raw(i).dtype == np.uint8
        assert phantom.targets[i].shape == (64, 64) and phantom.targets[i].dtype == np.uint16


def test_ids_are_contiguous_and_every_image_has_a_gland(phantom):
    for i in range(len(phantom)):
        ids = np.unique(phantom.instances(i))
        assert ids[-1] >= 1
        np.testing.assert_array_equal(ids, np.arange(ids[-1] + 1))
        assert np.bincount(phantom.instances(i).ravel())[1:].min() >= 3


def test_glands_differ_from_their_surroundings(phantom):
    """Nuclei crowd at the borders of glands: the rim is darker than the stroma a little further out, in most images."""
    darker = []
    for i in map(int, np.flatnonzero(kinds(phantom) == "common")):
        ids, light = phantom.instances(i) > 0, phantom.raw(i).mean(2)
        rim = ids & (np.asarray(ndimage.distance_transform_edt(ids)) < 4)
        stroma = ~ids & (np.asarray(ndimage.distance_transform_edt(~ids)) > 4)
        if rim.any() and stroma.any():
            darker.append(light[rim].mean() < light[stroma].mean())
    assert np.mean(darker) > 0.8


def test_the_same_seed_gives_the_same_images_and_another_seed_others(tmp_path):
    first, again, other = (glands(10, 6, 32, seed=s, cache_root=tmp_path / folder) for s, folder in ((7, "a"), (7, "b"), (8, "b")))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.names == again.names
    for i in range(16):
        np.testing.assert_array_equal(again.raw(i), first.raw(i))
        np.testing.assert_array_equal(again.instances(i), first.instances(i))
    assert not any(np.array_equal(other.raw(i), first.raw(i)) for i in range(16))


def test_an_image_does_not_depend_on_how_many_are_made(phantom, tmp_path):
    few = glands(5, 9, 64, seed=7, cache_root=tmp_path)
    for part in ("train", "test"):
        small, large = few.part(part), phantom.part(part)
        assert small.names == large.names[: len(small)]
        for i in range(len(small)):
            np.testing.assert_array_equal(small.raw(i), large.raw(i))
            np.testing.assert_array_equal(small.instances(i), large.instances(i))


def test_both_grades_are_common_and_irregular_glands_are_less_convex(phantom):
    assert 0.3 < phantom.part("train").groups.mean() < 0.7 and 0.3 < phantom.part("test").groups.mean() < 0.7
    roughness = {0: [], 1: []}  # border pixels per square root of area
    for i in map(int, np.flatnonzero(kinds(phantom) == "common")):
        ids = phantom.instances(i)
        for gland in range(1, ids.max() + 1):
            shape = ids == gland
            touches_edge = shape[0].any() or shape[-1].any() or shape[:, 0].any() or shape[:, -1].any()
            if not touches_edge and shape.sum() > 60:
                roughness[phantom.groups[i]].append((shape & ~ndimage.binary_erosion(shape)).sum() / np.sqrt(shape.sum()))
    assert np.mean(roughness[1]) > 1.1 * np.mean(roughness[0])


def test_every_rare_kind_is_rarer_in_the_pool_than_in_the_test_set(phantom):
    pool, test = kinds(phantom.part("train")), kinds(phantom.part("test"))
    assert set(pool) == set(test) == set(KINDS)
    for kind in KINDS[1:]:
        assert 0 < (pool == kind).mean() < 0.06 < (test == kind).mean()


def test_most_of_the_pool_are_near_duplicates(phantom):
    """Distances to the nearest neighbour fall into two groups: near-duplicates, about two thirds of the pool, and single images."""
    pool = phantom.part("train")
    thumbnails = np.stack([pool.raw(i).reshape(8, 8, 8, 8, 3).mean((1, 3)).ravel() for i in range(80)])
    distances = np.sqrt(((thumbnails[:, None] - thumbnails[None]) ** 2).mean(-1))
    typical = np.median(distances)
    np.fill_diagonal(distances, np.inf)
    nearest = np.sort(distances.min(1) / typical)
    copies = int((nearest < 0.46).sum())
    assert 0.5 < copies / 80 < 0.75
    assert nearest[:copies].mean() < 0.3 and nearest[copies:].mean() > 0.65
    assert distances.min() > 0  # near, never equal


def test_the_second_call_reads_the_cache(tmp_path, monkeypatch):
    first = glands(3, 2, 32, seed=1, cache_root=tmp_path)
    monkeypatch.setattr("data.phantoms.glands._records", lambda *_: pytest.fail("generated again"))
    second = glands(3, 2, 32, seed=1, cache_root=tmp_path)
    np.testing.assert_array_equal(first.raw(4), second.raw(4))


@pytest.mark.parametrize("wrong", [{"n_pool": 0}, {"n_test": -1}, {"size": 16}])
def test_wrong_arguments_are_named(wrong, tmp_path):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name}={value} of the phantom must be at least"):
        glands(**wrong, cache_root=tmp_path)


def test_noise_has_mean_0_variance_1_and_is_longer_along_its_angle():
    field = noise(np.random.default_rng(0), (96, 96), 1.5, stretch=5.0, angle=0.0)
    assert abs(field.mean()) < 1e-9 and field.var() == pytest.approx(1)
    along, across = (np.mean(field * np.roll(field, 4, axis)) for axis in (1, 0))
    assert along > 0.6 and across < 0.3


def test_stamped_ellipse_has_its_area_and_place():
    canvas = np.zeros((40, 40))
    stamp_ellipses(canvas, np.array([[20.0, 12.0]]), np.array([[8.0, 3.0]]), np.array([np.pi / 2]), np.array([0.5]))
    assert canvas.max() == 0.5 and canvas.sum() / 0.5 == pytest.approx(np.pi * 8 * 3, rel=0.08)
    assert canvas[26, 12] == 0.5 and canvas[20, 18] == 0  # the long axis is vertical
    stamp_ellipses(canvas, np.empty((0, 2)), np.empty((0, 2)), np.empty(0), np.empty(0))


def test_develop_is_beer_lambert():
    amounts = np.array([[[0.0, 1.0]], [[0.0, 2.0]]])
    colour = develop(amounts, np.array([[0.5, 0.0, 0.1], [0.0, 0.5, 0.1]]), white=200.0)
    np.testing.assert_allclose(colour[0, 0], 200)
    np.testing.assert_allclose(colour[0, 1], [200 * 10**-0.5, 20, 200 * 10**-0.3])
