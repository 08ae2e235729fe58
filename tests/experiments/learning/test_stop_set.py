"""The stop set: what is compared, by hand and in runs of all three tasks, killed or not."""

from __future__ import annotations

import json
from math import isnan, log

import numpy as np
import pytest
import torch
from torch import nn

from experiments import loop
from experiments.classify import SCRIPT as CLASSIFY
from experiments.detect import SCRIPT as DETECT
from experiments.learning.batches import WithoutTargets
from experiments.learning.evidence import ModelEvidence
from experiments.learning.randomness import START, generator
from experiments.learning.stop_set import StopSet
from experiments.segment import SCRIPT as SEGMENT
from tests.experiments.runs import curve_of, picks_of, run_in_process


class Says(nn.Module):
    """A model that says the same of every image."""

    def __init__(self, found):
        super().__init__()
        self.found, self.weight, self.asked = found, nn.Parameter(torch.zeros(1)), 0


class Pictures(WithoutTargets):
    """Three of two sizes."""

    def __init__(self):
        self.shapes, self.names = np.array([[4, 4], [2, 2], [4, 4]]), ["a", "b", "c"]
        self.raw = lambda i: np.zeros((*self.shapes[i], 1), dtype=np.uint8)


def compute(model, batch, wanted, mc_samples, masks_seed):
    model.asked += len(batch)
    return {name: model.found(batch) for name in wanted}


def stop_set(wanted, n=3):
    def evidence(model, cycle):
        return ModelEvidence(compute, model, 1, 2, 1.0, seed=0, cycle=cycle)

    return StopSet(Pictures(), np.arange(n), evidence, wanted)


def test_classes_and_their_uncertainty():
    sure, unsure = (
        Says(lambda b: torch.tensor([[1.0, 0.0]] * len(b))),
        Says(lambda b: torch.tensor([[0.5, 0.5]] * len(b))),
    )
    mixed = Says(lambda b: torch.tensor([[0.1, 0.9] if b.shape[-1] == 2 else [0.9, 0.1]] * len(b)))
    made = stop_set("probs")
    first = made.measure(0, None, unsure)
    assert first["stop_uncertainty"] == pytest.approx(1) and "stop_agreement" not in first
    second = made.measure(1, unsure, mixed)
    assert second["stop_changed"] == pytest.approx(1 / 3) and second["stop_agreement"] == pytest.approx(0)
    doubt = -(0.9 * log(0.9) + 0.1 * log(0.1)) / log(2)
    assert second["stop_uncertainty"] == pytest.approx(doubt, rel=1e-5)
    third = made.measure(2, mixed, sure)
    assert third["stop_uncertainty"] == 0 and third["stop_changed"] == pytest.approx(1 / 3)
    assert (unsure.asked, mixed.asked, sure.asked) == (3, 3, 3), "every model predicts once"


def test_a_restart_asks_the_model_before_again():
    one = Says(lambda b: torch.tensor([[0.2, 0.8] if b.shape[-1] == 2 else [0.9, 0.1]] * len(b)))
    two = Says(lambda b: torch.tensor([[0.9, 0.1]] * len(b)))
    kept = stop_set("probs")
    kept.measure(0, None, one)
    row, again = kept.measure(1, one, two), stop_set("probs").measure(1, one, two)
    assert {k: v for k, v in row.items() if k != "stop_seconds"} == {
        k: v for k, v in again.items() if k != "stop_seconds"
    }


def test_maps_are_thinned_and_their_uncertainty_is_of_all_pixels():
    def drawn(batch):
        probs = torch.zeros(len(batch), 2, 200, 100)
        probs[:, 1] = 1
        probs[:, :, 1::2] = 0.5  # rows that thinning leaves out
        return probs

    made = stop_set("probs")
    found = made.predict(Says(drawn), 0)
    assert found.kind == "maps" and [each.shape for each in found.of_images] == [(50, 25)] * 3
    assert all((each == 1).all() for each in found.of_images) and found.uncertainty == pytest.approx(0.5)


def test_boxes_that_are_certain_are_compared():
    box = [[0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]]

    def found(scores, probs=(0.5, 0.5)):
        image = {"boxes": torch.tensor(box), "labels": torch.tensor([0, 0]), "probs": torch.tensor([[0.0, 1.0], probs])}
        return Says(lambda batch: [image | {"scores": torch.tensor(scores)} for _ in batch])

    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long(), "scores": torch.zeros(0)}
    empty = Says(lambda batch: [nothing | {"probs": torch.zeros(0, 2)} for _ in batch])
    made = stop_set("detections")
    assert made.measure(0, None, empty)["stop_uncertainty"] == 0
    row = made.measure(1, empty, empty)
    assert isnan(row["stop_agreement"]) and row["stop_changed"] == 0
    assert made.measure(2, empty, found([0.9, 0.4]))["stop_uncertainty"] == pytest.approx(1)
    row = made.measure(3, empty, found([0.9, 0.6]))
    assert row["stop_agreement"] == pytest.approx(2 / 3) and row["stop_changed"] == 1


def test_one_class_and_no_images():
    row = stop_set("probs").measure(0, None, Says(lambda b: torch.ones(len(b), 1)))
    assert row["stop_uncertainty"] == 0
    assert stop_set("probs", 0).measure(0, None, Says(lambda b: torch.ones(len(b), 1))) == {}


SMALL = {
    SEGMENT: {"dataset_options": {"n_pool": 12, "n_test": 2}, "scale": 0.25, "crop": 32, "depth": 2},
    CLASSIFY: {"dataset_options": {"n_pool": 40, "n_test": 9}},
    DETECT: {"dataset_options": {"n_pool": 12, "n_test": 6, "size": 64}, "steps": 2},
}


class Killed(BaseException):
    """Stands for a kill: nothing in the project catches it."""


@pytest.mark.processes
@pytest.mark.parametrize("script", SMALL, ids=lambda script: script.name)
def test_a_killed_run_measures_the_same(script, monkeypatch):
    options = {**SMALL[script], "n_stop": 5, "steps": 3, "n_cycles": 1, "precision": "float32", "heuristic": "random"}
    whole = run_in_process(script, **options, drawn=True)
    calls, real = [], loop.fit

    def dies_in_the_second_cycle(*given, **more):
        calls.append(1)
        if len(calls) == 2:
            raise Killed
        return real(*given, **more)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(loop, "fit", dies_in_the_second_cycle)
        run_in_process(script, **options, resume="fresh")
    resumed = run_in_process(script, **options)
    assert resumed != whole and (curve_of(resumed), picks_of(resumed)) == (curve_of(whole), picks_of(whole))
    curve = curve_of(whole)
    assert len(curve["stop_uncertainty"]) == 2 and all(0 <= value <= 1 for value in curve["stop_uncertainty"])
    assert curve["stop_changed"][0] is None and all(0 <= value <= 1 for value in curve["stop_changed"][1:])
    told = json.loads((whole / "advice.json").read_text())
    assert told["round"] == 2 and told["metric"] == script.options["metric"].default
    assert (whole / "advice.png").stat().st_size > 1000


def test_a_stop_set_changes_nothing_else():
    options = {**SMALL[CLASSIFY], "steps": 3, "precision": "float32", "heuristic": "badge", "n_cycles": 1}
    without, with_it = run_in_process(CLASSIFY, **options), run_in_process(CLASSIFY, **options, n_stop=1000)
    plain, more = curve_of(without), curve_of(with_it)
    assert picks_of(without) == picks_of(with_it) and not (without / "advice.json").exists()
    assert {name: more[name] for name in plain} == plain
    assert set(more) - set(plain) == {"stop_agreement", "stop_changed", "stop_uncertainty"}


def test_the_address_of_the_draw_is_its_own():
    drawn = {p: generator(3, START, p).integers(2**40) for p in ("split", "initial", "pool", "stop")}
    assert len(set(drawn.values())) == 4
