"""Runs as forks of one process that has imported their script, so that what a start costs is paid once.

That process imports and forks, and does nothing else: it loads no data and computes nothing. A run finds what it would
find in a process of its own, and what it leaves behind (seeds, filters, figures, memory) ends with it.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from data.files import ROOT
from data.names import Refused
from experiments.grids.jobs import Job, Slot, Starter, begin_log, told_by
from experiments.tracking import processes
from experiments.tracking.code import closure
from experiments.tracking.launch import launch
from experiments.tracking.telling import VARIABLE

WAIT = 0.02  # s between two looks at the runs in progress
IMPORTED = 0  # in place of a run's number, which is from 1: the origin has begun
UNTOUCHED = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}  # baal asks for a GPU at its import; a GPU in use cannot be forked
LATE = (  # what a script imports once its options are accepted, beside its task
    "data.inventory",
    "experiments.finish",
    "experiments.simulation",
    "experiments.tracking.combinations",
    "experiments.tracking.recording",
    "matplotlib.backends.backend_agg",
)
# The script first and alone: Sacred records as sources what is imported when the experiment is made.
ORIGIN = """import sys
sys.path[0] = {root!r}
from experiments.{script} import SCRIPT
from experiments.grids.forks import fork_for_each
fork_for_each(SCRIPT, {handle})
"""


def require_forks() -> None:
    """Refused where processes cannot be forked, or not once libraries are loaded."""
    if sys.platform != "linux":
        raise Refused(f"--in-process needs Linux, and this is {sys.platform}; leave it out, or use --jobs 2")


@contextmanager
def forking(environment: Mapping[str, str]) -> Iterator[Starter]:
    """Starts jobs as forks of a process that is begun with the first, and anew where it was killed or the code changed.

    A run's record and digest are of the files that are there when it starts, and so must be what it has imported.
    """
    origins: list[Origin] = []

    def start(job: Job, slot: Slot) -> tuple[Fork, Path]:
        if not origins or origins[-1].has_ended() or origins[-1].code != _written():
            origins.append(Origin(Path(job.command[1]).stem, environment))
        return origins[-1].fork(job, slot)

    try:
        yield start
    finally:
        for origin in origins:
            origin.end()


def _written() -> dict[Path, int]:
    """When each source file of the project was written, in ns."""
    rooms = [folder for folder in ROOT.iterdir() if (folder / "__init__.py").is_file() and folder.name != "tests"]
    return {file: file.stat().st_mtime_ns for room in rooms for file in room.rglob("[!.]*.py")}


class Origin:
    """The grid's hold of a process that has imported a script, and forks a run for each order."""

    def __init__(self, script: str, environment: Mapping[str, str]):
        self._orders, theirs = Pipe()
        self.code = _written()
        handle = theirs.fileno()
        code = ORIGIN.format(root=str(ROOT), script=script, handle=handle)
        environment = {**environment, **UNTOUCHED}
        self._process = processes.start((sys.executable, "-c", code), 2, environment, pass_fds=(handle,))
        theirs.close()
        self._runs, self._codes = 0, dict[int, int]()

    def fork(self, job: Job, slot: Slot) -> tuple[Fork, Path]:
        """Order a run with a log of its own."""
        log = begin_log(job.command, job.place)
        self._runs += 1
        self._orders.send((self._runs, (job.command, str(log), {**slot, VARIABLE: str(told_by(log).resolve())})))
        return Fork(self, self._runs), log

    def send(self, number: int, signal_number: int) -> None:
        """Send a signal to a run, SIGKILL also to what it started."""
        with suppress(OSError):
            self._orders.send((number, signal_number))
        if signal_number == signal.SIGKILL and self.code_of(IMPORTED) is None:  # nor has the run begun
            self._process.kill()

    def code_of(self, number: int) -> int | None:
        """The exit code of a run, None while it goes on. Where the origin was killed, its runs were told to stop."""
        try:
            while self._orders.poll():
                ended, code = self._orders.recv()
                self._codes[ended] = code
        except (EOFError, OSError):
            code = self._process.wait()
            self._codes.setdefault(number, code if code > 0 else -signal.SIGTERM)
        return self._codes.get(number)

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def end(self) -> None:
        self._orders.close()
        self._process.wait()


class Fork:
    """One run, to be used like a process."""

    def __init__(self, origin: Origin, number: int):
        self._origin, self._number = origin, number

    def poll(self) -> int | None:
        return self._origin.code_of(self._number)

    def terminate(self) -> None:
        self._origin.send(self._number, signal.SIGTERM)

    def kill(self) -> None:
        self._origin.send(self._number, signal.SIGKILL)


def fork_for_each(script: Any, handle: int) -> None:
    """What an origin does: fork a run for each order, until there are no more."""
    orders = Connection(handle)
    import_late(script)
    orders.send((IMPORTED, 0))
    gc.collect()
    gc.freeze()  # what all runs share is looked at by none of them, and so not copied
    running: dict[int, int] = {}  # number of a run -> its process
    while True:
        try:
            if orders.poll(WAIT if running else None):
                number, order = orders.recv()
                if not isinstance(order, int):
                    running[number] = os.fork()
                    if not running[number]:
                        orders.close()
                        _run(script, *order)
                    with suppress(OSError):  # here too, so that it leads its group before it is sent a signal
                        os.setpgid(running[number], running[number])
                elif number in running:
                    (os.killpg if order == signal.SIGKILL else os.kill)(running[number], order)
            for number, process in list(running.items()):
                ended, status = os.waitpid(process, os.WNOHANG)
                if ended:
                    del running[number]
                    orders.send((number, os.waitstatus_to_exitcode(status)))
        except (EOFError, BrokenPipeError, ConnectionResetError):  # the grid has ended, and with this process its runs
            os._exit(0)


def import_late(script: Any) -> None:
    """Import what every run of a script imports sooner or later, but for its dataset, and read what it digests."""
    from heuristics import names

    script.import_late()
    names()
    mirror = ["experiments.tracking.mongo"] if os.environ.get("ALIQUOT_MONGO") else []
    for module in (*LATE, *mirror):
        importlib.import_module(module)
    closure(list(sys.modules))


def _run(script: Any, command: Sequence[str], log: str, environment: Mapping[str, str]) -> NoReturn:
    """Make a fork what `processes.start` makes of a command line: its group, its end, its log; and run its words.

    It ends without the interpreter's tidying up, which would copy and free all that it shares with the others.
    """
    os.setpgid(0, 0)
    if ask := processes.ending_with(os.getppid()):
        ask()
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(environment)
    sys.argv = list(command[1:])
    code = 1
    try:
        launch(script.command_line)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
        print("" if isinstance(end.code, int) else end.code, end="", file=sys.stderr)
    except BaseException:  # as at the end of any process; the reason has been told
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
