"""Data Science Bowl 2018: merging one mask per nucleus, the appearance groups and the fixed test part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.sets.dsb2018 import APPEARANCES, appearance, dsb2018

SHADES = {"dark": (20, 20, 20), "stained": (200, 120, 190), "bright": (210, 210, 210)}


def write_case(root: Path, name: str, masks: list[np.ndarray], shade=SHADES["dark"]) -> Path:
    """One image folder of the original layout: RGBA image, grey masks of 0 and 255."""
    case = root / "dsb2018" / "stage1_train" / name
    (case / "images").mkdir(parents=True)
    (case / "masks").mkdir()
    height, width = masks[0].shape
    Image.new("RGBA", (width, height), (*shade, 128)).save(case / "images" / f"{name}.png")
    for k, mask in enumerate(masks):
        Image.fromarray(mask.astype(np.uint8) * 255).save(case / "masks" / f"m{k}.png")
    return case


def square(top: int, left: int, side: int = 3, shape=(10, 14)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_masks_merge_and_the_later_one_wins(tmp_path):
    write_case(tmp_path, "aa", [square(0, 0), square(2, 2), square(6, 9)])
    write_case(tmp_path, "bb", [square(0, 0, shape=(7, 5))], SHADES["stained"])
    images = dsb2018(tmp_path, cache_root=tmp_path / "cache")
    assert images.names == ["aa.png", "bb.png"] and images.classes == ("background", "nucleus")
    ids = images.instances(0)
    assert ids[2, 2] == 2 and ids[0, 0] == 1 and ids[7, 10] == 3 and ids[9, 0] == 0
    assert np.bincount(ids.ravel())[1:].tolist() == [8, 9, 9]  # one pixel of overlap went to the second
    assert images.raw(0).shape == (10, 14, 3) and images.raw(0)[0, 0].tolist() == [20, 20, 20]  # transparency does not darken
    assert images.shapes.tolist() == [[10, 14], [7, 5]]


def test_more_than_255_nuclei(tmp_path):
    masks = [square(2 * (k // 20), 2 * (k % 20), 1, (30, 40)) for k in range(290)]
    write_case(tmp_path, "aa", masks)
    write_case(tmp_path, "bb", [square(0, 0)])
    assert len(np.unique(dsb2018(tmp_path, cache_root=tmp_path / "cache").instances(0))) == 291


def test_scale_keeps_ids(tmp_path):
    write_case(tmp_path, "aa", [square(0, 0, 4), square(4, 4, 4)])
    write_case(tmp_path, "bb", [square(0, 0)])
    images = dsb2018(tmp_path, 0.5, cache_root=tmp_path / "cache")
    assert images.raw(0).shape == (5, 7, 3)
    assert np.bincount(images.instances(0).ravel()).tolist() == [27, 4, 4]


@pytest.mark.parametrize("name", APPEARANCES)
def test_appearance(name):
    assert APPEARANCES[appearance(np.full((6, 5, 3), SHADES[name], np.uint8))] == name


def test_test_part_is_a_fixed_stratified_fifth(tmp_path):
    shades = ["dark"] * 15 + ["stained"] * 10 + ["bright"] * 5
    for k, shade in enumerate(shades):
        write_case(tmp_path, f"case{k:02d}", [square(0, 0)], SHADES[shade])
    images = dsb2018(tmp_path, cache_root=tmp_path / "cache")
    assert images.groups.tolist() == [APPEARANCES.index(s) for s in shades]
    test = images.part("test")
    assert np.bincount(test.groups).tolist() == [3, 2, 1] and len(images.part("train")) == 24
    again = dsb2018(tmp_path, 0.5, cache_root=tmp_path / "other")
    assert again.part("test").names == test.names


@pytest.mark.parametrize(
    ("damage", "error", "sentence"),
    [
        (lambda case: Image.new("L", (14, 9)).save(case / "masks/m0.png"), ValueError, r"m0\.png is 14 x 9 pixels, expected 14 x 10"),
        (lambda case: (case / "masks/m0.png").unlink(), FileNotFoundError, "masks holds no mask"),
        (lambda case: Image.new("L", (14, 10)).save(case / "images/b.png"), ValueError, "images holds 2 pictures, expected one"),
        (lambda case: (case / "masks/m0.png").write_bytes(b"\x89PNG"), ValueError, r"m0\.png cannot be read"),
        (lambda case: (case / "masks").rename(case / "mask"), FileNotFoundError, "masks does not exist; expected this tree"),
    ],
)
def test_damage_is_named(tmp_path, damage, error, sentence):
    write_case(tmp_path, "bb", [square(0, 0)])
    damage(write_case(tmp_path, "aa", [square(0, 0)]))
    with pytest.raises(error, match=sentence):
        dsb2018(tmp_path, cache_root=tmp_path / "cache")


def test_missing_or_empty_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="stage1_train does not exist; expected this tree"):
        dsb2018(tmp_path)
    (tmp_path / "dsb2018/stage1_train").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="has 0 image folders"):
        dsb2018(tmp_path)


@pytest.mark.realdata
def test_real_files(raw_root, tmp_path):
    originals = sorted((raw_root("dsb2018") / "dsb2018" / "stage1_train").iterdir())[:12]
    (tmp_path / "dsb2018" / "stage1_train").mkdir(parents=True)
    for original in originals:
        (tmp_path / "dsb2018" / "stage1_train" / original.name).symlink_to(original)
    images = dsb2018(tmp_path)
    assert images.names == [f"{original.name}.png" for original in originals]
    for i, original in enumerate(originals):
        assert len(np.unique(images.instances(i))) - 1 == len(list((original / "masks").glob("*.png")))
