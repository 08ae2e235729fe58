"""Runs as processes: start a command line with a log, tell how it ended, and keep several going on this machine."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

GRACE = 60.0  # s that a run has to save itself once it is asked to stop
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOPPED = frozenset({130, *(-number for number in STOPS)})  # how a run ends that was asked to stop
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


@dataclass(frozen=True)
class Job:
    """One run to be made: one process, one command line."""

    key: str  # name of the run, as the scripts have it
    words: tuple[str, ...]  # presets and options
    command: tuple[str, ...]
    runs: Path  # folder of all runs
    finished: bool  # before the grid began

    @property
    def log(self) -> Path:
        """Everything that the process prints."""
        return self.runs / "grid" / f"{self.key}.log"


@dataclass(frozen=True)
class Outcome:
    """How a job ended: completed, finished before, failed, interrupted, not started or in the queue."""

    status: str
    seconds: float | None = None
    result: float | None = None
    run: str = ""  # number of the stored run
    reason: str = ""  # of a failure


def recorded(job: Job, status: str) -> Outcome | None:
    """The finished run that the job's saved state names; None where there is none.

    A run that was continued counts the seconds of its last part.
    """
    state = job.runs / "resume" / job.key / "state.json"
    number = json.loads(state.read_text())["finished_by"] if state.exists() else ""
    record = job.runs / number / "run.json"
    if not number or not record.exists():
        return None
    run = json.loads(record.read_text())
    if run["status"] != "COMPLETED":
        return None
    start, stop = (datetime.fromisoformat(run[name]) for name in ("start_time", "stop_time"))
    return Outcome(status, (stop - start).total_seconds(), run["result"], number)


def judge(job: Job, code: int, seconds: float | None) -> Outcome:
    """How a process ended, by its exit code and its own record."""
    if code == 0:
        return recorded(job, "completed") or Outcome("failed", seconds, reason="it ended without a completed run")
    if code in STOPPED:
        return Outcome("interrupted", seconds)
    if code == -signal.SIGKILL:
        return Outcome("failed", seconds, reason="killed by SIGKILL, often for lack of memory")
    return Outcome("failed", seconds, reason=last_error(job.log))


def last_error(log: Path) -> str:
    """The last line of a log that looks like `ValueError: ...`, or else its last line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.exists() else []
    errors = [line for line in lines if re.match(r"(?!warning:)[A-Za-z_][\w.]*: ", line)]
    return (errors or lines or ["it left no log"])[-1]


def start(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen:
    """Start a command line that appends to its log, in a process group of its own that dies with this process."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a") as output:
        output.write(f"$ {shlex.join(command)}\n")
        output.flush()
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment}, preexec_fn=_ending_with(os.getpid()),
        )  # fmt: skip


def _ending_with(parent: int) -> Callable[[], None] | None:
    """What a child does first on Linux: ask for SIGTERM at the death of `parent`, however that comes. Elsewhere None."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask() -> None:
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # Slurm's warning to a whole job, which is for the process above
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before it could be asked
            os._exit(130)

    return ask


@contextmanager
def noting_stops() -> Iterator[list[int]]:
    """Signals that ask to stop are noted in the list that this gives, and nothing else happens."""
    noted: list[int] = []
    before = {number: signal.signal(number, lambda n, _: noted.append(n)) for number in STOPS}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_here(jobs: Sequence[Job], slots: int, threads: int, stops: Sequence[int], done: Callable[[Job, Outcome], None]) -> None:
    """Run jobs on this machine, `slots` at a time with `threads` threads each; `done` hears of every end.

    As soon as `stops` holds a signal, running jobs are asked to save themselves and the others are not started; a second signal, or
    GRACE seconds, ends them at once. No process is left behind.
    """
    waiting, running = deque(jobs), dict[subprocess.Popen, tuple[Job, float]]()
    asked_at = 0.0
    try:
        while running or (waiting and not stops):
            while waiting and len(running) < slots and not stops:
                job = waiting.popleft()
                process = start(job.command, job.log, {"OMP_NUM_THREADS": str(threads)})
                running[process] = job, time.monotonic()
            for process in [p for p in running if p.poll() is not None]:
                job, began = running.pop(process)
                code = 130 if stops and process.returncode == -signal.SIGKILL else process.returncode
                done(job, judge(job, code, time.monotonic() - began))
            if stops and not asked_at:
                asked_at = time.monotonic()
                for process in running:
                    process.terminate()
            if len(stops) > 1 or (asked_at and time.monotonic() - asked_at > GRACE):
                _kill(running)
            time.sleep(0.1)
    finally:
        _kill(running)
    for job in waiting:
        done(job, Outcome("not started"))


def _kill(running: Mapping[subprocess.Popen, object]) -> None:
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
