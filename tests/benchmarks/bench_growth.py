"""How time and memory grow with the pool, the stochastic passes, the size of images and the number of stored runs.

    python -m tests.benchmarks.bench_growth [--full] [--only badge] [--threads 1]

One row each, and a process of its own for it: seconds of the processor and MB that the peak rose above what was held
before (Linux), at the smallest and the largest size, and the exponent e of a fit of ~ size^e through all sizes, with
that between the last two in brackets, where constant costs weigh less. Pools are features of float16 on disk (see
bench_scale), of which 100 are picked; images are noise, queried by BALD. Memory of a query must not grow with K nor
with the pool: what is held of an image is its score. `--full` adds a million images, sides of 2,048 pixels and 10,000
runs. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.benchmarks.measure import in_own_process, measured


class Row(NamedTuple):
    """What grows: sizes, those that `--full` adds, and what makes, from a size and a folder, the call to measure."""

    sizes: tuple[int, ...]
    more: tuple[int, ...]
    prepared: Callable[[int, Path], Callable[[], Any]]


def pool_of(strategy: str) -> Callable[[int, Path], Callable[[], Any]]:
    """Choosing from that many features."""

    def prepared(n: int, folder: Path) -> Callable[[], Any]:
        import torch

        from tests.benchmarks.bench_diversity import C
        from tests.benchmarks.bench_scale import LABELLED, choose, write

        file = folder / f"{n}.npy"
        if not file.exists():
            write(file, n)
        everything = torch.from_numpy(np.load(file, mmap_mode="r+"))
        given = {"labelled_embeddings": everything[:LABELLED], "embeddings": everything[LABELLED:]}
        given["probs"] = torch.randn(n, C, generator=torch.Generator().manual_seed(0)).mul_(2).softmax(1)
        return lambda: choose(strategy, given, np.random.default_rng(0), min(100, n // 2))

    return prepared


def query_of(n: int | None = None, k: int | None = None, side: int | None = None) -> Callable:
    """BALD over `n` images of `side` pixels by `k` passes; the one that is None grows."""

    def prepared(size: int, folder: Path) -> Callable[[], Any]:
        from data.store import Record, cached
        from experiments.learning.batches import WithoutTargets
        from experiments.learning.querying import QueryOptions, query
        from experiments.loop import evidence_of
        from experiments.tasks.segmentation import TASK
        from experiments.tracking.declare import settle
        from experiments.tracking.options import SEGMENT
        from heuristics import get

        images_of, passes, pixels = (size if given is None else given for given in (n, k, side))

        def records() -> Iterator[Record]:
            rng = np.random.default_rng(0)
            for i in range(images_of):
                image = rng.integers(256, size=(pixels, pixels, 3), dtype=np.uint8)
                yield Record(f"{i}.png", image, (image[..., 0] > 128).astype(np.uint8))

        images = cached("noise", f"{images_of}x{pixels}", "class_map", ("background", "object"), records, None, folder)
        small = {"width": 4, "depth": 4, "precision": "float32", "device": "cpu", "query_batch_size": 2}
        options = settle(SEGMENT, [], {**small, "mc_samples": passes, "n_query": 1})
        task, asked = TASK.make_task(options, images), QueryOptions.of(options)
        evidence = evidence_of(task, task.make_model(), asked, seed=0, cycle=0)
        pool = np.arange(images_of)
        return lambda: query(get("bald"), evidence, WithoutTargets(images), pool, asked)

    return prepared


def stored_runs(what: str) -> Callable[[int, Path], Callable[[], Any]]:
    """Reading that many runs, or a summary of one of the ten datasets that they are of."""

    def prepared(n: int, folder: Path) -> Callable[[], Any]:
        from analysis import summary
        from analysis.runs import load
        from tests.benchmarks.bench_runs import DATASETS, make

        runs = folder / f"runs_{n}"
        make(runs, n)

        def summarise() -> None:
            sys.argv = ["summary", str(runs), "--dataset", DATASETS[1], "--baseline", "random", "--metric", "accuracy"]
            with contextlib.redirect_stdout(io.StringIO()):
                summary.main()

        return summarise if what == "summary" else lambda: load(runs)

    return prepared


POOL = (100, 1_000, 10_000, 100_000)
ROWS = {
    **{f"pool, {name}": Row(POOL, (1_000_000,), pool_of(name)) for name in ("margin", "badge", "coreset", "typiclust")},
    "pool, maxherding": Row(POOL[:-1], POOL[-1:], pool_of("maxherding")),
    "images of the pool, K = 5, 64 pixels": Row((8, 32, 128), (512,), query_of(None, 5, 64)),
    "K passes, 4 images of 128 pixels": Row((5, 10, 20, 50, 100), (), query_of(4, None, 128)),
    "side in pixels, one image, K = 2": Row((128, 256, 512, 1024), (2048,), query_of(1, 2, None)),
    "runs, read": Row((10, 100, 1_000), (10_000,), stored_runs("load")),
    "runs, summary of a tenth of them": Row((400, 1_000, 2_000), (10_000,), stored_runs("summary")),
}


def measure(name: str, sizes: list[int], threads: int) -> None:
    """Print processor seconds and MB at each size, as JSON."""
    import torch

    torch.set_num_threads(threads)
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        for size in (sizes[0], *sizes):  # the first once more before: it loads libraries
            call = ROWS[name].prepared(size, Path(scratch))
            runs = [measured(call) for _ in range(1 if found and found[-1][0] > 1 else 3)]
            found.append((min(run.processor for run in runs), max(run.megabytes for run in runs)))
    print(json.dumps(found[1:]))


def exponent(sizes: list[int], values: list[float], least: float) -> str:
    """e of the fit value ~ size^e, and between the last two sizes; what is below `least` counts as that."""
    x, y = np.log(sizes), np.log(np.maximum(values, least))
    return f"{np.polyfit(x, y, 1)[0]:.2f} ({(y[-1] - y[-2]) / (x[-1] - x[-2]):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="many minutes, 5 GB of memory and 3 GB of disk")
    parser.add_argument("--small", action="store_true", help="the two smallest sizes of each: that it runs")
    parser.add_argument("--only", default="", help="only the rows with this in their names")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(*json.loads(given.measure))
        return
    print("| what grows | sizes | s at the smallest | s at the largest | s ~ size^ | MB | MB | MB ~ size^ |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for name, row in ROWS.items():
        if given.only in name:
            sizes = list(row.sizes[:2] if given.small else row.sizes + (row.more if given.full else ()))
            seconds, held = zip(*in_own_process(__spec__.name, [name, sizes, given.threads]), strict=True)
            cells = [name, f"{sizes[0]:,} to {sizes[-1]:,}", f"{seconds[0]:.3f}", f"{seconds[-1]:.2f}"]
            cells += [exponent(sizes, seconds, 1e-4), f"{held[0]:.0f}", f"{held[-1]:.0f}", exponent(sizes, held, 0.5)]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
