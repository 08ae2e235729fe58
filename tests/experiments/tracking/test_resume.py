"""A run killed at any moment continues with the same command to the identical curve and picks."""

import errno
import fcntl
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from data import catalogue, files
from data import splits as data_splits
from data.names import InProgress, Refused
from data.phantoms.glands import glands
from experiments import loop
from experiments.learning import training
from experiments.segment import SCRIPT
from experiments.tasks import segmentation
from experiments.tracking import checkpoints, code
from tests.experiments.runs import command_line, curve_of, picks_of, run_in_process, status_of

OPTIONS = {
    "dataset_options": {"n_pool": 14, "n_test": 4},
    "steps": 5,
    "mc_samples": 2,
    "heuristic": "bald",
    "save_every": 0.0,
}


def run(**options):
    """The folder of the run, or None where it was finished before."""
    return run_in_process(SCRIPT, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, phantom_cache):
    """The run that nothing interrupts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALIQUOT_RUNS", str(tmp_path_factory.mktemp("whole")))
        patch.setenv("ALIQUOT_CACHE", str(phantom_cache))
        folder = run(**OPTIONS)
        return curve_of(folder), picks_of(folder)


class Killed(BaseException):
    """Stands for a kill: nothing in the project catches it."""


def stop_at(monkeypatch, module, name, call):
    """Raise at the call-th call of module.name."""
    real, calls = getattr(module, name), []

    def counted(*args, **kwargs):
        calls.append(1)
        if len(calls) == call:
            raise Killed
        return real(*args, **kwargs)

    monkeypatch.setattr(module, name, counted)


EVERYTHING = {
    **OPTIONS,
    "dataset_options": {"n_pool": 20, "n_test": 4},
    "n_val": 4,
    "val_every": 1,
    "patience": 2,
    "start": "warm",
    "keep_models": True,
    "clip": 1.0,
}


@pytest.mark.parametrize("call", [3, 9])
def test_best_weights_patience_and_warm_start_survive_too(monkeypatch, call):
    expected = run(**EVERYTHING, run=5)
    expected = curve_of(expected), picks_of(expected)
    with monkeypatch.context() as patch:
        stop_at(patch, training, "autocast", call)
        with pytest.raises(Killed):
            run(**EVERYTHING, run=5, resume="fresh")
    folder = run(**EVERYTHING, run=5)
    assert (curve_of(folder), picks_of(folder)) == expected


def test_changed_code_is_noticed_in_the_first_training(monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, training, "autocast", 3)
        with pytest.raises(Killed):
            run(**OPTIONS)
    monkeypatch.setattr(code, "digest_of", lambda *modules: "changed")
    with pytest.raises(Refused, match="the code changed under this unfinished run"):
        run(**OPTIONS)


def test_a_run_that_died_after_its_last_save_is_recorded_again(whole):
    """The state says finished, but Sacred's record does not, or cannot be read: the next start replays it."""
    folder = run(**OPTIONS)
    for text in ((folder / "run.json").read_text().replace("COMPLETED", "RUNNING"), "", "{}", "null"):
        (folder / "run.json").write_text(text)
        again = run(**OPTIONS)
        assert again != folder and (curve_of(again), picks_of(again)) == whole and status_of(again) == "COMPLETED"
        folder = again
    assert run(**OPTIONS) is None


def taken(folder):
    """Whether someone holds the run."""
    with open(folder / "lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_a_run_is_held_from_the_gate_to_its_end(monkeypatch):
    """While Sacred makes its record and data are loaded too, so that a second process makes no record that fails."""
    seen, real = [], segmentation.load_images

    def load(*args, **options):
        (folder,) = (Path(os.environ["ALIQUOT_RUNS"]) / "resume").iterdir()
        seen.append((folder, taken(folder)))
        if len(seen) == 1:
            raise OSError("no data")
        return real(*args, **options)

    monkeypatch.setattr(segmentation, "load_images", load)
    with pytest.raises(OSError, match="no data"):
        run(**OPTIONS)
    ((folder, held),) = seen
    assert held and not taken(folder), "a run that fails early is free"
    run(**OPTIONS)
    assert not taken(folder)
    assert run(**OPTIONS) is None
    assert seen[1:] == [(folder, True), (folder, False)], "a finished run is not held while its data are compared"


OLD = {"heuristic": "bald", "run": 3, "lr": 0.1}
KEYS = [
    ("segment", "folder", "/a", "segment-main-folder-bald-3-3be87ced31bb"),
    ("detect", "bccd", "/a", "detect-main-bccd-bald-3-856f307763f8"),
    ("detect", "busi", "/b", "detect-main-busi-bald-3-36f6f9f369e2"),
    ("detect", "deeplesion", "", "detect-main-deeplesion-bald-3-949c76f28cb2"),
    ("segment", "glas", "/a", "segment-main-glas-bald-3-6e14ce57abd4"),
]


@pytest.mark.parametrize(("task", "dataset", "root", "key"), KEYS)
def test_keys_stay_what_they_were(task, dataset, root, key):
    """So that runs of older versions are found; the digests are theirs."""
    assert checkpoints.run_key(f"{task}-main", {**OLD, "dataset": dataset, "data_root": root}) == key


@pytest.mark.parametrize("dataset", ["folder", "coco", "voc", "bccd"])
def test_another_folder_is_another_run_where_it_is_the_dataset(dataset):
    roots = ["/a", "/b", "/a/../a"]
    a, b, again = (checkpoints.run_key("detect-main", {**OLD, "dataset": dataset, "data_root": root}) for root in roots)
    assert a == again and (a != b) == (dataset != "bccd")


def test_own_folders_are_datasets_of_the_scripts():
    assert set().union(*map(catalogue.names, ("segment", "classify", "detect"))) > catalogue.OWN


def test_changed_data_or_division_is_refused(tmp_path):
    splits = tmp_path / "splits"
    data_splits.write_splits(data_splits.make_splits(glands(14, 4), 0, np.random.default_rng(0)), splits)
    run(**OPTIONS, splits_dir=str(splits))
    lines = (splits / "train.csv").read_text().splitlines(keepends=True)
    (splits / "train.csv").write_text("".join(lines[:-1]))
    with pytest.raises(Refused, match="the data or their division changed under this run .*resume=fresh"):
        run(**OPTIONS, splits_dir=str(splits))


def test_finished_cycles_are_not_trained_again(monkeypatch, whole):
    with monkeypatch.context() as patch:
        stop_at(patch, loop, "fit", 3)
        with pytest.raises(Killed):
            run(**OPTIONS)
    steps = []
    real = training.autocast
    monkeypatch.setattr(training, "autocast", lambda *a: (steps.append(1), real(*a))[1])
    folder = run(**OPTIONS)
    assert len(steps) == OPTIONS["steps"], "only the third training was left"
    assert curve_of(folder) == whole[0]


def test_a_finished_run_is_named_and_nothing_changes(capsys):
    folder = run(**OPTIONS)
    before = sorted(str(f) for f in folder.parent.rglob("*"))
    assert run(**OPTIONS) is None
    assert f"finished before as run {folder.name}" in capsys.readouterr().out
    assert sorted(str(f) for f in folder.parent.rglob("*")) == before
    assert run(**OPTIONS, resume="fresh") != folder


def test_changed_code_is_refused_until_forced(monkeypatch, whole):
    with monkeypatch.context() as patch:
        stop_at(patch, loop, "query", 2)
        with pytest.raises(Killed):
            run(**OPTIONS)
    then = SCRIPT.code_of(SCRIPT.values(["tiny", "heuristic=bald"]))
    monkeypatch.setattr(code, "digest_of", lambda *modules: "changed")
    with pytest.raises(
        Refused, match=f"the code changed under this unfinished run \\(then {then}, now changed\\).*resume=force"
    ):
        run(**OPTIONS)
    folder = run(**OPTIONS, resume="force")
    assert (curve_of(folder), picks_of(folder)) == whole


def test_a_full_disk_loses_nothing(monkeypatch, whole):
    real, calls = os.fsync, []

    def full(descriptor):
        calls.append(1)
        if len(calls) > 9:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises(Refused, match="the disk is full while saving .*start the same command again"):
            run(**OPTIONS)
    resume = Path(os.environ["ALIQUOT_RUNS"]) / "resume"
    assert not list(resume.rglob(".*")), "no half-written file is left"
    folder = run(**OPTIONS)
    assert (curve_of(folder), picks_of(folder)) == whole


def test_a_damaged_state_is_named():
    folder = run(**OPTIONS)
    state = next((folder.parent / "resume").rglob("state.json"))
    state.write_text(state.read_text()[:40])
    with pytest.raises(Refused, match="cannot read .*state.json .*resume=fresh"):
        run(**OPTIONS)


WORDS = ["with", "tiny", *(f"{name}={value}" for name, value in OPTIONS.items())]


def wait_for(process, sign, seconds=120):
    """Wait until `sign()` is true or the process ends."""
    until = time.monotonic() + seconds
    while not sign() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)


@pytest.mark.processes
def test_killed_by_the_system_at_random_moments(whole):
    """kill -9 as soon as some file of the state appears, at random, until one is left to finish."""
    runs, chance = Path(os.environ["ALIQUOT_RUNS"]), random.Random(0)
    for moment in ("training.pt", "state.json", "model-1.pt"):
        process = command_line(*WORDS, wait=False)
        wait_for(process, lambda m=moment: list(runs.glob(f"resume/*/{m}")))
        time.sleep(chance.random() * 0.3)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    process = command_line(*WORDS)
    assert process.returncode == 0, process.err
    folder = max((f for f in runs.iterdir() if f.name.isdigit()), key=lambda f: int(f.name))
    assert (curve_of(folder), picks_of(folder)) == whole
    assert status_of(folder) == "COMPLETED"


@pytest.mark.processes
def test_sigterm_marks_the_run_and_a_second_process_is_refused():
    runs = Path(os.environ["ALIQUOT_RUNS"])
    words = [w for w in WORDS if not w.startswith("steps")] + ["steps=100000"]
    first = command_line(*words, wait=False)
    wait_for(first, lambda: list(runs.glob("resume/*/training.pt")))
    second = command_line(*words)
    assert (
        second.returncode == InProgress.exit_code
        and "this run is already in progress (process" in second.err
        and "Traceback" not in second.err
    )
    first.send_signal(signal.SIGTERM)
    _, err = first.communicate(timeout=60)
    assert first.returncode == 130 and "Stopped by SIGTERM. The same command continues from here." in err
    assert status_of(runs / "1") == "INTERRUPTED"
