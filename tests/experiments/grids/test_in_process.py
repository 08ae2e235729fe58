"""`grid.py --in-process`: what runs of the three scripts record as forks and as processes of their own."""

import json
import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from experiments import classify, grid
from experiments.grids import forks
from experiments.grids.examining import examine
from tests.experiments.grids.test_jobs import until
from tests.experiments.runs import ROOT, command_line, curve_of, run_in_process

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux"),
]
TIMES = {"start_time", "stop_time", "heartbeat", "timestamps", "finished_start"}


@pytest.fixture(autouse=True)
def _examined_here(monkeypatch):
    """Options are checked in this process, which has the scripts imported already."""
    monkeypatch.setattr(grid, "examined", examine)


def lasting(value):
    """A record without what differs from one process to another: moments, seconds, and checksums of files with them."""
    if isinstance(value, dict):
        passing = {name for name in value if name in TIMES or name.endswith(("_seconds", "_share", "curve.npy"))}
        return {name: lasting(item) for name, item in value.items() if name not in passing}
    return [lasting(item) for item in value] if isinstance(value, list) else value


def record_of(folder):
    """All that a run left: what its JSON files say, its curve, and the bytes of the other files."""
    found = {file.name: lasting(json.loads(file.read_text())) for file in folder.glob("*.json")}
    others = {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix in (".csv", ".png")}
    picks = {"picks.npy": np.load(folder / "picks.npy").tolist(), "curve.npy": curve_of(folder)}
    return found | {n: content for n, content in others.items() if n != "curve.png"} | picks


@pytest.mark.parametrize("script", ["classify", "segment", pytest.param("detect", marks=pytest.mark.trials)])
def test_a_fork_records_what_a_process_records(script, capsys, tmp_path, monkeypatch):
    """After a run that failed, and with as many threads."""
    heuristic = {"classify": "badge", "segment": "bald", "detect": "box_entropy"}[script]
    words = ["tiny", f"heuristic={heuristic}", "run=2"]
    assert grid.main([script, "with", *words, "n_cycles=99,2", "--in-process"]) == 1
    assert "1 completed, 1 failed" in capsys.readouterr().out
    forked = Path(os.environ["ALIQUOT_RUNS"]) / "2"
    log = next(file for file in forked.parent.glob("grid/*.1.log") if "area under" in file.read_text()).read_text()
    assert log.startswith(f"$ {sys.executable}") and "Refused" not in log and log.count("What was read") == 1
    monkeypatch.setenv("ALIQUOT_RUNS", str(tmp_path / "own"))
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    alone = command_line("with", *words, "n_cycles=2", script=ROOT / "experiments" / f"{script}.py")
    assert alone.returncode == 0, alone.err
    one, other = record_of(forked), record_of(tmp_path / "own" / "1")
    assert one.keys() == other.keys() and {"run.json", "metrics.json", "config.json", "info.json"} < one.keys()
    for name in one:
        assert one[name] == other[name], name


def test_runs_of_pretrain_are_forks_too(capsys):
    assert grid.main(["pretrain", "with", "tiny", "run=0,1", "--in-process"]) == 0
    assert "2 completed" in capsys.readouterr().out


def test_memory_stays_as_it_is(capsys, monkeypatch):
    """Of the process that is forked, over a dozen runs."""
    resident = []

    class Watched(forks.Origin):
        def fork(self, job, slot):
            lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
            resident.append(int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024)
            return super().fork(job, slot)

    monkeypatch.setattr(forks, "Origin", Watched)
    few = ["n_cycles=0", "steps=1", "dataset_options.n_pool=27", "dataset_options.n_test=9"]
    assert grid.main(["classify", "with", "tiny", *few, "run=0..11", "--in-process"]) == 0
    assert len(resident) == 12 and resident[-1] - resident[1] < 5, resident


def test_a_grid_that_is_stopped_and_started_again(capsys, tmp_path, monkeypatch):
    """The run that was going on continues, and ends as one that nobody stopped."""
    runs = Path(os.environ["ALIQUOT_RUNS"])
    words = ["classify", "with", "tiny", "steps=150", "n_cycles=1", "run=0,1", "--in-process"]

    def stop():
        until(lambda: list(runs.glob("resume/*-0-*/model-0.pt")), 120)
        os.kill(os.getpid(), signal.SIGINT)  # which the grid notes

    stopper = threading.Thread(target=stop)
    stopper.start()
    assert grid.main(words) == 130
    stopper.join()
    assert "1 interrupted, 1 not started\nThe same command continues from here." in capsys.readouterr().out
    (log,) = runs.glob("grid/*-0-*.log")
    assert "Stopped by SIGTERM. The same command continues from here." in log.read_text()
    assert grid.main(words) == 0 and "2 completed" in capsys.readouterr().out
    assert "Continuing after 1 finished cycles." in (runs / "2" / "cout.txt").read_text()
    monkeypatch.setenv("ALIQUOT_RUNS", str(tmp_path / "own"))
    unstopped = record_of(run_in_process(classify.SCRIPT, steps=150, n_cycles=1, run=0))
    continued = record_of(runs / "2")
    assert [continued[name] == unstopped[name] for name in ("picks.npy", "curve.npy", "picks.csv")] == [True] * 3
