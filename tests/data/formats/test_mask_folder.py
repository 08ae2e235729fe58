"""The user's own images and masks: file formats, class numbers, divisions and clear errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data import files
from data.formats import reading
from data.formats.mask_folder import mask_folder

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8)


def thirds() -> np.ndarray:
    mask = np.zeros((6, 8), np.uint8)
    mask[2:4], mask[4:] = 1, 2
    return mask


def write(root: Path, name: str, image: Any = RAMP, mask: Any = None, ending=".png", mask_ending=".png", part="") -> None:
    mask = thirds() if mask is None else mask
    for inner, content, suffix in (("images", image, ending), ("masks", mask, mask_ending)):
        file = root / inner / part / f"{name}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        (content if isinstance(content, Image.Image) else Image.fromarray(content)).save(file)


def load(root: Path, *arguments, **options):
    return mask_folder(root, *arguments, cache_root=root / "cache", **options)


def palette(indices: np.ndarray, colours: list[int]) -> Image.Image:
    picture = Image.fromarray(indices).convert("P")
    picture.putdata(indices.ravel().tolist())
    picture.putpalette(colours)
    return picture


def test_infers_classes_and_divides_once_for_all(tmp_path):
    for k in range(10):
        write(tmp_path, f"im{k}", ending=".tif" if k % 2 else ".png")
    images = load(tmp_path)
    assert images.classes == ("background", "class 1", "class 2") and images.kind == "class_map"
    assert images.names == [f"im{k}.{'tif' if k % 2 else 'png'}" for k in range(10)]
    assert sorted(images.parts.tolist()) == ["test"] * 2 + ["train"] * 8
    assert (images.image(0).numpy() * 255).round().astype(int).tolist() == [RAMP.tolist()]
    assert images.target(3).tolist() == thirds().tolist()
    assert load(tmp_path, 3, scale=0.5).part("test").names == images.part("test").names
    assert load(tmp_path, 5).classes[-1] == "class 4"


def test_names_count_naturally_and_ignore_other_files(tmp_path):
    for name in ("b10", "b9", "a"):
        write(tmp_path, name)
    for stray in (".hidden.png", "Thumbs.db", "notes.txt"):
        (tmp_path / "images" / stray).write_text("x")
    assert load(tmp_path).names == ["a.png", "b9.png", "b10.png"]


@pytest.mark.parametrize(
    "mask",
    [
        Image.fromarray(thirds()),
        palette(thirds(), [255, 0, 0, 0, 255, 0, 0, 0, 255]),
        Image.merge("RGB", [Image.fromarray(thirds())] * 3),
        Image.fromarray(thirds()).convert("LA"),
        Image.fromarray(thirds().astype(np.uint16)),
        Image.fromarray(thirds().astype(np.int32)),
        Image.merge("RGBA", [Image.fromarray(thirds())] * 3 + [Image.new("L", (8, 6), 9)]),
    ],
    ids=["grey", "palette", "rgb", "alpha", "16 bit", "32 bit", "rgba"],
)
def test_mask_formats(tmp_path, mask):
    write(tmp_path, "a", mask=mask, mask_ending=".tif" if mask.mode == "I" else ".png")
    write(tmp_path, "b")
    images = load(tmp_path)
    assert images.target(0).tolist() == thirds().tolist() and len(images.classes) == 3


def test_one_bit_masks_are_two_classes(tmp_path):
    for name in "ab":
        write(tmp_path, name, mask=Image.fromarray(thirds() > 0))
    images = load(tmp_path)
    assert len(images.classes) == 2 and images.target(0).tolist() == (thirds() > 0).astype(int).tolist()


def test_one_coloured_image_makes_all_rgb(tmp_path):
    write(tmp_path, "grey")
    write(tmp_path, "palette", image=palette(RAMP % 2, [9, 8, 7, 1, 2, 3]))
    write(tmp_path, "transparent", image=Image.new("RGBA", (8, 6), (200, 100, 50, 0)))
    images = load(tmp_path)
    assert images.channels == 3 and images.names[1] == "palette.png"
    assert images.raw(0)[1, 2].tolist() == [10, 10, 10]
    assert images.raw(1)[0, :2].tolist() == [[9, 8, 7], [1, 2, 3]]
    assert images.raw(2)[0, 0].tolist() == [200, 100, 50]


def test_deep_images_share_one_window(tmp_path):
    deep = RAMP.astype(np.uint16) * 80  # up to 3760: 12 bits in use
    write(tmp_path, "a", image=deep)
    write(tmp_path, "b", image=deep // 4)
    with pytest.warns(UserWarning, match="2 of 2 pictures have more than 8 bits: their values 0 to 3760 become 0 to"):
        images = load(tmp_path)
    assert images.channels == 1
    assert images.raw(0)[..., 0].tolist() == np.rint(deep / 3760 * 255).astype(int).tolist()
    assert images.raw(1)[..., 0].tolist() == np.rint(deep // 4 / 3760 * 255).astype(int).tolist()


def test_white_on_black_is_read_as_two_classes_with_one_warning(tmp_path):
    for name in "abc":
        write(tmp_path, name, mask=(thirds() > 0).astype(np.uint8) * 255)
    with pytest.warns(UserWarning, match="only 0 and 255: they are read as classes 0 and 1") as caught:
        images = load(tmp_path)
    assert len(caught) == 1 and len(images.classes) == 2
    assert images.target(1).tolist() == (thirds() > 0).astype(int).tolist()
    with pytest.warns(UserWarning, match="only 0 and 255") as again:  # the cache keeps what was noted, for every use
        assert load(tmp_path).target(1).max() == 1
    assert sum("only 0 and 255" in str(each.message) for each in again) == 1


def test_255_among_other_values_is_not_white(tmp_path):
    write(tmp_path, "a", mask=thirds() // 2 * 255)
    write(tmp_path, "b")
    with pytest.raises(ValueError, match=r"a\.png holds the value 255 but no mask holds 3.*ignore=255") as refused:
        load(tmp_path)
    assert "values=[0,1,2,255]" in str(refused.value) and "num_classes=256" not in str(refused.value)
    assert len(load(tmp_path, 256).classes) == 256


@pytest.mark.parametrize(
    ("mask", "num_classes", "sentence"),
    [
        (thirds() * 2, 4, r"a\.png holds the value 4, expected 0 to 3 because num_classes=4"),
        (thirds().astype(np.uint16) * 500, 0, r"a\.png holds the value 1000, expected 0 to 255"),
        (thirds() * 3, 0, r"a\.png holds the value 6 but no mask holds 4, .*num_classes=7"),
        (Image.new("RGB", (8, 6), (255, 0, 0)), 0, r"a\.png is a colour picture"),
        (Image.new("L", (8, 5)), 0, r"a\.png is 8 x 5 pixels, expected 8 x 6 like .*a\.png"),
        (thirds(), 1, "num_classes=1 must be from 2"),
    ],
)
def test_wrong_masks_are_named(tmp_path, mask, num_classes, sentence):
    write(tmp_path, "a", mask=mask)
    write(tmp_path, "b")
    with pytest.raises(ValueError, match=sentence):
        load(tmp_path, num_classes)
    assert not list((tmp_path / "cache").glob("*"))


def test_gap_is_allowed_where_num_classes_says_so(tmp_path):
    write(tmp_path, "a", mask=thirds() // 2 * 3)
    write(tmp_path, "b", mask=thirds() // 2)
    assert len(load(tmp_path, 4).classes) == 4


def test_all_background(tmp_path):
    for name in "ab":
        write(tmp_path, name, mask=np.zeros((6, 8), np.uint8))
    with pytest.raises(ValueError, match="every mask holds only the value 0"):
        load(tmp_path)


def test_jpeg_masks_are_explained(tmp_path):
    noise = np.random.default_rng(0).integers(0, 2, (6, 8)).astype(np.uint8) * 200
    for name in "ab":
        write(tmp_path, name, mask=noise, mask_ending=".jpg")
    with pytest.raises(ValueError, match="JPEG changes class numbers"):
        load(tmp_path)


def test_official_division(tmp_path):
    for part, names in (("test", "a"), ("train", "ab"), ("val", "c")):
        for name in names:
            write(tmp_path, name, part=part)
    images = load(tmp_path)
    assert images.names == ["train/a.png", "train/b.png", "val/c.png", "test/a.png"]
    assert images.parts.tolist() == ["train", "train", "val", "test"]
    write(tmp_path, "loose")
    with pytest.raises(ValueError, match=r"loose\.png lies beside subfolders"):
        load(tmp_path)


def test_incomplete_division(tmp_path):
    write(tmp_path, "a", part="train")
    with pytest.raises(FileNotFoundError, match=r"images.test does not exist; expected this tree"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("damage", "error", "sentence"),
    [
        (
            lambda root: (root / "masks/case2.png").rename(root / "masks/case_2.png"),
            FileNotFoundError,
            "case2.png has no mask.*'case_2'",
        ),
        (lambda root: (root / "images/case1.png").unlink(), FileNotFoundError, "case1.png has no image"),
        (lambda root: Image.new("L", (8, 6)).save(root / "images/case1.bmp"), ValueError, "case1.* have the same stem"),
        (lambda root: Image.new("L", (8, 6)).save(root / "masks/case1.bmp"), ValueError, "case1.* have the same stem"),
        (lambda root: (root / "images/case1.png").write_bytes(b"x"), ValueError, r"case1\.png cannot be read"),
        (lambda root: (root / "masks").rename(root / "labels"), FileNotFoundError, "has no folder masks, only images, labels; expected"),
        (lambda root: [f.unlink() for f in (root / "images").iterdir()], FileNotFoundError, "holds no picture"),
        (lambda root: [(root / f / "case1.png").unlink() for f in ("images", "masks")], ValueError, "at least 2"),
    ],
)
def test_damage_is_named(tmp_path, damage, error, sentence):
    for name in ("case1", "case2"):
        write(tmp_path, name)
    damage(tmp_path)
    with pytest.raises(error, match=sentence):
        load(tmp_path)


def test_moving_an_image_between_parts_is_noticed(tmp_path):
    for part, name in (("test", "a"), ("train", "b"), ("train", "c")):
        write(tmp_path, name, part=part)
    before = load(tmp_path)
    for inner in ("images", "masks"):
        (tmp_path / inner / "train/b.png").rename(tmp_path / inner / "test/b.png")
    after = load(tmp_path)
    assert after.fingerprint != before.fingerprint and after.names == ["train/c.png", "test/a.png", "test/b.png"]


def test_reading_single_pictures(tmp_path):
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "float.tif")
    for read in (reading.read_image, reading.read_mask):
        with pytest.raises(ValueError, match=r"float\.tif holds floating-point values"):
            read(tmp_path / "float.tif")
    frames = [Image.new("L", (4, 4), k) for k in range(3)]
    frames[0].save(tmp_path / "stack.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match=r"stack\.tif holds 3 pictures"):
        reading.read_image(tmp_path / "stack.tif")
    Image.fromarray(np.array([[0, 256, 65535]], np.uint16)).save(tmp_path / "deep.png")
    assert reading.read_image(tmp_path / "deep.png")[0, :, 0].tolist() == [0, 1, 255]
    assert reading.read_image(tmp_path / "deep.png", channels=3).shape == (1, 3, 3)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for ending in ("png", "jpg", "tif", "bmp"):
        file = tmp_path / f"cut.{ending}"
        Image.fromarray(noise).save(file)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with pytest.raises(ValueError, match=rf"cut\.{ending} "):
            reading.read_image(file)
    with pytest.raises(FileNotFoundError):
        reading.read_image(tmp_path / "none.png")


def test_default_data_root(monkeypatch):
    monkeypatch.delenv("ALIQUOT_DATA", raising=False)
    assert files.default_data_root() == files.ROOT / "data" / "raw"
    monkeypatch.setenv("ALIQUOT_DATA", "elsewhere")
    assert files.default_data_root() == files.ROOT / "elsewhere"
    monkeypatch.setenv("ALIQUOT_DATA", "/abs/olute")
    assert files.default_data_root() == Path("/abs/olute")
