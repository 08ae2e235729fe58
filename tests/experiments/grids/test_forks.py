"""Forks: runs that share one start are told, stopped, killed and judged like processes of their own."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from data.names import Refused
from experiments import grid
from experiments.grids import forks
from experiments.grids.jobs import Job, run_here
from tests.experiments.grids.test_jobs import DEAF, SAVES, alive, log_of, pids, stub, until
from tests.experiments.runs import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux")

STUB = """import sys
sys.path[0] = {root!r}
from experiments.grids import forks
class {script}:
    command_line = staticmethod(lambda words: exec(words[0], {{}}))
forks.import_late = lambda script: print("begun", flush=True)
forks.fork_for_each({script}, {handle})
"""


@pytest.fixture(autouse=True)
def _quick_origin(monkeypatch):
    monkeypatch.setattr(forks, "ORIGIN", STUB)


def forked(folder, name, code, record=False):
    """A job whose words are some Python, run in a fork."""
    job = stub(folder, name, code, record)
    return Job(job.key, job.words, (job.command[0], "experiments/stub.py", job.command[2]), folder, False)


def run_all(todo, slots=2, stops=(), done=lambda job: None):
    outcomes = {}
    with forks.forking({"OMP_NUM_THREADS": "1"}) as start:
        slots = [{}] * slots if isinstance(slots, int) else slots
        run_here(todo, slots, start, stops, lambda job, outcome: (outcomes.update({job: outcome}), done(job)))
    return outcomes


def test_how_forks_end(tmp_path, capfd):
    """Each run has its own log and reason, and the same status as in a process of its own."""
    todo = [
        forked(tmp_path, "1", "print('one')", record=True),
        forked(tmp_path, "2", "from data.names import *; raise Refused('lr=9 is too much')"),
        forked(tmp_path, "3", "raise LookupError('all of it')"),
        forked(tmp_path, "4", "from data.names import *; raise InProgress('this run is already in progress')"),
        forked(tmp_path, "5", "import os; os.kill(os.getpid(), 9)"),
        forked(tmp_path, "6", "import os; os.kill(os.getpid(), 15)"),
        forked(tmp_path, "7", "print('seven'); raise SystemExit('no word')"),
        forked(tmp_path, "8", "print('eight')", record=True),
    ]
    outcomes = run_all(todo)
    ends = [outcomes[job] for job in todo]
    statuses = "completed failed failed", "in another process", "failed interrupted failed completed"
    assert [end.status for end in ends] == [*statuses[0].split(), statuses[1], *statuses[2].split()]
    assert [end.reason for end in ends[1:4]] == [
        "Refused: lr=9 is too much",
        "LookupError: all of it",
        "Refused: this run is already in progress",
    ]
    assert ends[4].reason.startswith("killed by SIGKILL") and ends[6].reason.endswith("last words: no word")
    assert log_of(todo[0]).splitlines()[-1] == "one" and log_of(todo[7]).splitlines()[-1] == "eight"
    assert "Traceback" in log_of(todo[2]) and "Traceback" not in log_of(todo[1])
    assert capfd.readouterr().err.split() == ["begun"], "the start was paid once, and no run speaks into the grid"


def test_nothing_of_a_run_reaches_the_next(tmp_path):
    code = """
import os, sys, warnings
seen = [os.environ.get("LEFT"), hasattr(sys, "left"), len(warnings.filters), os.getcwd(), sys.argv[0]]
print("seen", seen, flush=True)
os.environ["LEFT"] = sys.left = "behind"
warnings.simplefilter("error")
os.chdir("/")
"""
    todo = [forked(tmp_path, str(i), code) for i in range(3)]
    run_all(todo, slots=1)
    seen = [log_of(job).splitlines()[-1] for job in todo]
    assert seen[0].startswith("seen [None, False") and len(set(seen)) == 1


def test_a_stop_lets_forks_save_and_starts_no_other(tmp_path):
    todo, stops = [forked(tmp_path, str(i), SAVES) for i in range(3)], []
    stopper = threading.Thread(target=lambda: (until(lambda: len(pids(todo)) == 2), stops.append(2)))
    stopper.start()
    outcomes = run_all(todo, 2, stops)
    stopper.join()
    assert [outcomes[job].status for job in todo] == ["interrupted", "interrupted", "not started"]
    assert all("saved" in log_of(job) for job in todo[:2]) and not todo[2].logs


def test_a_second_stop_ends_forks_and_what_they_started_at_once(tmp_path):
    child = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', '''" + DEAF + "'''])\n" + DEAF
    todo, stops = [forked(tmp_path, "1", child)], []
    stopper = threading.Thread(target=lambda: (until(lambda: len(pids(todo)) == 2), stops.extend([2, 2])))
    stopper.start()
    assert run_all(todo, 1, stops)[todo[0]].status == "interrupted"
    stopper.join()
    until(lambda: not any(map(alive, pids(todo))))


GRID = """
from pathlib import Path
from experiments.grids import forks
from experiments.grids.jobs import Job, run_here
forks.ORIGIN = {origin!r}
todo = [Job("1", (), ("python", "experiments/stub.py", {code!r}), Path({folder!r}), False)]
with forks.forking({{}}) as start:
    run_here(todo, [{{}}], start, (), print)
"""


def test_no_fork_outlives_a_grid_that_is_killed(tmp_path):
    job = forked(tmp_path, "1", SAVES)
    code = GRID.format(origin=STUB, code=SAVES, folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    until(lambda: pids([job]))
    process.kill()
    process.wait()
    until(lambda: not alive(*pids([job])))
    assert "saved" in log_of(job)


def test_an_end_at_once_does_not_wait_for_imports(tmp_path, monkeypatch):
    monkeypatch.setattr(forks, "ORIGIN", "import time; time.sleep(60) # {root} {script} {handle}")
    job, began = forked(tmp_path, "1", "pass"), time.monotonic()
    stops = []
    stopper = threading.Thread(target=lambda: (until(lambda: job.logs), stops.extend([2, 2])))
    stopper.start()
    assert run_all([job], 1, stops)[job].status == "interrupted" and time.monotonic() - began < 30
    stopper.join()


def test_an_origin_that_is_killed_takes_its_runs_along_and_others_go_on(tmp_path):
    """Its runs are told to save themselves, and the next has a new origin."""
    todo = [forked(tmp_path, "1", SAVES), forked(tmp_path, "2", "print('two')", record=True)]

    def kill():
        until(lambda: pids(todo))
        os.kill(int(Path(f"/proc/{pids(todo)[0]}/stat").read_text().rsplit(")", 1)[1].split()[1]), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    outcomes = run_all(todo, slots=1)
    killer.join()
    assert [outcomes[job].status for job in todo] == ["interrupted", "completed"]
    until(lambda: "saved" in log_of(todo[0]))


def test_code_that_changes_is_imported_anew(tmp_path, monkeypatch, capfd):
    """A run's digest is of the files that are there when it starts: it must run these."""
    todo = [forked(tmp_path, str(i), "pass", record=True) for i in range(4)]
    written = [{}]
    monkeypatch.setattr(forks, "_written", lambda: written[0])
    run_all(todo, 1, done=lambda job: written.__setitem__(0, {Path("x.py"): 1} if job is todo[1] else written[0]))
    assert capfd.readouterr().err.split() == ["begun", "begun"]


def test_an_origin_that_cannot_begin_fails_its_runs(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(forks, "ORIGIN", "raise ImportError('{root} {script} {handle}')")
    job = forked(tmp_path, "1", "pass")
    assert run_all([job])[job].status == "failed" and "ImportError" in capfd.readouterr().err


def test_where_forks_are_not_to_be_had(monkeypatch, capsys):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(Refused, match="--in-process needs Linux, and this is win32"):
        forks.require_forks()
    with pytest.raises(SystemExit):
        grid.main(["segment", "with", "tiny", "--in-process", "--slurm"])
    assert "--in-process is for runs on this machine: leave out --slurm" in capsys.readouterr().err
