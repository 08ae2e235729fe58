"""A MongoDB that is killed at random moments while runs are mirrored to it: the files are whole, and the rest is sent later.

$ALIQUOT_MONGOD names the program, see tests/mongo_install.sh.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path

from pandas.testing import assert_frame_equal

from tests.mongo_server import Server
from tests.trials.kills import Reference, begin, reference_of, wait_for_a_write
from tests.trials.modes import MODES
from tests.trials.tally import Tally
from tests.trials.traces import difference, traces_of

TRIED = ("classify", "pretrain", "grid of forks")
AWAY = (0.0, 1.0, 15.0)  # s that the server stays away, about: shorter and longer than the end of a run waits


def tried(made: Reference, rng: random.Random, server: Server) -> tuple[str, dict[str, int]]:
    """One trial: what is wrong, '' where nothing is, and how often the server was killed."""
    step, kills = rng.choice(sorted(made.seconds)), 0
    made.restore(step)
    before, (first, end) = made.place.written(), made.seconds[step]
    running = begin(made.place, made.steps[step], ALIQUOT_MONGO=server.url())
    wait_for_a_write(made.place, running, before)
    while running.process.poll() is None:
        time.sleep(rng.random() * (end - first))
        server.kill()
        kills += 1
        time.sleep(rng.choice(AWAY) * rng.uniform(0.5, 1))
        server.start()
    return wrong(made, step, running.end(), running.said, server), {"server killed": kills}


def wrong(made: Reference, step: int, code: int, said: str, server: Server) -> str:
    """What is wrong with the files, and with the database once it was sent what it lacks."""
    from analysis.runs import load, load_picks
    from experiments.tracking.sync import to_database

    if code or "Traceback" in said:
        return f"it ends with {code}: {said[-600:]}"
    if differ := difference(made.expected[step], traces_of(made.place.folder)):
        return differ
    to_database(made.place.runs, server.database())
    again = to_database(made.place.runs, server.database())
    if again.added or again.repaired or again.damaged:
        return f"sent twice: {again}"
    if made.mode.name != "pretrain":  # whose runs `analysis` leaves out
        assert_frame_equal(load(made.place.runs), load(server.url()))
        assert_frame_equal(load_picks(made.place.runs), load_picks(server.url()))
    return ""


def run(seed: int, n: int, folder: Path, jobs: int, only: int | None = None, match: str = "") -> Tally:
    """`n` trials over the modes in turn."""
    tally, modes = Tally("mongo", seed), [mode for mode in MODES if mode.name in TRIED and match in mode.name]
    program = os.environ.get("ALIQUOT_MONGOD") or shutil.which("mongod")
    if not program:
        raise SystemExit("mongo: no mongod; set ALIQUOT_MONGOD, see tests/mongo_install.sh")
    shutil.rmtree(folder / "mongo", ignore_errors=True)
    server = Server(program, folder / "mongo" / "db")
    try:
        for index, mode in enumerate(modes):
            numbers = [number for number in range(n) if number % len(modes) == index and only in (None, number)]
            made = reference_of(mode, folder) if numbers else None
            for number in numbers if made else ():
                server.database().client.drop_database("aliquot")
                why, counts = tried(made, random.Random(f"{seed} {number}"), server)  # type: ignore[arg-type]
                tally.add(number, mode.name, why, **counts)
    finally:
        server.kill()
    return tally
