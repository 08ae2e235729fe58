"""Real processes of one run, killed at their work: nothing hangs, nothing is left behind, and the run goes on."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.experiments.grids.test_jobs import alive
from tests.experiments.runs import ROOT, command_line, curve_of, picks_of

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]
OPTIONS = [
    "dataset_options.n_pool=14",
    "dataset_options.n_test=5",
    "n_cycles=1",
    "n_query=2",
    "steps=40",
    "scale=0.25",
    "crop=32",
]
OPTIONS += ["depth=2", "precision=float32", "heuristic=bald", "save_every=0"]
WORDS = ["with", "tiny", *OPTIONS, "devices=2"]


def followers_of(pid):
    """The other processes of a run, once they have begun."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == pid and b"experiments.several" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except (OSError, ValueError, IndexError):
            continue
    return found


def until(sign, seconds=120):
    end = time.monotonic() + seconds
    while not (found := sign()):
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)
    return found


def folder_of(process):
    """The folder of the run that ended with this process."""
    runs = Path(os.environ["ALIQUOT_RUNS"])
    (state,) = runs.glob("resume/*/state.json")
    assert process.returncode == 0, process.err
    return runs / json.loads(state.read_text())["finished_by"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run that nobody kills comes to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALIQUOT_RUNS", str(tmp_path_factory.mktemp("whole")))
        folder = folder_of(command_line(*WORDS))
        return curve_of(folder), picks_of(folder)


@pytest.mark.parametrize(
    ("who", "number", "cycle"),
    [
        ("first", signal.SIGKILL, 0),
        pytest.param("other", signal.SIGKILL, 1, marks=pytest.mark.trials),
        pytest.param("other", signal.SIGTERM, 0, marks=pytest.mark.trials),
        pytest.param("first", signal.SIGINT, 1, marks=pytest.mark.trials),
    ],
)
def test_killed_at_its_work(who, number, cycle, whole):
    process = command_line(*WORDS, wait=False)
    runs = Path(os.environ["ALIQUOT_RUNS"])
    others = until(lambda: followers_of(process.pid))
    place = f"resume/*/{'training.pt' if not cycle else 'model-0.pt'}"
    until(lambda: list(runs.glob(place)) or process.poll() is not None)
    os.kill(process.pid if who == "first" else others[0], number)
    process.out, process.err = process.communicate(timeout=120)
    until(lambda: not any(map(alive, others)), 20)
    if who == "other":
        name = "killed by SIGKILL, often for lack of memory" if number == signal.SIGKILL else "by SIGTERM"
        ended = f"process 1 of this run on 2 devices ended ({name}), and the run with it"
        assert process.returncode == 1 and f"Refused: {ended}; the same command" in process.err
        assert "Traceback" not in process.err
    else:
        assert process.returncode == (-9 if number == signal.SIGKILL else 130)
    folder = folder_of(command_line(*WORDS))
    assert (curve_of(folder), picks_of(folder)) == whole


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param(
            "classify",
            ["with", "tiny", "n_cycles=1", "heuristic=badge", "precision=float32"],
            marks=pytest.mark.trials,
        ),
        ("detect", ["with", "tiny", "n_cycles=1", "precision=float32"]),
        pytest.param("pretrain", ["with", "tiny", "precision=float32"], marks=pytest.mark.trials),
    ],
)
def test_each_script_starts_its_processes(script, words):
    ended = command_line(*words, "devices=2", script=ROOT / "experiments" / f"{script}.py")
    assert ended.returncode == 0, ended.err
    assert "2 processes compute this run (cpu)" in ended.out


@pytest.mark.trials
def test_a_grid_gives_each_run_its_devices(capfd):
    """Two processes a run, two runs at a time, and each run its own GPUs, which nobody has here."""
    gpus = ["--devices", "0,1,2,3"]
    words = [word for word in WORDS if not word.startswith("steps")]
    ended = command_line("segment", *words, "steps=3", "run=0,1", *gpus, script=ROOT / "experiments" / "grid.py")
    assert ended.returncode == 0 and "2 completed" in ended.out, ended.err
