"""Tables of published sets and of divisions, as spreadsheets write them back."""

import numpy as np
import pytest

from data import notes
from data.files import at_home, under_root
from data.sets.isic import isic2020
from data.sets.medmnist import medmnist
from data.splits import read_splits
from tests.data.own_folders import fill, load
from tests.data.pictures import save


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_a_division_that_was_saved_by_a_spreadsheet(mine, tmp_path, encoding):
    fill(mine, ("gutartig", "bösartig"))
    images, _ = load(mine)
    for part, names in (("train", images.names[:6]), ("test", images.names[6:])):
        (tmp_path / f"{part}.csv").write_text("\n".join(["index,name", *(f"0,{name}" for name in names)]), encoding)
    with notes.collecting():
        division = read_splits(images, tmp_path)
    assert division.train.names == images.names[:6] and division.test.names == images.names[6:]


def test_isic_in_utf_16(tmp_path):
    rows = ["image_name,patient_id,target"]
    for i in range(10):
        save(tmp_path / "train" / f"ISIC_{i}.jpg", (9, 9, 9))
        rows.append(f"ISIC_{i},P{i},{i % 2}")
    (tmp_path / "train.csv").write_text("\n".join(rows), encoding="utf-16")
    with notes.collecting():
        assert isic2020(tmp_path, 16, tmp_path / "cache").patients.tolist() == [f"P{i}" for i in range(10)]


@pytest.mark.parametrize("images", [7, 9])
def test_an_npz_of_unequal_lengths(tmp_path, images):
    parts = {f"{part}_labels": np.zeros((8, 1), np.uint8) for part in ("train", "val", "test")}
    parts |= {f"{part}_images": np.zeros((8, 28, 28), np.uint8) for part in ("train", "val", "test")}
    parts["val_images"] = np.zeros((images, 28, 28), np.uint8)
    np.savez(tmp_path / "breastmnist.npz", **parts)
    with pytest.raises(ValueError, match=rf"images of shape \({images}, 28, 28\) but 8 labels in part 'val'"):
        medmnist("breastmnist", tmp_path, None, tmp_path / "cache")


def test_the_home_of_nobody():
    for function in (at_home, under_root):
        with pytest.raises(ValueError, match="'~nouser/data' begins with the home of a user that this computer does not"):
            function("~nouser/data")
