"""Little memory (`ulimit -v`): one sentence or a whole run, and with plenty the same command leaves the same.

A third of the limits lies anywhere between what Python needs and what a run takes, the others between where its imports are done
and a little more than it takes at most.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import time
from pathlib import Path

from tests.trials.kills import Reference, begin, reference_of, unswept
from tests.trials.modes import MODES
from tests.trials.scripts import Running
from tests.trials.tally import Tally
from tests.trials.traces import damaged, difference, left_behind, locks_held, traces_of

TRIED = ("classify", "segment unit=volume", "detect", "pretrain", "classify predict", "grid of processes")
LEAST = 60_000  # kB, about what Python alone needs
SAYS = re.compile(r"not enough memory|Memory allocation still failed|MemoryError|killed by|libgomp: Out of memory")


def peak_of(made: Reference, step: int) -> int:
    """kB of addresses that a command takes at most, undisturbed."""
    made.restore(step)
    running, most = made.place.start(made.steps[step]), 0
    while running.process.poll() is None:
        for status in Path("/proc").glob(f"{running.process.pid}/status"):
            found = re.search(r"VmPeak:\s+(\d+)", status.read_text(errors="replace"))
            most = max(most, int(found[1])) if found else most
        time.sleep(0.02)
    return most


def tried(made: Reference, rng: random.Random, peak: int) -> tuple[str, str, dict[str, int]]:
    """One trial: a row of the table, what is wrong, and whether the command was refused or ended well."""
    step = rng.choice(sorted(made.seconds))
    made.restore(step)
    low = rng.random() < 1 / 3
    limit = int(LEAST * (peak / LEAST) ** rng.random()) if low else int(peak * rng.uniform(0.85, 1.02))
    prefix = ("bash", "-c", f'ulimit -v {limit}; exec "$@"', "-")
    running = made.place.start(made.steps[step], prefix=prefix)
    code = running.end()
    row, counts = "from Python alone to a run" if low else "about what a run takes", {"refused": int(code != 0)}
    if why := unclear(running, code, limit) or half_written(made.place.runs):
        return row, f"{limit} kB: {why}", counts
    last = begin(made.place, made.steps[step], ALIQUOT_CHECK_CACHE="full")
    if again := last.end():
        return row, f"with plenty it ends with {again}: {last.said[-600:]}", counts
    found = difference(made.expected[step], traces_of(made.place.folder)) or "; ".join(damaged(made.place.folder))
    found = found or "; ".join(map(str, locks_held(made.place.folder)))
    return row, found or unswept(made, step, left_behind(made.place.folder)), counts


def unclear(running: Running, code: int, limit: int) -> str:
    """What is wrong with the words of a command that had too little memory."""
    if code == 0:
        return ""
    if "Traceback" in running.said:
        return f"a traceback: {running.said[-900:]}"
    if not SAYS.search(running.said):
        return f"it ends with {code} and does not say why: {running.said[-400:]}"
    return ""


def half_written(runs: Path) -> str:
    """Records that cannot be read."""
    for file in (*runs.glob("[0-9]*/*.json"), *runs.glob("resume/*/state.json")):
        try:
            json.loads(file.read_text())
        except ValueError as error:
            return f"{file} is half written ({error})"
    return ""


def run(seed: int, n: int, folder: Path, jobs: int, only: int | None = None, match: str = "") -> Tally:
    """`n` limits over the modes in turn."""
    tally, modes = Tally("memory", seed), [mode for mode in MODES if mode.name in TRIED and match in mode.name]
    for index, mode in enumerate(modes):
        numbers = [number for number in range(n) if number % len(modes) == index and only in (None, number)]
        if not numbers:
            continue
        made = reference_of(mode, folder)
        peak = max(peak_of(made, step) for step in list(made.seconds)[:1])
        for number in numbers:
            row, why, counts = tried(made, random.Random(f"{seed} {number}"), peak)
            tally.add(number, row, why and f"{mode.name}: {why}", **counts)
        shutil.rmtree(made.place.folder.parent, ignore_errors=True)
    return tally
