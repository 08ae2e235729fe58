"""Runs as processes: start a command line with a log, keep several going on this machine, and tell how they ended."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from data.names import Refused

GRACE = 60.0  # s that a run has to save itself once it is asked to stop
AWAY = 30_000  # ms that the end of a grid waits for a MongoDB that is away
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOPPED = frozenset({130, *(-number for number in STOPS)})  # how a run ends that was asked to stop
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
ENDS = ("completed", "finished before", "failed", "interrupted", "in another process", "not started", "in the queue")


@dataclass(frozen=True)
class Job:
    """One run to be made: one process, one command line."""

    key: str  # name of the run, as the scripts have it
    words: tuple[str, ...]  # presets and options
    command: tuple[str, ...]
    runs: Path  # folder of all runs
    finished: bool  # before the grid began

    @property
    def title(self) -> str:
        """What is asked, on one line."""
        return " ".join(self.words) or "(defaults)"

    @property
    def log(self) -> Path:
        """Everything that the process prints."""
        return self.runs / "grid" / f"{self.key}.log"


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    status: str  # one of ENDS
    seconds: float | None = None
    result: float | None = None
    run: str = ""  # number of the stored run
    reason: str = ""  # of a failure, or who holds the run


def recorded(job: Job, status: str) -> Outcome | None:
    """The finished run that the job's saved state names; None where there is none, or none that can be read.

    A run that was continued counts the seconds of its last part.
    """
    try:
        number = json.loads((job.runs / "resume" / job.key / "state.json").read_text())["finished_by"]
        run = json.loads((job.runs / number / "run.json").read_text())
        if run["status"] != "COMPLETED":
            return None
        start, stop = (datetime.fromisoformat(run[name]) for name in ("start_time", "stop_time"))
        return Outcome(status, (stop - start).total_seconds(), float(run["result"]), number)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def judge(job: Job, code: int, seconds: float | None) -> Outcome:
    """How a process ended, by its exit code and its own record."""
    if code == 0:
        return recorded(job, "completed") or Outcome("failed", seconds, reason="it ended without a completed run")
    if code in STOPPED:
        return Outcome("interrupted", seconds)
    if code == -signal.SIGKILL:
        return Outcome("failed", seconds, reason="killed by SIGKILL, often for lack of memory")
    reason = last_error(job.log)
    if code == 1 and reason.startswith("Refused: this run is already in progress"):  # Checkpoint.hold
        return Outcome("in another process", seconds, reason=reason)
    return Outcome("failed", seconds, reason=reason)


def last_error(log: Path) -> str:
    """The last line of a log that looks like `ValueError: ...`, or else its last line."""
    try:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    errors = [line for line in lines if re.match(r"(?!warning:)[A-Za-z_][\w.]*: ", line)]
    return (errors or lines or ["it left no log"])[-1]


def table(outcomes: Mapping[Job, Outcome]) -> str:
    """One line per job, failures with their last error and their log, and the counts below, in the order of ENDS."""
    columns = list(zip(*(job.words for job in outcomes), strict=True))
    varying = [i for i, values in enumerate(columns) if len(set(values)) > 1] or range(len(columns))
    lines = [f"{'status':<18}{'seconds':>9}{'result':>10}{'run':>6}  what"]
    for job, end in outcomes.items():
        seconds = "-" if end.seconds is None else f"{end.seconds:.0f}"
        result = "-" if end.result is None else f"{end.result:.4f}"
        what = " ".join(job.words[i] for i in varying) or job.title
        lines.append(f"{end.status:<18}{seconds:>9}{result:>10}{end.run or '-':>6}  {what}".rstrip())
        lines += [f"    {end.reason}"] if end.reason else []
        lines += [f"    {os.path.relpath(job.log)}"] if end.status == "failed" and os.path.isfile(job.log) else []
    counts = Counter(end.status for end in outcomes.values())
    lines.append(", ".join(f"{counts[status]} {status}" for status in ENDS if counts[status]))
    return "\n".join(lines)


def require_storable(runs: Path) -> None:
    """ValueError where this folder of runs takes no files: one that may not be written to, or a full disk."""
    try:
        runs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=runs) as file:
            file.write(bytes(4096))
    except OSError as error:
        raise Refused(f"runs cannot be stored in {runs} ({error.strerror}); ALIQUOT_RUNS names another folder") from error


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
    GRACE seconds, ends them at once. No process is left behind. One that cannot be started has failed, and the others go on.
    """
    waiting, running = deque(jobs), dict[subprocess.Popen, tuple[Job, float]]()
    asked_at = 0.0
    try:
        while running or (waiting and not stops):
            while waiting and len(running) < slots and not stops:
                job = waiting.popleft()
                try:
                    process = start(job.command, job.log, {"OMP_NUM_THREADS": str(threads)})
                    running[process] = job, time.monotonic()
                except OSError as error:
                    done(job, Outcome("failed", reason=f"it could not be started ({error})"))
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


def send_rest(jobs: Sequence[Job]) -> None:
    """Send to MongoDB what runs could not because it was away when they ended; waits AWAY ms for it to come back."""
    from pymongo.errors import PyMongoError

    from experiments.tracking.mongo import LACKS, open_database
    from experiments.tracking.sync import to_database

    url = os.environ.get("ALIQUOT_MONGO")
    if not url or not any(LACKS in job.log.read_text(errors="replace") for job in jobs if job.log.exists()):
        return
    try:
        print("MongoDB was away when runs ended; sending what it lacks:", to_database(jobs[0].runs, open_database(url, AWAY)))
    except (PyMongoError, OSError, ValueError, KeyboardInterrupt):
        print("MongoDB lacks parts of these runs; their files are complete, and `python -m analysis.sync` sends them later.")


def require_address() -> None:
    """ValueError where ALIQUOT_MONGO is no address, which runs would say only after all their imports."""
    if url := os.environ.get("ALIQUOT_MONGO"):
        from experiments.tracking.mongo import open_database

        try:
            open_database(url, AWAY).client.close()
        except ValueError as error:
            raise Refused(f"ALIQUOT_MONGO is {error}") from error


def _kill(running: Mapping[subprocess.Popen, object]) -> None:
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
