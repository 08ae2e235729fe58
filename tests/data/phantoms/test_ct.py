"""The CT phantom: addressed randomness, boxes that fit the painted lesions, and the range of sizes and contrasts."""

from __future__ import annotations

import numpy as np
import pytest

from data.phantoms.ct import COUNT_SHARE, REGIONS, anatomy, ct_slices, grow_lesions


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return ct_slices(60, 40, 64, seed=3, cache_root=tmp_path_factory.mktemp("cache"))


def boxes_of(images):
    return [np.asarray(images.target(i)) for i in range(len(images))]


def test_shapes_types_and_classes(phantom):
    assert len(phantom.part("train")) == 60 and len(phantom.part("test")) == 40
    assert phantom.kind == "boxes" and phantom.classes == ("lesion",) and phantom.channels == 1
    assert len(set(phantom.names)) == 100
    for i in range(100):
        boxes = phantom.targets[i]
        assert phantom.raw(i).shape == (64, 64, 1) and boxes.shape[1] == 5 and boxes.dtype == np.float32
        assert (boxes[:, 4] == 0).all() and (boxes[:, :4] >= 0).all() and (boxes[:, :4] <= 64).all()
        assert (boxes[:, 2:4] - boxes[:, :2] >= 1).all()
        assert phantom.names[i].endswith(REGIONS[phantom.groups[i]])


def test_the_same_seed_gives_the_same_slices_and_another_seed_others(tmp_path):
    first, again, other = (ct_slices(8, 4, 64, seed=s, cache_root=tmp_path / folder) for s, folder in ((3, "a"), (3, "b"), (4, "b")))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.names == again.names
    for i in range(12):
        np.testing.assert_array_equal(again.raw(i), first.raw(i))
        np.testing.assert_array_equal(again.target(i), first.target(i))
    assert not any(np.array_equal(other.raw(i), first.raw(i)) for i in range(12))


def test_a_slice_does_not_depend_on_how_many_are_made(phantom, tmp_path):
    few = ct_slices(5, 7, 64, seed=3, cache_root=tmp_path)
    for part in ("train", "test"):
        small, large = few.part(part), phantom.part(part)
        assert small.names == large.names[: len(small)]
        for i in range(len(small)):
            np.testing.assert_array_equal(small.raw(i), large.raw(i))
            np.testing.assert_array_equal(small.target(i), large.target(i))


def test_every_number_of_lesions_has_its_share(phantom):
    for part in ("train", "test"):
        counts = [len(boxes) for boxes in boxes_of(phantom.part(part))]
        np.testing.assert_allclose(np.bincount(counts, minlength=5) / len(counts), COUNT_SHARE, atol=0.035)


def test_the_pool_is_mostly_abdomen_and_the_test_set_is_balanced(phantom):
    pool, test = (np.bincount(phantom.part(part).groups, minlength=3) / len(phantom.part(part)) for part in ("train", "test"))
    assert pool[0] > 0.45 and pool[2] < 0.3 and test.min() > 0.15


@pytest.mark.parametrize("region", REGIONS)
def test_boxes_are_tight_around_what_was_painted(region):
    """The pixels that a lesion changed, its soft rim included, reach at most two pixels further than its box, and fill it."""
    for i in range(5):
        body = anatomy(np.random.default_rng([1, i]), region, 128)
        healthy = body.hu.copy()
        ((x1, y1, x2, y2),) = grow_lesions(body, 1).astype(int)
        rows, columns = np.nonzero(body.hu != healthy)
        assert y1 - 2 <= rows.min() <= y1 and y2 <= rows.max() + 1 <= y2 + 2
        assert x1 - 2 <= columns.min() <= x1 and x2 <= columns.max() + 1 <= x2 + 2
        assert (body.hu != healthy)[y1:y2, x1:x2].mean() > 0.6


@pytest.mark.parametrize("region", REGIONS)
def test_lesions_keep_apart_and_within_the_body(region):
    for i in range(3):
        body = anatomy(np.random.default_rng([2, i]), region, 96)
        boxes = grow_lesions(body, 4)
        assert len(boxes) == 4
        for k, (x1, y1, x2, y2) in enumerate(boxes):
            assert body.depth[int(y1 + y2) // 2, int(x1 + x2) // 2] > 0
            others = np.delete(boxes, k, axis=0)
            apart = (others[:, 0] >= x2) | (others[:, 2] <= x1) | (others[:, 1] >= y2) | (others[:, 3] <= y1)
            assert apart.all()


def test_lesions_grow_only_where_their_tissue_still_shows():
    body = anatomy(np.random.default_rng(0), "abdomen", 96)
    site = max(body.sites, key=lambda site: site.cover.sum())
    left = body.u < np.median(body.u[site.cover > 0.5])
    body.sites = [site]
    body.hu[left] += 1.0  # as if another organ had been painted there
    before = body.hu.copy()
    boxes = grow_lesions(body, 3)
    rows, columns = np.nonzero(body.hu != before)
    assert len(boxes) == 3 and left[rows, columns].mean() < 0.2
    body.hu += 1.0
    assert grow_lesions(body, 3).shape == (0, 4)


def test_sizes_and_contrasts_range_from_subtle_to_plain(tmp_path):
    """At 128 pixels: tiny and large lesions; in grey levels, about a sixth hardly differ from their surroundings and a third do plainly."""
    images, sizes, contrasts = ct_slices(1, 50, 128, seed=5, cache_root=tmp_path), [], []
    for i in range(len(images)):
        pixels = images.raw(i)[..., 0].astype(float)
        for x1, y1, x2, y2 in boxes_of(images)[i][:, :4].astype(int):
            margin = max(2, (x2 - x1) // 2)
            around = pixels[max(0, y1 - margin) : y2 + margin, max(0, x1 - margin) : x2 + margin]
            quarter_y, quarter_x = (y2 - y1) // 4, (x2 - x1) // 4
            inside, core = pixels[y1:y2, x1:x2], pixels[y1 + quarter_y : y2 - quarter_y, x1 + quarter_x : x2 - quarter_x]
            sizes.append(np.sqrt((x2 - x1) * (y2 - y1)))
            contrasts.append(abs(core.mean() - (around.sum() - inside.sum()) / (around.size - inside.size)))
    assert len(sizes) > 60
    assert min(sizes) < 4 and np.median(sizes) < 9 and max(sizes) > 14
    assert 0.05 < np.mean(np.array(contrasts) < 12) < 0.35 and 0.2 < np.mean(np.array(contrasts) > 40) < 0.6


def test_the_second_call_reads_the_cache(tmp_path, monkeypatch):
    first = ct_slices(3, 2, 64, seed=1, cache_root=tmp_path)
    monkeypatch.setattr("data.phantoms.ct._records", lambda *_: pytest.fail("generated again"))
    second = ct_slices(3, 2, 64, seed=1, cache_root=tmp_path)
    np.testing.assert_array_equal(first.raw(4), second.raw(4))


@pytest.mark.parametrize("wrong", [{"n_pool": 0}, {"n_test": -1}, {"size": 32}])
def test_wrong_arguments_are_named(wrong, tmp_path):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name}={value} of the CT phantom must be at least"):
        ct_slices(**wrong, cache_root=tmp_path)
