"""Slices know their volume, their number and the millimetres between pixels, and a volume is never divided."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

import data
from data import notes
from data.formats.volumes import Place, whose
from data.inventory import lines, take
from data.splits import make_splits
from tests.data.formats.writing import dicom, nifti, save, thirds

RNG = np.random.default_rng(3)
ACROSS = ["1", "0", "0", "0", "1", "0"]


def load(task, name, root, **options):
    with notes.collecting() as said:
        images = data.load(task, name, root, **options)
    return images, [sentence for _, sentence in said]


def volume(depth, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (10, 8, depth)).astype(np.uint8)  # columns, rows, slices


def series(folder: Path, depth: int, uid="1.2.3", patient="", gap=2.5, **header) -> list[np.ndarray]:
    """Slices whose names and numbers are in another order than their positions; returns them from below to above."""
    slices = [RNG.integers(0, 200, (8, 10)).astype(np.uint8) for _ in range(depth)]
    for k, values in enumerate(slices):
        name = f"s{(k * 3) % depth if depth % 3 else k}"
        at = {"ImagePositionPatient": ["0", "0", str(-7 + gap * k)], "ImageOrientationPatient": ACROSS}
        at = {"SeriesInstanceUID": uid, "PatientID": patient, "InstanceNumber": depth - k, **at, **header}
        dicom(folder / f"{name}.dcm", values, **at)
    return slices


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_nifti_and_its_masks_slice_by_slice(tmp_path, scale):
    depths = [3, 5, 4, 2]
    for k, depth in enumerate(depths):
        nifti(tmp_path / f"images/p{k}.nii.gz", volume(depth, k), spacing=(0.5, 0.8, 3 + k))
        nifti(tmp_path / f"masks/p{k}.nii.gz", volume(depth, k) // 128, spacing=(0.5, 0.8, 3 + k))
    images, _ = load("segment", "folder", tmp_path, scale=scale)
    assert images.volumes.tolist() == [f"p{k}.nii.gz" for k, depth in enumerate(depths) for _ in range(depth)]
    assert images.slices.tolist() == [n for depth in depths for n in range(depth)]
    assert np.allclose(images.spacings[:, :2], [0.8 / scale, 0.5 / scale])
    assert images.spacings[:, 2].tolist() == [3.0 + k for k, depth in enumerate(depths) for _ in range(depth)]
    if scale == 1:
        for i, (name, number) in enumerate(zip(images.volumes, images.slices, strict=True)):
            stored = volume(depths[int(name[1])], int(name[1]))[:, :, number].T
            assert np.array_equal(images.raw(i)[..., 0], stored) and np.array_equal(images.target(i), stored // 128)
    splits = make_splits(images, 3, np.random.default_rng(0))
    sides = [set(side.volumes.tolist()) for side in (splits.train, splits.val, splits.test) if side is not None]
    assert len(sides) == 3 and sum(map(len, sides)) == 4, "no volume on two sides"
    told = "\n".join(lines(take(splits)))
    assert "1 in validation, 1 in test; 2 to 5 slices each" in told
    assert f"{0.8 / scale:g} x {0.5 / scale:g} mm (rows x columns), 3 to 6 mm between slices" in told
    assert "patients   not known: images of one patient may be on both sides; each volume counts as one" in told


def test_volumes_in_folders_of_patients_are_not_one(tmp_path):
    for k in range(8):
        nifti(tmp_path / f"{'ab'[k % 2]}/p{k}/image.nii", volume(3, k), spacing=(1, 1, 2))
    images, _ = load("classify", "folder", tmp_path, image_size=None)
    assert len(set(images.volumes)) == 8 and set(images.volumes) == set(images.patients)
    assert images.volumes[0] == "a/p0/image.nii" and set(images.slices.tolist()) == {0, 1, 2}
    assert not set(images.part("test").volumes) & set(images.part("train").volumes)


def test_a_patient_has_several_volumes(tmp_path):
    for k in range(8):
        nifti(tmp_path / f"{'ab'[k % 2]}/v{k}.nii", volume(3, k))
    (tmp_path / "patients.csv").write_text("file,patient\n" + "".join(f"v{k}.nii,P{k // 2}\n" for k in range(6)))
    images, _ = load("classify", "folder", tmp_path, image_size=None)
    whose = dict(zip(images.volumes.tolist(), images.patients.tolist(), strict=True))
    assert whose == {f"v{k}.nii": f"P{k // 2}" if k < 6 else f"v{k}.nii" for k in range(8)}
    found = take(make_splits(images, 0, np.random.default_rng(0)))
    assert sum(found["patients"]["named"].values()) == 3 and found["patients"]["without"] == 6


GUESS = "guessed by the names of 16 volumes without _ED and _ES: both phases are of one patient"


def test_both_phases_are_of_one_patient_whose_masks_are_own(tmp_path):
    for k in range(8):
        for phase in ("ED", "ES"):
            nifti(tmp_path / f"images/p{k}_{phase}.nii.gz", volume(3, k), spacing=(1, 1, 2))
            nifti(tmp_path / f"masks/p{k}_{phase}.nii.gz", volume(3, k) // 128, spacing=(1, 1, 2))
    images, said = load("segment", "folder", tmp_path)
    assert set(images.volumes) == {f"p{k}_{phase}.nii.gz" for k in range(8) for phase in ("ED", "ES")}
    assert images.patients.tolist() == [volume.partition("_")[0] for volume in images.volumes]
    assert not set(images.part("test").patients) & set(images.part("train").patients)
    assert any(f"8 patients are {GUESS}" in sentence for sentence in said)
    found = take(make_splits(images, 6, np.random.default_rng(0)))
    assert not found["patients"]["on_both_sides"] and sum(found["patients"]["named"].values()) == 8
    (tmp_path / "patients.csv").write_text(
        "file,patient\n" + "".join(f"p{k}_{phase}.nii.gz,{phase}{k}\n" for k in range(8) for phase in ("ED", "ES"))
    )
    images, said = load("segment", "folder", tmp_path)
    assert set(images.patients) == {f"{phase}{k}" for k in range(8) for phase in ("ED", "ES")}, "as the table says"
    assert not any("guessed by the names" in sentence for sentence in said)


def test_both_phases_are_of_one_patient_in_folders_of_classes(tmp_path):
    for k in range(8):
        nifti(tmp_path / f"{'ab'[k % 2]}/p{k}_ED.nii", volume(3, k))
        save(tmp_path / f"{'ab'[k // 4]}/p{k}_ES.tif", list(volume(3, k)))  # in another folder, a stack of pages
    images, said = load("classify", "folder", tmp_path, image_size=None, frames="all")
    assert images.patients.tolist() == [volume.partition("_")[0] for volume in images.volumes]
    assert not set(images.part("test").patients) & set(images.part("train").patients)
    assert any(f"8 patients are {GUESS}" in sentence for sentence in said)


def test_parts_of_ones_own_that_divide_the_phases_of_a_patient_are_said(tmp_path):
    for part, phase in (("train", "ED"), ("test", "ES")):
        for k in range(2):
            nifti(tmp_path / f"images/{part}/p{k}_{phase}.nii.gz", volume(3, k))
            nifti(tmp_path / f"masks/{part}/p{k}_{phase}.nii.gz", volume(3, k) // 128)
    _, said = load("segment", "folder", tmp_path)
    assert any("2 of 2 patients have images both in train and in test (for instance 'p0')" in each for each in said)


@pytest.mark.parametrize(
    ("volumes", "patients"),
    [
        (["p1/heart_ED.nii", "p1/heart_ES.nii", "p2/heart_ED.nii"], ["p1/heart", "p1/heart", "p2/heart"]),
        (["p1/ED.nii", "p1/ES.nii", "p2/_ED.nii"], ["p1", "p1", "p2"]),
        (["ED.nii", "a_b_ES.nii.gz", "a_ED.tif"], ["ED.nii", "a_b", "a"]),
        (["a_ed.nii", "MED.nii", "series-1f", ""], ["a_ed.nii", "MED.nii", "series-1f", ""]),
        (["sick/a_ED.nii", "well/a_ES.nii", "well/b_ES.nii"], ["a", "a", "b"]),
    ],
)
def test_patients_by_names_of_volumes(volumes, patients):
    with notes.collecting():
        assert whose([""] * len(volumes), [Place(volume) for volume in volumes]) == patients
    assert whose(["x"] * len(volumes), [Place(volume) for volume in volumes]) == ["x"] * len(volumes)


def test_units_and_affines(tmp_path):
    written = nibabel.Nifti1Image(volume(3), np.diag([-500.0, 700.0, 3000.0, 1.0]))
    written.header.set_xyzt_units("micron")
    for k in range(4):
        (tmp_path / "ab"[k % 2]).mkdir(exist_ok=True)
        nibabel.save(written, tmp_path / "ab"[k % 2] / f"v{k}.nii")
    nifti(tmp_path / "a/other.nii", volume(3, 9), spacing=(0.5, -0.7, 3))
    images, said = load("classify", "folder", tmp_path, image_size=None)
    assert np.allclose(images.spacings, [0.7, 0.5, 3])
    assert any("in different ways (12 LAS, 3 RPS)" in sentence for sentence in said)


@pytest.mark.parametrize("name", ["a square of 4", "as it is"])
def test_spacing_after_resizing(tmp_path, name):
    for k in range(10):
        dicom(tmp_path / f"{'ab'[k % 2]}/{k}.dcm", volume(1, k)[:, :, 0], PatientID=f"P{k}", PixelSpacing=[2, 3])
    images, _ = load("classify", "folder", tmp_path, image_size=8 if "square" in name else None)
    assert images.shapes[0].tolist() == ([8, 8] if "square" in name else [10, 8])
    assert np.allclose(images.spacings[:, :2], [2, 3]) and np.isnan(images.spacings[:, 2]).all()
    assert not images.volumes.any()
    images, _ = load("classify", "folder", tmp_path, image_size=16)
    assert np.allclose(images.spacings[:, :2], [1, 1.5])


def test_single_dicom_files_are_slices_of_their_series(tmp_path):
    wanted = {
        k: series(tmp_path / "ab"[k % 2] / f"scan{k}", 4, f"1.2.{k}", PixelSpacing=["0.5", "0.7"]) for k in range(6)
    }
    images, said = load("classify", "folder", tmp_path, image_size=None)
    assert len(set(images.volumes)) == 6 and np.allclose(images.spacings, [0.5, 0.7, 2.5])
    assert all(name.startswith("series-") and "1.2." not in name for name in images.volumes)
    for i, (name, number) in enumerate(zip(images.names, images.slices, strict=True)):
        assert np.array_equal(images.raw(i)[..., 0], wanted[int(name.split("scan")[1][0])][number])
    assert not set(images.part("test").volumes) & set(images.part("train").volumes)
    assert not any("uneven" in sentence for sentence in said)


def test_series_without_positions_with_gaps_and_in_two_directions(tmp_path):
    series(tmp_path / "a/numbered", 3, "1", "P1", ImagePositionPatient=None, SpacingBetweenSlices="4")
    for k, at in enumerate((0, 1, 5)):
        values = RNG.integers(0, 200, (8, 10)).astype(np.uint8)
        header = {"PatientID": "P2", "SeriesInstanceUID": "2", "ImageOrientationPatient": ACROSS}
        dicom(tmp_path / f"b/gap{k}.dcm", values, ImagePositionPatient=["0", "0", str(at)], **header)
    side = {"PatientID": "P2", "SeriesInstanceUID": "2", "ImageOrientationPatient": ["0", "1", "0", "0", "0", "-1"]}
    dicom(tmp_path / "b/scout.dcm", values, ImagePositionPatient=["0", "0", "0"], PixelSpacing=[1, 1], **side)
    for k in range(8):
        dicom(tmp_path / f"{'ab'[k % 2]}/other{k}.dcm", values, PatientID=f"Q{k}", SeriesInstanceUID="1")
    images, said = load("classify", "folder", tmp_path, image_size=None)
    at = {name: i for i, name in enumerate(images.names)}
    assert [images.slices[at[f"s{k}.dcm"]] for k in range(3)] == [2, 1, 0], "by their numbers"
    assert images.spacings[at["s0.dcm"], 2] == 4
    assert images.volumes[at["scout.dcm"]] == "" and images.volumes[at["gap0.dcm"]] != ""
    assert np.isnan(images.spacings[at["gap1.dcm"], 2])
    assert any("1 volumes have slices at uneven distances" in sentence for sentence in said)


def test_frames_and_pages(tmp_path):
    for k in range(6):
        frames = RNG.integers(0, 200, (3, 8, 10)).astype(np.uint8)
        dicom(
            tmp_path / f"images/f{k}.dcm", frames, PatientID="", PixelSpacing=["0.5", "0.7"], SpacingBetweenSlices="2"
        )
        save(tmp_path / f"masks/f{k}.tif", [np.resize(thirds(), (8, 10)) for _ in range(3)])
        save(tmp_path / f"images/t{k}.tif", list(frames))
        save(tmp_path / f"masks/t{k}.tif", [np.resize(thirds(), (8, 10)) for _ in range(3)])
    images, _ = load("segment", "folder", tmp_path, frames="all")
    assert images.volumes.tolist() == [f"f{k}.dcm" for k in range(6) for _ in range(3)] + [
        f"t{k}.tif" for k in range(6) for _ in range(3)
    ]
    assert images.slices.tolist() == [0, 1, 2] * 12
    assert np.allclose(images.spacings[:18], [0.5, 0.7, 2]) and np.isnan(images.spacings[18:]).all()
    assert not set(images.part("test").volumes) & set(images.part("train").volumes)
    told = "\n".join(lines(take(make_splits(images, 0, np.random.default_rng(0)))))
    assert "0.5 x 0.7 mm (rows x columns), 2 mm between slices; not known of 18 images" in told


def test_shipped_volumes(tmp_path):
    shipped = Path(nibabel.__file__).parent / "tests" / "data"
    for k in range(2):
        for name in ("anatomical.nii", "standard.nii.gz"):
            (tmp_path / "ab"[k]).mkdir(exist_ok=True)
            (tmp_path / "ab"[k] / f"{k}{name}").write_bytes((shipped / name).read_bytes())
    images, _ = load("classify", "folder", tmp_path, image_size=None)
    for name, i in {str(name): i for i, name in enumerate(images.volumes)}.items():
        file = nibabel.Nifti1Image.load(shipped / name[1:])
        of = images.volumes == name
        assert images.slices[of].tolist() == list(range(file.shape[2]))
        wanted = np.linalg.norm(np.asarray(file.affine)[:3, :3], axis=0)[[1, 0, 2]]
        assert np.allclose(images.spacings[i], wanted, atol=1e-4)


def test_shipped_dicom(tmp_path):
    shipped = Path(pydicom.__file__).parent / "data" / "test_files"
    for k, name in enumerate(["CT_small.dcm", "MR_small.dcm", "rtdose.dcm", "SC_rgb_rle.dcm"]):
        (tmp_path / "ab"[k % 2]).mkdir(exist_ok=True)
        (tmp_path / "ab"[k % 2] / name).write_bytes((shipped / name).read_bytes())
    images, _ = load("classify", "folder", tmp_path, image_size=None, test_fraction=0.3)
    frames = images.volumes == "rtdose.dcm"
    assert frames.sum() == 15 and images.slices[frames].tolist() == list(range(15))
    for name in ("CT_small.dcm", "MR_small.dcm", "rtdose.dcm#3"):
        spacing = pydicom.dcmread(shipped / name.partition("#")[0]).PixelSpacing
        assert images.spacings[images.names.index(name), :2].tolist() == [float(side) for side in spacing]
