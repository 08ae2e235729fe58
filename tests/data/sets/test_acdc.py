"""ACDC: both layouts, imitated small as their makers write them, and what may be wrong with a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest

from data.loading import load
from data.names import Refused
from data.phases import phase_of
from data.sets.acdc import acdc

SIDES = (1.5, 1.25, 10.0)  # mm along the first axis of a file, the second and the third
FRAMES = {"patient001": (1, 12), "patient002": (1, 9), "patient090": (4, 11)}  # of patient090 systole comes first
INFO = {
    "patient001": (1, 12, "DCM"),
    "patient002": (1, 9, "NOR"),
    "patient090": (11, 4, "MINF"),
    "patient101": (1, 14, "RV"),
}


def painted(patient: str, frame: int, n: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Values and classes of a volume (columns, rows, slices); the first slice has no class and slice k a mark at row k."""
    rng = np.random.default_rng([int(patient[-3:]), frame])
    classes = np.zeros((10, 12, n), np.uint8)
    classes[2:5, 3:9, 1:], classes[5:9, 2:10, 1:], classes[6:8, 4:8, 1:] = 1, 2, 3
    values = (100 * classes + rng.integers(0, 50, classes.shape)).astype(np.int16)
    for k in range(n):
        values[0, k, k] = 4000  # a hot voxel, which must not decide what is white
    return values, classes


def write_nifti(root: Path, tested: bool = True) -> Path:
    folder = root / "acdc"
    everyone = FRAMES | ({"patient101": (1, 14)} if tested else {})
    for patient, frames in everyone.items():
        place = folder / ("testing" if patient == "patient101" else "training") / patient
        place.mkdir(parents=True)
        for frame in frames:
            values, classes = painted(patient, frame, 4 + frame % 3)
            stem = place / f"{patient}_frame{frame:02d}"
            for array, name in ((values, f"{stem}.nii.gz"), (classes, f"{stem}_gt.nii.gz")):
                nibabel.save(nibabel.Nifti1Image(array, np.diag([*SIDES, 1.0])), name)
        nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2, 2), np.int16), np.eye(4)), place / f"{patient}_4d.nii.gz")
        ed, es, group = INFO[patient]
        (place / "Info.cfg").write_text(
            f"ED: {ed}\nES: {es}\nGroup: {group}\nHeight: 184.0\nNbFrame: 30\nWeight: 95.0\n"
        )
    return folder


def write_h5(root: Path) -> Path:
    """As SSL4MIS writes it: volumes scaled to 0..1, slices with rows first, frames 01 and 02."""
    folder = root / "ACDC"
    (folder / "data" / "slices").mkdir(parents=True)
    of_part = {"train": ("patient001", "patient002"), "val": ("patient003",), "test": ("patient004",)}
    lines: dict[str, list[str]] = {}
    for part, patients in of_part.items():
        for patient in patients:
            for frame in (1, 2):
                values, classes = painted(patient, frame)
                image = ((values - values.min()) / np.ptp(values)).astype(np.float32).T  # slices, rows, columns
                stem = f"{patient}_frame{frame:02d}"
                lines.setdefault(part, []).append(stem)
                arrays = {"image": image, "label": classes.T, "scribble": np.full(image.shape, 4, np.uint8)}
                save(folder / "data" / f"{stem}.h5", arrays)
                for k in range(len(image)):
                    save(folder / "data" / "slices" / f"{stem}_slice_{k}.h5", {n: a[k] for n, a in arrays.items()})
    slices = [f"{stem}_slice_{k}" for stem in lines["train"] for k in (0, 4, 2, 1, 3)]
    (folder / "train_slices.list").write_text("\n".join(slices) + "\n")
    for part in ("train", "val", "test"):
        (folder / f"{part}.list").write_text("\n".join(lines[part]) + "\n")
    return folder


def save(file: Path, arrays: dict[str, np.ndarray]) -> None:
    with h5py.File(file, "w") as opened:
        for name, array in arrays.items():
            opened.create_dataset(name, data=array, compression="gzip")


def read(root: Path, **options):
    return acdc(root, cache_root=root / "cache", **options)


def notes_of(root: Path, **options) -> str:
    return " ".join(
        sentence for _, sentence in load("segment", "acdc", root, cache_root=root / "cache", **options).notes
    )


def test_reads_the_volumes_of_the_challenge(tmp_path):
    write_nifti(tmp_path)
    images = read(tmp_path)
    assert images.classes == ("background", "right ventricle", "myocardium", "left ventricle")
    assert images.kind == "class_map" and images.channels == 1
    assert list(dict.fromkeys(images.volumes)) == [
        *("patient001_ED", "patient001_ES", "patient002_ED", "patient002_ES"),
        *("patient090_ES", "patient090_ED", "patient101_ED", "patient101_ES"),  # as Info.cfg says, not by number
    ]
    for volume in ("patient001_ED", "patient090_ED"):
        own = images.subset(np.flatnonzero(images.volumes == volume))
        values, classes = painted(volume[:10], 1 if volume.startswith("patient001") else 11, len(own))
        assert own.slices.tolist() == list(range(len(own))) and set(own.patients) == {volume[:10]}
        low, high = np.percentile(values, (0.5, 99.5))
        for k in range(len(own)):
            assert np.array_equal(own.target(k).numpy(), classes[:, :, k].T)
            expected = np.clip(np.rint((values[:, :, k].T - low) * 255 / (high - low)), 0, 255)
            assert np.abs(own.raw(k)[..., 0] - expected).max() <= 1
    np.testing.assert_allclose(images.spacings, np.tile([1.25, 1.5, 10.0], (len(images), 1)))
    assert [int(images.groups[images.patients == p][0]) for p in INFO] == [2, 0, 1, 4]
    assert set(images.patients[images.parts == "test"]) == {"patient101"} and set(images.parts) == {"train", "test"}
    assert images.names[0] == "patient001_frame01_slice_0" and len(set(images.names)) == len(images)
    assert "8 volumes: black and white are their percentiles 0.5 and 99.5" in notes_of(tmp_path)


def test_scale_changes_the_spacing_within_a_slice(tmp_path):
    write_nifti(tmp_path)
    images = read(tmp_path, scale=0.5)
    assert images.shapes[0].tolist() == [6, 5]
    np.testing.assert_allclose(images.spacings[0], [2.5, 3.0, 10.0])


def test_without_a_tested_part_a_fifth_of_the_patients_is_tested(tmp_path):
    folder = write_nifti(tmp_path)
    for mask in folder.glob("testing/*/*_gt.nii.gz"):
        mask.unlink()
    images = read(tmp_path)
    tested, learnt = (set(images.patients[images.parts == part]) for part in ("test", "train"))
    assert len(tested) == 1 and tested | learnt == set(FRAMES) and not tested & learnt
    said = notes_of(tmp_path)
    assert "testing has no annotations (_gt): its 2 volumes are not used" in said and "1 of 3 patients" in said


def test_without_info_the_earlier_frame_is_diastole_and_it_is_said(tmp_path):
    folder = write_nifti(tmp_path)
    for info in folder.rglob("Info.cfg"):
        info.unlink()
    images = read(tmp_path)
    assert images.names[np.flatnonzero(images.volumes == "patient090_ED")[0]].startswith("patient090_frame04")
    assert set(images.groups) == {5}
    said = notes_of(tmp_path)
    assert "4 patients have no Info.cfg, the first is patient001" in said
    assert "the phases of 4 patients are not told: the earlier frame is taken as end-diastole" in said


def test_reads_the_slices_and_lists_of_ssl4mis(tmp_path):
    write_h5(tmp_path)
    images = read(tmp_path, spacing=[1, 1, 10])
    parts = {part: set(images.patients[images.parts == part]) for part in ("train", "val", "test")}
    assert parts == {"train": {"patient001", "patient002"}, "val": {"patient003"}, "test": {"patient004"}}
    assert len(images) == 8 * 5 and set(images.volumes[images.parts == "test"]) == {"patient004_ED", "patient004_ES"}
    for patient, frame, volume in (("patient001", 2, "patient001_ES"), ("patient004", 1, "patient004_ED")):
        own = images.subset(np.flatnonzero(images.volumes == volume))
        values, classes = painted(patient, frame)
        low, high = np.percentile(values, (0.5, 99.5))
        assert own.slices.tolist() == [0, 1, 2, 3, 4]
        for k in range(5):
            assert np.array_equal(own.target(k).numpy(), classes[:, :, k].T)
            assert (
                np.abs(own.raw(k)[..., 0] - np.clip((values[:, :, k].T - low) * 255 / (high - low), 0, 255)).max()
                <= 1.5
            )
    assert (images.spacings == [1, 1, 10]).all() and np.isnan(read(tmp_path).spacings).all()
    assert "phases of 4 patients are not told" in notes_of(tmp_path)


def test_both_layouts_of_one_heart_give_the_same_images(tmp_path):
    """The affine map to 0..1 that SSL4MIS makes does not change what percentiles make of it."""
    for write, name in ((write_nifti, "a"), (write_h5, "b")):
        (tmp_path / name).mkdir()
        write(tmp_path / name)
    one, other = read(tmp_path / "a"), read(tmp_path / "b")
    place = one.names.index("patient001_frame01_slice_2"), other.names.index("patient001_frame01_slice_2")
    np.testing.assert_array_equal(one.target(place[0]), other.target(place[1]))
    assert np.abs(one.raw(place[0]).astype(int)[:, :, 0] - other.raw(place[1]).astype(int)[:, :, 0]).max() <= 1


def test_the_slices_of_wsl4mis_without_lists(tmp_path):
    folder = write_h5(tmp_path)
    for file in folder.glob("*.list"):
        file.unlink()
    (folder / "data" / "slices").rename(folder / "ACDC_training_slices")
    shutil.rmtree(folder / "data")
    images = read(tmp_path)
    assert len(images) == 40 and set(images.parts) == {"train", "test"}
    assert not set(images.patients[images.parts == "test"]) & set(images.patients[images.parts == "train"])


def test_volumes_that_are_missing_are_put_together_from_their_slices(tmp_path):
    folder = write_h5(tmp_path)
    whole = read(tmp_path)
    for file in folder.glob("data/*.h5"):
        file.unlink()
    again = read(tmp_path)
    assert again.names == whole.names
    for i in range(len(again)):
        np.testing.assert_array_equal(again.raw(i), whole.raw(i))


def test_spacing_is_for_files_that_do_not_say_it(tmp_path):
    write_nifti(tmp_path)
    with pytest.raises(Refused, match="is for HDF5 files"):
        read(tmp_path, spacing=[1, 1, 10])
    with pytest.raises(Refused, match="spacing"):
        load("segment", "acdc", tmp_path, spacing=[1, 1])


def test_a_second_read_is_from_the_cache(tmp_path):
    folder = write_nifti(tmp_path)
    first = read(tmp_path)
    assert read(tmp_path).fingerprint == first.fingerprint
    (folder / "training" / "patient002" / "Info.cfg").write_text("ED: 1\nES: 9\nGroup: HCM\n")
    assert read(tmp_path).groups.tolist() != first.groups.tolist()


@pytest.mark.parametrize(
    ("volume", "phase"),
    [("patient001_ED", "ED"), ("a/b_ES.nii.gz", "ES"), ("scan.nii", ""), ("MED", ""), ("x_ed", ""), ("", "")],
)
def test_phases_are_told_by_the_name(volume, phase):
    assert phase_of(volume) == phase
