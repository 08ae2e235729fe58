"""SIGKILL at random moments: the same command, started again until it ends, must leave what it leaves undisturbed.

Each mode is run once undisturbed in a folder of its own, which is copied before and after each command. A trial brings
back the copy from before a command, starts that command, kills it at a random moment, as often as the dice say, starts it
a last time and compares all that is there with the copy from after it. A fifth of the kills hits a process as users start
it before it has written anything, which is mostly imports; the others hit at any time from the first write to the end of a
process that is a fork of one with the same imports, which takes a third of the time.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tests.trials.modes import MODES, Mode, Step
from tests.trials.scripts import Place, Running
from tests.trials.tally import Tally
from tests.trials.traces import damaged, difference, left_behind, locks_held, traces_of

STARTING = 0.2  # share of the kills before a process has written anything
AGAIN = 0.3  # chance of another kill of the process that goes on
OLD = 2 * 24 * 3600  # s after which any temporary file belongs to a process that was killed


@dataclass
class Reference:
    """What a mode does undisturbed: where its folder lies, and for each command when it first wrote and when it ended."""

    mode: Mode
    place: Place
    steps: tuple[Any, ...]
    seconds: dict[int, tuple[float, float]] = field(default_factory=dict)
    expected: dict[int, dict[str, Any]] = field(default_factory=dict)

    def kept(self, step: int) -> Path:
        """The copy of the folder from before a step."""
        return self.place.folder.with_name(f"before_{step}")

    def restore(self, step: int) -> None:
        shutil.rmtree(self.place.folder, ignore_errors=True)
        shutil.copytree(self.kept(step), self.place.folder, symlinks=True)


def reference_of(mode: Mode, folder: Path) -> Reference:
    """Run a mode undisturbed. RuntimeError where it fails by itself."""
    place = Place(folder / mode.name.replace(" ", "_") / "work")
    shutil.rmtree(place.folder.parent, ignore_errors=True)
    place.folder.mkdir(parents=True)
    place.environment()
    made = Reference(mode, place, mode.steps())
    commands = [i for i, step in enumerate(made.steps) if not callable(step)]
    for i, step in enumerate(made.steps):
        if callable(step):
            step(place.folder)
            continue
        shutil.copytree(place.folder, made.kept(i), symlinks=True)
        before, began = place.written(), time.monotonic()
        running = place.start(step)
        first = wait_for_a_write(place, running, before)
        if code := running.end():
            raise RuntimeError(f"{mode.name} ends with {code} undisturbed: {running.said[-2000:]}")
        if i in commands[-mode.tried :]:
            made.seconds[i] = first - began, time.monotonic() - began
            made.expected[i] = traces_of(place.folder)
    return made


def tried(made: Reference, rng: random.Random, again: bool = True) -> tuple[str, dict[str, int]]:
    """One trial of a mode: what is wrong afterwards, '' where nothing is; and how many kills hit, and when."""
    step = rng.choice(sorted(made.seconds))
    made.restore(step)
    counts = {"kills": 0, "in start-up": 0, "left for a sweep": 0}
    while True:
        starting, whole = rng.random() < STARTING, made.mode.name.startswith("grid") and rng.random() < 0.5
        moment, more = rng.random(), again and rng.random() < AGAIN
        if _killed(made, step, starting, moment, whole):
            counts["kills"] += 1
            counts["in start-up"] += starting
        if orphans := made.place.orphans():
            return f"processes live on: {orphans}", counts
        if not more:
            break
    last = begin(made.place, made.steps[step], ALIQUOT_CHECK_CACHE="full")
    if code := last.end():
        return f"it ends with {code}: {last.said[-600:]}", counts
    left = left_behind(made.place.folder)
    counts["left for a sweep"] = len(left)
    return _wrong(made, step, last) or unswept(made, step, left), counts


def begin(place: Place, words: Step, **environment: str) -> Running:
    """Start a command as a fork, but for a grid, which has processes of its own."""
    if words[0] == "grid.py":
        return place.start(words, **environment)
    return place.fork(words, **environment)


def _killed(made: Reference, step: int, starting: bool, moment: float, whole: bool) -> bool:
    """Start a command and kill it at a moment, a share of the time before or after its first write; whether it hit."""
    place, (first, end) = made.place, made.seconds[step]
    before = place.written()
    running = place.start(made.steps[step]) if starting else begin(place, made.steps[step])
    if starting:
        time.sleep(moment * first)
    else:
        wait_for_a_write(place, running, before)
        time.sleep(moment * (end - first))
    if running.process.poll() is not None:  # it was faster this time
        return False
    running.kill(whole)
    return True


def _wrong(made: Reference, step: int, last: Running) -> str:
    """What is wrong where a command has ended well after kills."""
    place = made.place
    if "Traceback" in last.said:
        return f"a traceback: {last.said[-600:]}"
    if differ := difference(made.expected[step], traces_of(place.folder)):
        return differ
    if orphans := place.orphans():
        return f"processes live on: {orphans}"
    if held := locks_held(place.folder):
        return f"locks that nobody can take: {held}"
    if broken := damaged(place.folder):
        return f"decoded images: {broken}"
    return ""


def unswept(made: Reference, step: int, left: Sequence[Path]) -> str:
    """What killed processes left, and a command that starts two days later does not remove.

    Until then a temporary file may be one of another machine that writes to the same folder.
    """
    if not left:
        return ""
    kept = [each for each in left if each.is_relative_to(made.place.folder / "out")]
    kept += [each for each in left if each.is_relative_to(made.place.runs / "resume")]
    if kept:
        return f"temporary files in the folder of the study itself: {kept}"
    for each in left:
        for file in (*each.rglob("*"), each):
            os.utime(file, (time.time() - OLD,) * 2)
    words = made.steps[step]
    other = [word for word in words if not word.startswith("run=")]
    fresh = begin(made.place, (*other, "run=7") if words[0] == "grid.py" else (*words, "resume=fresh"))
    code, stays = fresh.end(), [each for each in left if each.exists()]
    return f"never removed (exit {code}): {stays}" if stays or code else ""


def wait_for_a_write(place: Place, running: Running, before: set[tuple[str, int]]) -> float:
    """Wait until a file of the place is new or changed, or the process has ended; the time then."""
    while running.process.poll() is None and not place.written() - before:
        time.sleep(0.03)
    return time.monotonic()


def of_mode(seed: int, n: int, folder: Path, only: int | None, index: int) -> Tally:
    """Try the mode of this index until its share of `n` kills has hit, or one trial alone."""
    tally, share = Tally("kills", seed), -(-n // len(MODES))
    try:
        made = reference_of(MODES[index], folder)
    except RuntimeError as error:  # no trial can tell anything
        tally.add(index, MODES[index].name, str(error))
        return tally
    numbers = [only] if only is not None else range(index, 3 * len(MODES) * share, len(MODES))
    hits = 0
    for number in numbers:
        why, counts = tried(made, random.Random(f"{seed} {number}"))
        tally.add(number, made.mode.name, why, **counts)
        hits += counts["kills"]
        if hits >= share:
            break
    shutil.rmtree(made.place.folder.parent, ignore_errors=True)
    return tally


def run(seed: int, n: int, folder: Path, jobs: int, only: int | None = None, match: str = "") -> Tally:
    """Go through the modes until at least `n` kills have hit; each mode is tried by one process."""
    tally = Tally("kills", seed)
    wanted = [
        i for i, mode in enumerate(MODES) if re.search(match, mode.name) and (only is None or i == only % len(MODES))
    ]
    with ProcessPoolExecutor(jobs, get_context("spawn")) as workers:
        for part in workers.map(partial(of_mode, seed, n, folder, only), wanted):
            tally.merge(part)
    return tally
