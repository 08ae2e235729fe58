"""Whole runs of our scripts beside the algorithms of older scripts, written plainly in `tests.benchmarks.ancestors`.

    python -m tests.benchmarks.bench_ancestors [--size tiny|small|full] [--only segment] [--repeat 3] [--json race.json]

The same images, division, first labels, network, initial weights, steps, batches and numbers of stochastic passes on
both sides, and as many threads; augmentation and masks are drawn from the same laws. Each run is a process of its own,
the sides in turn. Times are of the processor, since machines are shared, by part of the run; the rest of a run is
imports, records and figures, of which a plain script has few. Decoding into our cache is not counted. Memory is the
highest that the process ever held (Linux). Each figure is the median of the repetitions. No time is asserted;
`tests/benchmarks/test_ancestors.py` checks that both sides compute the same. Ours does more on the way: it measures
distances of objects, calibration, average precision, and what a prediction reaches that looks at no image.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from experiments.tracking.declare import settle
from experiments.tracking.options import TABLES
from tests.benchmarks.ancestors.shared import PARTS
from tests.benchmarks.measure import in_own_process, resident

CASES = {  # what is run -> script, strategy, the metric that is shown
    "segment bald": ("segment", "bald", "mc_dice"),
    "classify badge": ("classify", "badge", "macro_auroc"),
    "classify coreset": ("classify", "coreset", "macro_auroc"),
    "detect tightness": ("detect", "localization_tightness", "froc"),
}
ALL = {"device": "cpu", "resume": "fresh"}
RECIPES = {
    "segment": {"loss": "ce", "metric": "mc_dice"},
    "classify": {"class_weighting": "none", "metric": "macro_auroc"},
    "detect": {},
}
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "tiny": {
        "segment": {
            **{"dataset_options": {"n_pool": 10, "n_test": 3}, "n_initial": 3, "n_query": 2, "n_cycles": 1},
            **{"mc_samples": 2, "eval_samples": 2, "steps": 2, "batch_size": 2, "width": 4, "depth": 3, "crop": 64},
        },
        "classify": {
            **{"dataset_options": {"n_pool": 60, "n_test": 24}, "image_size": 16, "n_initial": 12, "n_query": 6},
            **{"n_cycles": 1, "steps": 2, "batch_size": 8},
        },
        "detect": {
            **{"dataset_options": {"n_pool": 10, "n_test": 4, "size": 64}, "n_initial": 3, "n_query": 2},
            **{"n_cycles": 1, "steps": 2, "batch_size": 2},
        },
    },
    "small": {
        "segment": {
            **{"dataset": "glas", "scale": 0.2, "crop": 96, "width": 16, "depth": 5, "min_object": 20},
            **{"n_initial": 8, "n_query": 8, "n_cycles": 1, "steps": 40, "batch_size": 8},
            **{"mc_samples": 10, "eval_samples": 10},
        },
        "classify": {
            **{"dataset": "pneumoniamnist", "n_initial": 100, "n_query": 200, "n_cycles": 2, "steps": 100},
        },
        "detect": {
            **{"dataset": "bccd", "scale": 0.25, "n_initial": 20, "n_query": 20, "n_cycles": 1, "steps": 30},
        },
    },
    "full": {
        "segment": {
            **{"dataset": "glas", "crop": 416, "width": 16, "depth": 6, "optimizer": "sgd", "lr": 0.1},
            **{"n_initial": 4, "n_query": 2, "n_cycles": 1, "steps": 12, "batch_size": 16, "min_object": 100},
            **{"mc_samples": 20, "eval_samples": 20, "query_batch_size": 4, "eval_batch_size": 4},
        },
        "classify": {
            **{"dataset": "pneumoniamnist", "n_initial": 500, "n_query": 500, "n_cycles": 5, "steps": 800},
        },
        "detect": {
            **{"dataset": "bccd", "scale": 0.5, "n_initial": 20, "n_query": 40, "n_cycles": 3, "steps": 250},
        },
    },
}  # fmt: skip
Record = dict[str, Any]


def options_of(case: str, size: str) -> dict[str, Any]:
    """What is typed for a case; both sides read it."""
    script, heuristic, _ = CASES[case]
    return {**ALL, **RECIPES[script], "heuristic": heuristic, **SIZES[size][script]}


def prepared(case: str, size: str, folder: Path) -> None:
    """Decode the images of a case for both sides."""
    from tests.benchmarks.ancestors.shared import write

    script = CASES[case][0]
    definition = import_module(f"experiments.{script}").SCRIPT.definition()
    write(settle(TABLES[script], [], options_of(case, size)), definition, folder)


def run(side: str, case: str, size: str, folder: Path) -> Record:
    """A run of one side, `plain` or the precision of ours: curve, picks and the processor seconds of its parts."""
    script, typed = CASES[case][0], options_of(case, size)
    if side != "plain":
        from tests.benchmarks.ancestors.ours import simulate

        return simulate(script, {**typed, "precision": side})
    from tests.benchmarks.ancestors.shared import simulate

    module = import_module(f"tests.benchmarks.ancestors.{script}")
    return simulate(module.PLAIN, settle(TABLES[script], [], {**typed, "precision": "float32"}), folder)


def measure(side: str, case: str, size: str, folder: str, threads: int) -> None:
    """Print the record of a run with what its whole process cost, as JSON."""
    import torch

    torch.set_num_threads(threads)
    record = run(side, case, size, Path(folder))
    print(json.dumps({**record, "processor": time.process_time(), "megabytes": resident("VmHWM")}))


def race(case: str, size: str, sides: list[str], repeat: int, threads: int) -> list[Record]:
    """One record a side, each number the median of its repetitions."""
    found: dict[str, list[Record]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["ALIQUOT_RUNS"] = f"{scratch}/runs"
        prepared(case, size, Path(scratch) / "images")
        for _ in range(repeat):
            for side in sides:
                began = time.perf_counter()
                record = in_own_process(__spec__.name, [side, case, size, f"{scratch}/images", threads])
                found[side].append({**record, "wall": time.perf_counter() - began})
    rows = []
    for side, records in found.items():
        row = {name: median(r[name] for r in records) for name in ("processor", "wall", "megabytes")}
        row |= {part: median(r["parts"][part] for r in records) for part in PARTS}
        rows.append({"case": case, "side": side, **row, "reached": records[0]["curve"][-1][CASES[case][2]]})
    return rows


def line(row: Record, plain: Record) -> str:
    """One line of the table; how many times as fast as the plain script the whole run is, and what is no training."""
    rest = row["processor"] - sum(row[part] for part in PARTS)
    times = [plain["processor"] / row["processor"]]
    times.append((plain["query"] + plain["test"]) / (row["query"] + row["test"]))
    seconds = " | ".join(f"{value:.1f}" for value in (row["processor"], *(row[part] for part in PARTS), rest))
    ratios = " | ".join(f"{value:.1f}" for value in times) if row is not plain else " | "
    cells = f"{row['case']} | {row['side']} | {seconds} | {row['wall']:.0f} | {row['megabytes']:.0f} | {ratios}"
    return f"| {cells} | {row['reached']:.3f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small", help="tiny says nothing, full takes hours")
    parser.add_argument("--only", default="", help="only the cases with this in their names")
    parser.add_argument("--precisions", default="float32,bfloat16", help="of ours, comma-separated")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(*json.loads(given.measure))
        return
    print(f"processor seconds, {given.threads} thread(s), median of {given.repeat}\n")
    print(
        "| what | side | run | train | query | test | rest | wall s | MB | times as fast | but for training | reached |"
    )
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    rows = []
    for case in CASES:
        if given.only in case:
            found = race(case, given.size, ["plain", *given.precisions.split(",")], given.repeat, given.threads)
            print("\n".join(line(row, found[0]) for row in found), flush=True)
            rows += found
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
