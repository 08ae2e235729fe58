"""Whole runs on volumes: both layouts of ACDC, one's own NIfTI files, and the built-in hearts."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from experiments.segment import SCRIPT
from tests.data.formats.writing import dicom, save
from tests.data.sets.test_acdc import SIDES, painted, write_h5, write_nifti
from tests.experiments.runs import curve_of, run_in_process

SHORT = {
    "n_initial": 3,
    "n_query": 3,
    "n_cycles": 1,
    "steps": 2,
    "crop": 16,
    "metric": "dice_volume",
    "aggregate": "max",
}
CLASSES = ("right ventricle", "myocardium", "left ventricle")


@pytest.mark.parametrize(("write", "measured"), [(write_nifti, True), (write_h5, False)])
def test_acdc_runs_in_both_layouts(tmp_path, write, measured):
    write(tmp_path)
    chosen = {"dataset": "acdc", "dataset_options": {}, "data_root": str(tmp_path), "heuristic": "entropy", "apart": 2}
    curve = curve_of(run_in_process(SCRIPT, **SHORT, **chosen))
    for behind in ("", "_ED", "_ES"):
        assert f"dice_volume{behind}" in curve and (f"hd95_volume{behind}" in curve) is measured
        assert all(f"dice_volume{behind}[{name}]" in curve for name in CLASSES)
    assert curve["n_labelled"] == [3, 6]


def test_own_volumes_are_measured_whole(tmp_path):
    for k, name in enumerate(("anna_ED", "anna_ES", "bert_ED", "carl_ED")):
        values, classes = painted(f"patient00{k}", 1)
        part = "test" if name in ("bert_ED", "carl_ED") else "train"
        for array, kind in ((values, "images"), (classes, "masks")):
            folder = tmp_path / kind / part
            folder.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array, np.diag([*SIDES, 1.0])), folder / f"{name}.nii.gz")
    chosen = {"dataset": "folder", "dataset_options": {}, "data_root": str(tmp_path), "eval_samples": 2}
    folder = run_in_process(SCRIPT, **SHORT | chosen | {"unit": "volume", "n_initial": 5, "n_query": 5})
    curve = curve_of(folder)
    assert curve["dice_volume"] == pytest.approx(curve["dice_volume_ED"]) and "dice_volume_ES" not in curve
    assert {"mc_asd_volume", "mc_dice_volume_ED[class 3]", "hd95_volume[class 1]"} <= set(curve)
    assert curve["n_labelled"] == [5, 10]


@pytest.mark.parametrize("chosen", [{"unit": "volume"}, {"apart": 2, "heuristic": "entropy"}])
def test_own_series_of_slices_are_measured_and_chosen_as_volumes(tmp_path, chosen):
    for k in range(5):
        values, classes = painted(f"patient00{k}", 1, 4)
        for z in range(4):
            place = f"scan{k}/IM{3 * z % 4}"  # no name tells the order
            at = {
                "ImagePositionPatient": ["0", "0", str(8 * z)],
                "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
            }
            whose = {"SeriesInstanceUID": f"1.2.{k}", "PatientID": f"P{k}", "PixelSpacing": ["1.25", "1.5"]}
            dicom(tmp_path / f"images/{place}.dcm", values[:, :, z].T.astype(np.uint16), **at, **whose)
            save(tmp_path / f"masks/{place}.png", np.ascontiguousarray(classes[:, :, z].T))
    more = {"dataset": "folder", "dataset_options": {}, "data_root": str(tmp_path), "n_initial": 4, "n_query": 4}
    folder = run_in_process(SCRIPT, **SHORT | more | chosen)
    curve, picks = curve_of(folder), (folder / "picks.csv").read_text()
    assert {"dice_volume", "hd95_volume", "asd_volume[class 3]"} <= set(curve) and curve["n_labelled"] == [4, 8]
    asked = [line.split("scan")[1] for line in picks.splitlines() if "scan" in line][4:]
    numbers = {(line[0], [0, 3, 2, 1].index(int(line.split("IM")[1][0]))) for line in asked}
    if "unit" in chosen:
        assert len({scan for scan, _ in numbers}) == 1 and {z for _, z in numbers} == {0, 1, 2, 3}
    else:
        assert not any((scan, z + 1) in numbers for scan, z in numbers)
