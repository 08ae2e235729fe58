"""A disk that is full, or cannot be written, from a random moment on: one sentence, and the same command goes on later.

Each trial has a file system of its own in memory (mounting needs root). It is filled, with blocks or with files, at a random
moment between the first write of a command and its end. The command must end with one sentence, or as if nothing were; with room
again, the same command must leave what an undisturbed one leaves.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.small_disk import no_blocks, no_inodes
from tests.trials.kills import Reference, begin, reference_of, unswept, wait_for_a_write
from tests.trials.modes import MODES
from tests.trials.scripts import Running
from tests.trials.tally import Tally
from tests.trials.traces import damaged, difference, left_behind, locks_held, traces_of

TRIED = ("classify", "segment unit=volume", "detect", "pretrain", "classify predict", "grid of forks")
FILLS = {"no blocks": no_blocks, "no inodes": no_inodes}
SIZE = "size=96m,nr_inodes=3000"
WAYS = (*FILLS, *FILLS, "read-only")  # the last from the start


@contextmanager
def mounted(made: Reference, step: int) -> Iterator[Path]:
    """The folder of a mode as a small file system that holds what was there before a step."""
    place = made.place.folder
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", SIZE, "tmpfs", str(place)], check=True, capture_output=True)
    try:
        shutil.copytree(made.kept(step), place, symlinks=True, dirs_exist_ok=True)
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def tried(made: Reference, rng: random.Random, way: str) -> tuple[str, dict[str, int]]:
    """One trial: what is wrong, '' where nothing is, and whether the command was refused or ended well."""
    step = rng.choice(sorted(made.seconds))
    with mounted(made, step) as place:
        before = made.place.written()
        if way in FILLS:
            first, end = made.seconds[step]
            running = begin(made.place, made.steps[step])
            wait_for_a_write(made.place, running, before)
            time.sleep(rng.random() * (end - first))
            FILLS[way](place)
            code = running.end()
            for file in place.glob("filler*"):
                file.unlink()
        else:
            running = barred(made, step)
            code = running.end()
            subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
        counts = {"refused": int(code != 0)}
        if why := unclear(running, code, way):
            return why, counts
        if way not in FILLS and made.place.written() - before:
            return "files were written into a place that cannot be written", counts
        last = begin(made.place, made.steps[step], ALIQUOT_CHECK_CACHE="full")
        if again := last.end():
            return f"with room again it ends with {again}: {last.said[-600:]}", counts
        found = difference(made.expected[step], traces_of(place)) or "; ".join(damaged(place))
        found = found or "; ".join(map(str, locks_held(place)))
        return found or unswept(made, step, left_behind(place)), counts


def barred(made: Reference, step: int) -> Running:
    """Start a command where nothing can be written."""
    made.place.environment()
    subprocess.run(["mount", "-o", "remount,ro", str(made.place.folder)], check=True)
    return made.place.start(made.steps[step])


def unclear(running: Running, code: int, way: str) -> str:
    """What is wrong with the words of a command that found no room; '' where they are one sentence, or it ended well."""
    said = [line for line in running.said.splitlines() if "Refused: " in line or line.startswith("    Refused: ")]
    if "Traceback" in running.said:
        return f"a traceback: {running.said[-700:]}"
    if code == 0:
        return "" if way in FILLS else "it ended well where nothing can be written"
    if len(said) < 1 or (len(said) > 1 and "grid" not in running.said and "status " not in running.said):
        return f"{len(said)} sentences, code {code}: {running.said[-500:]}"
    if way in FILLS and "disk is full" not in running.said and "No space left" not in running.said:
        return f"it does not say that the disk is full: {said[-1]}"
    return ""


def run(seed: int, n: int, folder: Path, jobs: int, only: int | None = None, match: str = "") -> Tally:
    """`n` trials over the modes and ways in turn."""
    tally, modes = Tally("disk", seed), [mode for mode in MODES if mode.name in TRIED and match in mode.name]
    if os.geteuid():
        raise SystemExit("disk: mounting a file system needs root")
    for index, mode in enumerate(modes):
        numbers = [number for number in range(n) if number % len(modes) == index and only in (None, number)]
        made = reference_of(mode, folder) if numbers else None
        for number in numbers if made else ():
            way = WAYS[(number // len(modes)) % len(WAYS)]
            why, counts = tried(made, random.Random(f"{seed} {number}"), way)  # type: ignore[arg-type]
            tally.add(number, f"{way}", why and f"{mode.name}: {why}", **counts)
        if made:
            shutil.rmtree(made.place.folder.parent, ignore_errors=True)
    return tally
