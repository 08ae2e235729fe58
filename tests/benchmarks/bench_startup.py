"""Seconds from a command line to a refusal, to `print_config`, and through a tiny run, as whole processes.

    python -m tests.benchmarks.bench_startup [--times 5] [--scripts segment,classify,detect]

Beside them stands what no script can do without, `import torch` and `import sacred`, measured in turn with the others,
so that a machine that others use is the same for all. Each line gives the median and the fastest. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

from data.files import ROOT
from experiments.tracking.processes import cores, load

FLOOR = {"import torch": ["-c", "import torch"], "import sacred": ["-c", "import sacred"]}
WORDS = {  # of each script
    "refused option": ["with", "tiny", "heuristic=bold"],
    "print_config": ["print_config", "with", "tiny"],
    "tiny, one step": ["with", "tiny", "n_cycles=0", "steps=1", "resume=fresh"],
}


def seconds(command: list[str], runs: str) -> float:
    """Of one process from start to end."""
    environment = {**os.environ, "ALIQUOT_RUNS": runs}
    began = time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, check=False)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5, help="each is started so often, after once to warm up")
    parser.add_argument("--scripts", default="segment,classify,detect")
    given = parser.parse_args()
    cases = dict(FLOOR)
    for script in given.scripts.split(","):
        cases |= {f"{script}: {what}": [f"experiments/{script}.py", *words] for what, words in WORDS.items()}
    print(f"{cores()} cores, load {load() or 0:.1f} at the start\n\n| what | median s | fastest s |\n|---|---:|---:|")
    with tempfile.TemporaryDirectory() as runs:
        taken: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(given.times + 1):
            for name, command in cases.items():
                taken[name].append(seconds(command, runs))
    for name, (_, *warm) in taken.items():
        print(f"| {name} | {statistics.median(warm):.2f} | {min(warm):.2f} |")


if __name__ == "__main__":
    main()
