"""NIfTI: slices along the last axis, with volume, spacing, and a mask on the same grid."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from data import notes
from data.formats import pictures
from data.formats.mask_folder import mask_folder
from data.formats.pictures import survey
from tests.data.formats.writing import nifti

SHIPPED = Path(nibabel.__file__).parent / "tests" / "data"
VALUES = np.random.default_rng(0).integers(0, 900, (8, 6, 4)).astype(np.int16)  # x, y, z
LABELS = (VALUES // 300).astype(np.uint8)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_slices_along_the_last_axis(tmp_path, ending):
    file = nifti(tmp_path / f"scan{ending}", VALUES, spacing=(0.5, 0.7, 3))
    known = pictures.look(file)
    assert known.frames == (0, 1, 2, 3) and known.spacing == (0.7, 0.5, 3.0) and known.axes == "RAS"
    for z in range(4):
        assert np.array_equal(pictures.decode(file, z).values[..., 0], VALUES[:, :, z].T)


def test_slope_is_applied(tmp_path):
    file = nifti(tmp_path / "a.nii", VALUES, slope=0.5)
    assert np.allclose(pictures.decode(file, 2).values[..., 0], VALUES[:, :, 2].T * 0.5)
    assert pictures.look(file).deep


def test_bytes_are_left_as_they_are(tmp_path):
    file = nifti(tmp_path / "a.nii", LABELS)
    reader = survey([file])
    assert reader.read(reader.sources[1])[..., 0].tolist() == LABELS[:, :, 1].T.tolist()


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float64])
def test_volumes_with_masks(tmp_path, kind):
    for k in range(4):
        nifti(tmp_path / f"images/v{k}.nii.gz", VALUES + k)
        nifti(tmp_path / f"masks/v{k}.nii.gz", LABELS.astype(kind))
    with notes.collecting() as found:
        images = mask_folder(tmp_path, cache_root=tmp_path / "cache")
    assert images.names[:5] == ["v0.nii.gz#1", "v0.nii.gz#2", "v0.nii.gz#3", "v0.nii.gz#4", "v1.nii.gz#1"]
    assert images.target(6).tolist() == LABELS[:, :, 2].T.tolist()
    assert images.parts.tolist().count("test") == 4, "one whole volume"
    assert len(set(images.part("test").patients.tolist())) == 1
    assert any("16 of 16 pictures have more than 8 bits" in note.sentence for note in found)


def test_mask_elsewhere_or_of_other_depth(tmp_path):
    for k in range(2):
        nifti(tmp_path / f"images/v{k}.nii", VALUES)
        nifti(tmp_path / f"masks/v{k}.nii", LABELS, spacing=(-1.0, 2.0, 3.0) if k else (1.0, 2.0, 3.0))
    with pytest.raises(ValueError, match=r"v1\.nii lies otherwise in the body"), notes.collecting():
        mask_folder(tmp_path, cache_root=tmp_path / "cache")
    nifti(tmp_path / "masks/v1.nii", LABELS[..., :3])
    with pytest.raises(ValueError, match=r"v1\.nii holds 3 pictures, expected 4"), notes.collecting():
        mask_folder(tmp_path, cache_root=tmp_path / "cache")


def test_what_is_no_volume_is_named(tmp_path):
    nifti(tmp_path / "moments.nii", np.zeros((4, 4, 4, 3), np.int16))
    with pytest.raises(ValueError, match=r"moments\.nii has the axes \(4, 4, 4, 3\), expected three"):
        pictures.look(tmp_path / "moments.nii")
    whole = nifti(tmp_path / "cut.nii.gz", np.random.default_rng(0).random((16, 16, 16))).read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut\.nii\.gz is corrupt or cut short"):
        pictures.decode(tmp_path / "cut.nii.gz", 0)
    (tmp_path / "text.nii").write_text("no volume")
    with pytest.raises(ValueError, match=r"text\.nii cannot be read as NIfTI"):
        pictures.look(tmp_path / "text.nii")


def test_real_files():
    file = SHIPPED / "anatomical.nii"
    expected = np.asanyarray(nibabel.Nifti1Image.load(file).dataobj)
    known = pictures.look(file)
    assert len(known.frames) == expected.shape[2]
    assert np.array_equal(pictures.decode(file, 11).values[..., 0], expected[:, :, 11].T)
    for name in ("example4d.nii.gz", "functional.nii", "row_major.dconn.nii"):
        with pytest.raises(ValueError, match=name):
            pictures.look(SHIPPED / name)
