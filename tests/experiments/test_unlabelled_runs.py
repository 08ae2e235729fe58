"""Whole small runs that learn from images without labels: killed and resumed, hidden labels changed, all labelled."""

import json

import numpy as np
import pytest
import torch

from data.names import Refused
from data.store import Images
from experiments import loop
from experiments.classify import SCRIPT as CLASSIFY
from experiments.learning import training
from experiments.segment import SCRIPT as SEGMENT
from experiments.tracking.formerly import by_todays_options
from tests.experiments.moments import Killed
from tests.experiments.runs import curve_of, picks_of, run_in_process

SHARED = {"n_cycles": 1, "mc_samples": 2, "precision": "float32", "steps": 3, "save_every": 0.0, "mu": 2}
SMALL = {
    "classify": SHARED
    | {"dataset_options": {"n_pool": 30, "n_test": 12}, "n_initial": 9, "n_query": 3, "batch_size": 4},
    "segment": SHARED
    | {"dataset_options": {"n_pool": 8, "n_test": 2}, "n_initial": 2, "n_query": 2, "batch_size": 2}
    | {"scale": 0.25, "crop": 32, "depth": 2},
}
HEAD = {"train": "head", "features": "pixels", "features_size": 8, "head_l2": 10.0, "unlabelled": "label_spreading"}
ARMS = [
    ("classify", {"unlabelled": "fixmatch", "pseudo_threshold": 0.0, "heuristic": "entropy"}),
    ("classify", {"unlabelled": "mean_teacher", "heuristic": "badge", "start": "warm"}),
    ("classify", {**HEAD, "heuristic": "margin"}),
    ("segment", {"unlabelled": "mean_teacher", "heuristic": "bald"}),
    ("segment", {"unlabelled": "cps", "heuristic": "entropy", "start": "warm"}),
]


def run(task, command="main", **options):
    chosen = {**SMALL[task], **options}
    return run_in_process({"classify": CLASSIFY, "segment": SEGMENT}[task], command, **chosen)


def killed_at(patch, module, name, number):
    """Stop at the call of this number of a function."""
    real, calls = getattr(module, name), []

    def counted(*given, **named):
        calls.append(given)
        if len(calls) == number:
            raise Killed
        return real(*given, **named)

    patch.setattr(module, name, counted)


@pytest.mark.parametrize(("task", "options"), ARMS)
def test_a_killed_run_resumes_to_the_same(task, options, monkeypatch):
    """In the second step of the second training, of steps that draw what joins them; a head before its only query."""
    whole = run(task, **options)
    expected = curve_of(whole), picks_of(whole)
    assert {"pseudo_precision", "pseudo_recall"} <= expected[0].keys()
    place = (loop, "query", 1) if "train" in options else (training, "autocast", 5)
    with monkeypatch.context() as patch:
        killed_at(patch, *place)
        with pytest.raises(Killed):
            run(task, **options, resume="fresh")
    again = run(task, **options)
    assert (curve_of(again), picks_of(again)) == expected


@pytest.mark.parametrize(("task", "options"), ARMS)
def test_hidden_labels_change_no_pick_and_no_weight(task, options, monkeypatch):
    honest = run(task, **options)
    known, true_target, scrambled = set(picks_of(honest)), Images.target, []

    def target(self, i):
        row = int(self.rows[i])
        found = true_target(self, i)
        if row in known or self.parts[i] != "train":
            return found
        scrambled.append(row)
        return 1 - found if found.ndim else (found + 1 + row % 2) % 9

    monkeypatch.setattr(Images, "target", target)
    other = run(task, **options, resume="fresh")
    curves = curve_of(honest), curve_of(other)
    measured = [name for name in curves[0] if not name.startswith("pseudo_")]
    assert picks_of(other) == picks_of(honest) and all(curves[0][name] == curves[1][name] for name in measured)
    assert scrambled and any(curves[0][name] != curves[1][name] for name in ("pseudo_precision", "pseudo_recall"))


@pytest.mark.parametrize(("task", "options"), [ARMS[0], ARMS[2], ARMS[4]])
def test_trained_on_everything_nothing_joins(task, options, capsys):
    folder = run(task, "supervised", **options)
    assert "images are labelled: nothing joins training by unlabelled=" in capsys.readouterr().out
    assert not [name for name in curve_of(folder) if name.startswith("pseudo_")]


def test_both_of_two_networks_are_saved_and_the_first_is_measured_again(tmp_path):
    options = {"unlabelled": "cps", "n_cycles": 0}
    folder = run("segment", **options)
    (file,) = (folder.parent / "resume").glob("*/model-0.pt")
    names = torch.load(file, weights_only=True)["state_dict"].keys()
    assert {name.partition(".")[0] for name in names} == {"first", "second", "steps"}
    again = SEGMENT.run("evaluate", ["tiny"], **SMALL["segment"] | options, checkpoint=str(file))
    assert again.result == curve_of(folder)["dice"][-1]
    with pytest.raises(Refused, match="holds no weights that fit this model"):
        SEGMENT.run("evaluate", ["tiny"], **SMALL["segment"] | options | {"unlabelled": "none"}, checkpoint=str(file))


def test_spread_labels_change_a_head_and_say_how_right_they_are():
    plain = curve_of(run("classify", **HEAD | {"unlabelled": "none"}))
    spread = curve_of(run("classify", **HEAD))
    assert plain["nll"] != spread["nll"] and plain["train_loss"] != spread["train_loss"]
    assert all(0 < value <= 1 for value in spread["pseudo_precision"])
    idle = curve_of(run("classify", **HEAD, pseudo_weight=0.0))
    assert np.allclose(idle["nll"], plain["nll"], atol=1e-5), "without a weight they are not learnt from"


def test_options_of_earlier_versions_are_read_as_those_of_today(tmp_path):
    for old, today in [
        ((False, "previous"), "none"),
        ((True, "previous"), "pseudo_labels"),
        ((True, "ema"), "mean_teacher"),
    ]:
        config = {"pseudo_labels": old[0], "teacher": old[1], "pseudo_weight": 0.5}
        assert by_todays_options(config) == {"unlabelled": today, "pseudo_weight": 0.5}
    from experiments.detect import SCRIPT as DETECT

    file = tmp_path / "config.json"
    file.write_text(json.dumps({"pseudo_labels": True, "teacher": "ema"}))
    assert DETECT.values([str(file)])["unlabelled"] == "mean_teacher"
