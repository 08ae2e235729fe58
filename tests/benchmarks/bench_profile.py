"""Where the time of an optimiser step, of a scoring pass and of a test goes, for each task.

    python -m tests.benchmarks.bench_profile [--only segment] [--precision float32] [--threads 1] [--small]

torch's profiler around a few steps of `fit` as a preset sets them, around a query of images of the pool, and around
their test. Each operation counts without those that it calls; they are gathered into kinds, as shares of the whole.
What no operation of torch accounts for is Python and numpy. The last column names the largest operations of kinds that
are no arithmetic. On a machine that others use shares are less noisy than times, which are of the processor. Nothing is
asserted.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from experiments.learning.batches import WithoutTargets
from experiments.learning.querying import QueryOptions, query
from experiments.learning.training import fit
from experiments.loop import evidence_of
from experiments.tracking.declare import settle
from experiments.tracking.options import TABLES
from heuristics import get


class Case(NamedTuple):
    """What is profiled: options of a script, the steps of the training and the images of the query."""

    script: str
    preset: str
    changed: dict[str, Any]
    steps: int
    images: int


CASES = [
    Case(
        "segment",
        "glas_quick",
        {"heuristic": "bald", "mc_samples": 5, "batch_size": 8, "scale": 0.4, "crop": 192},
        2,
        4,
    ),
    Case("classify", "pneumonia_quick", {"heuristic": "badge"}, 20, 512),
    Case("detect", "bccd_quick", {"heuristic": "localization_tightness"}, 4, 32),
]
SMALL = [
    Case(script, "tiny", {"heuristic": name}, 2, 4) for script, name in (("segment", "bald"), ("classify", "badge"))
]
KINDS = {  # of operations, by the beginnings and ends of their names; the first that fits
    "convolution": ("convolution", "conv2d", "conv_"),
    "matrix product": ("mm", "addmm", "bmm", "linear", "matmul"),
    "normalisation": ("batch_norm", "BatchNorm"),
    "activation": ("relu", "Relu", "threshold", "clamp", "softmax", "log", "exp", "sigmoid", "nll", "cross_entropy"),
    "pooling": ("pool",),
    "regions and boxes": ("roi_align", "nms", "torchvision"),
    "optimiser": ("Optimizer", "addcdiv", "addcmul", "lerp", "sqrt", "foreach"),
    "dropout": ("dropout", "bernoulli"),
    "joining, copying, converting": (
        "cat",
        "copy",
        "_to_",
        "aten::to",
        "contiguous",
        "clone",
        "stack",
        "index",
        "flip",
        "pad",
    ),
    "filling": ("fill_", "zero_", "empty", "new_", "ones", "zeros"),
}
ARITHMETIC = (
    "convolution",
    "matrix product",
    "normalisation",
    "activation",
    "pooling",
    "regions and boxes",
    "optimiser",
)
REST, PYTHON = "single numbers and views", "Python and numpy"


def kind_of(name: str) -> str:
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), REST)


def calls_of(case: Case, precision: str) -> dict[str, Callable[[], Any]]:
    """An optimiser step (several), a query and a test of a case."""
    script = import_module(f"experiments.{case.script}").SCRIPT
    definition, typed = (
        script.definition(),
        {**case.changed, "device": "cpu", "precision": precision, "steps": case.steps},
    )
    options = settle(TABLES[case.script], script.presets[case.preset][1].items(), typed)
    images = definition.load(options).part("train")
    task = definition.make_task(options, images)
    torch.manual_seed(0)
    model, labelled = task.make_model(), np.arange(min(16, len(images) // 2))
    pool = np.arange(len(labelled), min(len(images), len(labelled) + case.images))
    batches = definition.make_batches(options, images)(labelled, 0, None)
    asked = QueryOptions.of({**options, "n_query": min(4, len(pool))})
    known = {"labelled": images.subset(labelled)}

    def choose() -> None:
        evidence = evidence_of(task, model, asked, seed=0, cycle=0)
        query(get(options["heuristic"]), evidence, WithoutTargets(images), pool, asked, known)

    return {
        f"{case.steps} steps of {options['batch_size']}": lambda: fit(model, task.loss, batches),
        f"query, {len(pool)} images": choose,
        f"test, {len(pool)} images": lambda: task.evaluate(model, images.subset(pool), 0),
    }


def shares(call: Callable[[], Any]) -> tuple[float, dict[str, float], list[tuple[str, float]]]:
    """Processor seconds of a call, its shares by kind, and the operations by their shares."""
    call()
    began = time.process_time()
    call()
    seconds = time.process_time() - began
    with profile(activities=[ProfilerActivity.CPU]) as found:
        began = time.perf_counter()
        call()
        whole = 1e6 * (time.perf_counter() - began)
    kinds, operations = defaultdict(float), []
    for event in found.key_averages():
        share = event.self_cpu_time_total / whole
        kinds[kind_of(event.key)] += share
        operations.append((event.key, share))
    kinds[PYTHON] = max(0.0, 1 - sum(kinds.values()))
    return seconds, dict(kinds), sorted(operations, key=lambda found: -found[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only the scripts with this in their names")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="tiny phantoms: that it runs")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    columns = (*ARITHMETIC, "dropout", *list(KINDS)[8:], REST, PYTHON)
    print("| what | CPU s | " + " | ".join(columns) + " | largest that are no arithmetic |")
    print("|---|---:|" + "---:|" * len(columns) + "---|")
    for case in SMALL if given.small else CASES:
        if given.only in case.script:
            for what, call in calls_of(case, given.precision).items():
                seconds, kinds, operations = shares(call)
                cells = [f"{case.script}, {what}", f"{seconds:.2f}", *(f"{kinds.get(kind, 0):.0%}" for kind in columns)]
                others = [(name, share) for name, share in operations if kind_of(name) not in ARITHMETIC][:3]
                cells.append(", ".join(f"{name.removeprefix('aten::')} {share:.1%}" for name, share in others))
                print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
