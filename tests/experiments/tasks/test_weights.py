"""`weights=` in the three scripts: encoders of a pre-training, other content under one path, and what is refused."""

import os
from pathlib import Path

import pytest
import torch

from data.names import Refused
from experiments import classify, detect, segment
from experiments.tracking.weights_option import digest_of_weights
from models.classifiers import make_classifier
from models.detectors import make_detector
from tests.experiments.runs import curve_of, run_in_process

pytestmark = pytest.mark.processes  # whole runs of scripts

SHORT = {"n_cycles": 0, "steps": 1}
SMALL = {"dataset_options": {"n_pool": 30, "n_test": 8}, **SHORT}


def encoder(run: int, network: str, channels: int = 3, seed: int = 0) -> Path:
    """What a pre-training leaves in the folder of its run."""
    torch.manual_seed(seed)
    state = make_classifier(network, 2, channels, 0.1).state_dict()
    file = Path(os.environ["ALIQUOT_RUNS"]) / str(run) / "encoder.pt"
    file.parent.mkdir(parents=True, exist_ok=True)
    kept = {key: value for key, value in state.items() if key.startswith("trunk.")}
    about = {"network": network, "channels": channels, "image_size": 32, "classes": []}
    torch.save({"state_dict": kept, **about}, file)
    return file


def test_the_offline_network_learns_in_the_script():
    """The pre-trained weights, stochastic passes and a second cycle."""
    options = {"model": "efficientnet_lite0", "weights": "imagenet", "heuristic": "bald", "mc_samples": 2}
    folder = run_in_process(classify.SCRIPT, **{**SMALL, **options, "n_cycles": 1, "n_initial": 8, "n_query": 2})
    assert curve_of(folder)["n_labelled"] == [8, 10]


@pytest.mark.parametrize("script", [classify, segment])
def test_the_encoder_of_a_run_is_used(script):
    name = "model" if script is classify else "encoder"
    encoder(12, "timm:test_resnet")
    encoder(13, "timm:test_resnet", seed=1)
    options = {**SMALL, name: "timm:test_resnet", "lr": 1e-9, "keep_models": True}
    options |= {"scale": 0.25, "crop": 32} if script is segment else {}
    kept = []
    for number in (12, 13):
        run_in_process(script.SCRIPT, **options, weights=f"simsiam:{number}")
        newest = max(
            Path(os.environ["ALIQUOT_RUNS"]).glob("resume/*/model-0.pt"), key=lambda file: file.stat().st_mtime
        )
        state = torch.load(newest, weights_only=True)["state_dict"]
        given = torch.load(Path(os.environ["ALIQUOT_RUNS"]) / str(number) / "encoder.pt", weights_only=True)[
            "state_dict"
        ]
        key = "trunk.conv1.0.weight"
        torch.testing.assert_close(state[key], given[key], atol=1e-5, rtol=0)
        kept.append(state[key])
    assert not torch.allclose(*kept, atol=1e-3)


def test_another_network_or_colour_is_refused():
    encoder(3, "resnet18_cifar")
    encoder(4, "resnet18", channels=1)
    with pytest.raises(Refused, match="run 3 trained resnet18_cifar, not small_cnn: use model=resnet18_cifar"):
        run_in_process(classify.SCRIPT, **SMALL, weights="simsiam:3")
    with pytest.raises(Refused, match="run 3 trained resnet18_cifar, not resnet18: use encoder=resnet18_cifar"):
        run_in_process(segment.SCRIPT, **SMALL, encoder="resnet18", weights="simsiam:3")
    with pytest.raises(Refused, match="run 3 trained resnet18_cifar, not resnet18: no detector has that trunk"):
        run_in_process(detect.SCRIPT, **SHORT, model="fasterrcnn_resnet18", weights="simsiam:3")
    with pytest.raises(Refused, match="run 4 trained resnet18, not small: use model=fasterrcnn_resnet18"):
        run_in_process(detect.SCRIPT, **SHORT, weights="simsiam:4")
    with pytest.raises(Refused, match="run 4 trained resnet18 on grey images, and these are in colour"):
        run_in_process(segment.SCRIPT, **SMALL, encoder="resnet18", weights="simsiam:4")
    with pytest.raises(Refused, match="no encoder of run 5 .*; those that have one: 3, 4"):
        run_in_process(classify.SCRIPT, **SMALL, model="resnet18_cifar", weights="simsiam:5")
    with pytest.raises(Refused, match="weights=simsiam:3 are for an encoder: set encoder="):
        run_in_process(segment.SCRIPT, **SMALL, weights="simsiam:3")


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 3])
def test_a_detector_takes_the_trunk(channels):
    file = encoder(7, "resnet18", channels)
    given = torch.load(file, weights_only=True)["state_dict"]
    model = make_detector("fasterrcnn_resnet18", 2, channels, weights=file)
    state = model.state_dict()
    body = {key.removeprefix("backbone.body."): value for key, value in state.items() if ".body." in key}
    assert all(torch.equal(value, given[f"trunk.{key}"]) for key, value in body.items())
    assert all(parameter.requires_grad for parameter in model.parameters()), "nothing is frozen"
    with pytest.raises(Refused, match="'fasterrcnn_small' has one of its own: use .*fasterrcnn_resnet18"):
        make_detector("fasterrcnn_small", 2, channels, weights=file)


def test_other_content_under_one_path_is_another_run(tmp_path):
    """Neither is finished by the other, nor goes on from it; the record says which content it was."""
    file = tmp_path / "weights.pt"
    options = {**SMALL, "model": "timm:test_resnet", "weights": str(file), "precision": "float32"}
    digests = []
    for seed in (0, 1):
        file.write_bytes(encoder(1, "timm:test_resnet", seed=seed).read_bytes())
        run = classify.SCRIPT.run("main", ["tiny"], **options)
        assert run is not None, "the other content was not taken for this"
        digests.append(run.config["weights_digest"])
        assert digests[-1] == digest_of_weights(str(file)) != ""
    assert digests[0] != digests[1]
    assert classify.SCRIPT.run("main", ["tiny"], **options) is None, "the same content is the same run"
    assert digest_of_weights("random") == digest_of_weights(str(tmp_path / "absent.pt")) == ""
