"""Detection end to end, on a few phantom slices."""

import json

import numpy as np
import pytest
import torch

from data import catalogue
from data.names import Refused
from data.store import Images
from experiments import loop
from experiments.detect import PRESETS, SCRIPT
from experiments.learning import training
from experiments.measures import detection as detection_metrics
from experiments.measures.froc import FPS, match
from experiments.tasks import detection
from heuristics.core.fitting import fitting
from tests.experiments.runs import ROOT, command_line, curve_of, picks_of, run_in_process, status_of

SHORT = {"n_cycles": 1, "steps": 2, "mc_samples": 2}
FOR_BOXES = fitting(detection.gives({"model": "fasterrcnn_small"}))


def run(command="main", presets=("tiny",), **options):
    return run_in_process(SCRIPT, command, presets, **options)


@pytest.fixture(scope="module")
def first_round(tmp_path_factory, phantom_cache):
    """Round 0 that all heuristics of run 0 share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALIQUOT_RUNS", str(tmp_path_factory.mktemp("first")))
        patch.setenv("ALIQUOT_CACHE", str(phantom_cache))
        folder = run(**SHORT, drawn=True)
        return {name: values[0] for name, values in curve_of(folder).items()}, picks_of(folder)[:6]


def test_the_catalogue_has_the_strategies_of_detection():
    wanted = "random prediction_uncertainty box_entropy box_margin localization_tightness localization_stability"
    assert {*wanted.split(), "mc_localization", "consistency", "box_bald", "kmeans", "coreset"} <= set(FOR_BOXES)


@pytest.mark.parametrize("heuristic", FOR_BOXES)
def test_every_heuristic_runs_and_shares_round_0(heuristic, first_round):
    """Same run: the same initial set and the same first model, to the last digit."""
    folder = run(**SHORT, heuristic=heuristic)
    assert {
        name: values[0] for name, values in curve_of(folder).items() if not name.startswith("score_")
    } == first_round[0]
    assert (
        picks_of(folder)[:6] == first_round[1] and len(set(picks_of(folder))) == 9 and status_of(folder) == "COMPLETED"
    )


@pytest.mark.parametrize("heuristic", ["entropy", "bald", "badge", "bim"])
def test_heuristics_of_whole_images_are_refused(heuristic):
    with pytest.raises(Refused, match=f"heuristic '{heuristic}' needs .*, which fasterrcnn_small does not give"):
        run(**SHORT, heuristic=heuristic)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"model": "fasterrcnn_smal"}, "unknown model 'fasterrcnn_smal'. Did you mean 'fasterrcnn_small'"),
        ({"dataset": "deeplesions"}, "unknown dataset 'deeplesions'. Did you mean 'deeplesion'"),
        ({"aggregate": "foreground"}, "unknown aggregate 'foreground'"),
        ({"metric": "frock"}, "unknown metric 'frock'. Did you mean 'froc'"),
        (
            {"model": "fcos_resnet50", "heuristic": "box_bald"},
            "needs a box head with dropout, which fcos_resnet50 does not give",
        ),
        (
            {"model": "retinanet_resnet50", "heuristic": "localization_tightness"},
            "needs region proposals, which retina",
        ),
        ({"unlabelled": "mean_teacher", "pseudo_adaptive": True}, "pseudo_adaptive=True is for labels made once a cycle"),
        ({"unlabelled": "fixmatch"}, "unlabelled=fixmatch is a way of classify.py: detect.py takes none, mean_teacher"),
        ({"teacher": "ema"}, "option 'teacher' is another one now: use unlabelled=pseudo_labels for labels of the cycle"),
        ({"pseudo_labels": True}, "option 'pseudo_labels' is another one now: use unlabelled=pseudo_labels"),
        ({"pseudo_thresholds": {"nodule": 0.5}}, "has no class 'nodule', but lesion"),
        ({"pseudo_thresholds": {"lesion": "high"}}, "pseudo_thresholds.lesion='high' must be a number"),
        ({"anchor_sizes": [8, 16]}, "anchor_sizes=.*must be 4 sizes"),
        ({"heuristic": "box_bald", "dropout": 0.0}, "dropout=0, so stochastic passes would all be equal"),
        ({"balance": "predicted", "heuristic": "box_entropy"}, "a detector finds many boxes"),
        ({"weights": "nowhere.pt"}, "weights='nowhere.pt' is neither random"),
        ({"second_hit": "counted"}, "unknown second_hit 'counted'"),
        ({"convention": "deep_lesion"}, "unknown convention 'deep_lesion'. Did you mean 'deeplesion'"),
        ({"convention": "deeplesion", "criterion": "centre"}, "criterion=centre and second_hit=ignored were asked for"),
    ],
)
def test_mistakes_are_refused_in_one_sentence(options, sentence):
    with pytest.raises(Refused, match=sentence):
        run(**{**SHORT, **options})


def test_missing_data_show_what_is_expected(tmp_path):
    with pytest.raises(Refused, match="(?s)bccd.*expected this tree"):
        run(presets=("bccd_quick",), data_root=str(tmp_path))


def test_files_hold_the_free_response_curve_of_every_cycle():
    folder = run(heuristic="localization_tightness", save_maps=True, drawn=True)
    curve, froc = np.load(folder / "curve.npy"), np.load(folder / "froc.npy")
    assert froc.shape == (3, 6) and np.array_equal(froc, np.stack([curve[f"froc_at_{x:g}"] for x in FPS], 1))
    assert np.allclose(curve["froc"], froc.mean(1)) and (np.diff(froc, axis=1) >= 0).all()
    for picture in ("curve.png", "froc.png", "cycle_00.png", "cycle_01.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["ap50"]["steps"] == [6, 9, 12] and len(metrics["sensitivity[lesion]"]["values"]) == 3
    assert np.array_equal(curve["sensitivity[lesion]"], curve["froc_at_4"])  # there is one class
    trivial = json.loads((folder / "info.json").read_text())["trivial"]
    assert {"froc", "ap", "ar", "froc_at_4"} <= trivial.keys() and all(0 <= value <= 1 for value in trivial.values())


def test_the_convention_reaches_the_metrics(monkeypatch):
    asked = []
    monkeypatch.setattr(detection_metrics, "match_by", lambda *_, **rules: asked.append(rules) or match(*_))
    run(**SHORT, convention="deeplesion")
    assert {rules["convention"] for rules in asked} == {"deeplesion"}


@pytest.mark.parametrize("arm", ["pseudo_labels", "mean_teacher"])
def test_pseudo_labels_join_training_and_a_killed_run_resumes_to_the_same(arm, monkeypatch):
    """Regenerated every cycle from the last model, never for labelled images; all scores are trusted, to have some."""
    options = {**SHORT, "n_cycles": 2, "burn_in": 0, "score_threshold": 0.001}
    options |= {"unlabelled": arm, "pseudo_threshold": 0.0}
    calls, real_find, real_fit = [], detection.find, loop.fit

    def spy(model, images, indices, batch_size):
        calls.append(indices.tolist())
        return real_find(model, images, indices, batch_size)

    monkeypatch.setattr(detection, "find", spy)
    folder = run(**options)
    curve, picks = curve_of(folder), picks_of(folder)
    for cycle, pool in enumerate(calls, start=1):
        assert sorted(pool) == sorted(set(range(24)) - set(picks[: 6 + 3 * cycle]))
    assert len(calls) == 2 and curve["pseudo_boxes"][0] is None and curve["pseudo_boxes"][1] > 0
    assert all(0 <= p <= 1 for p in curve["pseudo_precision"][1:] + curve["pseudo_recall"][1:] if p is not None)
    plain = curve_of(run(**{**options, "unlabelled": "none"}))
    assert plain["train_loss"][2] != curve["train_loss"][2]

    fits = []

    def killed(*args, **kwargs):
        fits.append(1)
        if len(fits) == 3:
            raise KeyboardInterrupt
        return real_fit(*args, **kwargs)

    monkeypatch.setattr(loop, "fit", killed)
    with pytest.raises(KeyboardInterrupt):
        run(**options, resume="fresh")
    monkeypatch.setattr(loop, "fit", real_fit)
    again = run(**options)
    assert curve_of(again) == curve and picks_of(again) == picks


def test_hidden_boxes_change_no_pick_and_no_weight(monkeypatch):
    options = {**SHORT, "unlabelled": "pseudo_labels", "pseudo_threshold": 0.0, "heuristic": "box_entropy", "n_cycles": 2}
    honest = run(**options)
    known = set(picks_of(honest))
    true_target = Images.target

    def scrambled(self, i):
        target = true_target(self, i)
        return target.flip(0) / 2 if self.parts[i] == "train" and int(self.rows[i]) not in known else target

    monkeypatch.setattr(Images, "target", scrambled)
    other = run(**options, resume="fresh")
    assert picks_of(other) == picks_of(honest) and curve_of(other)["train_loss"] == curve_of(honest)["train_loss"]


def test_a_kill_within_training_resumes_to_the_same(monkeypatch):
    options = {**SHORT, "heuristic": "box_bald", "save_every": 0.0, "steps": 3}
    whole = run(**options)
    real, calls = training.autocast, []

    def stop(*args):
        calls.append(1)
        if len(calls) == 5:  # the second step of the second training
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(training, "autocast", stop)
    with pytest.raises(KeyboardInterrupt):
        run(**options, resume="fresh")
    monkeypatch.setattr(training, "autocast", real)
    again = run(**options)
    assert curve_of(again) == curve_of(whole) and picks_of(again) == picks_of(whole)


def test_second_stage_and_aggregation():
    def picks(**options):
        return picks_of(run(**SHORT, **options))[6:]

    first = picks(heuristic="box_entropy", n_query=6)
    assert set(picks(heuristic="box_entropy", then="coreset", candidates=2)) <= set(first)
    mean = {
        how: curve_of(run(**SHORT, heuristic="box_entropy", aggregate=how))["score_mean"][0]
        for how in ("min", "mean", "max", "sum")
    }
    assert mean["min"] < mean["mean"] < mean["max"] < mean["sum"]


def test_supervised_and_evaluate():
    upper = run("supervised", **SHORT)
    assert curve_of(upper)["n_labelled"] == [24.0]
    folder = run(**SHORT)
    ran = SCRIPT.run("evaluate", ["tiny"], **SHORT)
    assert ran.result == pytest.approx(curve_of(folder)["froc"][-1], abs=1e-12)


def test_one_stage_detectors_and_validation_run():
    folder = run(**{**SHORT, "steps": 1}, model="fcos_resnet50", heuristic="consistency", n_val=3, val_every=1)
    assert curve_of(folder)["n_validation"] == [3.0, 3.0]


def test_every_dataset_has_a_preset_or_is_the_default():
    assert set(catalogue.names("detect")) - {"phantom"} <= PRESETS.keys()


def test_the_command_line_from_the_scripts_folder():
    process = command_line("with", "tiny", "n_cycles=0", "steps=1", cwd=ROOT / "experiments", script="detect.py")
    assert process.returncode == 0, process.err
    assert "area under the curve of froc" in process.out and "froc.png" in process.out


@pytest.mark.realdata
def test_real_blood_cells(raw_root):
    options = {"data_root": str(raw_root("bccd")), "steps": 2, "n_cycles": 1, "heuristic": "localization_tightness"}
    folder = run(presets=("bccd_quick",), **options)
    assert curve_of(folder)["n_labelled"] == [10, 25] and all(v is not None for v in curve_of(folder)["ap50"])


@pytest.mark.realdata
def test_real_lesions(raw_root):
    options = {"data_root": str(raw_root("deeplesion")), "dataset": "deeplesion", "scale": 0.25}
    options |= {"n_initial": 4, "n_query": 2, "n_cycles": 1, "dataset_options": {"source": "samples_8bit"}, "steps": 2}
    assert torch.isfinite(torch.tensor(curve_of(run(presets=(), **options))["froc"])).all()
