"""The user's folder of images and masks: names, parts, patients, classes, frames, sizes."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from data import notes
from data.formats.mask_folder import mask_folder
from data.formats.mask_pairs import find
from tests.data.formats.writing import RAMP, folder, png16, save, thirds

THIRDS = thirds()


def read(root, **options):
    with notes.collecting() as found:
        images = mask_folder(root, cache_root=root / "cache", **options)
    return images, " ".join(note.sentence for note in found)


def named(root, images: list[str], masks: list[str]):
    for name in images:
        save(root / "images" / name, RAMP)
    for name in masks:
        save(root / "masks" / name, THIRDS)
    return root


class TestNames:
    def test_a_pattern_of_what_is_common(self, tmp_path):
        root = named(tmp_path, ["21_training.tif", "22_training.tif"], ["21_manual1.gif", "22_manual1.gif"])
        with pytest.raises(FileNotFoundError, match=r"21_training\.tif has no mask.*mask_pattern='\^\(\\d\+\)'"):
            read(root)
        assert [(p.image.stem, p.mask.stem) for p in find(root, r"^(\d+)_")] == [
            ("21_training", "21_manual1"),
            ("22_training", "22_manual1"),
        ]
        images, _ = read(root, mask_pattern=r"^(\d+)_")
        assert images.target(1).tolist() == THIRDS.tolist()

    def test_a_name_with_something_around_it(self, tmp_path):
        root = named(tmp_path, ["a.png", "b.png"], ["seg_a_mask.png", "seg_b_mask.png"])
        with pytest.raises(FileNotFoundError, match=r"mask_pattern='seg_\{\}_mask'"):
            read(root)
        assert read(root, mask_pattern="seg_{}_mask")[0].names == ["a.png", "b.png"]

    @pytest.mark.parametrize(
        ("pattern", "sentence"),
        [
            ("(", "no regular expression"),
            ("a|b", "has 0 groups"),
            (r"x(\d)", "finds nothing in the name '21_training'"),
        ],
    )
    def test_wrong_patterns(self, tmp_path, pattern, sentence):
        root = named(tmp_path, ["21_training.png", "22_training.png"], ["21_m.png", "22_m.png"])
        with pytest.raises(ValueError, match=sentence):
            read(root, mask_pattern=pattern)

    def test_a_pattern_that_takes_two_for_one(self, tmp_path):
        root = named(tmp_path, ["1_a.png", "1_b.png"], ["1_a.png", "1_b.png"])
        with pytest.raises(ValueError, match=r"1_a\.png and 1_b\.png have the same stem"):
            read(root, mask_pattern=r"^(\d+)_")

    def test_accents_in_either_form(self, tmp_path):
        root = named(tmp_path, ["e\u0301.png", "b.png"], ["\u00e9.png", "b.png"])
        assert len(read(root)[0]) == 2


class TestParts:
    def test_usual_names_in_any_case(self, tmp_path):
        for inner in ("images", "masks"):
            for part, names in {"Training": "ab", "validation": "c", "Test": "d"}.items():
                for name in names:
                    save(tmp_path / inner / part / f"{name}.png", RAMP if inner == "images" else THIRDS)
        images, _ = read(tmp_path)
        assert images.parts.tolist() == ["train", "train", "val", "test"]
        assert images.names[0] == "Training/a.png"
        with pytest.raises(ValueError, match="test_fraction=0.5 has nothing to divide"):
            read(tmp_path, test_fraction=0.5)

    def test_folders_that_are_no_parts_are_refused(self, tmp_path):
        root = named(tmp_path, ["a.png", "b.png"], ["a.png", "b.png"])
        save(root / "images/patient7/c.png", RAMP)
        with pytest.raises(ValueError, match="patient7 is none of the parts"):
            read(root)

    def test_folders_that_are_alike_on_both_sides_are_series(self, tmp_path):
        for inner, values in (("images", RAMP), ("masks", THIRDS)):
            for k in range(5):
                for name in "ab":
                    save(tmp_path / inner / f"scan{k}" / f"{name}.png", values)
        images, _ = read(tmp_path)
        assert images.names == [f"scan{k}/{name}.png" for k in range(5) for name in "ab"]
        assert read(tmp_path, patient_pattern=r"^(scan\d)/")[0].patients.tolist() == [
            f"scan{k // 2}" for k in range(10)
        ]
        (tmp_path / "masks/scan3/b.png").unlink()
        with pytest.raises(ValueError, match=r"images/scan3/b\.png has no mask: expected a file b\.png"):
            read(tmp_path)
        (tmp_path / "masks/scan3").rename(tmp_path / "masks/scan9")
        with pytest.raises(ValueError, match="scan0 is none of the parts.*called alike in images/ and masks/"):
            read(tmp_path)

    def test_a_misspelt_part_is_no_series(self, tmp_path):
        for inner, values in (("images", RAMP), ("masks", THIRDS)):
            for part in ("trian", "test"):
                save(tmp_path / inner / part / "a.png", values)
        with pytest.raises(ValueError, match="trian is none of the parts.*Did you mean 'train'"):
            read(tmp_path)

    def test_the_share_of_test(self, tmp_path):
        root = folder(tmp_path, [THIRDS] * 10)
        assert len(read(root)[0].part("test")) == 2
        assert len(read(root, test_fraction=0.4)[0].part("test")) == 4


class TestPatients:
    def sides(self, images) -> tuple[set[str], set[str]]:
        return set(images.part("train").patients.tolist()), set(images.part("test").patients.tolist())

    def test_from_a_pattern(self, tmp_path):
        names = [f"child{k}_{eye}.png" for k in range(6) for eye in ("left", "right")]
        images, said = read(named(tmp_path, names, names), patient_pattern=r"^(child\d+)_")
        train, test = self.sides(images)
        assert not train & test and train | test == {f"child{k}" for k in range(6)} and "whole patients" in said

    def test_from_a_table_which_decides_the_cache(self, tmp_path):
        root = folder(tmp_path, [THIRDS] * 8)
        (root / "patients.csv").write_text("file,patient\n" + "".join(f"c{k}.png,p{k // 2}\n" for k in range(8)))
        images, _ = read(root)
        train, test = self.sides(images)
        assert not train & test and images.patients.tolist() == [f"p{k // 2}" for k in range(8)]
        (root / "patients.csv").write_text("file,patient\n" + "".join(f"c{k}.png,q{k % 4}\n" for k in range(8)))
        assert read(root)[0].patients.tolist() == [f"q{k % 4}" for k in range(8)]

    def test_in_both_official_parts_are_told(self, tmp_path):
        for inner in ("images", "masks"):
            for part in ("train", "test"):
                save(tmp_path / inner / part / f"p1_{part}.png", RAMP if inner == "images" else THIRDS)
        _, said = read(tmp_path, patient_pattern=r"(p\d)_")
        assert "1 of 1 patients have images both in train and in test" in said

    def test_one_alone_cannot_be_divided(self, tmp_path):
        with pytest.raises(ValueError, match="2 pictures of 1 patients cannot be divided"):
            read(folder(tmp_path, [THIRDS] * 2), patient_pattern="^(c)")


class TestClasses:
    def test_names(self, tmp_path):
        root = folder(tmp_path, [THIRDS] * 2)
        assert read(root, class_names=["ground", "gland", "lumen"])[0].classes == ("ground", "gland", "lumen")
        (root / "classes.txt").write_text("gland\nlumen\n")
        assert read(root)[0].classes == ("background", "gland", "lumen")
        (root / "classes.txt").write_text("2: lumen\n1: gland\n0: ground\n")
        assert read(root)[0].classes == ("ground", "gland", "lumen")
        (root / "classes.txt").write_text("2: lumen\n4: gland\n")
        with pytest.raises(ValueError, match="numbers the classes 2, 4, expected 0, 1, 2"):
            read(root)
        (root / "classes.txt").write_text("gland\n")
        with pytest.raises(ValueError, match=r"1 names of classes \(gland\) for 3 classes"):
            read(root)
        with pytest.raises(ValueError, match="expected each class once"):
            read(root, class_names=["a", "b", "a"])


class TestFrames:
    def test_all_pages_of_image_and_mask(self, tmp_path):
        for k in range(3):
            save(tmp_path / f"images/s{k}.tif", [RAMP + k, RAMP + k + 1])
            save(tmp_path / f"masks/s{k}.tif", [THIRDS, THIRDS[::-1].copy()])
        with pytest.raises(ValueError, match=r"s0\.tif holds 2 pictures.*frames='all'"):
            read(tmp_path)
        images, _ = read(tmp_path, frames="all")
        assert images.names == [f"s{k}.tif#{n}" for k in range(3) for n in (1, 2)]
        assert images.target(1).tolist() == THIRDS[::-1].tolist() and images.raw(1)[0, 0, 0] == 1
        assert set(images.part("train").patients).isdisjoint(images.part("test").patients)

    def test_one_mask_for_several_pictures(self, tmp_path):
        for k in range(2):
            save(tmp_path / f"images/s{k}.gif", [RAMP, RAMP[::-1].copy()])
            save(tmp_path / f"masks/s{k}.png", THIRDS)
        with pytest.raises(ValueError, match=r"s0\.png holds 1 pictures, expected 2"):
            read(tmp_path, frames="all")


class TestSizes:
    def test_a_mismatch_names_exif(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6
        for k in range(2):
            save(tmp_path / f"images/c{k}.jpg", RAMP, exif=exif)
            save(tmp_path / f"masks/c{k}.png", THIRDS)
        with pytest.raises(ValueError, match=r"6 x 8 like .*EXIF orientation of c0\.jpg.*exif='ignore'"):
            read(tmp_path)
        images, said = read(tmp_path, exif="ignore")
        assert images.shapes.tolist() == [[6, 8]] * 2 and "are left as they are stored" in said

    def test_masks_turn_like_images(self, tmp_path):
        for k, orientation in enumerate((3, 5, 8)):
            exif = Image.Exif()
            exif[0x0112] = orientation
            save(tmp_path / f"images/c{k}.png", RAMP, exif=exif)
            save(tmp_path / f"masks/c{k}.png", THIRDS, exif=exif)
        images, _ = read(tmp_path)
        assert images.target(0).tolist() == THIRDS[::-1, ::-1].tolist()
        assert images.target(1).tolist() == THIRDS.T.tolist() and images.raw(1)[..., 0].tolist() == RAMP.T.tolist()


class TestBits:
    def test_options_reach_the_images(self, tmp_path):
        deep = np.arange(48, dtype=np.uint16).reshape(6, 8) * 100
        for k in range(2):
            png16(tmp_path / f"images/c{k}.png", deep * (k + 1))
            save(tmp_path / f"masks/c{k}.png", THIRDS)
        assert read(tmp_path, window=[0, 25500])[0].raw(0)[0, :3, 0].tolist() == [0, 1, 2]
        images, said = read(tmp_path, scaling="image")
        assert images.raw(0).tolist() == images.raw(1).tolist() and "by its own window" in said
        for k in range(2):
            (tmp_path / f"images/c{k}.png").unlink()
            tifffile.imwrite(
                tmp_path / f"images/c{k}.tif", np.stack([deep] * 4, 2), photometric="minisblack", planarconfig="contig"
            )
        with pytest.raises(ValueError, match=r"c0\.tif has 4 channels.*bands="):
            read(tmp_path)
        assert read(tmp_path, bands=[2])[0].channels == 1


def test_folders_in_capitals_are_read_and_others_named(tmp_path):
    folder(tmp_path, [thirds()] * 3)
    (tmp_path / "images").rename(tmp_path / "Images")
    (tmp_path / "masks").rename(tmp_path / "MASKS")
    assert [pair.mask.parent.name for pair in find(tmp_path)] == ["MASKS"] * 3
    assert mask_folder(tmp_path, cache_root=tmp_path / "cache").names == ["c0.png", "c1.png", "c2.png"]
    (tmp_path / "MASKS").rename(tmp_path / "labelsTr")
    with pytest.raises(
        FileNotFoundError, match="has no folder masks, only Images, cache, labelsTr; expected this tree"
    ):
        find(tmp_path)
