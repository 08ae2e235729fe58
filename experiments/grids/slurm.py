"""Runs as jobs of a Slurm cluster, through submitit. One that is pre-empted or out of time is queued again."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.files import ROOT
from data.names import Refused
from experiments.grids.jobs import Job, Outcome, judge, last_words, recorded, start
from experiments.tracking.processes import STOPPED

MOST_TIMEOUTS = 20  # times that a job that is out of time is queued again
PATIENCE = 600.0  # s that a job that was told to stop waits for Slurm to take it away


@dataclass(frozen=True)
class Resources:
    """What each job asks for; an empty partition is the cluster's default."""

    partition: str
    gpus: int
    minutes: int
    cpus: int
    at_once: int  # jobs that may run at the same time; 0 for all


class Attempt:
    """What runs on the node: the command line as a process.

    submitit pickles it, and calls `checkpoint` before a job's time is up.
    """

    def __init__(self) -> None:
        self.pid = 0

    def __call__(self, command: Sequence[str], place: Path, cpus: int) -> tuple[int, Path]:
        """Run to the end; returns the exit code and the log."""
        if int(os.environ.get("SLURM_RESTART_COUNT", "0")):  # queued again: what was begun anew goes on
            command = [word for word in command if word != "resume=fresh"]
        process, log = start(command, place, {"OMP_NUM_THREADS": str(cpus)})
        self.pid = process.pid
        code = process.wait()
        if code in STOPPED:  # Slurm takes the job away; one that ended by itself first would not come back
            time.sleep(PATIENCE)
        return code, log

    def checkpoint(self, command: Sequence[str], place: Path, cpus: int) -> Any:
        """Let the run save itself, and say how to go on."""
        from submitit.helpers import DelayedSubmission

        os.kill(self.pid, signal.SIGTERM)
        os.waitid(
            os.P_PID, self.pid, os.WEXITED | os.WNOWAIT
        )  # this interrupts process.wait() above, whose lock is held
        return DelayedSubmission(Attempt(), command, place, cpus)


def require_slurm() -> None:
    """Refused where this machine cannot submit jobs."""
    if shutil.which("sbatch") is None:
        lacks = "--slurm needs the commands of Slurm (sbatch, squeue), which this machine has not"
        raise Refused(f"{lacks}; use --jobs 2 to run here")
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise Refused("--slurm needs the package submitit: pip install submitit") from None


def run_on_slurm(
    jobs: Sequence[Job], resources: Resources, stops: Sequence[int], done: Callable[[Job, Outcome], None]
) -> None:
    """Submit jobs as one array and wait for them; `done` hears of every end.

    A signal in `stops` ends the waiting, not the jobs. A job that an earlier call submitted and that is still queued is
    waited for, not submitted again. Raises Refused with Slurm's own sentence where it takes no jobs.
    """
    queued = _queue()
    if queued is None:
        raise Refused("squeue does not answer: is the controller of Slurm up?")
    tickets = {job: job.place.with_name(f"{job.key}.slurm") for job in jobs}
    ids = {job: ticket.read_text() for job, ticket in tickets.items() if ticket.exists()}
    waiting = {job: number for job, number in ids.items() if number in queued}
    if waiting:
        print(f"{len(waiting)} of the jobs are in the queue already: {', '.join(sorted(waiting.values()))}")
    new = [job for job in jobs if job not in waiting]
    for job, number in zip(new, _submit(new, resources), strict=True):
        tickets[job].write_text(number)
        waiting[job] = number
    while waiting and not stops:
        queued = _queue()
        for job, number in list(waiting.items()):
            if queued is not None and number not in queued:
                del waiting[job]
                done(job, _ended(job, number))
        for _ in range(20):  # two seconds between questions, but a signal is heard at once
            if waiting and not stops:
                time.sleep(0.1)
    for job in waiting:
        done(job, Outcome("in the queue"))
    if waiting:
        ids_left = " ".join(sorted(waiting.values()))
        stay = "The jobs stay in the queue and the same command waits for them again"
        print(f"{stay}. To cancel them: scancel {ids_left}")


def _submit(jobs: Sequence[Job], resources: Resources) -> list[str]:
    """Submit as one array; returns the ids of its jobs."""
    if not jobs:
        return []
    import submitit

    executor = submitit.SlurmExecutor(_folder(jobs[0]), max_num_timeout=MOST_TIMEOUTS)
    wanted: dict[str, Any] = {"job_name": "aliquot", "time": resources.minutes, "cpus_per_task": resources.cpus}
    wanted |= {"partition": resources.partition} if resources.partition else {}
    wanted |= {"gpus_per_node": resources.gpus} if resources.gpus else {}
    own_path = (
        f"export PYTHONPATH={shlex.quote(str(ROOT))}${{PYTHONPATH:+:$PYTHONPATH}}"  # wherever the grid was started from
    )
    wanted |= {"setup": [own_path], "array_parallelism": resources.at_once or len(jobs)}
    executor.update_parameters(**wanted, additional_parameters={"requeue": True})
    for job in jobs:
        job.place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with executor.batch():
            handles = [executor.submit(Attempt(), job.command, job.place, resources.cpus) for job in jobs]
    except Exception as error:  # submitit's own, whose message holds the command and the answer of sbatch
        answer = [line for line in str(error).splitlines() if "error:" in line]
        raise Refused(f"Slurm took no job: {(answer or [str(error)])[-1].strip()}") from error
    return [handle.job_id for handle in handles]


def _folder(job: Job) -> Path:
    return job.runs / "grid" / "slurm"


def _queue() -> set[str] | None:
    """Ids of all jobs that are waiting, running or about to be queued again; None where Slurm does not answer."""
    answer = subprocess.run(["squeue", "--noheader", "--array", "--format=%i"], capture_output=True, text=True)
    return set(answer.stdout.split()) if answer.returncode == 0 else None


def _ended(job: Job, number: str) -> Outcome:
    """How a job that left the queue ended, by its exit code where it left one, and by its run's own record."""
    import submitit

    handle = submitit.SlurmJob(_folder(job), number)
    if handle.paths.result_pickle.exists() and handle.exception() is None:
        code, log = handle.result()
        return judge(job, code, None, log)
    if "resume=fresh" not in job.words and (
        finished := recorded(job, "completed")
    ):  # anew: an older one proves nothing
        return finished
    log = job.logs[-1] if job.logs else handle.paths.stderr
    return Outcome(
        "failed", reason=f"job {number} ended without an answer ({handle.paths.stderr}); {last_words(log)}", log=log
    )
