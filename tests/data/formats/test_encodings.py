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
        with pytest.raises(
            ValueError, match="'~nouser/data' begins with the home of a user that this computer does not"
        ):
            function("~nouser/data")


@pytest.mark.parametrize(
    ("encoding", "names", "sentence"),
    [
        ("shift_jis", ("良性", "悪性"), "neither in UTF-8 nor in cp1252 but in another encoding"),
        ("shift_jis", ("テスト", "カビ"), "neither in UTF-8 nor in cp1252 but in another encoding"),
        ("gbk", ("良性", "恶性"), "neither in UTF-8 nor in cp1252 but in another encoding"),
        ("big5", ("良性", "惡性"), "neither in UTF-8 nor in cp1252 but in another encoding"),
        ("euc-kr", ("양성", "악성"), "neither in UTF-8 nor in cp1252 but in another encoding"),
        ("cp1251", ("рак", "норма"), "neither in UTF-8 nor in cp1252 but in another encoding"),
        ("koi8-r", ("рак", "норма"), "neither in UTF-8 nor in cp1252 but in another encoding"),
        ("cp1253", ("καλό", "κακό"), "neither in UTF-8 nor in cp1252 but in another encoding"),
        ("utf-7", ("bösartig", "gutartig"), r"seems to be in UTF-7 \('\+APY-' would be 'ö'\)"),
        ("utf-7", ("良性", "恶性"), "seems to be in UTF-7"),
    ],
)
def test_labels_in_encodings_that_are_not_read_are_refused_not_garbled(mine, encoding, names, sentence):
    rows = ["file,label"]
    for i in range(10):
        save(mine / f"{i}.png", 40)
        rows.append(f"{i}.png,{names[i % 2]}")
    (mine / "labels.csv").write_bytes("\n".join(rows).encode(encoding))
    with pytest.raises(ValueError, match=sentence):
        load(mine)


@pytest.mark.parametrize(
    "names", [("bösartig", "Größe ß"), ("naïve", "Übergröße"), ("a+b-", "c++"), ("x+abc", "é"), ("“a”", "b – c€")]
)
def test_western_labels_and_plus_signs_are_read(mine, names):
    rows = ["file,label"]
    for i in range(10):
        save(mine / f"{i}.png", 40)
        rows.append(f"{i}.png,{names[i % 2]}")
    (mine / "labels.csv").write_bytes("\n".join(rows).encode("cp1252"))
    assert set(load(mine)[0].classes) == set(names)


LIKE_LATIN = "\u0421at"  # its first letter is Cyrillic


@pytest.mark.parametrize(
    "names", [(LIKE_LATIN, "Cat"), ("\u0421\u041e", "co"), ("\u0440\u0430\u043a", "\u0420\u0430\u043a")]
)
def test_labels_that_look_alike(mine, names):
    rows = ["file,label"]
    for i in range(12):
        save(mine / f"{i}.png", 40)
        rows.append(f"{i}.png,{names[i % 2] if i < 5 else 'Dog'}")
    (mine / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    with pytest.raises(ValueError, match=r"\(3 images\) and .*\(2 images\).* may be one class") as refused:
        load(mine)
    assert ("letters that look alike" in str(refused.value)) == any(name.isascii() for name in names)
    assert len(load(mine, spellings="merge")[0].classes) == 2 and len(load(mine, spellings="keep")[0].classes) == 3
