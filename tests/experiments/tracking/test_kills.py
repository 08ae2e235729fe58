"""Stopped at every single moment of a run in turn: the same command goes on to the identical curve and picks."""

from itertools import count

import pytest

from data import files
from experiments import loop
from experiments.learning import training
from experiments.segment import SCRIPT
from experiments.tracking import deliver
from tests.experiments.moments import Killed, stop_at
from tests.experiments.runs import curve_of, picks_of, run_in_process

pytestmark = pytest.mark.processes

SMALL = {
    "dataset_options": {"n_pool": 8, "n_test": 2},
    "n_initial": 2,
    "n_query": 2,
    "n_cycles": 1,
    "steps": 3,
    "mc_samples": 2,
}
SMALL |= {"scale": 0.25, "crop": 32, "depth": 2, "heuristic": "bald", "precision": "float32", "save_every": 0.0}

WATCHED = (training, "autocast"), (loop, "fit"), (loop, "query")


def test_stopped_at_any_moment_ends_the_same(monkeypatch):
    def undrawn(file, *_, **__):  # a picture takes longer than all the rest
        with files.atomic(file) as temporary:
            temporary.write_bytes(b"drawn")

    monkeypatch.setattr(deliver, "save_curve", undrawn)
    run_in_process(SCRIPT, **SMALL)  # writes what later runs share: decoded images, copies of sources
    with monkeypatch.context() as patch:
        passed = stop_at(patch, 0, *WATCHED)
        whole = run_in_process(SCRIPT, **SMALL, resume="fresh")
    expected = curve_of(whole), picks_of(whole)
    assert [passed.count(what) for what in ("autocast", "fit", "query")] == [6, 2, 1] and passed.count("replace") > 12
    for moment in count(1):
        with monkeypatch.context() as patch:
            stop_at(patch, moment, *WATCHED)
            try:
                survived = run_in_process(SCRIPT, **SMALL, resume="fresh")
            except Killed:
                survived = None
        folder = survived or run_in_process(SCRIPT, **SMALL)
        assert (curve_of(folder), picks_of(folder)) == expected, f"stopped at moment {moment}: {passed[moment - 1]}"
        if survived:
            break
    assert moment == len(passed) + 1
