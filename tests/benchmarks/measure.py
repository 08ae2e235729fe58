"""What the benchmarks share: seconds and memory of one call, each in a process of its own (Linux)."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Measured(NamedTuple):
    """One call: wall-clock seconds, processor seconds, MB that its peak rose above what was held before, and what it returned."""

    seconds: float
    processor: float
    megabytes: float
    result: Any


def resident(field: str = "VmRSS") -> float:
    """Resident memory of this process in MB, or its high-water mark (VmHWM)."""
    return int(next(line for line in open("/proc/self/status") if line.startswith(field)).split()[1]) / 1024


def reset_peak() -> None:
    """Start the high-water mark anew. `ru_maxrss` cannot be, and a process inherits it from the one that started it."""
    Path("/proc/self/clear_refs").write_text("5")


def settled() -> float:
    """Give freed memory back to the system, so that a rise above it counts in full; resident MB that are left."""
    ctypes.CDLL(None).malloc_trim(0)
    reset_peak()
    return resident()


def measured(run: Callable[[], Any]) -> Measured:
    """Call `run` once; memory of the process alone, so that what torch and numpy allocate is seen."""
    held = settled()
    started, processor = time.perf_counter(), time.process_time()
    result = run()
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    return Measured(seconds, processor, resident("VmHWM") - held, result)


def in_own_process(module: str, request: Any, limit: float | None = None, python: str = sys.executable) -> Any:
    """Start `python -m module --measure REQUEST`, both as JSON, and return the last line that it prints.

    Raises subprocess.TimeoutExpired after `limit` seconds; leaves with the errors of a process that failed.
    """
    command = [python, "-m", module, "--measure", json.dumps(request)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit)
    if done.returncode:
        sys.exit(f"measuring {request} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])
