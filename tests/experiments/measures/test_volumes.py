"""Scores of whole volumes: hand-computed values, slow exact references, MONAI, and what is absent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.surface_distance import compute_average_surface_distance

from data.phases import PHASES
from data.store import Record, cached
from experiments.measures.table import base_of, higher_is_better, unit_of
from experiments.measures.volumes import VolumeScores, surface_scores, trivial_volumes

CLASSES = ("background", "right", "muscle", "left")


def blobs(rng, shape, share=0.4):
    return rng.random(shape) < share


def slow(a, b, spacing):
    """By every pair of surface voxels."""

    def surface(mask):
        around = np.pad(mask, 1)
        points = []
        for z, y, x in np.argwhere(mask):
            near = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
            if not all(around[z + 1 + dz, y + 1 + dy, x + 1 + dx] for dz, dy, dx in near):
                points.append((z, y, x))
        return np.array(points) * spacing

    first, second = surface(a), surface(b)
    apart = np.sqrt(((first[:, None] - second[None]) ** 2).sum(-1))
    to_b, to_a = apart.min(1), apart.min(0)
    return max(np.percentile(to_b, 95), np.percentile(to_a, 95)), np.concatenate([to_b, to_a]).mean()


@pytest.mark.parametrize("seed", range(8))
def test_distances_are_those_of_all_pairs_and_of_monai(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 9, 3))
    spacing = tuple(rng.uniform(0.4, 12, 3).tolist())
    a, b = (blobs(rng, shape, rng.uniform(0.05, 0.95)) for _ in range(2))
    a.flat[0] = b.flat[-1] = True
    hd95, asd = surface_scores(a, b, spacing)
    np.testing.assert_allclose((hd95, asd), slow(a, b, spacing), rtol=1e-9)
    one, other = (torch.from_numpy(mask)[None, None] for mask in (a, b))
    monai = compute_hausdorff_distance(one, other, percentile=95, include_background=True, spacing=spacing)
    np.testing.assert_allclose(hd95, monai.item(), rtol=1e-5)
    monai = compute_average_surface_distance(one, other, symmetric=True, include_background=True, spacing=spacing)
    np.testing.assert_allclose(asd, monai.item(), rtol=1e-5)


def test_distances_by_hand():
    a = np.zeros((4, 5, 6), bool)
    b = a.copy()
    a[1, 1, 1] = b[3, 1, 1] = True  # two slices apart
    assert surface_scores(a, b, (10.0, 1.5, 1.25)) == (20.0, 20.0)
    b[1, 1, 1] = True  # both points of b: 0 and 20, that of a: 0
    hd95, asd = surface_scores(a, b, (10.0, 1.5, 1.25))
    assert hd95 == pytest.approx(19.0) and asd == pytest.approx(20 / 3)
    assert surface_scores(a, a, (10.0, 1.5, 1.25)) == (0.0, 0.0)
    diagonal = np.sqrt(40.0**2 + 7.5**2 + 7.5**2)
    assert surface_scores(a, np.zeros_like(a), (10.0, 1.5, 1.25)) == pytest.approx((diagonal, diagonal))
    assert surface_scores(np.zeros_like(a), np.zeros_like(a), (10.0, 1.5, 1.25)) == (0.0, 0.0)


def stored(root, volumes, classes=CLASSES, parts=None):
    """A test set of volumes: name -> (truth (n, h, w), spacing of rows, columns and slices)."""

    def records():
        for name, (truth, spacing) in volumes.items():
            for k, target in enumerate(truth):
                image = np.zeros((*target.shape, 1), np.uint8)
                yield Record(
                    f"{name}#{k}",
                    image,
                    target.astype(np.uint8),
                    0,
                    (parts or {}).get(name, "test"),
                    name,
                    name,
                    k,
                    spacing,
                )

    return cached("some", "key", "class_map", classes, records, None, root)


def scored(test, predictions, order=None):
    """The summary after all slices were added in an order; `predictions` are of all images."""
    scores = VolumeScores(test)
    for i in range(len(test)) if order is None else order:
        scores.add(int(i), predictions[i].astype(np.int64), test.target(int(i)).numpy())
    assert not scores._open
    return scores.summary()


@pytest.fixture
def four(tmp_path):
    rng = np.random.default_rng(5)
    spacings = ((1.5, 1.25, 10.0), (1.2, 1.2, 5.0))
    volumes = {f"p{k}_{phase}": (rng.integers(0, 4, (5 - k, 8, 7)), spacings[k]) for k in (0, 1) for phase in PHASES}
    test = stored(tmp_path, volumes)
    return test, volumes, [rng.integers(0, 4, (8, 7)) for _ in range(len(test))]


def test_means_over_volumes_classes_and_phases(four):
    test, volumes, predictions = four
    expected, at = {}, 0
    for name, (truth, (row, column, between)) in volumes.items():
        predicted = np.stack(predictions[at : at + len(truth)])
        at += len(truth)
        for c in (1, 2, 3):
            a, b = predicted == c, truth == c
            expected[name, c] = 2 * (a & b).sum() / (a.sum() + b.sum()), *slow(a, b, (between, row, column))
    found = scored(test, predictions)
    for k, metric in enumerate(("dice_volume", "hd95_volume", "asd_volume")):
        for behind in ("", "_ED", "_ES"):
            names = [name for name in volumes if name.endswith(behind)]
            table = np.array([[expected[name, c][k] for c in (1, 2, 3)] for name in names])
            assert found[f"{metric}{behind}"] == pytest.approx(table.mean())
            for c in (1, 2, 3):
                assert found[f"{metric}{behind}[{CLASSES[c]}]"] == pytest.approx(table[:, c - 1].mean())
    assert len(found) == 3 * 3 * 4


def test_the_order_of_slices_does_not_matter_and_few_volumes_are_held(four):
    test, volumes, predictions = four
    order = np.random.default_rng(0).permutation(len(test))
    assert scored(test, predictions, order) == pytest.approx(scored(test, predictions))
    scores = VolumeScores(test)
    for i in range(len(test)):
        scores.add(i, predictions[i].astype(np.int64), test.target(i).numpy())
        assert len(scores._open) <= 1


def test_an_exact_prediction_is_perfect(four):
    test, _, _ = four
    found = scored(test, [test.target(i).numpy() for i in range(len(test))])
    assert {value for name, value in found.items() if name.startswith("dice")} == {1.0}
    assert {value for name, value in found.items() if not name.startswith("dice")} == {0.0}


def test_what_is_absent(tmp_path):
    truth = np.zeros((3, 4, 4), int)
    truth[1, 1:3, 1:3] = 1
    test = stored(tmp_path, {"a": (truth, (2.0, 1.0, 8.0)), "b": (np.zeros_like(truth), (2.0, 1.0, 8.0))})
    right, nothing = [*truth, *np.zeros_like(truth)], [np.zeros((4, 4), int)] * 6
    found = scored(test, right)
    assert found["dice_volume"] == 1.0 and found["hd95_volume"] == 0.0  # classes 2 and 3 reward nobody
    assert np.isnan(found["dice_volume[left]"]) and found["dice_volume[right]"] == 1.0
    found = scored(test, nothing)
    diagonal = np.sqrt(24.0**2 + 8.0**2 + 4.0**2)
    assert found["dice_volume"] == 0.5 and found["hd95_volume"] == pytest.approx(diagonal / 2)  # b is perfect
    assert found["asd_volume[right]"] == pytest.approx(diagonal)
    assert "dice_volume_ED" not in found


def test_distances_need_the_spacing_and_all_slices(four):
    test, _, predictions = four
    found = scored(replace(test, _spacings=np.full((len(test), 3), np.nan)), predictions)
    assert found and all(name.startswith("dice_volume") for name in found)
    holes = test.subset([i for i in range(len(test)) if i != 2])  # the first volume lacks a slice
    found, whole = (
        scored(part, [predictions[int(row)] for row in part.rows])
        for part in (holes, test.subset([i for i in range(len(test)) if test.volumes[i] != "p0_ED"]))
    )
    assert found["hd95_volume"] == pytest.approx(whole["hd95_volume"]) and found["dice_volume"] != whole["dice_volume"]
    beginnings = [i for i in range(len(test)) if test.volumes[i] != "p0_ED" or test.slices[i] > 1]
    later = test.subset(beginnings)  # the first volume lacks its first two slices
    found = scored(later, [predictions[int(row)] for row in later.rows])
    assert found["hd95_volume"] == pytest.approx(whole["hd95_volume"]) and found["dice_volume"] != whole["dice_volume"]
    assert "asd_volume" not in scored(test.subset([1]), [predictions[1]]), "a single slice that is not the first"
    single = test.subset([0])
    assert scored(single, [predictions[0]])["asd_volume"] > 0
    assert scored(replace(test, _volumes=np.full(len(test), "")), predictions) == {}


def test_ignored_pixels_are_background_in_both(tmp_path):
    truth = np.zeros((2, 4, 4), int)
    truth[:, :2], truth[:, 3] = 1, 255
    test = stored(tmp_path, {"a": (truth, (1.0, 1.0, 1.0))})
    predicted = np.where(truth == 255, 1, truth)
    assert scored(test, list(predicted))["dice_volume"] == 1.0


def test_parts_of_a_test_set(tmp_path):
    truth = np.random.default_rng(0).integers(0, 4, (2, 5, 5))
    test = stored(
        tmp_path, {"a": (truth, (1.0, 1.0, 1.0)), "b": (truth, (1.0, 1.0, 1.0))}, parts={"a": "testA", "b": "testB"}
    )
    found = scored(test, [*truth, *np.zeros_like(truth)])
    assert found["dice_volume_testA"] == 1.0 and found["dice_volume_testB"] == 0.0 and found["dice_volume"] == 0.5


def test_trivial_predictions(four):
    test, volumes, _ = four
    found = trivial_volumes(test, lambda i: test.target(i).numpy())
    commonest = np.bincount(np.concatenate([truth.ravel() for truth, _ in volumes.values()]), minlength=4)
    foreground = 1 + int(commonest[1:].argmax())
    dice = np.mean([2 * (t == foreground).sum() / (t.size + (t == foreground).sum()) / 3 for t, _ in volumes.values()])
    assert found["dice_volume"] == (pytest.approx(dice), f"all {CLASSES[foreground]}")
    left = np.mean([2 * (t == 3).sum() / (t.size + (t == 3).sum()) for t, _ in volumes.values()])
    assert found["dice_volume[left]"] == (pytest.approx(left), "all left")
    table = [slow(np.ones(t.shape, bool), t == 3, (b, r, c)) for t, (r, c, b) in volumes.values()]
    assert found["asd_volume[left]"] == (pytest.approx(np.mean(table, 0)[1]), "all left")
    assert set(found) == set(scored(test, [test.target(i).numpy() for i in range(len(test))]))
    assert trivial_volumes(replace(test, _volumes=np.full(len(test), "")), lambda i: test.target(i).numpy()) == {}


def test_the_table_knows_them():
    assert base_of("mc_hd95_volume_ED[left ventricle]") == "hd95_volume" and unit_of("asd_volume_ES") == "mm"
    assert higher_is_better("dice_volume_testB") and not higher_is_better("hd95_volume_ED")
