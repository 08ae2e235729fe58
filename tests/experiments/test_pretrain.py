"""pretrain.py: labels are never used, rates follow their schedule, killed runs end the same, encoders are taken up."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import torch

from data import files
from data.augment import images as of_training
from data.names import Refused
from experiments import classify, loop, pretraining
from experiments.learning import training
from experiments.pretrain import SCRIPT
from experiments.tasks import siamese
from experiments.tracking.checkpoints import State
from models.classifiers import make_classifier
from tests.experiments.moments import Killed, stop_at
from tests.experiments.runs import curve_of, run_in_process

SMALL = {"precision": "float32", "save_every": 0.0}


def run(**options):
    return run_in_process(SCRIPT, **{**SMALL, **options})


def encoder_of(folder):
    return torch.load(folder / "encoder.pt", weights_only=True)


def result_of(folder):
    """All that must be equal: the curve but for its seconds, and every weight."""
    curve = {name: values for name, values in curve_of(folder).items() if name != "seconds"}
    return curve, {name: tensor.tolist() for name, tensor in encoder_of(folder)["state_dict"].items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, phantom_cache):
    """The run that nothing interrupts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALIQUOT_RUNS", str(tmp_path_factory.mktemp("whole")))
        patch.setenv("ALIQUOT_CACHE", str(phantom_cache))
        return run()


def test_what_a_run_leaves(whole, monkeypatch):
    saved = encoder_of(whole)
    assert {name: saved[name] for name in ("network", "channels", "image_size", "classes")} == {
        **{"network": "small_cnn", "channels": 3, "image_size": 16, "classes": []}
    }
    made = make_classifier("small_cnn", 4, 3, 0.0, whole / "encoder.pt", image_size=16)
    assert all(torch.equal(made.state_dict()[name], tensor) for name, tensor in saved["state_dict"].items())
    assert set(saved["state_dict"]) == {f"trunk.{name}" for name in made.trunk.state_dict()}
    curve = curve_of(whole)
    assert curve["epoch"] == [0, 1, 2] and curve["loss"][0] is None and -1 <= curve["loss"][2] <= 1
    record, info = (json.loads((whole / name).read_text()) for name in ("run.json", "info.json"))
    assert set(record["artifacts"]) == {"curve.npy", "curve.png", "encoder.pt"} and record["status"] == "COMPLETED"
    assert set(info["yardsticks"]) == {"most frequent class", "pixels", "centred pixels"} and "output_std is" in info["verdict"]
    assert record["result"] == curve["knn_accuracy"][-1]
    metrics = json.loads((whole / "metrics.json").read_text())
    assert metrics["output_std"]["steps"] == [0, 1, 2] and metrics["loss"]["steps"] == [1, 2]
    assert "n_labelled" not in metrics
    monkeypatch.setenv("ALIQUOT_RUNS", str(whole.parent))
    assert run() is None, "the same command again names the finished run"
    (whole / "encoder.pt").unlink()
    assert run() is None and result_of(whole)[1], "and puts back what was lost"


def test_rates_of_the_optimiser_follow_the_schedule_and_the_predictors_is_constant(monkeypatch):
    seen, real = [], training._take_step

    def step(made, *given):
        real(made, *given)
        of = {id(p): group["lr"] for group in made.optimizer.param_groups for p in group["params"]}
        model = made.model
        parts = (model.encoder.trunk, model.projector, model.predictor)
        seen.append([{of[id(p)] for p in part.parameters()} for part in parts])

    monkeypatch.setattr(training, "_take_step", step)
    folder = run(lr=0.5)
    rate = 0.5 * 16 / 256
    cosine = [rate * 0.5 * (1 + np.cos(np.pi * i / 6)) for i in range(6)]
    assert [len(rates) for parts in seen for rates in parts] == [1] * 18
    np.testing.assert_allclose([[rates.pop() for rates in parts] for parts in seen], [[c, c, rate] for c in cosine])
    assert curve_of(folder)["learning_rate"][1:] == pytest.approx([cosine[2], cosine[5]])
    assert curve_of(folder)["predictor_rate"][1:] == [rate] * 2


def test_labels_change_no_weight(whole, monkeypatch):
    real = siamese.load_images

    def scrambled(*given, **chosen):
        images = real(*given, **chosen)
        codes = tuple(np.random.default_rng(0).permutation(len(images.classes)).tolist())
        return replace(images, codes=codes, _groups=images._groups[::-1], fingerprint="scrambled")

    monkeypatch.setattr(siamese, "load_images", scrambled)
    folder = run(knn="train")
    assert result_of(folder)[1] == result_of(whole)[1]
    monkeypatch.setattr(siamese.Images, "target", None)  # whoever asks for a label fails
    monkeypatch.setattr(siamese, "load_images", real)
    monkeypatch.setattr("data.inventory.take", lambda *_: {})
    monkeypatch.setattr("data.inventory.lines", lambda *_: [])
    unlabelled = run(knn="none")
    assert result_of(unlabelled)[1] == result_of(whole)[1] and "knn_accuracy" not in curve_of(unlabelled)


def test_test_images_are_not_learnt_from(monkeypatch):
    seen, real = [], siamese.TrainingBatches.members
    monkeypatch.setattr(
        siamese.TrainingBatches, "members", lambda self, step: (seen.append(self.names), real(self, step))[1]
    )
    run()
    splits = siamese.load(SCRIPT.values(["tiny"]))
    assert all(set(names) == set(splits.train.names) for names in seen) and not set(seen[0]) & set(splits.test.names)


def test_views_are_of_training_alone(monkeypatch):
    """Two for each step; the images that the curve is measured on are as they are stored."""
    calls, measured, real = [], [], siamese.VIEWS["simsiam_cifar"]
    monkeypatch.setitem(siamese.VIEWS, "simsiam_cifar", lambda *given: (calls.append(1), real(*given))[1])
    scaled = siamese._scaled
    monkeypatch.setattr(siamese, "_scaled", lambda *given: (measured.append(scaled(*given)), measured[-1])[1])
    run()
    assert len(calls) == 2 * 6
    splits = siamese.load(SCRIPT.values(["tiny"]))
    stored = {splits.train.image(i).numpy().tobytes() for i in range(len(splits.train))}
    stored |= {splits.test.image(i).numpy().tobytes() for i in range(len(splits.test))}
    assert {image.numpy().tobytes() for images in measured for image in images.contiguous()} == stored


def test_measuring_changes_no_weight_and_no_statistic():
    options = {**SCRIPT.values(["tiny"]), "precision": "float32", "model": "resnet10_narrow"}
    splits = siamese.load(options)
    model, measure = siamese.make_model(options, splits.train), siamese.make_measure(options, splits)[0]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first = measure(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert first == measure(model)


def test_collapse_is_named_in_words(capsys, monkeypatch):
    real = siamese.make_model

    def blind(*given):
        model = real(*given)
        model.encoder.trunk.hidden.weight.requires_grad_(False).zero_()
        return model

    monkeypatch.setattr(siamese, "make_model", blind)
    folder = run()
    assert curve_of(folder)["output_std"] == pytest.approx([0, 0, 0], abs=1e-6)
    assert "Collapsed: the outputs of all images are nearly the same (output_std is" in capsys.readouterr().out
    info = json.loads((folder / "info.json").read_text())
    assert info["collapsed"] is True and "1/sqrt(16) = 0.25" in info["verdict"]
    state = State(0, curve=[{"epoch": 1, "output_std": 0.24}])
    assert pretraining.told({"projector_dim": 16}, state)[1].startswith("Not collapsed")



def undrawn(path, *_, **__):
    with files.atomic(path) as temporary:
        temporary.write_bytes(b"drawn")


def stopped_and_continued(monkeypatch, moment):
    """The folder of a run that stopped at a moment and went on, and whether it came to that moment."""
    with monkeypatch.context() as patch:
        passed = stop_at(patch, moment, (training, "_take_step"))
        try:
            return run(resume="fresh"), passed, False
        except Killed:
            pass
    return run(), passed, True


@pytest.mark.processes
def test_killed_it_goes_on_to_the_identical_curve_and_encoder(whole, monkeypatch):
    """At a few moments of each kind; `-m processes` tries every one."""
    expected = result_of(whole)
    monkeypatch.setattr("experiments.pictures.curve.save_curve", undrawn)
    run()  # writes what later runs share: copies of sources
    with monkeypatch.context() as patch:
        passed = stop_at(patch, 0, (training, "_take_step"))
        assert result_of(run(resume="fresh")) == expected
    steps = [moment for moment, what in enumerate(passed, 1) if what == "_take_step"]
    assert len(steps) == 6
    for moment in (steps[2], steps[3], steps[5] + 3, len(passed) - 8):  # before and after a row, and near the end
        folder, reached, stopped = stopped_and_continued(monkeypatch, moment)
        assert stopped and result_of(folder) == expected, f"stopped at {reached[-1]}, moment {moment}"


@pytest.mark.processes
def test_killed_at_every_moment_it_ends_the_same(whole, monkeypatch):
    expected = result_of(whole)
    monkeypatch.setattr("experiments.pictures.curve.save_curve", undrawn)
    run()
    for moment in count(1):
        folder, reached, stopped = stopped_and_continued(monkeypatch, moment)
        assert result_of(folder) == expected, f"stopped at {reached[-1]}, moment {moment}"
        if not stopped:
            break
    assert moment > 30


def test_images_of_many_sizes_are_seen_through_windows():
    small = {"task": "segment", "model": "resnet10_narrow", "image_size": 0, "crop": 16, "batch_size": 4, "epochs": 1}
    folder = run(**small, scale=0.1, dataset_options={"n_pool": 8, "n_test": 2}, augment="simsiam_histology")
    assert set(curve_of(folder)) == {"epoch", "output_std", "seconds", "loss", "learning_rate", "predictor_rate"}
    assert encoder_of(folder)["image_size"] == 16


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"epoch": 3}, "unknown option 'epoch'.*epochs"),
        ({"augment": "simsiam_cifer"}, "simsiam_cifer.*Did you mean 'simsiam_cifar'"),
        ({"task": "detekt"}, "detekt.*'detect'"),
        ({"dataset": "glas"}, "unknown dataset 'glas'"),
        ({"batch_size": 64}, "batch_size=64, but there are 48 images"),
        ({"scale": 0.5}, "scale=0.5 is for task=segment, detect; with task=classify use image_size"),
        ({"projector_layers": 1}, "projector_layers=1"),
        ({"model": "resnet18_cifer"}, "resnet18_cifar"),
        ({"heuristic": "bald"}, "unknown option 'heuristic'"),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(words, sentence):
    with pytest.raises(Refused, match=sentence):
        run(**words)


def test_a_cold_start_takes_the_encoder_and_a_new_head_in_each_cycle(whole, monkeypatch):
    """And the images of the pool and of the test part are not augmented."""
    begun, ended, augmented, real = [], [], [], loop.fit

    def fit(model, *given, **more):
        begun.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        done = real(model, *given, **more)
        ended.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return done

    monkeypatch.setattr(loop, "fit", fit)
    augment = of_training.AUGMENTATIONS["hflip"]
    monkeypatch.setitem(of_training.AUGMENTATIONS, "hflip", lambda *given: (augmented.append(1), augment(*given))[1])
    chosen = {"weights": str(whole / "encoder.pt"), "steps": 3, "augment": "hflip", "heuristic": "entropy", "dropout": 0.0}
    run_in_process(classify.SCRIPT, **chosen)
    assert len(begun) == 3 and len(augmented) == 3 * 3, "augmented is what is trained on, and nothing else"
    for name, tensor in encoder_of(whole)["state_dict"].items():
        assert all(torch.equal(state[name], tensor) for state in begun)
        assert name.endswith(("running_mean", "running_var")) or not torch.equal(ended[0][name], tensor)
    heads = [state["classifier.weight"] for state in begun]
    assert not torch.equal(heads[0], heads[1]) and not torch.equal(heads[1], heads[2])
    assert not torch.equal(heads[1], ended[0]["classifier.weight"])
