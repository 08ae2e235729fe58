"""Bad boxes: each kind is named, clipped or dropped, and counted; boxes follow the true ratio of the sizes."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.formats.boxes import BoxChecker, Boxed, boxed_images, shrunk, with_test_part
from tests.data.pictures import cut_short, save

GOOD = [0.0, 0.0, 12.0, 10.0, 1.0]  # the whole of an image of 12 x 10 pixels


def boxes(*rows) -> np.ndarray:
    return np.array(rows, np.float64).reshape(-1, 5)


@pytest.mark.parametrize(
    ("bad", "reason", "clipped"),
    [
        ([3, 2, 3, 5, 0], "x1=3, y1=2, x2=3, y2=5: empty", None),
        ([3, 2, 5, 2, 0], "empty", None),
        ([5, 2, 3, 5, 0], "inverted", None),
        ([3, 5, 5, 2, 0], "inverted", None),
        ([np.nan, 2, 3, 5, 0], "x1=nan, y1=2, x2=3, y2=5: not finite", None),
        ([1, 2, np.inf, 5, 0], "not finite", None),
        ([-4, 2, 3, 5, 0], "outside the image of 12 x 10 pixels", [0, 2, 3, 5, 0]),
        ([1, -1, 3, 11, 0], "outside", [1, 0, 3, 10, 0]),
        ([1, 2, 12.5, 5, 0], "outside", [1, 2, 12, 5, 0]),
        ([12, 2, 14, 5, 0], "outside", None),
        ([-3, -3, -1, -1, 0], "outside", None),
    ],
)
def test_bad_boxes_are_named_or_clipped_or_dropped(bad, reason, clipped):
    with pytest.raises(ValueError, match=rf"^a\.xml: box 2 of 3 \(.*{re.escape(reason)}.*\); expected 0 <= x1 < x2 <= 12 .*dataset_options.bad_boxes=clip"):
        BoxChecker("refuse")(boxes(GOOD, bad, GOOD), 10, 12, "a.xml")
    checker = BoxChecker("clip")
    kept = checker(boxes(GOOD, bad, GOOD), 10, 12, "a.xml")
    assert kept.tolist() == [GOOD, *([clipped] if clipped else []), GOOD] and kept.dtype == np.float32
    assert (checker.clipped, checker.dropped) == ((1, 0) if clipped else (0, 1))
    with pytest.warns(UserWarning, match=rf"^cells: {checker.clipped} boxes .* {checker.dropped} without .*a\.xml: box 2") as caught:
        checker.warn("cells")
    assert len(caught) == 1


@pytest.mark.parametrize("policy", ["refuse", "clip"])
def test_good_boxes_pass_in_silence(policy):
    checker = BoxChecker(policy)
    within_rounding = [-0.01, 0, 12.01, 10, 2]
    assert checker(boxes(GOOD, within_rounding), 10, 12, "a").tolist() == [GOOD, [0, 0, 12, 10, 2]]
    assert checker(boxes(), 10, 12, "a").shape == (0, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checker.warn("cells")


def test_counts_add_up_over_images_and_the_first_is_told():
    checker = BoxChecker("clip")
    checker(boxes([-1, 0, 5, 5, 0], [2, 2, 2, 2, 0]), 10, 12, "first")
    checker(boxes([-1, 0, 5, 5, 0], [-1, 0, 5, 5, 0]), 10, 12, "second")
    with pytest.warns(UserWarning, match=r"3 boxes .* 1 without .*first: box 1 of 2"):
        checker.warn("cells")


def test_unknown_policy():
    with pytest.raises(ValueError, match=r"unknown bad_boxes 'clap'\. Did you mean 'clip'\? Known: refuse, clip"):
        BoxChecker("clap")


corner = st.floats(-30, 30, width=32) | st.sampled_from([np.nan, np.inf, -np.inf])


@given(st.lists(st.tuples(corner, corner, corner, corner), max_size=8))
def test_clipped_boxes_are_good(corners):
    given_boxes = boxes(*[(*c, i) for i, c in enumerate(corners)])
    checker = BoxChecker("clip")
    kept = checker(given_boxes, 10, 12, "a")
    assert BoxChecker("refuse")(kept.astype(np.float64), 10, 12, "a").tolist() == kept.tolist()
    assert checker.dropped == len(corners) - len(kept)
    for x1, y1, x2, y2, i in kept.tolist():  # the intersection with the image
        a1, b1, a2, b2 = np.float32(corners[int(i)])
        assert (x1, y1, x2, y2) == (max(a1, 0), max(b1, 0), min(a2, 12), min(b2, 10))


def test_boxes_shrink_by_the_rounded_sizes():
    small, moved = shrunk(np.zeros((9, 14, 1), np.uint8), boxes([0, 0, 14, 9, 2], [7, 3, 10, 6, 0]), 0.5)
    assert small.shape == (4, 7, 1)  # 4.5 rounds to 4: y shrinks by 4/9, x by 1/2
    np.testing.assert_allclose(moved, [[0, 0, 7, 4, 2], [3.5, 4 / 3, 5, 8 / 3, 0]], rtol=1e-6)
    assert shrunk(np.zeros((9, 14, 3), np.uint8), boxes(), 0.5)[1].shape == (0, 5)


def test_test_part_is_fixed_and_stratified():
    parts, groups = ["train"] * 20 + ["val"] * 5, [0] * 10 + [1] * 15
    drawn = with_test_part(parts, groups)
    assert drawn == with_test_part(parts, groups) and drawn[20:] == ["val"] * 5
    assert drawn[:10].count("test") == drawn[10:20].count("test") == 2
    assert with_test_part(["train", "test"], [0, 0]) == ["train", "test"]


def load(tmp_path, found, **options):
    options = {"scale": 1.0, "bad_boxes": "refuse", **options}
    return boxed_images("own", tmp_path, found, ["a"], code=[], decoding=(), cache_root=tmp_path / "cache", **options)


def entries(tmp_path, n=5, **changed) -> list[Boxed]:
    """Annotations a.txt of grey pictures 0.png, 1.png, ... of 12 x 10 pixels; each has one box more than the last."""
    table = tmp_path / "a.txt"
    table.write_text("x")
    files = [save(tmp_path / f"{i}.png", 10 * i) for i in range(n)]
    return [Boxed(file, boxes(*[[1, 1, 3, 4, 0]] * i), table, **changed) for i, file in enumerate(files)]


def test_images_of_boxes(tmp_path):
    images = load(tmp_path, entries(tmp_path, size=(12, 10)))
    assert images.kind == "boxes" and images.names == [f"{i}.png" for i in range(5)]
    assert [images.target(i).shape for i in range(5)] == [(i, 5) for i in range(5)]
    assert images.raw(3).shape == (10, 12, 1) and (images.raw(3) == 30).all() and images.groups.tolist() == [0] * 5
    assert sorted(images.parts) == ["test"] + ["train"] * 4


def test_one_colour_picture_makes_all_rgb(tmp_path):
    found = entries(tmp_path)
    save(found[2].file, (1, 2, 3))
    images = load(tmp_path, found)
    assert images.raw(2)[0, 0].tolist() == [1, 2, 3] and images.raw(3)[0, 0].tolist() == [30, 30, 30]


def test_options_make_caches_of_their_own(tmp_path):
    found = entries(tmp_path)
    seen = [load(tmp_path, found, **o).fingerprint for o in ({}, {"scale": 0.5}, {"bad_boxes": "clip"}, {})]
    assert len(set(seen)) == 3 and seen[0] == seen[3]


def test_damage_is_named_and_leaves_no_cache(tmp_path):
    found = entries(tmp_path, size=(10, 12))
    with pytest.raises(ValueError, match=r"a\.txt is for 10 x 12 pixels, but .*0\.png has 12 x 10"):
        load(tmp_path, found)
    with pytest.raises(ValueError, match=r"scale=2\.0"):
        load(tmp_path, found, scale=2.0)
    with pytest.raises(ValueError, match=r"a\.txt, 1\.png: box 1 of 1 .*empty"):
        load(tmp_path, [entry._replace(size=None, boxes=boxes([1, 1, 1, 1, 0] if i == 1 else GOOD)) for i, entry in enumerate(found[:3])])
    cut_short(found[3].file)
    with pytest.raises(ValueError, match=r"3\.png (is corrupt or cut short|cannot be read)"):
        load(tmp_path, [entry._replace(size=None) for entry in found])
    assert not list((tmp_path / "cache").glob("*"))
