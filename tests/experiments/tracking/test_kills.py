"""Stopped at every single moment of a run in turn: the same command goes on to the identical curve and picks."""

import threading
from itertools import count

import pytest

from data import files
from experiments import loop
from experiments.learning import training
from experiments.segment import SCRIPT
from experiments.tracking import deliver
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


class Killed(BaseException):
    """Stands for a kill: nothing in the project catches it."""


def stop_at(monkeypatch, moment):
    """Raise at a moment: just before or after a file takes its place, before a training, a step of it, or a query."""
    passed = []

    def pass_by(what):
        if threading.current_thread() is not threading.main_thread():
            return  # a heartbeat of Sacred's, which comes when it likes
        passed.append(what)
        if len(passed) == moment:
            raise Killed

    def watched(module, name, after=False):
        real = getattr(module, name)

        def counted(*args, **kwargs):
            pass_by(name)
            done = real(*args, **kwargs)
            if after:
                pass_by(f"after {name}")
            return done

        monkeypatch.setattr(module, name, counted)

    watched(files.os, "replace", after=True)  # every file of a run is written so
    watched(training, "autocast")
    watched(loop, "fit")
    watched(loop, "query")
    return passed


def test_stopped_at_any_moment_ends_the_same(monkeypatch):
    def undrawn(file, *_, **__):  # a picture takes longer than all the rest
        with files.atomic(file) as temporary:
            temporary.write_bytes(b"drawn")

    monkeypatch.setattr(deliver, "save_curve", undrawn)
    run_in_process(SCRIPT, **SMALL)  # writes what later runs share: decoded images, copies of sources
    with monkeypatch.context() as patch:
        passed = stop_at(patch, 0)
        whole = run_in_process(SCRIPT, **SMALL, resume="fresh")
    expected = curve_of(whole), picks_of(whole)
    assert [passed.count(what) for what in ("autocast", "fit", "query")] == [6, 2, 1] and passed.count("replace") > 12
    for moment in count(1):
        with monkeypatch.context() as patch:
            stop_at(patch, moment)
            try:
                survived = run_in_process(SCRIPT, **SMALL, resume="fresh")
            except Killed:
                survived = None
        folder = survived or run_in_process(SCRIPT, **SMALL)
        assert (curve_of(folder), picks_of(folder)) == expected, f"stopped at moment {moment}: {passed[moment - 1]}"
        if survived:
            break
    assert moment == len(passed) + 1
