"""Folders of runs as the scripts leave them, written in a millisecond."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

BUDGETS = (4, 8, 12)


def store(
    runs: Path,
    number: int,
    heuristic: str,
    run: int,
    values,
    budgets=BUDGETS,
    command="main",
    status="COMPLETED",
    picks=(),
    info=None,
    task="segment",
    measured=None,
    **options,
) -> Path:
    """One run whose `dice` takes these values at these budgets; `picks` are rows (cycle, index, file), `measured`
    further metrics."""
    folder = runs / str(number)
    folder.mkdir(parents=True)
    config = {
        "dataset": "glas",
        "heuristic": heuristic,
        "run": run,
        "seed": run,
        "metric": "dice",
        "steps": 200,
        "scale": 0.2,
    } | options
    config |= {"data_root": str(runs / "no_data"), "n_initial": budgets[0], "n_query": 4, "n_cycles": len(budgets) - 1}
    (folder / "config.json").write_text(json.dumps(config))
    day = "2026-01-02T03:04:05.678901"
    words = ["glas_quick", f"heuristic={heuristic}", f"run={run}"]
    record = {
        "status": status,
        "command": command,
        "start_time": day,
        "heartbeat": day,
        "experiment": {
            "name": task,
            "mainfile": f"experiments/{task}.py",
            "dependencies": ["numpy==2.4.6", "torch==2.15.0", "torchvision==0.29.2"],
            "repositories": 2 * [{"url": "/home/somebody/aliquot", "commit": "0123456789abcdef", "dirty": False}],
        },
        "host": {"cpu": "A & B", "hostname": "secret", "os": ["Linux", "Linux-6.1"], "python_version": "3.11.7"},
        "meta": {
            "named_configs": ["glas_quick"],
            "config_updates": {"heuristic": heuristic, "run": run},
            "options": {"UPDATE": words},
        },
        "artifacts": [],
    }
    (folder / "run.json").write_text(json.dumps(record))
    curves = {"dice": values, "nll": [1 - v for v in values], "n_labelled": budgets}
    curves |= {f"{part}_seconds": np.full(len(budgets), 0.5).tolist() for part in ("train", "test", "query")}
    curves |= measured or {}
    if info is not None:
        (folder / "info.json").write_text(json.dumps(info))
    metrics = {
        name: {"steps": list(budgets), "values": list(map(float, curve)), "timestamps": [day] * len(budgets)}
        for name, curve in curves.items()
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    with open(folder / "picks.csv", "w", newline="") as file:
        csv.writer(file).writerows([("cycle", "index", "file", "score"), *((*pick, "") for pick in picks)])
    return folder
