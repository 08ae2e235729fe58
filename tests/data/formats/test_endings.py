"""Which files of a folder are pictures; nothing is passed over without a word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data import notes
from data.formats.endings import NOT_READ, PILLOW, ending_of, is_picture, natural, picture_files, stem_of
from tests.data.formats.writing import RAMP, dicom, nifti, save


def test_names():
    names = {"a.PNG": ("a", ".png"), "v.1.nii.gz": ("v.1", ".nii.gz"), "IM1": ("IM1", ""), "a.b.tif": ("a.b", ".tif")}
    assert {name: (stem_of(Path(name)), ending_of(Path(name))) for name in names} == names
    assert sorted(["a10", "a9", "a²", "b"], key=natural) == ["a9", "a10", "a²", "b"]


def test_every_kind_that_is_read(tmp_path):
    save(tmp_path / "b.PNG", RAMP, format="png")
    save(tmp_path / "a.jpg", RAMP)
    dicom(tmp_path / "c.dcm", RAMP)
    dicom(tmp_path / "IM1", RAMP)
    dicom(tmp_path / "1.2.840", RAMP)
    nifti(tmp_path / "d.nii.gz", np.zeros((2, 2, 2), np.uint8))
    assert [file.name for file in picture_files(tmp_path)] == ["1.2.840", "IM1", "a.jpg", "b.PNG", "c.dcm", "d.nii.gz"]


@pytest.mark.parametrize("ending", sorted(NOT_READ))
def test_pictures_that_are_not_read_are_refused(tmp_path, ending):
    assert ending not in PILLOW
    (tmp_path / f"a{ending.upper()}").write_bytes(b"x")
    with pytest.raises(ValueError, match=rf"(?i)a\{ending} is .*(save|get) "):
        picture_files(tmp_path)


def test_compressed_pictures_are_refused(tmp_path):
    (tmp_path / "a.png.gz").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"a\.png\.gz is compressed, .*unpack it"):
        picture_files(tmp_path)
    (tmp_path / "notes.txt.gz").write_bytes(b"x")
    assert not is_picture(tmp_path / "notes.txt.gz")


def test_links_without_content_are_named(tmp_path):
    save(tmp_path / "a.png", RAMP)
    (tmp_path / "b.png").symlink_to("../.git/annex/objects/b")
    with pytest.raises(FileNotFoundError, match=r"b\.png is a link to .*annex.*which is not there"):
        picture_files(tmp_path)
    (tmp_path / "b.png").unlink()
    (tmp_path / "b.png").symlink_to("a.png")
    assert len(picture_files(tmp_path)) == 2


def test_others_are_noted(tmp_path):
    save(tmp_path / "a.png", RAMP)
    for name in ("list.csv", "notes.txt", ".hidden", "Thumbs.db"):
        (tmp_path / name).write_text("x")
    with notes.collecting() as found:
        picture_files(tmp_path)
    assert [note.kind for note in found] == [notes.LEFT_OUT] and "2 files (list.csv, notes.txt)" in found[0].sentence
    for k in range(5):
        (tmp_path / f"{k}.json").write_text("x")
    with notes.collecting() as found:
        picture_files(tmp_path)
    assert "7 files (5 .json, 1 " in found[0].sentence
