"""GlaS: the original on-disk format, imitated small, and the real files where they are."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.sets.glas import glas

HEADER = "name,patient ID, grade (GlaS), grade (Sirinukunwattana et al. 2015)"
PATIENTS = {"train_1": 4, "train_2": 7, "train_10": 4, "testA_1": 9, "testB_1": 4}
MALIGNANT = {"train_2", "testB_1"}


def write_glas(root: Path, names=tuple(PATIENTS), line_end="\r") -> Path:
    """Images of 12 x 8 pixels whose colour tells their name, with two glands each."""
    folder = root / "glas"
    folder.mkdir()
    for k, name in enumerate(names):
        Image.fromarray(np.full((8, 12, 3), (10 * k, 100, 200), np.uint8)).save(folder / f"{name}.bmp")
        ids = np.zeros((8, 12), np.uint8)
        ids[1:4, 1:5], ids[4:8, 6:12] = 1, k + 7
        Image.fromarray(ids).save(folder / f"{name}_anno.bmp")
    rows = [f"{name},{p}, {'malignant' if name in MALIGNANT else 'benign'}, healthy" for name, p in sorted(PATIENTS.items())]
    (folder / "Grade.csv").write_bytes(line_end.join([HEADER, *rows]).encode())
    return folder


@pytest.mark.parametrize("line_end", ["\r", "\n", "\r\n"])
def test_reads_the_original_layout(tmp_path, line_end):
    write_glas(tmp_path, line_end=line_end)
    images = glas(tmp_path, cache_root=tmp_path / "cache")
    assert images.names == ["train_1.bmp", "train_2.bmp", "train_10.bmp", "testA_1.bmp", "testB_1.bmp"]  # numbers count
    assert images.parts.tolist() == ["train"] * 3 + ["testA", "testB"]
    assert images.groups.tolist() == [0, 1, 0, 0, 1]
    assert images.patients.tolist() == ["4", "7", "4", "9", "4"]
    assert images.kind == "instance_map" and images.classes == ("background", "gland")
    assert images.raw(2)[0, 0].tolist() == [20, 100, 200]  # RGB, not the BGR of the file
    assert np.unique(images.instances(2)).tolist() == [0, 1, 9]
    assert np.unique(images.target(2)).tolist() == [0, 1]
    assert images.target(2).sum() == 3 * 4 + 4 * 6


def test_scale_averages_images_and_keeps_ids(tmp_path):
    folder = write_glas(tmp_path)
    board = np.indices((8, 12)).sum(0) % 2 * 200  # aliasing would give 0 or 200
    Image.fromarray(np.repeat(board[..., None], 3, 2).astype(np.uint8)).save(folder / "train_1.bmp")
    images = glas(tmp_path, scale=0.5, cache_root=tmp_path / "cache")
    assert images.raw(0).shape == (4, 6, 3) and (images.raw(0) == 100).all()
    assert np.unique(images.instances(0)).tolist() == [0, 1, 7]
    assert images.instances(0).tolist() == [[1, 1, 0, 0, 0, 0]] * 2 + [[0, 0, 0, 7, 7, 7]] * 2


@pytest.mark.parametrize("lacking", ["testA", "testB"])
def test_copy_without_a_test_part_warns_once(tmp_path, lacking):
    write_glas(tmp_path, [name for name in PATIENTS if not name.startswith(lacking)])
    with pytest.warns(UserWarning, match=f"has no {lacking}") as caught:
        images = glas(tmp_path, cache_root=tmp_path / "cache")
    assert len(caught) == 1 and len(images) == 4 and lacking not in images.parts


def test_complete_copy_is_silent(tmp_path):
    write_glas(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        glas(tmp_path, cache_root=tmp_path / "cache")


def test_second_use_reads_the_cache_and_a_changed_file_does_not(tmp_path):
    folder = write_glas(tmp_path)
    first = glas(tmp_path, cache_root=tmp_path / "cache")
    assert glas(tmp_path, cache_root=tmp_path / "cache").fingerprint == first.fingerprint
    assert glas(tmp_path, 0.5, cache_root=tmp_path / "cache").fingerprint != first.fingerprint
    Image.new("RGB", (12, 8), (1, 2, 3)).save(folder / "train_1.bmp")
    assert glas(tmp_path, cache_root=tmp_path / "cache").raw(0)[0, 0].tolist() == [1, 2, 3]


def _cut(folder):
    file = folder / "train_2.bmp"
    file.write_bytes(file.read_bytes()[:-40])


def _small_mask(folder):
    Image.new("L", (12, 7)).save(folder / "train_2_anno.bmp")


def _colour_mask(folder):
    Image.new("RGB", (12, 8), (1, 2, 3)).save(folder / "train_2_anno.bmp")


def _replace_csv(old, new):
    return lambda folder: (folder / "Grade.csv").write_text((folder / "Grade.csv").read_text().replace(old, new))


@pytest.mark.parametrize(
    ("damage", "error", "sentence"),
    [
        (_cut, ValueError, r"train_2\.bmp is corrupt or cut short"),
        (lambda folder: (folder / "train_2.bmp").write_text("no"), ValueError, r"train_2\.bmp cannot be read"),
        (_small_mask, ValueError, r"train_2_anno\.bmp is 12 x 7 pixels, expected 12 x 8 like .*train_2\.bmp"),
        (_colour_mask, ValueError, r"train_2_anno\.bmp is a colour picture"),
        (lambda folder: (folder / "train_2_anno.bmp").unlink(), FileNotFoundError, r"train_2\.bmp has no mask"),
        (lambda folder: (folder / "Grade.csv").unlink(), FileNotFoundError, r"Grade\.csv does not exist; expected this tree"),
        (_replace_csv("train_2,", "train_3,"), ValueError, "no row for train_2"),
        (_replace_csv(" malignant", " evil"), ValueError, "'evil', expected one of benign, malignant"),
        (_replace_csv("grade (GlaS)", "grade"), ValueError, r"no column 'grade \(GlaS\)'"),
    ],
)
def test_damage_is_named_and_leaves_no_cache(tmp_path, damage, error, sentence):
    damage(write_glas(tmp_path))
    with pytest.raises(error, match=sentence):
        glas(tmp_path, cache_root=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*"))


@pytest.mark.parametrize(("names", "lacking"), [(["testB_1"], "train"), (["train_1"], "testA"), ([], "train")])
def test_copy_that_cannot_be_used(tmp_path, names, lacking):
    write_glas(tmp_path, names)
    with pytest.raises(FileNotFoundError, match=rf"no {lacking}_\*\.bmp"):
        glas(tmp_path, cache_root=tmp_path / "cache")


def test_missing_folder_shows_the_tree(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"(?s)glas does not exist; expected this tree:.*train_1_anno\.bmp"):
        glas(tmp_path)


@pytest.mark.parametrize("scale", [0.0, 1.5, -1.0, float("nan")])
def test_scale_out_of_range(tmp_path, scale):
    with pytest.raises(ValueError, match="scale="):
        glas(tmp_path, scale)


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore:this copy of GlaS")
def test_real_files(raw_root, tmp_path):
    images = glas(raw_root("glas"), 0.25, tmp_path)
    train = images.part("train")
    assert len(train) == 85 and np.bincount(train.groups).tolist() == [37, 48] and len(set(train.patients)) == 15
    assert len(images.part("testB")) == 20
    assert max(int(images.instances(i).max()) for i in range(len(images))) == 30
    assert {tuple(s) for s in images.shapes} >= {(130, 194), (108, 142)}
