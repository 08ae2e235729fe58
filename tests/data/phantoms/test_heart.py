"""The phantom of cardiac volumes: what is where, what changes over slices and phases, addressed randomness."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from data.phantoms.heart import CLASSES, GAPS, KINDS, heart_phantom


@pytest.fixture(scope="module")
def hearts(tmp_path_factory):
    return heart_phantom(tmp_path_factory.mktemp("cache"), n_pool=8, n_test=3, size=96)


def volumes(images):
    """Volume -> classes (slices, rows, columns) and spacing."""
    for name in dict.fromkeys(images.volumes.tolist()):
        own = images.subset(np.flatnonzero(images.volumes == name))
        yield name, np.stack([own.target(i).numpy() for i in range(len(own))]), own


def test_what_is_stored(hearts):
    assert hearts.kind == "class_map" and hearts.classes == CLASSES and hearts.raw(0).shape == (96, 96, 1)
    assert len(set(hearts.names)) == len(hearts) and len(set(hearts.volumes)) == 22
    assert not set(hearts.part("train").patients) & set(hearts.part("test").patients)
    assert set(hearts.groups) == set(range(len(KINDS)))
    for _, _, own in volumes(hearts):
        assert own.slices.tolist() == list(range(len(own))) and len(np.unique(own.spacings, axis=0)) == 1
    assert len(np.unique(hearts.spacings[:, 0])) == 11 and set(hearts.spacings[:, 2]) <= set(GAPS)
    assert len(set(hearts.spacings[:, 2])) > 1


def test_a_cup_of_muscle_round_a_cavity_and_a_crescent_beside_it(hearts):
    for name, classes, _ in volumes(hearts):
        seen = [set(np.unique(each)) for each in classes]
        assert {0, 1, 2, 3} in seen, name
        assert 3 not in seen[0] and 1 not in seen[-1], name  # above the base; near or beyond the apex
        for each in classes:
            ring = np.isin(each, (2, 3))
            assert (
                ndimage.label(ring)[1] <= 1 and not (ndimage.binary_dilation(each == 3) & np.isin(each, (0, 1))).any()
            )
        areas = (classes == 3).sum((1, 2))
        widest = int(areas.argmax())
        assert (np.diff(areas[widest:]) <= 0.12 * areas.max()).all(), name  # narrower towards the apex


def test_systole_is_smaller_with_the_same_muscle(hearts):
    found = {
        name: ((classes == 3).sum() * own.spacings[0].prod(), (classes == 2).sum() * own.spacings[0].prod(), own)
        for name, classes, own in volumes(hearts)
    }
    for patient in set(hearts.patients):
        (full, muscle, own), (left, same, _) = found[f"{patient}_ED"], found[f"{patient}_ES"]
        ejected = 1 - left / full
        dilated = KINDS[own.groups[0]] == "dilated"
        assert (0.1 < ejected < 0.5) if dilated else (0.4 < ejected < 0.85), (patient, ejected)
        assert 0.75 < same / muscle < 1.3, patient


def test_blood_is_brighter_than_muscle_and_no_threshold_is_enough(hearts):
    inner = [np.array(hearts.raw(i)[..., 0]) for i in range(len(hearts))]
    truths = [hearts.target(i).numpy() for i in range(len(hearts))]
    values = {
        c: np.concatenate([image[truth == c] for image, truth in zip(inner, truths, strict=True)]) for c in (0, 2, 3)
    }
    assert np.median(values[3]) > 1.5 * np.median(values[2])
    best = max(
        2 * ((values[3] > t).sum()) / (len(values[3]) + sum((v > t).sum() for v in values.values()))
        for t in range(0, 256, 8)
    )
    assert best < 0.5  # Dice of the best threshold on the cavity


def test_a_patient_depends_on_its_part_and_number_alone(hearts, tmp_path):
    few = heart_phantom(tmp_path, n_pool=2, n_test=1, size=96)
    for part in ("train", "test"):
        small, large = few.part(part), hearts.part(part)
        assert small.names == large.names[: len(small)]
        for i in range(0, len(small), 5):
            np.testing.assert_array_equal(small.raw(i), large.raw(i))
            np.testing.assert_array_equal(small.target(i), large.target(i))
