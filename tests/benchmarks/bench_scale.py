"""Time and memory of strategies as the pool grows: features of float16 on disk, read through a memory map.

    python -m tests.benchmarks.bench_scale [--sizes 10000,100000,1000000] [--folder DIR] [--only typiclust]

D = 512, C = 10, 100 picks, 100 labelled images; the features are drawn block by block (200 overlapping groups, rectified)
and written to a file of N KB in DIR. Each measurement has a process of its own; seconds are of the processor, memory is
the highest that the process ever held (Linux), libraries and pages of the file included. The last column is the exponent e
of the fit seconds ~ N^e. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch

from heuristics import get
from heuristics.core.selecting import select
from tests.benchmarks.bench_diversity import C, D
from tests.benchmarks.measure import in_own_process, measured, resident

STRATEGIES = ("margin", "badge", "coreset", "typiclust", "maxherding")
PICKS, LABELLED, BLOCK = 100, 100, 10_000


def write(file: Path, n: int) -> None:
    """`n` features, and as many labelled ones before them as all sizes have."""
    rng = np.random.default_rng(0)
    centres = 0.7 * rng.standard_normal((200, D), dtype=np.float32)
    made = np.lib.format.open_memmap(file, "w+", np.float16, (LABELLED + n, D))
    for start in range(0, len(made), BLOCK):
        rows = rng.standard_normal((min(BLOCK, len(made) - start), D), dtype=np.float32)
        rows = rows * rng.random((len(rows), 1), dtype=np.float32) + centres[rng.integers(200, size=len(rows))]
        made[start : start + len(rows)] = np.maximum(rows, 0)
    made.flush()


def choose(name: str, given: dict[str, torch.Tensor], rng: np.random.Generator, n_query: int = PICKS) -> np.ndarray:
    """The picks, as a query makes them."""
    found = get(name)(**given, n_query=n_query, n_pool=len(given["embeddings"]), rng=rng)
    return select(found.double().numpy(), n_query, rng) if get(name).per_batch else np.asarray(found)


def measure(name: str, file: str, threads: int) -> None:
    """Print seconds, processor seconds and the highest MB of one call as JSON."""
    torch.set_num_threads(threads)
    everything = torch.from_numpy(np.load(file, mmap_mode="r+"))
    given = {"labelled_embeddings": everything[:LABELLED], "embeddings": everything[LABELLED:]}
    generator = torch.Generator().manual_seed(0)
    given["probs"] = torch.randn(len(given["embeddings"]), C, generator=generator).mul_(2).softmax(1)
    small = {key: value[:500] for key, value in given.items()}
    choose(name, small, np.random.default_rng(0))  # loads libraries
    done = measured(lambda: choose(name, given, np.random.default_rng(0)))
    print(json.dumps([done.seconds, done.processor, resident("VmHWM")]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,100000,1000000", help="numbers of images, comma-separated")
    parser.add_argument("--folder", default=None, help="where the features are written, and deleted; 1 KB an image")
    parser.add_argument("--only", default="", help="the strategies to measure, comma-separated")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        measure(*json.loads(chosen.measure))
        return
    sizes = [int(size) for size in chosen.sizes.split(",")]
    names = chosen.only.split(",") if chosen.only else list(STRATEGIES)
    found = {name: [] for name in names}
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        for n in sizes:
            file = Path(folder) / "features.npy"
            write(file, n)
            for name in names:
                found[name].append(in_own_process(__spec__.name, [name, str(file), chosen.threads]))
                seconds, processor, megabytes = found[name][-1]
                print(
                    f"{name:<12}{n:>9} images {processor:>9.2f} cpu s {seconds:>9.2f} s {megabytes:>7.0f} MB",
                    flush=True,
                )
    for name, rows in found.items() if len(sizes) > 1 else ():
        slope = np.polyfit(np.log(sizes), np.log([row[1] for row in rows]), 1)[0]
        last = np.log(rows[-1][1] / rows[-2][1]) / np.log(sizes[-1] / sizes[-2])
        print(f"{name:<12} seconds ~ N^{slope:.2f}, between the last two sizes N^{last:.2f}")


if __name__ == "__main__":
    main()
