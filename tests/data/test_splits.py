"""Divisions: stratified, by whole patients, repeatable, written and read back."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import splits
from data.store import Record, cached


def rng(seed=0):
    return np.random.default_rng(seed)


def dataset(folder, parts, groups=None, patients=None):
    """Images of one pixel, named a0, a1, ..."""
    groups, patients = groups or [0] * len(parts), patients or [""] * len(parts)
    pixel, target = np.zeros((1, 1, 1), np.uint8), np.array(0)
    records = [Record(f"a{i}", pixel, target, *rest) for i, rest in enumerate(zip(groups, parts, patients, strict=True))]
    return cached("toy", f"{abs(hash(str(records))):x}", "class", ("0", "1"), lambda: records, cache_root=folder)


@given(st.lists(st.integers(0, 4), max_size=40), st.data(), st.integers(0, 99))
def test_shares_are_those_of_largest_remainders(groups, data, seed):
    held = data.draw(st.integers(0, len(groups)))
    kept, chosen = splits.divide(groups, held, rng(seed))
    assert sorted([*kept, *chosen]) == list(range(len(groups))) and len(chosen) == held
    assert (np.diff(kept) > 0).all() and (np.diff(chosen) > 0).all()
    quotas = {g: held * groups.count(g) / len(groups) for g in set(groups)}
    got = {g: sum(groups[i] == g for i in chosen) for g in quotas}
    assert all(abs(got[g] - quotas[g]) < 1 - 1e-9 for g in quotas)
    for g, h in combinations(quotas, 2):  # who was rounded up has no smaller remainder than who was rounded down
        for up, down in ((g, h), (h, g)):
            if got[up] > quotas[up] + 1e-9 and got[down] < quotas[down] - 1e-9:
                assert quotas[up] % 1 >= quotas[down] % 1 - 1e-9


def test_shares_by_hand():
    groups = [0] * 37 + [1] * 48  # 17 of 85: 7.4 and 9.6
    assert np.bincount(np.array(groups)[splits.divide(groups, 17, rng())[1]]).tolist() == [7, 10]
    assert len(splits.divide(10, 0.25, rng())[1]) == 2  # 2.5, to even
    assert {tuple(np.bincount(np.array([0, 1])[splits.divide([0, 1], 1, rng(s))[1]], minlength=2)) for s in range(20)} == {(1, 0), (0, 1)}


def test_every_image_is_held_out_equally_often():
    groups = [0] * 4 + [1] * 8
    times = sum(np.bincount(splits.divide(groups, 3, rng(s))[1], minlength=12) for s in range(2000))
    assert np.abs(times / 2000 - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / 2000)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["", "a", "b", "c", "d"])), min_size=1, max_size=25), st.data())
def test_patients_stay_together(images, data):
    groups, patients = [list(column) for column in zip(*images, strict=True)]
    held = data.draw(st.integers(0, len(groups)))
    kept, chosen = splits.divide(groups, held, rng(1), patients)
    assert sorted([*kept, *chosen]) == list(range(len(groups)))
    assert {patients[i] for i in kept} & {patients[i] for i in chosen} <= {""}


def test_whole_patients_meet_the_count_where_they_can():
    patients = np.repeat(list("abcdefgh"), [1, 2, 3, 4, 5, 6, 7, 8])
    groups = np.arange(36) % 2
    for held in (3, 9, 18, 30):
        for seed in range(5):
            assert len(splits.divide(groups, held, rng(seed), patients)[1]) == held
    assert len(splits.divide(groups, 9, rng(), np.repeat("one", 36))[1]) == 0


def test_divide_repeats_itself_and_differs_between_seeds():
    first, again, other = (splits.divide([0, 1] * 20, 10, rng(s))[1].tolist() for s in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(
    ("held", "sentence"), [(5, "5 images cannot be held out of 4"), (-1, "-1 images"), (1.0, "held=1.0"), (-0.1, "held=-0.1")]
)
def test_divide_refuses(held, sentence):
    with pytest.raises(ValueError, match=sentence):
        splits.divide([0, 0, 1, 1], held, rng())


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.data(), st.integers(0, 99))
def test_initial_takes_equally_many_as_far_as_there_are(groups, data, seed):
    n = data.draw(st.integers(1, len(groups)))
    chosen = splits.initial(groups, n, rng(seed), True)
    assert len(set(chosen.tolist())) == n and (np.diff(chosen) > 0).all()
    got = {g: sum(groups[i] == g for i in chosen) for g in set(groups)}
    fullest = max(got.values())
    assert all(count >= fullest - 1 or count == groups.count(g) for g, count in got.items())


def test_initial_by_hand():
    grades = np.array([0] * 37 + [1] * 48)
    for seed in range(5):
        assert np.bincount(grades[splits.initial(grades, 4, rng(seed), True)]).tolist() == [2, 2]
    assert np.bincount(np.array([0, 1, 1, 1, 1])[splits.initial([0, 1, 1, 1, 1], 4, rng(), True)]).tolist() == [1, 3]
    odd = {tuple(np.bincount(grades[splits.initial(grades, 3, rng(seed), True)])) for seed in range(20)}
    assert odd == {(1, 2), (2, 1)}
    uniform = [np.bincount(grades[splits.initial(grades, 4, rng(s), False)], minlength=2)[0] for s in range(60)]
    assert set(uniform) >= {1, 2, 3}
    for n in (0, 86):
        with pytest.raises(ValueError, match=f"n_initial={n} must be from 1 to the 85 images"):
            splits.initial(grades, n, rng(), True)


def test_official_parts(tmp_path):
    images = dataset(tmp_path, ["train"] * 6 + ["testA", "testB", "val"], [0, 1] * 4 + [0])
    made = splits.make_splits(images, 3, rng())
    assert made.test.names == ["a6", "a7"] and made.val is not None and made.val.names == ["a8"] and len(made.train) == 6
    made = splits.make_splits(images, 0, rng())
    assert made.val is None and len(made.train) == 6


def test_validation_is_held_out_of_train_by_group(tmp_path):
    images = dataset(tmp_path, ["train", "test"] * 10, [0] * 8 + [1] * 12)
    made = splits.make_splits(images, 5, rng())
    assert made.val is not None
    assert np.bincount(made.val.groups).tolist() == [2, 3] and len(made.train) == 5 and len(made.test) == 10
    assert not set(made.val.names) & set(made.train.names)
    with pytest.raises(ValueError, match="n_val=10 must be from 0 to 9"):
        splits.make_splits(images, 10, rng())


def test_validation_of_whole_patients_says_when_the_number_differs(tmp_path):
    images = dataset(tmp_path, ["train"] * 9 + ["test"], patients=list("aaabbbccc") + ["a"])
    with pytest.warns(UserWarning, match="validation has 3 images, not n_val=4"):
        made = splits.make_splits(images, 4, rng())
    assert made.val is not None and len(set(made.val.patients)) == 1 and len(made.train) == 6
    with pytest.raises(ValueError, match="n_val=1 of the 9 images of 'toy' cannot be held out without dividing a patient"):
        splits.make_splits(images, 1, rng())


@pytest.mark.parametrize("parts", [["train", "train"], ["test", "test"]])
def test_dataset_without_a_needed_part(tmp_path, parts):
    with pytest.raises(ValueError, match=f"has no {'test' if parts[0] == 'train' else 'train'} images, only {parts[0]}"):
        splits.make_splits(dataset(tmp_path, parts), 0, rng())


@pytest.mark.parametrize("n_val", [0, 2])
def test_written_splits_are_read_back(tmp_path, n_val):
    images = dataset(tmp_path, ["train"] * 6 + ["testA", "testB"])
    made = splits.make_splits(images, n_val, rng())
    written = splits.write_splits(made, tmp_path / "csv")
    assert [file.name for file in written] == ["train.csv", "val.csv", "test.csv", "testA.csv", "testB.csv"]
    read = splits.read_splits(images, tmp_path / "csv")
    for name in ("train", "val", "test"):
        before, after = getattr(made, name), getattr(read, name)
        assert (before is None and after is None) or before.rows.tolist() == after.rows.tolist()


@pytest.mark.parametrize(
    ("file", "content", "error", "sentence"),
    [
        ("train", "name\na0\na1\nb7\n", ValueError, r"train\.csv names 'b7', which dataset 'toy' does not have"),
        ("train", "name\na0\na0\n", ValueError, r"train\.csv names 'a0' twice"),
        ("test", "name\na0\n", ValueError, r"test\.csv names 'a0' as train\.csv does"),
        ("test", "name\n", ValueError, r"test\.csv names no image"),
        ("test", "index;name\n0;a0\n", ValueError, r"test\.csv has no column 'name'; its columns are index;name"),
        ("test", None, FileNotFoundError, r"test\.csv does not exist"),
    ],
)
def test_edited_splits_are_checked(tmp_path, file, content, error, sentence):
    images = dataset(tmp_path, ["train"] * 3 + ["test"])
    splits.write_splits(splits.make_splits(images, 0, rng()), tmp_path / "csv")
    edited = tmp_path / "csv" / f"{file}.csv"
    edited.unlink() if content is None else edited.write_text(content)
    with pytest.raises(error, match=sentence):
        splits.read_splits(images, tmp_path / "csv")


def test_edited_splits_move_images(tmp_path):
    images = dataset(tmp_path, ["train"] * 3 + ["test"])
    (tmp_path / "train.csv").write_text("name,note\na3,moved\na1,\n")
    (tmp_path / "test.csv").write_text("name\na0\n")
    read = splits.read_splits(images, tmp_path)
    assert (read.train.names, read.val, read.test.names) == (["a3", "a1"], None, ["a0"])
