"""Running the scripts from tests: inside this process, or as users do."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments import finish
from experiments.tasks import detection
from experiments.tracking import deliver
from experiments.tracking.recording import stored_folder

ROOT = Path(__file__).parent.parent.parent
DRAWN = ((deliver, "save_curve"), (detection, "save_froc"), (finish, "save_advice"))


def run_in_process(script, command="main", presets=("tiny",), drawn=False, **options):
    """Run a command of a script with presets; returns the run's folder, or None where that run was finished before.

    Its curves are drawn only where `drawn` says so: that took half of the time of a tiny run.
    """
    with pytest.MonkeyPatch.context() as patch:
        for module, name in () if drawn else DRAWN:
            patch.setattr(module, name, undrawn)
        run = script.run(command, presets, **options)
    return run and stored_folder(run)


def undrawn(path, *_, **__):
    """A file in the place of a picture."""
    path.write_bytes(b"not drawn")
    return path


def curve_of(folder):
    """The curve without the columns that measure time; None where a cycle has no value."""
    curve = np.load(folder / "curve.npy")
    names = [name for name in curve.dtype.names if not name.endswith(("_seconds", "_share"))]
    return {name: [None if np.isnan(value) else value for value in curve[name].tolist()] for name in names}


def picks_of(folder):
    return np.load(folder / "picks.npy").tolist()


def status_of(folder):
    return json.loads((folder / "run.json").read_text())["status"]


def command_line(*words, cwd=ROOT, wait=True, script=ROOT / "experiments" / "segment.py"):
    """Start a script as users do; returns the finished process, or the running one."""
    process = subprocess.Popen(
        [sys.executable, str(script), *words],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    if not wait:
        return process
    process.out, process.err = process.communicate(timeout=300)
    return process
