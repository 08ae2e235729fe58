"""A run of one of our scripts, with the processor seconds of its parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from tests.benchmarks.ancestors.shared import Clock

FUNCTIONS = {"train": "train", "measure": "test", "ask": "query"}  # of experiments.loop -> the part


def simulate(script: str, options: dict[str, Any]) -> dict[str, Any]:
    """The same record as a plain run gives, of a run that is stored where $ALIQUOT_RUNS says."""
    from experiments.tracking.recording import stored_folder

    clock = Clock()
    with timed(clock):
        run = import_module(f"experiments.{script}").SCRIPT.run("main", (), **options)
    folder = stored_folder(run)
    curve = np.load(folder / "curve.npy")
    rows = [{name: row[name].item() for name in curve.dtype.names if curve.dtype[name].kind in "fi"} for row in curve]
    picks = np.load(folder / "picks.npy").tolist()[options["n_initial"] :]  # the first labels come first
    return {"parts": clock.spent, "curve": rows, "picks": picks}


@contextmanager
def timed(clock: Clock) -> Iterator[None]:
    """Inside of it the parts of the loop are counted by the clock."""
    from experiments import loop

    def counted(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            with clock(part):
                return function(*given)

        return call

    before = {name: getattr(loop, name) for name in FUNCTIONS}
    try:
        for name, part in FUNCTIONS.items():
            setattr(loop, name, counted(part, before[name]))
        yield
    finally:
        for name, function in before.items():
            setattr(loop, name, function)
