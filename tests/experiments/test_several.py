"""Runs on two devices beside runs on one: the same picks, the same numbers but for rounding, and no process left."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from data.names import NotFinite, Refused
from experiments import classify, detect, pretrain, segment, several
from experiments.learning import evidence, training
from experiments.learning.parallel import group, joined
from experiments.tracking.checkpoints import run_key
from experiments.tracking.head_options import idle
from tests.experiments.runs import curve_of, picks_of, run_in_process, status_of
from tests.experiments.several import starting_forks

SHORT = {"steps": 4, "n_cycles": 1, "n_query": 3, "precision": "float32"}
FEW = {**SHORT, "dataset_options.n_pool": 12, "dataset_options.n_test": 5, "n_query": 2}  # of segmentation
FEW |= {"scale": 0.25, "crop": 32, "depth": 2}
SCRIPTS = {
    "segment": (segment.SCRIPT, {**FEW, "heuristic": "bald", "n_stop": 3, "eval_samples": 2}),
    "segment_cps": (segment.SCRIPT, {**FEW, "unlabelled": "cps", "ramp_up": 1, "start": "warm", "n_val": 2}),
    "segment_teacher": (
        segment.SCRIPT,
        {**FEW, "unlabelled": "mean_teacher", "ramp_up": 1, "heuristic": "entropy", "then": "coreset"},
    ),
    "classify": (
        classify.SCRIPT,
        {**SHORT, "heuristic": "badge", "initial": "kmeans", "clip": 1.0, "class_weighting": "balanced"},
    ),
    "classify_fixmatch": (
        classify.SCRIPT,
        {**SHORT, "unlabelled": "fixmatch", "heuristic": "entropy", "mu": 2, "pseudo_threshold": 0.2},
    ),
    "pretrain": (pretrain.SCRIPT, {"epochs": 2, "precision": "float32", "batch_size": 8}),
}
HEAD = {"n_cycles": 2, "n_query": 3, "train": "head", "features": "untrained", "heuristic": "bald", "n_stop": 9}


@pytest.fixture(autouse=True)
def followers(monkeypatch):
    """The other processes of runs, as forks; none is there in the end."""
    started = []
    monkeypatch.setattr(several.processes, "start", starting_forks(started))
    yield started
    assert all(fork.returncode is not None for fork in started), "each was ended and waited for"
    assert group().size == 1


def both(script, **options):
    """The folders of a run on one device and of the same on two."""
    return [run_in_process(script, **options, devices=n, resume="fresh") for n in (1, 2)]


LONG = pytest.mark.processes
LONGER = [LONG, pytest.mark.trials]
OFTEN = ("segment", "classify", "pretrain")


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in OFTEN else LONGER) for name in SCRIPTS])
def test_two_devices_come_to_what_one_does(name, followers, capsys):
    script, options = SCRIPTS[name]
    one, two = both(script, run=1, **options)
    assert (
        len(followers) == 1
        and "2 processes compute this run (cpu), with 1 of 1 threads each" in capsys.readouterr().out
    )
    expected, found = curve_of(one), curve_of(two)
    assert found.keys() == expected.keys()
    loss = "loss" if name == "pretrain" else "train_loss"
    assert found[loss][-2:] == pytest.approx(expected[loss][-2:], rel=1e-3), "last digits, which grow with the steps"
    for column in ("dice", "accuracy", "mc_dice", "stop_uncertainty", "output_std", "knn_accuracy", "pseudo_recall"):
        for value, other in zip(expected.get(column, ()), found.get(column, ()), strict=True):
            assert value is None or other == pytest.approx(value, abs=0.01), column
    if name != "pretrain":
        assert picks_of(two) == picks_of(one)
    runs = Path(os.environ["ALIQUOT_RUNS"])
    numbered = sorted(int(folder.name) for folder in runs.iterdir() if folder.name.isdecimal())
    assert numbered == [1, 2] and status_of(two) == "COMPLETED", "one record a run"


def test_what_is_scored_alone_is_the_same_to_the_last_bit(followers, monkeypatch, tmp_path):
    """With an exact fit in place of steps: features, test set, stop set, and every score of the pool."""
    folders = []
    for n in (1, 2):
        monkeypatch.setenv("ALIQUOT_CACHE", str(tmp_path / str(n)))
        options = {**HEAD, "dataset_options.n_pool": 600, "query_batch_size": 32, "eval_batch_size": 5}  # three chunks
        folders.append(run_in_process(classify.SCRIPT, **options, devices=n, resume="fresh"))
    one, two = folders
    assert curve_of(one) == curve_of(two)
    assert (one / "picks.csv").read_text() == (two / "picks.csv").read_text()
    ((first,), (second,)) = (list((tmp_path / str(n) / "features").glob("*/features.npy")) for n in (1, 2))
    assert first.parent.name == second.parent.name and first.read_bytes() == second.read_bytes()
    assert not list((tmp_path / "2" / "features").glob("*.unfinished"))


@LONG
def test_a_detector_learns_on_two_devices(followers):
    """Its losses are means over shares and its samplers draw for each: other numbers, the same rows."""
    options = {**SHORT, "unlabelled": "mean_teacher", "burn_in": 1, "pseudo_threshold": 0.05, "steps": 3}
    options |= {"n_initial": 4, "batch_size": 2, "heuristic": "box_entropy"}
    one, two = both(detect.SCRIPT, **options)
    expected, found = curve_of(one), curve_of(two)
    assert found.keys() == expected.keys() and picks_of(two)[:4] == picks_of(one)[:4]
    assert found["train_loss"] == pytest.approx(expected["train_loss"], rel=0.2)
    assert found["train_loss"] != expected["train_loss"]
    again = run_in_process(detect.SCRIPT, **options, devices=2, resume="fresh")
    assert curve_of(again) == found, "and the same again"


@LONG
@pytest.mark.parametrize("precision", ["bfloat16", pytest.param("float16", marks=LONGER)])
def test_mixed_precision_and_batch_norm_of_shares(precision, followers):
    options = {**SHORT, "precision": precision, "sync_batchnorm": False}
    first, again = (
        run_in_process(classify.SCRIPT, **options, devices=2, resume="fresh", heuristic="entropy") for _ in range(2)
    )
    assert curve_of(first) == curve_of(again) and picks_of(first) == picks_of(again)
    assert all(value is not None and value < 3 for value in curve_of(first)["train_loss"])


@LONG
def test_evaluate_and_supervised(followers):
    options = {**SHORT, "eval_batch_size": 5}
    run_in_process(classify.SCRIPT, **options)
    measured = [run_in_process(classify.SCRIPT, "evaluate", **options, devices=n) for n in (1, 2)]
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in measured]
    assert metrics[0]["nll"]["values"] == metrics[1]["nll"]["values"]
    whole = [run_in_process(segment.SCRIPT, "supervised", **FEW, devices=n, resume="fresh") for n in (1, 2)]
    one, two = map(curve_of, whole)
    assert two["dice"] == pytest.approx(one["dice"], abs=0.01) and two["n_labelled"] == one["n_labelled"] == [12]


class Stopped(BaseException):
    """As a kill of the first process: nothing catches it."""


@LONG
@pytest.mark.parametrize("step", [pytest.param(2, marks=LONGER), 6])
def test_a_stopped_run_goes_on_to_the_identical_end(step, followers, monkeypatch):
    """In the first and in the second training; the other process gets what the first has saved."""
    options = {**FEW, "heuristic": "bald", "n_query": 2, "n_initial": 2, "devices": 2, "save_every": 0.0}
    whole = run_in_process(segment.SCRIPT, **options, resume="fresh")
    steps, take_step = [], training._take_step

    def stop(*given):
        steps.append(given)
        if len(steps) > step:
            raise Stopped
        take_step(*given)

    with monkeypatch.context() as patch:
        patch.setattr(training, "_take_step", lambda *given: stop(*given) if group().rank == 0 else take_step(*given))
        with pytest.raises(Stopped):
            run_in_process(segment.SCRIPT, **options, resume="fresh")
    folder = run_in_process(segment.SCRIPT, **options)
    assert curve_of(folder) == curve_of(whole) and picks_of(folder) == picks_of(whole)
    assert len(followers) == 3


@pytest.mark.parametrize(
    ("died", "reason"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "killed by SIGKILL, often for lack of memory"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), "by SIGTERM"),
        (lambda: os._exit(3), "with code 3"),
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
)
@pytest.mark.parametrize("where", ["training", pytest.param("scoring", marks=LONGER)])
def test_one_that_dies_ends_all_with_one_sentence(where, died, reason, followers, monkeypatch):
    module, name = (training, "_take_step") if where == "training" else (evidence.ModelEvidence, "stream")
    real = getattr(module, name)

    def dying(*given, **more):
        if group().rank == 1:
            died()
        return real(*given, **more)

    began = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(module, name, dying)
        with pytest.raises(Refused) as refused:
            run_in_process(segment.SCRIPT, **FEW, heuristic="bald", devices=2)
    ended = f"process 1 of this run on 2 devices ended ({reason}), and the run with it"
    assert str(refused.value) == f"{ended}; the same command goes on from the last save"
    assert time.monotonic() - began < 120


def test_one_that_dies_before_all_have_met_ends_the_run(followers, monkeypatch):
    def dying(met, *given):
        if met.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return joined(met, *given)

    monkeypatch.setattr(several, "joined", dying)
    with pytest.raises(Refused, match="process 1 of this run on 2 devices ended .killed by SIGKILL"):
        run_in_process(segment.SCRIPT, **FEW, devices=2)
    assert not list(Path(os.environ["ALIQUOT_RUNS"]).glob("resume/*/meeting"))


def test_a_run_is_stopped_while_another_process_stands_still(followers, monkeypatch):
    """What that one still has to send is not waited for."""
    take_step = training._take_step

    def standing(*given):
        if group().rank == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        signal.alarm(1)
        take_step(*given)

    def stop(number, frame):
        raise Stopped

    monkeypatch.setattr(training, "_take_step", standing)
    before = signal.signal(signal.SIGALRM, stop)
    freed = threading.Timer(60, lambda: followers[0].kill())  # or it would be waited for without an end
    freed.start()
    try:
        began = time.monotonic()
        with pytest.raises(Stopped):
            run_in_process(segment.SCRIPT, **FEW, devices=2)
        assert time.monotonic() - began < 50
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        freed.cancel()


def test_what_all_refuse_is_said_once(followers, monkeypatch, tmp_path):
    """The step and its images, as on one device; a grid hears nothing of the others."""
    told, take_step = tmp_path / "told.json", training._take_step

    def broken(trained, *given):
        take_step(trained, *given)
        if trained.step == 2:
            trained.unread[-1] = trained.unread[-1] * np.nan

    monkeypatch.setattr(training, "_take_step", broken)
    monkeypatch.setenv("ALIQUOT_TOLD", str(told))
    with pytest.raises(NotFinite, match="the loss is nan at step 2 of cycle 0, images"):
        run_in_process(segment.SCRIPT, **FEW, devices=2)
    assert not told.exists()


@pytest.mark.parametrize(
    ("script", "options", "sentence"),
    [
        (segment, {"devices": 3}, "devices=3 with batch_size=4: each gets as many images of a batch, use batch_size=3"),
        (segment, {"devices": 9}, "devices=9 with batch_size=4: .* use batch_size=9"),
        (segment, {"devices": 0}, "devices=0 must be between 1 and 64"),
        (segment, {"devices": 1.5}, "devices=1.5"),
        (pretrain, {"devices": 3}, "devices=3 with batch_size=16: .* use batch_size=15"),
        (
            pretrain,
            {"devices": 2, "batch_size": 2, "sync_batchnorm": False},
            "devices=2 with batch_size=2, sync_batchnorm=False: .* use batch_size=4",
        ),
        (classify, {"device": "cuda", "devices": 2}, "device=cuda was asked for, but this machine has none such"),
    ],
)
def test_what_cannot_be_divided_is_refused(script, options, sentence, followers):
    with pytest.raises(Refused, match=sentence):
        script.SCRIPT.run("main", ["tiny"], **options)
    assert not followers


def test_more_devices_than_gpus_are_refused(monkeypatch, followers):
    from experiments.learning.devices import device_in_turn, require_devices, torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    chosen = {"device": "auto", "devices": 3, "batch_size": 6}
    with pytest.raises(
        Refused, match="devices=3, but this process sees 2 GPUs: use devices=2, or device=cuda:0 to share"
    ):
        require_devices(chosen)
    require_devices({**chosen, "device": "cuda:0"})
    require_devices({**chosen, "devices": 2})
    assert [str(device_in_turn("auto", rank)) for rank in (0, 1)] == ["cuda:0", "cuda:1"]
    assert str(device_in_turn("cuda:0", 1)) == "cuda:0" and str(device_in_turn("cpu", 1)) == "cpu"


@pytest.mark.parametrize("command", ["suggest", "predict"])
def test_rounds_with_a_person_compute_on_one_device(command, tmp_path, followers):
    with pytest.raises(Refused, match=f"devices=2: {command} computes on one device, use devices=1"):
        segment.SCRIPT.run(command, ["folder"], data_root=str(tmp_path), classes="gland", devices=2)


def test_devices_name_no_run_but_where_shares_count():
    """Batch norm of shares, and a detector's loss, which is a mean over them."""
    options = segment.SCRIPT.values(["tiny"])
    key = run_key("segment-main", options)
    assert run_key("segment-main", {**options, "devices": 2}) == key
    assert run_key("segment-main", {**options, "sync_batchnorm": False}) == key, "of one device there are no shares"
    assert run_key("segment-main", {**options, "devices": 2, "sync_batchnorm": False}) != key
    assert "sync_batchnorm" in idle({"devices": 2, "sync_batchnorm": True})
    shares = {run_key("segment-main", {**options, "devices": n, "sync_batchnorm": False}) for n in (2, 4)}
    boxes = {run_key("detect-main", {**detect.SCRIPT.values(["tiny"]), "devices": n}) for n in (1, 2, 4)}
    assert len(shares) == 2 and len(boxes) == 3


@LONG
def test_pictures_are_drawn_once(followers):
    options = {**FEW, "heuristic": "bald", "save_maps": True}
    one, two = both(segment.SCRIPT, **options)
    assert (two / "cycle_00.png").is_file() and picks_of(one) == picks_of(two)
    assert np.load(two / "curve.npy")["query_seconds"][0] > 0
