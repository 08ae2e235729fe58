"""python -m tests.trials KIND [--seed 0] [--n N] [--jobs 1] [--folder DIR] [--only NUMBER]; exit 1 on any failure."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, here and in all that is started

KINDS = {  # name -> how many trials, what is tried
    "kills": (100, "random SIGKILLs over all scripts and modes"),
    "inputs": (300, "bad inputs, drawn from the tables of options"),
    "disk": (40, "disks that are full or read-only from a random moment on; as root"),
    "memory": (40, "limits of memory by `ulimit -v`"),
    "mongo": (12, "a MongoDB that is killed while runs are mirrored to it"),
    "label_studio": (6, "a Label Studio that is killed while labels are asked for and taken"),
}


def main() -> int:
    kinds = "\n".join(f"  {name:<14}{what} ({n} unless --n says otherwise)" for name, (n, what) in KINDS.items())
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m tests.trials", description=kinds, formatter_class=shape)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (0)")
    parser.add_argument("--n", type=int, help="how many trials")
    parser.add_argument("--jobs", type=int, default=1, help="trials at a time (1)")
    parser.add_argument("--only", type=int, help="the number of one trial that is to be repeated")
    parser.add_argument("--match", default="", help="only rows, or kinds of inputs, whose name has this pattern")
    parser.add_argument("--folder", type=Path, help="where trials write, else a temporary folder")
    given = parser.parse_args()
    module = importlib.import_module(f"tests.trials.{given.kind}")
    began, number = time.monotonic(), given.n or KINDS[given.kind][0]
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).resolve()
        tally = module.run(given.seed, number, folder, given.jobs, given.only, given.match)
    print(tally.table())
    print(f"\n{given.kind}, seed {given.seed}: {sum(tally.tried.values())} tried, {len(tally.failures)} failed, "
          f"{time.monotonic() - began:.0f} s")  # fmt: skip
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
