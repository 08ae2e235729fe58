"""What strangers tried on the readers of own images that nobody had listed."""

from __future__ import annotations

import os
import signal
import struct

import numpy as np
import pytest
import tifffile

import data
from data import notes
from data.formats import pictures
from data.formats.words import alike
from data.names import Refused
from tests.data.formats.writing import RAMP, folder, save, thirds
from tests.data.own_folders import fill, load

ROWS = [(f"{i}.png", "ab"[i // 2 % 2]) for i in range(8)]


def table(root, header, cells):
    """labels.csv with file, label and one more column, and its pictures."""
    for k, (file, _) in enumerate(ROWS):
        save(root / file, RAMP + k)
    lines = [f"{file},{label},{cells[k % len(cells)]}" for k, (file, label) in enumerate(ROWS)]
    (root / "labels.csv").write_text("\n".join([f"file,label,{header}", *lines]))
    return root


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("is_test", "01"),
        ("test", ["True", "False"]),
        ("Set Type", ["train", "test"]),
        ("isTrain", "yn"),
        ("use", ["Training", "val", ""]),
    ],
)
def test_a_column_that_tells_the_parts_under_another_name(mine, header, cells):
    with pytest.raises(Refused, match=f"column '{header}' .* seems to tell the parts, .* call it 'part'"):
        load(table(mine, header, cells))


@pytest.mark.parametrize(
    ("header", "cells"),
    [("test", ["3.5", "7"]), ("train", ["ICE", "TGV"]), ("site", ["test"]), ("stain", ["train", "he"])],
)
def test_a_column_that_only_sounds_like_parts(mine, header, cells):
    _, said = load(table(mine, header, cells))
    assert any(f"not used: '{header}'" in sentence for sentence in said)


@pytest.mark.parametrize("header", ["Subject Nr", "caseNumber", "Patient Code", "animal no.", "participantUID"])
def test_numbered_patients(mine, header):
    images, _ = load(table(mine, header, ["P1", "P1", "P2", "P2", "P3", "P3", "P4", "P4"]))
    assert images.patients.tolist() == ["P1", "P1", "P2", "P2", "P3", "P3", "P4", "P4"]


def test_spellings_that_cannot_be_seen_or_hardly():
    assert {
        alike(text) for text in ("grade 1", "grade_1", "Grade-1", "gra\u00adde 1\u200b", "grade 1.", "grade__1")
    } == {"grade 1"}
    assert len({alike(text) for text in ("-1", "1", "1-2", "12", ".", "a", "a b", "ab")}) == 8


def test_folders_of_classes_in_two_spellings(mine):
    fill(mine, ("grade 1", "grade_1", "b"))
    with pytest.raises(Refused, match="'grade 1' .* and 'grade_1' .* may be one class"):
        load(mine)


@pytest.mark.parametrize("kind", ["picture", "hard link", "class"])
def test_one_picture_in_two_classes_by_a_link(mine, kind):
    fill(mine)
    if kind == "class":
        (mine / "third").symlink_to(mine / "benign")
    elif kind == "picture":
        (mine / "benign" / "x.png").symlink_to(mine / "malignant" / "malignant0.png")
    else:
        os.link(mine / "malignant" / "malignant0.png", mine / "benign" / "x.png")
    with pytest.raises(Refused, match="are one file by a link; keep one"):
        load(mine)


@pytest.mark.parametrize("task", ["classify", "segment"])
def test_a_pipe_is_not_waited_for(mine, task):
    root = folder(mine, [thirds()] * 4) if task == "segment" else fill(mine)
    os.mkfifo(root / ("images" if task == "segment" else "benign") / "x.png")
    signal.alarm(10)
    try:
        with pytest.raises(Refused, match=r"x\.png is no file but a pipe"):
            data.load(task, "folder", root)
    finally:
        signal.alarm(0)


def test_a_folder_that_may_not_be_read(mine, monkeypatch):
    fill(mine)
    original = type(mine).iterdir

    def iterdir(path):
        if path.name == "benign":
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(type(mine), "iterdir", iterdir)
    with pytest.raises(Refused, match="benign cannot be read: Permission denied"):
        load(mine)


def test_a_table_of_another_ending_is_named(mine):
    save(mine / "a.png", RAMP)
    (mine / "labels.txt").write_text("file\tlabel\na.png\ta\n")
    with pytest.raises(Refused, match="must be called labels.csv, not labels.txt"):
        load(mine)


def test_names_that_differ_by_the_composition_of_letters(mine):
    fill(mine)
    save(mine / "benign" / "\u00e9.png", RAMP)
    save(mine / "malignant" / "e\u0301.png", RAMP)
    assert {"benign/\u00e9.png", "malignant/e\u0301.png"} < set(load(mine)[0].names)


def test_fractions_beside_large_numbers(tmp_path):
    (tmp_path / "images").mkdir()
    tifffile.imwrite(tmp_path / "images" / "a.tif", RAMP.astype(np.float32) / 255)
    tifffile.imwrite(tmp_path / "images" / "b.tif", RAMP.astype(np.uint16) * 16)
    files = sorted((tmp_path / "images").iterdir())
    with pytest.raises(Refused, match=r"a\.tif holds values of at most 1, .*b\.tif holds values above 255"):
        pictures.survey(files)
    with notes.collecting():
        reader = pictures.survey(files, pictures.Options(scaling="image"))
    assert [int(reader.read(source).max()) for source in reader.sources] == [255, 255]


def test_pages_without_end(tmp_path):
    """The last page of a TIFF names the first as its next."""
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, np.stack([RAMP, RAMP]).astype(np.uint32), photometric="minisblack")
    whole = bytearray(file.read_bytes())
    with tifffile.TiffFile(file) as tiff:
        first, last = tiff.pages[0].offset, tiff.pages[1].offset
    entries = struct.unpack_from("<H", whole, last)[0]
    struct.pack_into("<I", whole, last + 2 + 12 * entries, first)
    file.write_bytes(whole)
    with pytest.raises(Refused, match=r"a\.tif"):
        pictures.survey([file], pictures.Options(frames="all"))


def test_objects_that_are_not_numbered_are_told(tmp_path):
    with notes.collecting() as said:
        data.load(
            "segment", "folder", folder(tmp_path, [np.where(thirds() > 0, 255, 0).astype(np.uint8)] * 3), instances=True
        )
    assert any("one object at most" in sentence for _, sentence in said)


def test_a_link_that_points_to_itself(mine):
    fill(mine)
    (mine / "benign" / "self").symlink_to("self")
    with pytest.raises(Refused, match="self is a link to self, which is not there"):
        load(mine)
