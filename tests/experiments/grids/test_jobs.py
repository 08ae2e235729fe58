"""Jobs: how processes are started, stopped and judged, what the table says, and that nothing outlives a grid."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.grids import jobs
from experiments.grids.jobs import Job, Outcome, run_here, starting
from experiments.tracking import processes
from tests.experiments.runs import ROOT


def stub(folder, name, code, record=False):
    """A job that runs some Python; with `record`, the files of a completed run are there."""
    if record:
        times = {"start_time": "2020-01-01T00:00:00", "stop_time": "2020-01-01T00:01:30.5"}
        for file, content in {
            folder / "resume" / name / "state.json": {"finished_by": name},
            folder / name / "run.json": {"status": "COMPLETED", "result": 0.75, **times},
        }.items():
            file.parent.mkdir(parents=True)
            file.write_text(json.dumps(content))
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"
    return Job(name, ("tiny", f"run={name}"), (sys.executable, "-c", code), folder, False)


def run_all(todo, slots=2, threads=1, stops=()):
    outcomes = {}
    environment = {"OMP_NUM_THREADS": str(threads)}
    slots = [{}] * slots if isinstance(slots, int) else slots
    run_here(todo, slots, starting(environment), stops, lambda job, outcome: outcomes.update({job: outcome}))
    return outcomes


def log_of(job):
    """What the only process of a job printed."""
    (log,) = job.logs
    return log.read_text()


TELLS = "from experiments.tracking.launch import told\nfrom data.names import *\nwith told(): raise "


def test_how_jobs_end(tmp_path):
    bars = "print('cycle: 50%|#####     | 1/2'); print('Refused: not a word of it', flush=True)\n"
    todo = [
        stub(tmp_path, "1", "pass", record=True),
        stub(tmp_path, "2", f"{bars}{TELLS}Refused('lr=9 is too much')"),
        stub(tmp_path, "3", f"{bars}{TELLS}KeyError('nothing')"),
        stub(tmp_path, "4", "pass"),
        stub(tmp_path, "5", "import os; os.kill(os.getpid(), 9)"),
        stub(tmp_path, "6", "import os; os.kill(os.getpid(), 15)"),
        stub(tmp_path, "7", "raise SystemExit(3)"),
    ]
    outcomes = run_all(todo, 4)
    ends = [outcomes[job] for job in todo]
    assert ends[0] == Outcome("completed", 90.5, 0.75, "1")
    assert [end.status for end in ends[1:]] == ["failed", "failed", "failed", "failed", "interrupted", "failed"]
    reasons = [end.reason for end in ends]
    assert reasons[1] == "Refused: lr=9 is too much" and reasons[2] == "KeyError: 'nothing'"
    assert reasons[3] == "it ended without a completed run" and reasons[4].startswith("killed by SIGKILL")
    assert reasons[6] == "exited without a reason; last words: raise SystemExit(3)'", "the end of its command line"


def test_a_job_that_cannot_be_started_has_failed_and_others_go_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    todo = [stub(tmp_path, name, "import time; time.sleep(0.3)", record=True) for name in "123"]
    todo[1] = replace(todo[1], key="x" * 300)  # no log can have that name
    outcomes = run_all(todo)
    assert [outcomes[job].status for job in todo] == ["completed", "failed", "completed"]
    assert "it could not be started" in outcomes[todo[1]].reason and "xxx.1.log" in outcomes[todo[1]].reason
    assert jobs.last_words(tmp_path / "nothing.log") == "it left no log"
    assert jobs.table(outcomes).splitlines()[-1] == "2 completed, 1 failed"


def test_a_run_that_another_process_holds_has_not_failed(tmp_path):
    says = "this run is already in progress (process 7 on x)"
    todo = [stub(tmp_path, kind, f"{TELLS}{kind}({says!r})") for kind in ("InProgress", "Refused")]
    held, failed = map(run_all(todo).get, todo)
    assert (held.status, failed.status) == ("in another process", "failed"), "judged by the code, not by the text"
    assert jobs.table({todo[0]: held}).splitlines()[2:] == [f"    Refused: {says}", "1 in another process"]


HOLDS = """
import json, sys, time
from pathlib import Path
from experiments.tracking.checkpoints import Checkpoint
from experiments.tracking.launch import told
runs, end = Path({folder!r}), Path({folder!r}, "end")
with told(), Checkpoint(runs, "1").lock():
    print("held", flush=True)
    while not end.exists():
        print("cycle: 50%|#####     | 1/2 [00:01<00:01]", flush=True)
        time.sleep(0.02)
    (runs / "1").mkdir()
    record = dict(status="COMPLETED", result=0.5, start_time="2020-01-01T00:00:00", stop_time="2020-01-01T00:00:02")
    (runs / "1" / "run.json").write_text(json.dumps(record))
    (runs / "resume" / "1" / "state.json").write_text(json.dumps(dict(finished_by="1")))
"""


def test_two_grids_at_once(tmp_path):
    """The second one meets the first in the middle, whose progress bars are nobody's errors."""
    job = stub(tmp_path, "1", HOLDS.format(folder=str(tmp_path)))
    first = {}
    grid = threading.Thread(target=lambda: first.update(run_all([job])))
    grid.start()
    try:
        until(lambda: job.logs and "\ncycle: " in job.logs[0].read_text(), 60)
        second = run_all([job])[job]
    finally:
        (tmp_path / "end").touch()
        grid.join()
    assert (first[job].status, second.status) == ("completed", "in another process")
    assert second.reason.startswith("Refused: this run is already in progress (process ")
    own, others = (log.read_text() for log in job.logs)
    assert "\ncycle: " in own and "already in progress" not in own
    assert "already in progress" in others and "\ncycle: " not in others


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"status": "COMPL'])
@pytest.mark.parametrize("file", ["1/run.json", "resume/1/state.json"])
def test_a_damaged_record_harms_no_other_run(tmp_path, file, text):
    """As a power cut leaves it."""
    damaged, other = (
        stub(tmp_path, "1", "pass", record=True),
        stub(tmp_path, "2", "import time; time.sleep(0.3)", record=True),
    )
    (tmp_path / file).write_text(text)
    outcomes = run_all([damaged, other])
    assert outcomes[damaged].reason == "it ended without a completed run" and outcomes[other].status == "completed"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    with open("/dev/full", "wb") as full:
        monkeypatch.setattr(jobs.tempfile, "TemporaryFile", lambda dir: full)
        with pytest.raises(
            ValueError, match=f"runs cannot be stored in {tmp_path} \\(No space left on device\\); ALIQUOT_RUNS"
        ):
            jobs.require_storable(tmp_path)


def test_the_table_of_failures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    todo = [stub(tmp_path, "1", "pass", record=True), stub(tmp_path, "2", "raise ValueError('no data')")]
    ends = run_all(todo)
    text = jobs.table({job: ends[job] for job in todo} | {stub(tmp_path, "3", ""): Outcome("not started")})
    lines = text.splitlines()
    assert lines[1].split() == ["completed", "90", "0.7500", "1", "run=1"]
    assert (
        lines[2].split()[::2] == ["failed", "-", "run=2"]
        and lines[3].endswith(": no data")
        and lines[4] == "    grid/2.1.log"
    )
    assert lines[5].split() == ["not", "started", "-", "-", "-", "run=3"]
    assert lines[6] == "1 completed, 1 failed, 1 not started"
    assert "$ " in log_of(todo[1]) and "Traceback" in log_of(todo[1])


SAVES = """
import os, signal, sys, time
def save(*_):
    time.sleep(.3)
    print("saved", flush=True)
    sys.exit(130)
signal.signal(signal.SIGTERM, save)
print("pid", os.getpid(), flush=True)
time.sleep(60)
"""
WAITS = "import os,time; print('pid', os.getpid(), os.environ['OMP_NUM_THREADS'], flush=True)\n"
DEAF = "import os,signal,time; signal.signal(15, signal.SIG_IGN); print('pid', os.getpid(), flush=True); time.sleep(60)"


def pids(todo):
    """Process ids that stubs wrote to their logs."""
    texts = [log.read_text() for job in todo for log in job.logs]
    return [int(line.split()[1]) for text in texts for line in text.splitlines() if line.startswith("pid ")]


def alive(pid):
    """Whether a process runs; one that ended and that nobody asked about does not."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def until(sign, seconds=30):
    end = time.monotonic() + seconds
    while not sign():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def test_a_stop_lets_runs_save_and_starts_no_other(tmp_path):
    todo, stops = [stub(tmp_path, str(i), SAVES) for i in range(3)], []
    stopper = threading.Thread(target=lambda: (until(lambda: len(pids(todo)) == 2), stops.append(15)))
    stopper.start()
    outcomes = run_all(todo, 2, 1, stops)
    stopper.join()
    assert [outcomes[job].status for job in todo] == ["interrupted", "interrupted", "not started"]
    assert all("saved" in log_of(job) for job in todo[:2]) and not todo[2].logs


def test_slots_and_threads(tmp_path):
    """Three of five start and wait for a word; no fourth does until one has ended."""
    word, seen = tmp_path / "word", []
    code = f"{WAITS}while not os.path.exists({str(word)!r}): time.sleep(.02)"
    todo = [stub(tmp_path, str(i), code) for i in range(5)]

    def watch():
        until(lambda: len(pids(todo)) == 3)
        time.sleep(0.5)
        seen.append(len(pids(todo)))
        word.touch()

    watcher = threading.Thread(target=watch)
    watcher.start()
    run_all(todo, slots=3, threads=7)
    watcher.join()
    assert seen == [3] and len(pids(todo)) == 5
    assert all(log_of(job).splitlines()[-1].endswith(" 7") for job in todo)


@pytest.mark.parametrize("patience", ["second signal", "time"])
def test_a_run_that_does_not_hear_is_ended(tmp_path, monkeypatch, patience):
    todo, stops = [stub(tmp_path, "1", DEAF)], []
    monkeypatch.setattr(jobs, "GRACE", 60.0 if patience == "second signal" else 0.3)
    signals = [2] * (1 + (patience == "second signal"))
    stopper = threading.Thread(target=lambda: (until(lambda: pids(todo)), stops.extend(signals)))
    stopper.start()
    began = time.monotonic()
    assert run_all(todo, 1, 1, stops)[todo[0]].status == "interrupted" and time.monotonic() - began < 20
    stopper.join()
    assert not alive(*pids(todo))


GRID = """
import sys
from pathlib import Path
from experiments.grids.jobs import Job, noting_stops, run_here, starting
with noting_stops() as stops:
    todo = [Job(str(i), (), (sys.executable, "-c", {code!r}), Path({folder!r}), False) for i in range(3)]
    run_here(todo, [{{}}] * 2, starting({{}}), stops, lambda job, outcome: print(outcome.status, flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_run_outlives_a_grid_that_is_killed(tmp_path, number):
    if number == signal.SIGKILL and sys.platform != "linux":
        pytest.skip("only Linux tells a process that its parent was killed")
    todo = [stub(tmp_path, str(i), SAVES) for i in range(2)]
    code = GRID.format(code=SAVES, folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    until(lambda: len(pids(todo)) == 2)
    assert all(map(alive, pids(todo)))
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    if number != signal.SIGKILL:
        assert out.split("\n")[:3] == ["interrupted", "interrupted", "not started"] and process.returncode == 0
    until(lambda: not any(map(alive, pids(todo))))
    assert all("saved" in log_of(job) for job in todo), "every run was let save itself"


def test_a_server_that_stays_away_is_told_once(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(jobs, "AWAY", 50)
    monkeypatch.setenv("ALIQUOT_MONGO", "mongodb://127.0.0.1:1/sacred")
    whole, lacking = (Job(name, (), (), tmp_path, False) for name in ("whole", "lacking"))
    code = "from experiments.tracking.telling import tell; tell(mongo='lacks parts')"
    for job, does in ((whole, "print('MongoDB lacks parts of this run')"), (lacking, code)):
        jobs.start((sys.executable, "-c", does), job.place, {"PYTHONPATH": str(ROOT)})[0].wait()
    jobs.send_rest([whole])
    assert capsys.readouterr().out == ""
    jobs.send_rest([whole, lacking])
    assert "lacks parts of these runs; their files are complete" in capsys.readouterr().out


def test_a_run_of_several_gets_its_share_of_the_cores(monkeypatch):
    """Threads that wait sleep where others want the cores; what the user set is theirs."""
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(processes, "cores", lambda: 16)
    assert jobs.sharing(1) == {"OMP_NUM_THREADS": "16"}
    assert jobs.sharing(4) == {"OMP_NUM_THREADS": "4", "OMP_WAIT_POLICY": "PASSIVE"}
    assert jobs.sharing(99)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert jobs.sharing(4) == {"OMP_WAIT_POLICY": "PASSIVE"}


def test_a_run_says_that_it_shares_its_cores(monkeypatch, capsys):
    monkeypatch.setattr(processes, "cores", lambda: 4)
    for busy, lines in ((None, 0), (4.0, 0), (4.1, 1)):
        monkeypatch.setattr(processes, "load", lambda busy=busy: busy)
        processes.warn_of_shared_cores()
        assert capsys.readouterr().err.count("\n") == lines
