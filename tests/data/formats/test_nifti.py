"""NIfTI: slices along the last axis, with volume, spacing, and a mask on the same grid."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from data import notes
from data.formats import nifti as formats
from data.formats import pictures
from data.formats.mask_folder import mask_folder
from data.formats.pictures import survey
from data.names import Refused
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


def with_header(file: Path, **fields) -> Path:
    """A volume of 1 x 2 x 3 mm whose header is overwritten byte by byte, as nibabel would not write it."""
    nibabel.save(nibabel.Nifti1Image(VALUES, np.diag([1.0, 2.0, 3.0, 1.0])), file)
    content = bytearray(file.read_bytes())
    header = np.frombuffer(bytes(content[:348]), nibabel.Nifti1Header.template_dtype).copy().reshape(())
    for name, value in fields.items():
        header[name] = value
    content[:348] = header.tobytes()
    file.write_bytes(content)
    return file


@pytest.mark.parametrize(
    ("code", "unit"),
    [(0, 1), (1, 1000), (2, 1), (3, 0.001), (10, 1), (9, 1000), (4, 1), (5, 1), (7, 1), (12, 1), (255, 1)],
)
def test_units_are_the_low_three_bits(tmp_path, code, unit):
    file = with_header(tmp_path / "a.nii", xyzt_units=code)
    with notes.collecting() as said:
        assert pictures.look(file).spacing == pytest.approx((2 * unit, unit, 3 * unit))
    told = f"say a unit that is no length (xyzt_units {code & 7}): millimetres are taken"
    assert any(told in note.sentence for note in said) == (code & 7 > 3)


ROW = [np.nan, 0, 0, 0]
PLAIN = {"sform_code": 0, "qform_code": 0}


@pytest.mark.parametrize(
    "fields",
    [
        {"srow_x": ROW},
        {"srow_z": [0, 0, 3, np.inf]},
        {"srow_x": ROW, "srow_y": ROW, "srow_z": ROW},
        {"sform_code": 0, "qform_code": 1, "qoffset_x": np.nan},
        {"sform_code": 0, "qform_code": 1, "quatern_b": np.nan},
        {**PLAIN, "pixdim": [1, 1, np.nan, 3, 1, 1, 1, 1]},
    ],
)
def test_an_affine_that_is_not_finite_is_refused(tmp_path, fields):
    file = with_header(tmp_path / "odd.nii", **fields)
    for read in (pictures.look, formats.affine, lambda file: pictures.decode(file, 0)):
        with pytest.raises(Refused, match=r"odd\.nii does not say where it lies in the body: its affine .* NaN or inf"):
            read(file)
    for kind in ("images", "masks"):
        nifti(tmp_path / f"{kind}/a.nii", LABELS)
        nifti(tmp_path / f"{kind}/b.nii", LABELS)
    file.rename(tmp_path / "masks/b.nii")
    with pytest.raises(Refused, match=r"b\.nii does not say where it lies"), notes.collecting():
        mask_folder(tmp_path, cache_root=tmp_path / "cache")


def test_an_affine_of_no_volume_has_unknown_sides(tmp_path):
    flat = with_header(tmp_path / "flat.nii", srow_x=0, srow_y=[0, 2, 0, 0])
    assert pictures.look(flat).spacing == (2, 0, 3) and pictures.look(flat).axes == "?AS"
    alike = with_header(tmp_path / "alike.nii", srow_x=[3, 3, 0, 0], srow_y=[4, 4, 0, 0], srow_z=0)
    assert pictures.look(alike).spacing == (5, 5, 0)
    zero = with_header(tmp_path / "zero.nii", **PLAIN, pixdim=[1, 1, 0, 3, 1, 1, 1, 1])
    assert pictures.look(zero).axes == "LAS"


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_a_volume_without_a_voxel_is_refused(tmp_path, axis):
    sides = [3, 8, 6, 4, 1, 1, 1, 1]
    sides[axis] = 0
    with pytest.raises(Refused, match=r"none\.nii holds no voxel: its axes are \(.*\), expected each to be at least 1"):
        pictures.look(with_header(tmp_path / "none.nii", dim=sides))


def test_real_files():
    file = SHIPPED / "anatomical.nii"
    expected = np.asanyarray(nibabel.Nifti1Image.load(file).dataobj)
    known = pictures.look(file)
    assert len(known.frames) == expected.shape[2]
    assert np.array_equal(pictures.decode(file, 11).values[..., 0], expected[:, :, 11].T)
    for name in ("example4d.nii.gz", "functional.nii", "row_major.dconn.nii"):
        with pytest.raises(ValueError, match=name):
            pictures.look(SHIPPED / name)
