import csv

import numpy as np
import pytest
from PIL import Image

from data.sets import isic
from data.sets.isic import isic2020, resize_folder
from tests.data.pictures import cut_short, save

ORIGINAL = ("image_name", "patient_id", "sex", "age_approx", "anatom_site_general_challenge", "diagnosis", "benign_malignant", "target")


def write_table(file, rows, columns):
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(columns)
        writer.writerows(rows)


def write_photographs(folder, numbers, size=(60, 40)):
    for i in numbers:
        save(folder / f"ISIC_{i:07d}.jpg", (i, 2 * i, 3 * i), size)


def write_split(root, photographs="train"):
    write_photographs(root / photographs, range(12))
    write_table(root / "trainval_split.csv", [(f"ISIC_{i:07d}", i % 4 == 0) for i in range(8)], ("image_name", "target"))
    for name in ("trainval_split.csv", "test_split.csv"):
        numbers = range(8) if name.startswith("train") else range(8, 12)
        write_table(root / name, [(f"ISIC_{i:07d}", int(i % 4 == 0), i) for i in numbers], ("image_name", "target", "extra"))


def test_split_files(tmp_path):
    write_split(tmp_path / "ISIC2020", "ISIC_2020_Training_JPEG_300x300/train")
    images = isic2020(tmp_path, 32)
    assert images.classes == ("benign", "melanoma") and images.channels == 3
    assert images.part("train").groups.tolist() == [1, 0, 0, 0, 1, 0, 0, 0] and images.part("test").groups.tolist() == [1, 0, 0, 0]
    assert images.names[1] == "ISIC_0000001.jpg" and images.raw(9).shape == (32, 32, 3)
    np.testing.assert_allclose(images.raw(9).mean((0, 1)), [9, 18, 27], atol=3)


def test_original_table_is_divided_by_patient(tmp_path):
    root = tmp_path / "isic2020"
    write_photographs(root / "jpeg" / "train", range(60))
    rows = [(f"ISIC_{i:07d}", f"IP_{i // 3}", "male", 45.0, "torso", "nevus", "benign", int(i % 6 == 0)) for i in range(60)]
    write_table(root / "train.csv", rows, ORIGINAL)
    images = isic2020(tmp_path, 16)
    train, test = images.part("train"), images.part("test")
    assert not set(train.patients) & set(test.patients) and set(images.patients) == {f"IP_{i}" for i in range(20)}
    assert len(test) == 12 and 1 <= test.groups.sum() <= 3, "a fifth of the images and, nearly, of the melanomas, as whole patients"
    assert isic2020(tmp_path, 24).parts.tolist() == images.parts.tolist()


def test_small_copies_are_preferred_and_may_be_chosen(tmp_path):
    root = tmp_path / "isic2020"
    write_split(root)
    assert isic2020(tmp_path, None).raw(0).shape == (40, 60, 3)
    assert resize_folder(root / "train", root / "train_256", 20) == 12
    assert isic2020(tmp_path, None).raw(0).shape == (20, 30, 3)
    assert isic2020(tmp_path, None, images="train").raw(0).shape == (40, 60, 3)
    with pytest.raises(FileNotFoundError, match="train_512 do not exist"):
        isic2020(tmp_path, None, images="train_512")


@pytest.mark.parametrize(
    ("rows", "columns", "kind", "message"),
    [
        ([("ISIC_0000008", 2)], ("image_name", "target"), ValueError, "line 2 of .*test_split.csv has target '2', expected 0"),
        ([("ISIC_0000008", 1)], ("image_name", "traget"), ValueError, "no column 'target', only image_name, traget. Did you mean 'traget'"),
        ([("ISIC_0000099", 1)], ("image_name", "target"), FileNotFoundError, "names 1 images that are not in .*ISIC_0000099.jpg"),
        ([("ISIC_0000003", 1)], ("image_name", "target"), ValueError, "ISIC_0000003 is listed twice"),
    ],
)
def test_wrong_tables(tmp_path, rows, columns, kind, message):
    write_split(tmp_path / "isic2020")
    write_table(tmp_path / "isic2020" / "test_split.csv", rows, columns)
    with pytest.raises(kind, match=message):
        isic2020(tmp_path, 16)


def test_missing_things(tmp_path):
    with pytest.raises(FileNotFoundError, match="(?s)found no trainval_split.csv or train.csv.*expected this tree"):
        isic2020(tmp_path, 16)
    write_split(tmp_path / "isic2020")
    (tmp_path / "isic2020" / "test_split.csv").unlink()
    with pytest.raises(FileNotFoundError, match="test_split.csv does not exist beside trainval_split.csv"):
        isic2020(tmp_path, 16)
    write_table(tmp_path / "isic2020" / "train.csv", [], ("image_name", "target"))
    (tmp_path / "isic2020" / "trainval_split.csv").unlink()
    with pytest.raises(ValueError, match="has no column 'patient_id'"):
        isic2020(tmp_path, 16)


def test_a_broken_photograph_is_named(tmp_path):
    write_split(tmp_path / "isic2020")
    cut_short(tmp_path / "isic2020" / "train" / "ISIC_0000005.jpg")
    with pytest.raises(ValueError, match="ISIC_0000005.jpg (is corrupt|cannot be read)"):
        isic2020(tmp_path, 16)


class TestResize:
    def test_keeps_shape_and_goes_on_where_it_stopped(self, tmp_path, capsys):
        x = np.linspace(0, 255, 600).astype(np.uint8)
        save(tmp_path / "big" / "a.jpg", values=np.broadcast_to(x[None, :, None], (400, 600, 3)))
        save(tmp_path / "big" / "tiny.png", 77, (20, 30))
        isic.main(["resize", str(tmp_path / "big"), str(tmp_path / "small"), "--size", "50"])
        assert "wrote 2 pictures" in capsys.readouterr().out
        with Image.open(tmp_path / "small" / "a.jpg") as small:
            assert small.size == (75, 50)
            ramp = np.asarray(small)[25, :, 0].astype(float)
        np.testing.assert_allclose(ramp, np.linspace(0, 255, 600).reshape(75, 8).mean(1), atol=4)
        with Image.open(tmp_path / "small" / "tiny.jpg") as small:
            assert small.size == (20, 30), "never enlarged"
        (tmp_path / "small" / "a.jpg").unlink()
        assert resize_folder(tmp_path / "big", tmp_path / "small", 50) == 1
        assert not list((tmp_path / "small").glob("*.unfinished"))

    def test_errors_are_one_sentence(self, tmp_path, capsys):
        save(tmp_path / "big" / "a.jpg", (1, 2, 3), (100, 100))
        for arguments, message in [
            ([tmp_path / "nowhere", tmp_path / "small"], "nowhere does not exist"),
            ([tmp_path / "big", tmp_path / "big"], "is the folder of the originals"),
            ([tmp_path / "big", tmp_path / "small", "--size", "3"], "--size 3 must be at least 16"),
        ]:
            with pytest.raises(SystemExit) as stopped:
                isic.main(["resize", *map(str, arguments)])
            assert stopped.value.code == 1 and message in capsys.readouterr().err
        cut_short(tmp_path / "big" / "a.jpg")
        with pytest.raises(ValueError, match="a.jpg is corrupt"):
            resize_folder(tmp_path / "big", tmp_path / "small", 50)
        assert not list((tmp_path / "small").iterdir())
