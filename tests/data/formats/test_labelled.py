import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.formats.labelled import (
    find_root,
    held_out,
    labelled_record,
    require_image_size,
    resized,
    unique_names,
)
from data.threads import ordered_map


def test_resized_takes_the_centre_of_the_longer_side():
    image = np.zeros((10, 30, 3), np.uint8)
    image[:, 10:20] = 200  # the centred square
    np.testing.assert_array_equal(resized(image, 10), np.full((10, 10, 3), 200))
    tall = image.transpose(1, 0, 2).copy()
    np.testing.assert_array_equal(resized(tall, 10), np.full((10, 10, 3), 200))


def test_resized_whole_keeps_the_border():
    image = np.zeros((10, 30, 1), np.uint8)
    image[:, :3] = 200
    assert resized(image, 10, whole=True)[:, 0].min() > 150
    assert resized(image, 10).max() == 0


def test_resized_is_antialiased():
    stripes = np.zeros((64, 64, 1), np.uint8)
    stripes[:, ::2] = 255
    small = resized(stripes, 16)
    assert small.shape == (16, 16, 1)
    assert np.abs(small[:, 1:-1].astype(float) - 127.5).max() < 2, "the mean of the stripes; picking pixels would give 0 or 255"


def test_resized_leaves_native_and_equal_sizes_alone():
    image = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    assert resized(image, None) is image
    square = image[:4, :4].copy()
    assert resized(square, 4) is square


def test_ordered_map_keeps_the_order_and_passes_errors_on():
    def slow_for_small(i):
        time.sleep(0.002 * (10 - i % 10))
        return i * i

    assert list(ordered_map(slow_for_small, range(50), workers=4)) == [i * i for i in range(50)]
    with pytest.raises(ZeroDivisionError):
        list(ordered_map(lambda i: 1 // (5 - i), range(50), workers=2))


def test_ordered_map_runs_only_a_little_ahead():
    started = []
    results = ordered_map(lambda i: started.append(i), iter(range(10_000)), workers=2)
    next(results)
    results.close()
    assert len(started) <= 8


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), min_size=20, max_size=80),
    st.sampled_from([0.1, 0.2, 0.5]),
)
def test_held_out_never_divides_a_patient(images, fraction):
    labels, patients = [label for label, _ in images], [f"p{patient}" for _, patient in images]
    try:
        held = held_out(labels, patients, fraction)
    except ValueError as error:
        assert "leaves one part empty" in str(error)
        return
    assert 0 < held.sum() < len(images)
    assert not {p for p, out in zip(patients, held, strict=True) if out} & {p for p, out in zip(patients, held, strict=True) if not out}
    np.testing.assert_array_equal(held, held_out(labels, patients, fraction))


def test_held_out_takes_the_same_share_of_every_class():
    labels = [0] * 50 + [1] * 20 + [2] * 5
    held = held_out(labels, [""] * 75, 0.2)
    assert np.bincount(np.array(labels)[held]).tolist() == [10, 4, 1]
    assert not held_out(labels, [""] * 75, 0.0).any()
    with pytest.raises(ValueError, match="from 0 to below 1"):
        held_out(labels, [""] * 75, 1.0)
    with pytest.raises(ValueError, match="leaves one part empty"):
        held_out([0, 1, 0], ["a", "a", "a"], 0.2)


def test_labelled_record_refuses_labels_out_of_range():
    image = np.zeros((2, 2, 1), np.uint8)
    record = labelled_record("a.png", image, 1, ("benign", "malignant"))
    assert record.target.shape == () and record.target.dtype == np.int64 and record.group == 1
    for label in (-1, 2):
        with pytest.raises(ValueError, match=f"a.png has label {label}, expected 0 to 1 \\(benign, malignant\\)"):
            labelled_record("a.png", image, label, ("benign", "malignant"))


def test_names_are_paths_where_file_names_repeat(tmp_path):
    a, b, c = tmp_path / "x" / "1.png", tmp_path / "y" / "1.png", tmp_path / "y" / "2.png"
    assert unique_names([a, c], tmp_path) == ["1.png", "2.png"]
    assert unique_names([a, b, c], tmp_path) == ["x/1.png", "y/1.png", "y/2.png"]


def test_find_root_prefers_the_named_folder_and_shows_the_tree(tmp_path):
    (tmp_path / "train").mkdir()
    assert find_root(tmp_path, ["nct"], ["train"], "TREE") == tmp_path
    (tmp_path / "nct" / "train").mkdir(parents=True)
    assert find_root(tmp_path, ["nct"], ["train"], "TREE") == tmp_path / "nct"
    with pytest.raises(FileNotFoundError, match="found no valid in .*nct, .*; expected this tree:\nTREE"):
        find_root(tmp_path, ["nct"], ["valid"], "TREE")


@pytest.mark.parametrize("size", [0, 7, 5000, True])
def test_image_size_is_checked(size):
    assert require_image_size(None) is None and require_image_size(32) == 32
    with pytest.raises(ValueError, match="image_size="):
        require_image_size(size)
