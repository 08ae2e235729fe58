"""Runs as processes: start a command line with a log of its own, keep several going here, and tell how they ended.

How a run ended is judged by its exit code and its record, and why by what it told (`tracking.telling`), never by the
text of a log, which holds progress bars and what libraries print.
"""

from __future__ import annotations

import glob
import json
import os
import shlex
import signal
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

from data.names import InProgress, Refused
from experiments.tracking import processes
from experiments.tracking.processes import KILLED, STOPPED, STOPS
from experiments.tracking.telling import VARIABLE, heard

GRACE = 60.0  # s that a run has to save itself once it is asked to stop
AWAY = 30_000  # ms that the end of a grid waits for a MongoDB that is away
ENDS = ("completed", "finished before", "failed", "interrupted", "in another process", "not started", "in the queue")


@dataclass(frozen=True)
class Job:
    """One run to be made: one process, one command line."""

    key: str  # name of the run, as the scripts have it
    words: tuple[str, ...]  # presets and options
    command: tuple[str, ...]
    runs: Path  # folder of all runs
    finished: bool  # before the grid began
    devices: int = 1  # that it computes on

    @property
    def title(self) -> str:
        """What is asked, on one line."""
        return " ".join(self.words) or "(defaults)"

    @property
    def place(self) -> Path:
        """What the files of its processes are called, up to their endings."""
        return self.runs / "grid" / self.key

    @property
    def logs(self) -> list[Path]:
        """Everything that its processes printed, one file for each attempt, the newest last."""
        found = self.place.parent.glob(f"{glob.escape(self.key)}.*.log")
        return sorted(found, key=lambda file: int(file.suffixes[-2][1:]))


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    status: str  # one of ENDS
    seconds: float | None = None
    result: float | None = None
    run: str = ""  # number of the stored run
    reason: str = ""  # of a failure, or who holds the run
    log: Path | None = None  # of the process that ended so


@runtime_checkable
class Process(Protocol):
    """What `run_here` asks of a run that was started."""

    def poll(self) -> int | None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


Slot = Mapping[str, str]  # a place for one run at a time: environment of the runs there
Starter = Callable[[Job, Slot], tuple[Process, Path]]  # starts a run; returns it and its log


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


def judge(job: Job, code: int, seconds: float | None, log: Path) -> Outcome:
    """How a process ended, by its exit code, its own record and what it told."""
    if code == 0:
        ended = recorded(job, "completed")
        return ended or Outcome("failed", seconds, reason="it ended without a completed run", log=log)
    if code in STOPPED:
        return Outcome("interrupted", seconds, log=log)
    if code == KILLED:
        return Outcome("failed", seconds, reason="killed by SIGKILL, often for lack of memory", log=log)
    status = "in another process" if code == InProgress.exit_code else "failed"
    return Outcome(status, seconds, reason=heard(told_by(log)).get("reason") or last_words(log), log=log)


def told_by(log: Path) -> Path:
    """Where the run that writes this log tells its reasons."""
    return log.with_suffix(".json")


def last_words(log: Path) -> str:
    """The last line of a log, for a run that could tell nothing."""
    try:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    return f"exited without a reason; last words: {lines[-1]}" if lines else "it left no log"


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
        lines += [f"    {os.path.relpath(end.log)}"] if end.status == "failed" and end.log else []
    counts = Counter(end.status for end in outcomes.values())
    lines.append(", ".join(f"{counts[status]} {status}" for status in ENDS if counts[status]))
    return "\n".join(lines)


def require_storable(runs: Path) -> None:
    """Refused where this folder of runs takes no files: one that may not be written to, or a full disk."""
    try:
        runs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=runs) as file:
            file.write(bytes(4096))
    except OSError as error:
        raise Refused(
            f"runs cannot be stored in {runs} ({error.strerror}); ALIQUOT_RUNS names another folder"
        ) from error


def start(command: Sequence[str], place: Path, environment: Mapping[str, str]) -> tuple[processes.Group, Path]:
    """Start a command line with a log of its own, see `begin_log`; returns both."""
    log = begin_log(command, place)
    with open(log, "a") as output:
        return processes.start(command, output, {**environment, VARIABLE: str(told_by(log).resolve())}), log


def starting(environment: Mapping[str, str]) -> Starter:
    """Starts each job as a process of its own."""
    return lambda job, slot: start(job.command, job.place, {**environment, **slot})


def begin_log(command: Sequence[str], place: Path) -> Path:
    """The next free of PLACE.1.log, PLACE.2.log, ..., which names the command line.

    Two grids that start the same run at the same time get two logs.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        log = place.with_name(f"{place.name}.{number}.log")
        try:
            with open(log, "x") as output:
                output.write(f"$ {shlex.join(command)}\n")
            return log
        except FileExistsError:
            number += 1


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


def sharing(slots: int) -> dict[str, str]:
    """Environment of runs that share this machine: cores / slots threads each, which sleep while they wait.

    Threads spin by default, on cores that the other runs want. What the user has set stays.
    """
    wanted = {"OMP_NUM_THREADS": str(max(1, processes.cores() // slots))}
    wanted |= {"OMP_WAIT_POLICY": "PASSIVE"} if slots > 1 else {}
    return {name: value for name, value in wanted.items() if name not in os.environ}


def run_here(
    jobs: Sequence[Job],
    slots: Sequence[Slot],
    start: Starter,
    stops: Sequence[int],
    done: Callable[[Job, Outcome], None],
) -> None:
    """Run jobs on this machine, one at a time in each slot; `done` hears of every end.

    As soon as `stops` holds a signal, running jobs are asked to save themselves and the others are not started; a
    second signal, or GRACE seconds, ends them at once. No process is left behind. One that cannot be started has
    failed, and the others go on.
    """
    waiting, free, asked_at = deque(jobs), deque(slots), 0.0
    running = dict[Process, tuple[Job, float, Path, Slot]]()
    try:
        while running or (waiting and not stops):
            while waiting and free and not stops:
                job, slot = waiting.popleft(), free.popleft()
                try:
                    process, log = start(job, slot)
                    running[process] = job, time.monotonic(), log, slot
                except OSError as error:
                    free.append(slot)
                    done(job, Outcome("failed", reason=f"it could not be started ({error})"))
            ended = [(process, code) for process in running if (code := process.poll()) is not None]
            for process, code in ended:
                job, began, log, slot = running.pop(process)
                free.append(slot)
                code = 130 if stops and code == KILLED else code
                done(job, judge(job, code, time.monotonic() - began, log))
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


def _kill(running: Iterable[Process]) -> None:
    for process in running:
        if process.poll() is None:
            process.kill()


def send_rest(jobs: Sequence[Job]) -> None:
    """Send to MongoDB what runs could not because it was away when they ended; waits AWAY ms for it to come back."""
    url = os.environ.get("ALIQUOT_MONGO")
    if not url or not any("mongo" in heard(told_by(log)) for job in jobs for log in job.logs):
        return
    from pymongo.errors import PyMongoError

    from experiments.tracking.database import open_database
    from experiments.tracking.sync import to_database

    try:
        report = to_database(jobs[0].runs, open_database(url, AWAY))
        print("MongoDB was away when runs ended; sending what it lacks:", report)
    except (PyMongoError, OSError, Refused, KeyboardInterrupt):
        later = "their files are complete, and `python -m analysis.sync` sends them later"
        print(f"MongoDB lacks parts of these runs; {later}.")


def require_address() -> None:
    """Refused where ALIQUOT_MONGO is no address, which runs would say only after all their imports."""
    if url := os.environ.get("ALIQUOT_MONGO"):
        from experiments.tracking.database import open_database

        try:
            open_database(url, AWAY).client.close()
        except Refused as error:
            raise Refused(f"ALIQUOT_MONGO is {error}") from error
