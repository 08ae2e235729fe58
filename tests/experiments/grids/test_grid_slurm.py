"""A grid on a real Slurm of one node: two runs to the end, one queued again, pre-emption, and what is refused.

Needs Debian's packages: apt-get install slurm-wlm munge. All lives in a folder of its own and ends with the tests.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import experiments.segment as segment
from tests.experiments.runs import ROOT, curve_of, picks_of, run_in_process, status_of

pytestmark = pytest.mark.slurm
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])  # where daemons are, for users who are not root too
OPTIONS = {
    "dataset_options.n_pool": 14,
    "dataset_options.n_test": 4,
    "n_cycles": 2,
    "steps": 150,
    "save_every": 0.0,
    "channels_last": False,
}
WORDS = ["segment", "with", "tiny", *(f"{name}={value}" for name, value in OPTIONS.items())]

CONF = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,sched_min_interval=0
ReturnToService=2
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
KillWait=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000 State=UNKNOWN
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=3
PartitionName=urgent Nodes={host} MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def until(sign, what, seconds=180):
    end = time.monotonic() + seconds
    while not (found := sign()):
        assert time.monotonic() < end, f"in {seconds} s: {what}"
        time.sleep(0.1)
    return found


def slurm(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """munged, slurmctld and slurmd of our own; their folder."""
    missing = [name for name in NEEDED if not shutil.which(name, path=PATH)]
    if missing:
        pytest.skip(f"no {', '.join(missing)}: apt-get install slurm-wlm munge")
    pytest.importorskip("submitit")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    host, cpus = socket.gethostname().split(".")[0], len(os.sched_getaffinity(0))
    user = slurm("id", "-un").strip()
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(host=host, ports=free_ports(2), user=user, folder=folder, cpus=cpus))
    own = [
        f"--{option}={folder}/munge.{option.split('-')[0]}"
        for option in ("key-file", "socket", "pid-file", "log-file", "seed-file")
    ]
    commands = [
        ["munged", "--foreground", "--force", *own],
        ["slurmctld", "-D", "-f", str(conf)],
        ["slurmd", "-D", "-f", str(conf)],
    ]
    daemons = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", PATH)
        patch.setenv("SLURM_CONF", str(conf))
        try:
            for command in commands:
                with open(folder / f"{command[0]}.out", "w") as log:
                    daemons.append(subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True))
                until((folder / "munge.socket").exists, "no munged", 10)
            ready = ["sinfo", "--noheader", "--format=%T", "--partition=debug"]
            until(
                lambda: subprocess.run(ready, capture_output=True, text=True).stdout.strip() == "idle",
                f"no idle node, see {folder}",
                60,
            )
            yield folder
        finally:
            subprocess.run(["scancel", "--user", user], capture_output=True)
            for daemon in reversed(daemons):
                daemon.terminate()
                daemon.wait(timeout=30)


@pytest.fixture
def start(cluster, tmp_path):
    """Start grid.py as users do, from another folder."""
    started = []

    def go(*words):
        command = [
            sys.executable,
            str(ROOT / "experiments" / "grid.py"),
            *words,
            "--slurm",
            "--cpus",
            "1",
            "--time",
            "10",
        ]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield go
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.fixture
def runs():
    return Path(os.environ["ALIQUOT_RUNS"])


def job_of(runs, run):
    """The id of the job of that run, once it is submitted."""
    tickets = until(lambda: list(runs.glob(f"grid/*-random-{run}-*.slurm")), "no job was submitted")
    return until(lambda: tickets[0].read_text(), "no id")


def begun(runs, run):
    """Wait until a run has trained its first cycle."""
    until(lambda: list(runs.glob(f"resume/*-random-{run}-*/model-*.pt")), f"run {run} did not begin")


def restart_now(job):
    """Wait until a job is queued again, and spare it all but 5 s of the two minutes that Slurm lets it wait.

    Within the same second a node takes the new start for the one that it was told to end ("Job credential revoked").
    """
    until(lambda: "JobState=PENDING" in slurm("scontrol", "show", "job", job), "it was not queued again")
    slurm("scontrol", "update", f"JobId={job}", "StartTime=now+5")


def outcome(process):
    out, err = process.communicate(timeout=300)
    return out, err, process.returncode


def log_of(runs, run):
    """What the processes of a run printed, one after the other."""
    return "".join(log.read_text() for log in sorted(runs.glob(f"grid/*-random-{run}-*.log")))


def finished(runs, run):
    """The folder of the completed run."""
    state = json.loads(next(runs.glob(f"resume/*-random-{run}-*/state.json")).read_text())
    assert status_of(runs / state["finished_by"]) == "COMPLETED"
    return runs / state["finished_by"]


def test_two_runs_one_of_them_queued_again(start, runs):
    process = start(*WORDS, "run=0,1")
    job = job_of(runs, 0)
    begun(runs, 0)
    slurm("scontrol", "requeue", job)
    restart_now(job)
    out, err, code = outcome(process)
    assert code == 0, out + err
    assert out.splitlines()[-1] == "2 completed" and out.count("completed  ") == 2
    log = log_of(runs, 0)
    assert log.count("$ ") == 2 and "Stopped by SIGTERM" in log and "Continuing after" in log
    assert sorted(status_of(f) for f in runs.iterdir() if f.name.isdigit()) == ["COMPLETED", "COMPLETED", "INTERRUPTED"]
    resumed = finished(runs, 0)
    whole = run_in_process(segment.SCRIPT, **OPTIONS, resume="fresh")
    assert (curve_of(resumed), picks_of(resumed)) == (curve_of(whole), picks_of(whole))


def test_a_job_that_is_more_urgent(start, runs):
    """The run saves itself, makes way, and continues when the other is done; resume=fresh is for the first start."""
    process = start(*WORDS, "run=2", "resume=fresh")
    job = job_of(runs, 2)
    begun(runs, 2)
    slurm("sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    restart_now(job)
    out, err, code = outcome(process)
    assert code == 0 and out.splitlines()[-1] == "1 completed", out + err
    log = log_of(runs, 2)
    assert "Stopped by SIGTERM" in log and "Continuing after" in log
    assert [line.endswith("resume=fresh") for line in log.splitlines() if line.startswith("$ ")] == [True, False]
    assert finished(runs, 2)


def test_time_that_is_up(start, runs):
    """submitit's warning before the limit: the run saves itself and is queued again."""
    process = start(*WORDS, "run=3")
    job = job_of(runs, 3)
    begun(runs, 3)
    slurm("scancel", "--signal=USR2", job)
    restart_now(job)
    out, err, code = outcome(process)
    assert code == 0, out + err
    assert "Continuing after" in log_of(runs, 3) and finished(runs, 3)


def test_a_grid_that_is_left_and_taken_up_again(start, runs):
    first = start(*WORDS, "run=4")
    job = job_of(runs, 4)
    begun(runs, 4)
    first.send_signal(signal.SIGINT)
    out, _, code = outcome(first)
    assert code == 130 and f"scancel {job}" in out and "1 in the queue" in out
    out, err, code = outcome(start(*WORDS, "run=4"))
    assert code == 0, out + err
    assert "in the queue already" in out and job in out or "1 finished before" in out
    assert log_of(runs, 4).count("$ ") == 1, "the run was started once"


def test_failures_and_what_slurm_refuses(start, runs):
    words = [word for word in WORDS if not word.startswith("n_cycles=")]
    out, err, code = outcome(start(*words, "n_cycles=99"))
    assert (
        code == 1
        and "1 failed" in out
        and "Refused: n_initial=4 + n_cycles=99 x n_query=3 are 301 labels" in out
        and ".log" in out
    )
    out, err, code = outcome(start(*WORDS, "--partition", "nowhere"))
    assert (
        code == 1
        and "Refused: Slurm took no job: sbatch: error:" in err
        and "nvalid partition" in err
        and "Traceback" not in err
    )


def test_a_job_that_is_cancelled(start, runs):
    process = start(*WORDS, "run=5")
    job = job_of(runs, 5)
    begun(runs, 5)
    slurm("scancel", job)
    out, _, code = outcome(process)
    assert code == 1 and "1 failed" in out and f"job {job}" in out and "Stopped by SIGTERM" in log_of(runs, 5)
