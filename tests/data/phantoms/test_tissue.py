"""The tissue phantom: addressed randomness, the long tail, near-duplicates, mixtures and wrong labels of the pool."""

from __future__ import annotations

import numpy as np
import pytest

from data.phantoms.tissue import CLASSES, KINDS, PAINTERS, TAIL, tissue


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return tissue(700, 200, 16, seed=3, cache_root=tmp_path_factory.mktemp("cache"))


def kinds(images):
    return np.array([name.rsplit("_", 1)[1] for name in images.names])


def test_shapes_types_classes_and_groups(phantom):
    assert len(phantom.part("train")) == 700 and len(phantom.part("test")) == 200
    assert phantom.kind == "class" and phantom.classes == CLASSES and len(set(CLASSES)) == 9
    assert len(set(phantom.names)) == 900
    for i in range(0, 900, 50):
        image, target = phantom[i]
        assert image.shape == (3, 16, 16) and phantom.raw(i).dtype == np.uint8
        assert target.shape == () and int(target) == phantom.groups[i]


def test_the_same_seed_gives_the_same_images_and_another_seed_others(tmp_path):
    first, again, other = (tissue(40, 10, 16, seed=s, cache_root=tmp_path / folder) for s, folder in ((3, "a"), (3, "b"), (4, "b")))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.names == again.names and first.groups.tolist() == again.groups.tolist()
    for i in range(50):
        np.testing.assert_array_equal(again.raw(i), first.raw(i))
    assert not any(np.array_equal(other.raw(i), first.raw(i)) for i in range(50))


def test_an_image_does_not_depend_on_how_many_are_made(phantom, tmp_path):
    few = tissue(30, 12, 16, seed=3, cache_root=tmp_path)
    for part in ("train", "test"):
        small, large = few.part(part), phantom.part(part)
        assert small.names == large.names[: len(small)]
        assert small.groups.tolist() == large.groups[: len(small)].tolist()
        for i in range(len(small)):
            np.testing.assert_array_equal(small.raw(i), large.raw(i))


def test_the_pool_has_a_long_tail_and_the_test_set_is_balanced(phantom):
    shares = TAIL ** np.arange(9) / (TAIL ** np.arange(9)).sum()
    pool, test = (np.bincount(phantom.part(p).groups, minlength=9) / len(phantom.part(p)) for p in ("train", "test"))
    np.testing.assert_allclose(pool, shares, atol=0.015)
    np.testing.assert_allclose(test, 1 / 9, atol=0.01)
    assert pool.max() > 6 * pool.min()


def test_only_the_pool_has_duplicates_and_wrong_labels(phantom):
    pool, test = kinds(phantom.part("train")), kinds(phantom.part("test"))
    assert set(pool) == set(KINDS) and set(test) == {"single", "mixture"}
    assert 0.005 < (pool == "mislabelled").mean() < 0.04
    assert 0.4 < (pool == "duplicate").mean() < 0.6
    assert 0.08 < (pool == "mixture").mean() < 0.22 and 0.08 < (test == "mixture").mean() < 0.22


def test_a_wrong_label_changes_the_label_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("data.phantoms.tissue.MISLABELLED_SHARE", {"train": 0.3, "test": 0.0})
    with_wrong = tissue(60, 1, 16, seed=3, cache_root=tmp_path / "with")
    monkeypatch.setattr("data.phantoms.tissue.MISLABELLED_SHARE", {"train": 0.0, "test": 0.0})
    without = tissue(60, 1, 16, seed=3, cache_root=tmp_path / "without")
    wrong = np.flatnonzero(kinds(with_wrong) == "mislabelled")
    assert 8 <= len(wrong) <= 30
    np.testing.assert_array_equal(np.flatnonzero(with_wrong.groups != without.groups), wrong)
    for i in map(int, wrong):
        np.testing.assert_array_equal(with_wrong.raw(i), without.raw(i))


def test_duplicates_lie_near_each_other_and_singles_do_not(phantom):
    pool = phantom.part("train")
    thumbnails = np.stack([pool.raw(i).reshape(4, 4, 4, 4, 3).mean((1, 3)).ravel() for i in range(len(pool))])
    distances = np.sqrt(((thumbnails[:, None] - thumbnails[None]) ** 2).mean(-1))
    np.fill_diagonal(distances, np.inf)
    nearest = distances.min(1)
    tissue_only = pool.groups != CLASSES.index("background")  # empty glass is alike everywhere
    duplicate, single = (np.median(nearest[tissue_only & (kinds(pool) == k)]) for k in ("duplicate", "single"))
    assert 0 < duplicate < 0.6 * single


def test_every_class_is_painted_in_its_own_way():
    """Means over many patches order the classes as their descriptions say."""
    amounts = {}
    for name, paint in zip(CLASSES, PAINTERS, strict=True):
        patches = [np.stack(paint(np.random.default_rng([5, i]), (36, 36), 1.0)) for i in range(40)]
        amounts[name] = np.mean(patches, axis=(0, 2, 3))
    haematoxylin, eosin = ({name: a[i] for name, a in amounts.items()} for i in (0, 1))
    assert min(haematoxylin["tumour"], haematoxylin["lymphocytes"]) > 1.5 * max(haematoxylin["stroma"], haematoxylin["muscle"])
    assert eosin["muscle"] > eosin["stroma"] > eosin["mucus"] > eosin["background"]
    assert max(sum(amounts["adipose"]), sum(amounts["background"])) < 0.6 * sum(amounts["debris"])


def test_the_second_call_reads_the_cache(tmp_path, monkeypatch):
    first = tissue(3, 2, 16, seed=1, cache_root=tmp_path)
    monkeypatch.setattr("data.phantoms.tissue._records", lambda *_: pytest.fail("generated again"))
    second = tissue(3, 2, 16, seed=1, cache_root=tmp_path)
    np.testing.assert_array_equal(first.raw(4), second.raw(4))


@pytest.mark.parametrize("wrong", [{"n_pool": 0}, {"n_test": -1}, {"size": 8}])
def test_wrong_arguments_are_named(wrong, tmp_path):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name}={value} of the tissue phantom must be at least"):
        tissue(**wrong, cache_root=tmp_path)
