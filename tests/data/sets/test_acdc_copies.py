"""Copies of ACDC that are damaged, incomplete or named otherwise: one sentence each, or what is made of them."""

from __future__ import annotations

import gzip
import shutil

import h5py
import nibabel
import numpy as np
import pytest

from data.names import Missing, Refused
from tests.data.sets.test_acdc import SIDES, notes_of, painted, read, save, write_h5, write_nifti


def _other_size(folder):
    file = folder / "training" / "patient002" / "patient002_frame09_gt.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((10, 11, 4), np.uint8), np.eye(4)), file)


def _other_class(folder):
    file = folder / "training" / "patient002" / "patient002_frame09_gt.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.full((10, 12, 4), 5, np.uint8), np.eye(4)), file)


def _overwrite(file, array):
    nibabel.save(nibabel.Nifti1Image(array, np.diag([*SIDES, 1.0])), file)


def _with_nan(folder):
    values = painted("patient002", 9, 4)[0].astype(np.float32)
    values[0, 0, 2] = np.nan
    _overwrite(folder / "training/patient002/patient002_frame09.nii.gz", values)


def _into_a_folder(folder):
    inner = folder / "training/patient001"
    inner.rename(folder / "moved")
    inner.mkdir()
    (folder / "moved").rename(inner / "patient001")


DAMAGE = {
    "mask": (lambda f: next(f.glob("training/patient002/*09_gt.nii.gz")).unlink(), Missing, "has no annotation: expected patient002_frame09_gt"),
    "size": (_other_size, Refused, r"_gt.nii.gz: the annotation has the size \(4, 11, 10\), expected \(4, 12, 10\)"),
    "class": (_other_class, Refused, "holds the value 5, expected classes: 0 background, 1 right ventricle"),
    "folder": (lambda f: shutil.rmtree(f / "training"), Missing, "has no folder training; expected this tree"),
    "patients": (lambda f: [p.rename(p.with_name("p")) for p in f.glob("testing/*")], Missing, "has no folder patient001"),
    "frames": (lambda f: [x.unlink() for x in f.glob("training/patient001/*.nii.gz")], Missing, "holds no frame: expected"),
    "cut": (lambda f: (x := next(f.glob("training/patient001/*01.nii.gz"))).write_bytes(x.read_bytes()[:200]), Refused, "patient001_frame01.nii.gz"),
    "info": (lambda f: (f / "training/patient001/Info.cfg").write_text("Group: DCM\n"), Refused, "does not say which frames are ED"),
    "phase": (lambda f: (f / "training/patient001/Info.cfg").write_text("ED: 1\nES: 2\n"), Refused, "ED is frame 1 and ES frame 2"),
    "group": (lambda f: (f / "training/patient001/Info.cfg").write_text("ED: 1\nES: 12\nGroup: X\n"), Refused, "Group is 'X', expected one of NOR"),
    "twice": (lambda f: shutil.copytree(f / "training/patient001", f / "testing/patient001"), Refused, "patient001 is in train and in test|not the only frame"),
    "nan": (_with_nan, Refused, r"patient002_frame09.nii.gz holds values in slice 2 that are no finite numbers"),
    "half": (lambda f: _overwrite(f / "training/patient002/patient002_frame09_gt.nii.gz", np.full((10, 12, 4), 1.5)), Refused, "holds the value 1.5, expected classes"),
    "series": (lambda f: _overwrite(f / "training/patient002/patient002_frame09.nii.gz", np.zeros((10, 12, 4, 3), np.int16)), Refused, r"has the axes \(10, 12, 4, 3\), expected three"),
    "deeper": (_into_a_folder, Missing, "patient001 holds no frame: expected patient001_frame01.nii.gz and the like in this tree"),
    "flat": (lambda f: [x.rename(f / "training" / x.name) for x in f.glob("training/*/*.nii.gz")] and [shutil.rmtree(d) for d in f.glob("training/patient???")], Missing, "has no folder patient001"),
    "stranger": (lambda f: shutil.copy(f / "training/patient001/patient001_frame01.nii.gz", f / "training/patient002"), Refused, "of another patient"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_volumes_are_refused_in_one_sentence(tmp_path, kind):
    damage, error, sentence = DAMAGE[kind]
    damage(write_nifti(tmp_path))
    with pytest.raises(error, match=sentence):
        read(tmp_path)


def _without_label(folder):
    file = folder / "data/slices/patient001_frame01_slice_3.h5"
    save(file, {"image": np.zeros((12, 10))})


def _change(file, name, change):
    with h5py.File(file) as opened:
        arrays = {key: np.asarray(opened[key]) for key in opened}
    save(file, arrays | {name: change(arrays[name])})


def _slices_last(folder, slices=True):
    """Volumes as rows, columns and slices, with or without the files of their slices."""
    for name in ("image", "label"):
        _change(folder / "data/patient004_frame02.h5", name, lambda array: np.moveaxis(array, 0, -1))
    for file in () if slices else folder.glob("data/slices/patient004_frame02_slice_*.h5"):
        file.unlink()


def _emptied(folder, *shape):
    save(folder / "data/patient004_frame02.h5", dict.fromkeys(("image", "label"), np.zeros(shape)))


def _add_line(file, line):
    file.write_text(file.read_text() + line + "\n")


def _fourth_class(label):
    label[3, 3] = 4
    return label


H5_DAMAGE = {
    "class": (lambda f: _change(f / "data/slices/patient001_frame01_slice_3.h5", "label", _fourth_class), Refused, "patient001_frame01_slice_3.h5 holds the value 4, expected classes"),
    "complex": (lambda f: _change(f / "data/patient004_frame02.h5", "image", lambda x: x.astype(complex)), Refused, "patient004_frame02.h5 holds complex128 as image, expected one number for each voxel"),
    "empty": (lambda f: (f / "test.list").write_text("\n"), Refused, "test.list names nothing, expected names such as"),
    "half": (lambda f: (x := f / "data/patient004_frame02.h5").write_bytes(x.read_bytes()[:-500]), Refused, "patient004_frame02.h5 cannot be read as HDF5"),
    "axes": (lambda f: _change(f / "data/patient004_frame02.h5", "image", lambda x: x[0]), Refused, r"holds an image of the shape \(12, 10\), expected three axes"),
    "slices last": (_slices_last, Refused, r"patient004_frame02.h5 has the axes \(12, 10, 5\), but .*slices holds slices of it of the shape \(12, 10\), the last with the number 4: expected slices first"),
    "shortest last": (lambda f: _slices_last(f, slices=False), Refused, r"patient004_frame02.h5 has the axes \(12, 10, 5\), of which the last is by far the shortest: expected slices first"),
    "fewer": (lambda f: [_change(f / "data/patient004_frame02.h5", name, lambda x: x[:3]) for name in ("image", "label")], Refused, r"has the axes \(3, 12, 10\), but .* the last with the number 4"),
    "no slices": (lambda f: _emptied(f, 0, 12, 10), Refused, r"patient004_frame02.h5 holds no voxel as image: its axes are \(0, 12, 10\)"),
    "no rows": (lambda f: _emptied(f, 5, 0, 10), Refused, r"patient004_frame02.h5 holds no voxel as image: its axes are \(5, 0, 10\)"),
    "no columns": (lambda f: save(f / "data/slices/patient001_frame01_slice_3.h5", dict.fromkeys(("image", "label"), np.zeros((12, 0)))), Refused, r"slice_3.h5 holds no voxel as image"),
    "boolean": (lambda f: _change(f / "data/patient004_frame02.h5", "image", lambda x: x > 0), Refused, "patient004_frame02.h5 holds bool as image, expected one number for each voxel"),
    "both ways": (lambda f: _add_line(f / "test.list", "patient004_frame01_slice_0"), Refused, "test.list names patient004_frame01 twice, whole and by its slices, expected one of both"),
    "file": (lambda f: (f / "data/slices/patient001_frame01_slice_3.h5").unlink(), Missing, "names patient001_frame01_slice_3, and there is no"),
    "label": (_without_label, Refused, "cannot be read as HDF5 with image and label"),
    "cut": (lambda f: (f / "data/patient004_frame02.h5").write_bytes(b"HDF"), Refused, "cannot be read as HDF5"),
    "size": (lambda f: save(f / "data/slices/patient001_frame01_slice_3.h5", dict.fromkeys(("image", "label"), np.zeros((9, 9)))), Refused, "differ in size"),
    "line": (lambda f: (f / "test.list").write_text("hello\n"), Refused, "names 'hello', expected names such as"),
    "volume": (lambda f: (f / "test.list").write_text("patient077_frame01\n"), Missing, "neither .*patient077_frame01.h5 nor a slice of it"),
    "both": (lambda f: (f / "test.list").write_text("patient001_frame01\n"), Refused, "as another list does"),
    "patient": (lambda f: (f / "train.list").rename(f / "train_slices.list") and (f / "train_slices.list").write_text("patient004_frame01\npatient001_frame02\n") and (f / "test.list").write_text("patient004_frame02\n"), Refused, "patient004 is in train and in test"),
    "lists": (lambda f: [(f / n).unlink() for n in ("train_slices.list", "train.list")], Missing, "has no train_slices.list; expected this tree"),
}  # fmt: skip


@pytest.mark.parametrize("kind", H5_DAMAGE)
def test_damaged_slices_are_refused_in_one_sentence(tmp_path, kind):
    damage, error, sentence = H5_DAMAGE[kind]
    damage(write_h5(tmp_path))
    with pytest.raises(error, match=sentence):
        read(tmp_path)


def test_equal_lines_of_a_list_count_once_and_labels_may_be_boolean(tmp_path):
    folder = write_h5(tmp_path)
    expected = read(tmp_path)
    _add_line(folder / "test.list", "patient004_frame01.h5")
    _add_line(folder / "train_slices.list", "patient001_frame01_slice_2")
    assert read(tmp_path).names == expected.names
    _change(folder / "data/patient004_frame02.h5", "label", lambda x: x > 0)
    images = read(tmp_path)
    assert set(np.unique(images.target(images.volumes.tolist().index("patient004_ES") + 2))) == {0, 1}


@pytest.mark.parametrize("kind", ["image", "annotation"])
def test_an_affine_that_is_not_finite_is_refused(tmp_path, kind):
    folder = write_nifti(tmp_path)
    file = folder / f"training/patient002/patient002_frame09{'_gt' * (kind == 'annotation')}.nii.gz"
    content = bytearray(gzip.decompress(file.read_bytes()))
    content[280:284] = np.float32(np.nan).tobytes()  # the first number of srow_x
    file.write_bytes(gzip.compress(content))
    with pytest.raises(Refused, match=rf"{file.name} does not say where it lies in the body"):
        read(tmp_path)


def test_annotations_that_lie_elsewhere_are_said(tmp_path):
    folder = write_nifti(tmp_path)
    file = folder / "training/patient002/patient002_frame09_gt.nii.gz"
    classes = np.asarray(nibabel.Nifti1Image.load(file).dataobj)
    nibabel.save(nibabel.Nifti1Image(classes, np.diag([3.0, 3.0, 5.0, 1.0])), file)
    assert "1 annotations say to lie otherwise in the body" in notes_of(tmp_path)
    assert (read(tmp_path).spacings == [1.25, 1.5, 10.0]).all()


def test_files_that_are_named_or_packed_otherwise(tmp_path):
    folder = write_nifti(tmp_path)
    expected = read(tmp_path)
    for file in folder.glob("training/patient001/*.nii.gz"):
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    for file in folder.glob("training/patient002/*.nii.gz"):
        file.rename(file.with_name(file.name.replace(".nii.gz", ".NII.GZ")))
    images = read(tmp_path)
    assert images.names == expected.names
    assert all(np.array_equal(images.raw(i), expected.raw(i)) for i in range(len(images)))


def test_a_lone_phase_is_said_and_is_systole_unless_it_is_the_first_frame(tmp_path):
    folder = write_h5(tmp_path)
    (folder / "val.list").write_text("patient003_frame02.h5\n")
    (folder / "test.list").write_text("patient004_frame01\r\n")
    images = read(tmp_path)
    assert set(images.volumes[images.parts == "val"]) == {"patient003_ES"}
    assert set(images.volumes[images.parts == "test"]) == {"patient004_ED"}
    assert "2 patients have one phase alone, the first is patient003" in notes_of(tmp_path)


def test_slices_that_lack_are_said(tmp_path):
    folder = write_h5(tmp_path)
    listed = (folder / "train_slices.list").read_text().replace("patient001_frame01_slice_2\n", "")
    (folder / "train_slices.list").write_text(listed)
    images = read(tmp_path)
    assert images.slices[images.volumes == "patient001_ED"].tolist() == [0, 1, 3, 4]
    assert "1 volumes lack slices, the first is patient001_ED" in notes_of(tmp_path)
