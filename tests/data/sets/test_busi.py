"""BUSI: the original on-disk format, imitated small, and boxes from masks against a slow reference."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from data.sets.busi import busi, component_boxes
from tests.data.pictures import cut_short, save


def mask_of(*boxes, size=(30, 20)) -> np.ndarray:
    mask = np.zeros((size[1], size[0]), np.uint8)
    for x1, y1, x2, y2 in boxes:
        mask[y1:y2, x1:x2] = 255
    return mask


def write_busi(root: Path, n=5) -> Path:
    """Images of 30 x 20 pixels, as RGB: one lesion each, but benign (2) has three in two masks."""
    folder = root / "Dataset_BUSI_with_GT"
    for group, kind in enumerate(("benign", "malignant", "normal")):
        for i in range(1, n + 1):
            save(folder / kind / f"{kind} ({i}).png", (50 * group + i,) * 3, size=(30, 20))
            lesions = [] if kind == "normal" else [(i, 2, i + 8, 10)]
            save(folder / kind / f"{kind} ({i})_mask.png", values=mask_of(*lesions))
    save(folder / "benign/benign (2)_mask.png", values=mask_of((1, 1, 6, 6), (20, 10, 30, 20)))
    save(folder / "benign/benign (2)_mask_1.png", values=mask_of((4, 4, 10, 9)), mode="RGB")
    return folder


def test_reads_the_original_layout(tmp_path):
    folder = write_busi(tmp_path, 12)
    save(folder / "benign/benign (12)_mask.png", values=mask_of((0, 0, 30, 20)), mode="1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images = busi(tmp_path, cache_root=tmp_path / "cache")
    assert images.kind == "boxes" and images.classes == ("benign", "malignant") and len(images) == 36
    assert images.names[:3] == ["benign (1).png", "benign (2).png", "benign (3).png"]  # numbers count
    assert images.groups.tolist() == [0] * 12 + [1] * 12 + [2] * 12
    assert images.raw(14).shape == (20, 30, 1) and (images.raw(14) == 53).all()
    assert images.target(0).tolist() == [[1, 2, 9, 10, 0]] and images.target(13).tolist() == [[2, 2, 10, 10, 1]]
    assert images.target(1).tolist() == [[1, 1, 6, 6, 0], [20, 10, 30, 20, 0], [4, 4, 10, 9, 0]]  # masks overlap, boxes do not merge
    assert images.target(11).tolist() == [[0, 0, 30, 20, 0]]
    assert all(images.target(i).shape == (0, 5) for i in range(24, 36))
    held = np.bincount(images.part("test").groups)
    assert held.sum() == 7 and held.min() == 2 and set(images.parts) == {"train", "test"}


def test_scale(tmp_path):
    write_busi(tmp_path)
    images = busi(tmp_path, 0.5, cache_root=tmp_path / "cache")
    assert images.shapes.tolist() == [[10, 15]] * 15 and images.target(0).tolist() == [[0.5, 1, 4.5, 5, 0]]


def test_specks_and_empty_masks_are_counted(tmp_path):
    folder = write_busi(tmp_path)
    save(folder / "benign/benign (1)_mask.png", values=mask_of((1, 1, 9, 9), (20, 3, 23, 6)))  # 3 x 3 = 9 pixels
    save(folder / "benign/benign (3)_mask.png", values=mask_of())
    with pytest.warns(UserWarning) as caught:
        images = busi(tmp_path, cache_root=tmp_path / "cache")
    first, second = (str(warning.message) for warning in caught)
    assert first == "busi: 1 components of fewer than 10 pixels were left out."
    assert second.startswith("busi: 1 masks hold no lesion, the first is ") and second.endswith("benign (3)_mask.png.")
    assert images.target(0).tolist() == [[1, 1, 9, 9, 0]] and len(images.target(2)) == 0
    with pytest.warns(UserWarning, match="no lesion"):
        assert len(busi(tmp_path, min_pixels=9, cache_root=tmp_path / "cache").target(0)) == 2


def test_copy_without_normal_images_warns_once(tmp_path):
    folder = write_busi(tmp_path)
    (folder / "normal").rename(tmp_path / "elsewhere")
    with pytest.warns(UserWarning, match="has no folder normal") as caught:
        assert len(busi(tmp_path, cache_root=tmp_path / "cache")) == 10
    assert len(caught) == 1


@pytest.mark.parametrize(
    ("damage", "error", "sentence"),
    [
        (lambda f: cut_short(f / "benign/benign (1).png"), ValueError, r"benign \(1\)\.png (is corrupt|cannot be read)"),
        (lambda f: (f / "malignant/malignant (1)_mask.png").write_text("no"), ValueError, r"malignant \(1\)_mask\.png cannot be read"),
        (lambda f: (f / "malignant/malignant (1)_mask.png").unlink(), FileNotFoundError, r"malignant \(1\)\.png has no mask: expected m"),
        (lambda f: (f / "benign/benign (2).png").unlink(), FileNotFoundError, r"benign \(2\)_mask\.png has no image: expected benign"),
        (lambda f: save(f / "benign/benign (1)_mask.png", 0, size=(30, 19)), ValueError, r"_mask\.png is 30 x 19 pixels, expected 30 x 20"),
        (lambda f: (f / "malignant").rename(f / "bad"), FileNotFoundError, r"(?s)malignant does not exist; expected this tree:.*_mask_1"),
    ],
)
def test_damage_is_named_and_leaves_no_cache(tmp_path, damage, error, sentence):
    damage(write_busi(tmp_path))
    with pytest.raises(error, match=sentence):
        busi(tmp_path, cache_root=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*"))


def test_wrong_options_and_places(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"(?s)found no benign in .*expected this tree:.*benign \(1\)_mask\.png"):
        busi(tmp_path)
    with pytest.raises(ValueError, match="scale="):
        busi(tmp_path, 0.0)
    with pytest.raises(ValueError, match="min_pixels=0 must be at least 1"):
        busi(tmp_path, min_pixels=0)


def flooded(mask: np.ndarray, min_pixels: int) -> tuple[set, int]:
    """Boxes of the 8-connected components by filling from pixel to pixel, and the number of small ones."""
    left, found, small = {tuple(p) for p in np.argwhere(mask).tolist()}, [], 0
    while left:
        component, front = set(), {left.pop()}
        while front:
            component |= front
            front = {(y + dy, x + dx) for y, x in front for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= front
        ys, xs = zip(*component, strict=True)
        if len(component) >= min_pixels:
            found.append((min(xs), min(ys), max(xs) + 1, max(ys) + 1))
        small += len(component) < min_pixels
    return sorted(found), small


@settings(max_examples=40, deadline=None)
@given(mask=arrays(bool, st.tuples(st.integers(1, 8), st.integers(1, 9))), min_pixels=st.integers(1, 4))
def test_component_boxes_against_flooding(mask, min_pixels):
    boxes, small = component_boxes(mask, min_pixels)
    expected, expected_small = flooded(mask, min_pixels)
    assert sorted(map(tuple, boxes.tolist())) == expected and small == expected_small
