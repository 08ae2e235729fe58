"""What depends on the operating system: cores and load, signals that ask to stop, processes that end with their parent.

Linux has all of it. Elsewhere a call that is missing leaves its part out: without prctl a run outlives a grid that is
killed (not one that is stopped), without process groups only the run itself is ended, not what it started.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import IO

STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
STOPPED = frozenset({130, *(-number for number in STOPS)})  # how a run ends that was asked to stop
KILLED = -9  # by SIGKILL
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load() -> float | None:
    """Processes that ran or waited for a core in the last minute, on average; None where the system does not say."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def warn_of_shared_cores() -> None:
    """One line where others keep this machine busy: the run is slower than its seconds will say of it elsewhere."""
    busy = load()
    if busy is not None and busy > cores():
        shared = f"{cores()} cores at a load of {busy:.1f}: this run shares them, and its seconds say little"
        print(f"warning: {shared}", file=sys.stderr)


class Group(subprocess.Popen):
    """A process of `start`."""

    def kill(self) -> None:
        """End it, and what it started, at once."""
        if hasattr(os, "killpg"):
            os.killpg(self.pid, signal.SIGKILL)
        else:
            super().kill()


def start(
    command: Sequence[str], output: IO[str] | int, environment: Mapping[str, str], pass_fds: Sequence[int] = ()
) -> Group:
    """Start a command line that writes to `output`, in a process group of its own that dies with this process."""
    return Group(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        preexec_fn=ending_with(os.getpid()),
        pass_fds=pass_fds,
    )


def ending_with(parent: int) -> Callable[[], None] | None:
    """What a child does first on Linux: ask for SIGTERM at the death of `parent`, however it comes; elsewhere None."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask() -> None:
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # Slurm's warning to a whole job, for the process above
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before it could be asked
            os._exit(130)

    return ask
