"""DICOM: values of the modality, windows, inverted pictures, frames, patients; nothing else of the header."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from data import notes
from data.formats import dicom as reader_of_dicom
from data.formats import pictures
from data.formats.mask_folder import mask_folder
from data.formats.pictures import Options, survey
from tests.data.formats.writing import dicom, save, thirds

STORED = np.arange(48, dtype=np.uint16).reshape(6, 8) * 20
SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"


def seen(*files: Path, **options) -> list[np.ndarray]:
    with notes.collecting():
        reader = survey(files, Options(**options))
        return [reader.read(source) for source in reader.sources]


def test_slope_and_intercept(tmp_path):
    file = dicom(tmp_path / "a.dcm", STORED, RescaleSlope="2", RescaleIntercept="-1024")
    assert np.array_equal(pictures.decode(file).values[..., 0], STORED * 2.0 - 1024)
    low, high = seen(file, window=[-1024, -514])[0][0, [0, 5], 0]
    assert (low, high) == (0, round(200 / 510 * 255))


def test_one_window_of_all_files_is_used_and_different_ones_are_not(tmp_path):
    two = {"WindowCenter": ["128", "9"], "WindowWidth": ["256", "9"]}
    files = [dicom(tmp_path / f"{k}.dcm", STORED, **two) for k in range(2)]
    with notes.collecting() as found:
        reader = survey(files)
    assert reader.window == (0, 255) and "the window that all files say" in found[0].sentence
    files.append(dicom(tmp_path / "other.dcm", STORED, WindowCenter="50", WindowWidth="100"))
    with notes.collecting() as found:
        reader = survey(files)
    assert reader.window == (0, 940) and "their values 0 to 940 become" in found[0].sentence
    with notes.collecting():
        own = survey(files, Options(scaling="image"))
    assert own.read(own.sources[2]).max() == 255 and own.read(own.sources[2])[0, 3] == round((60 - 0) / 99 * 255)


def test_monochrome1_is_inverted(tmp_path):
    plain, inverted = (
        seen(dicom(tmp_path / f"{kind}.dcm", STORED, PhotometricInterpretation=kind))[0]
        for kind in ("MONOCHROME2", "MONOCHROME1")
    )
    assert np.array_equal(inverted, 255 - plain) and plain.max() == 255
    byte = dicom(tmp_path / "byte.dcm", STORED.astype(np.uint8), PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(seen(byte)[0][..., 0], 255 - STORED.astype(np.uint8))


def test_bytes_and_colours_are_left_as_they_are(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    assert np.array_equal(seen(dicom(tmp_path / "rgb.dcm", colours))[0], colours)


def test_header_keeps_a_patient_a_series_a_number_and_spacing_alone(tmp_path):
    file = dicom(tmp_path / "a.dcm", STORED, PixelSpacing=["0.5", "0.7"], SpacingBetweenSlices="3")
    known = pictures.look(file)
    assert (known.patient, known.series, known.number, known.spacing) == ("P1", "1.2.3", 7, (0.5, 0.7, 3.0))
    assert "Jane" not in repr(known) and "Doe" not in repr(known)
    named = pictures.look(dicom(tmp_path / "b.dcm", STORED, PatientID="Doe^Jane")).patient
    assert named and "Doe" not in named and named == reader_of_dicom.identifier("Doe^Jane")


def test_frames_are_slices_of_one_patient(tmp_path):
    for k in range(3):
        frames = np.stack([STORED + k, STORED + k + 100])
        dicom(tmp_path / f"images/c{k}.dcm", frames, PatientID=f"P{k}")
        save(tmp_path / f"masks/c{k}.tif", [thirds(), thirds()[::-1].copy()])
    with notes.collecting():
        images = mask_folder(tmp_path, frames="all", cache_root=tmp_path / "cache")
    assert images.names == [f"c{k}.dcm#{n}" for k in range(3) for n in (1, 2)]
    assert images.patients.tolist() == ["P0", "P0", "P1", "P1", "P2", "P2"]
    assert sorted(len(images.part(part)) for part in ("train", "test")) == [2, 4]
    assert not set(images.part("train").patients) & set(images.part("test").patients)
    assert images.target(1).tolist() == thirds()[::-1].tolist()
    with pytest.raises(ValueError, match=r"c0\.tif holds 2 pictures, expected one"), notes.collecting():
        mask_folder(tmp_path, cache_root=tmp_path / "cache")


def test_a_number_of_frames_below_one_is_refused(tmp_path):
    file = dicom(tmp_path / "a.dcm", np.zeros((3, 6, 8), np.uint8), NumberOfFrames=-1)
    with pytest.raises(ValueError, match=r"a\.dcm says to hold -1 frames \(NumberOfFrames\), expected at least 1"):
        pictures.look(file)


def test_files_without_ending_are_found(tmp_path):
    for k in range(2):
        dicom(tmp_path / f"images/IM{k}", STORED)
        save(tmp_path / f"masks/IM{k}.png", thirds())
    (tmp_path / "images/README").write_text("x" * 200)
    dicom(tmp_path / "images/IM0", STORED, PatientID="P0")
    with notes.collecting() as found:
        images = mask_folder(tmp_path, cache_root=tmp_path / "cache")
    assert images.names == ["IM0", "IM1"] and any("README" in note.sentence for note in found)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("rtplan.dcm", r"rtplan\.dcm is DICOM without a picture \(modality RTPLAN\)"),
        ("liver_1frame.dcm", "is a DICOM segmentation object, which is not read"),
        ("MR_truncated.dcm", "is corrupt or cut short"),
        ("JPEGLSNearLossless_08.dcm", "needs `pip install pylibjpeg"),
        ("no_meta.dcm", "cannot be read as DICOM"),
        ("badVR.dcm", "its DICOM header cannot be read"),
    ],
)
def test_real_files_that_are_refused(name, sentence):
    with pytest.raises(ValueError, match=sentence):
        pictures.decode(SHIPPED / name)


def test_every_file_of_pydicom_is_read_or_refused():
    read = {}
    for file in sorted(SHIPPED.glob("*.dcm")):
        try:
            known = pictures.look(file)
            decoded = pictures.decode(file, known.frames[-1])
        except ValueError as error:
            assert file.name in str(error)
            continue
        read[file.name] = decoded.values
        assert decoded.values.shape[2] == (3 if known.coloured else 1)
        assert known.deep or decoded.values.dtype == np.uint8
    assert len(read) >= 40
    assert (read["CT_small.dcm"].min(), read["CT_small.dcm"].max()) == (-896, 1167), "Hounsfield units"
    assert np.array_equal(read["MR_small.dcm"], read["MR_small_RLE.dcm"])
    assert np.array_equal(read["MR_small.dcm"], read["MR_small_bigendian.dcm"])
