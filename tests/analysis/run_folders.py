"""Run folders with everything that files and database must agree on: sources, artifacts, NaN, options of all kinds, any
status."""

import csv
import json
from datetime import UTC, datetime, timedelta

import numpy as np

DEFAULTS = {
    "dataset": "glas",
    "heuristic": "random",
    "run": 0,
    "n_initial": 4,
    "n_query": 4,
    "n_cycles": 1,
    "metric": "dice",
    "lr": 0.01,
}
DEFAULTS |= {"heuristic_options": {}, "device": "auto", "resume": "auto", "data_root": "", "save_maps": False}


def store(
    runs,
    number,
    status="COMPLETED",
    values=(0.5, 0.7),
    budgets=(4, 8),
    age=0.0,
    command="main",
    task="segment",
    **options,
):
    """A folder of a run that was started `age` seconds ago; `values` are its Dice. Returns the folder."""
    folder = runs / str(number)
    folder.mkdir(parents=True)
    config = {**DEFAULTS, **options}
    config.setdefault("seed", config["run"])
    (folder / "config.json").write_text(json.dumps(config))
    (runs / "_sources").mkdir(exist_ok=True)
    (runs / "_sources" / "segment_0123.py").write_text("print()\n")
    started = (
        datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=age) + timedelta(microseconds=number * 1000 + 321)
    )
    record = {
        "experiment": {"name": task, "base_dir": "/somewhere", "sources": [["segment.py", "_sources/segment_0123.py"]]}
    }
    record |= {
        "command": command,
        "status": status,
        "host": {"hostname": "one"},
        "start_time": started.isoformat(),
        "resources": [],
    }
    record |= {
        "heartbeat": started.isoformat(),
        "artifacts": ["curve.npy", "picks.csv"],
        "meta": {"options": {"--force": False}},
    }
    record |= {"result": float(np.mean(values)), "stop_time": started.isoformat() if status != "RUNNING" else None}
    (folder / "run.json").write_text(json.dumps(record))
    columns = {
        "dice": list(values),
        "hd95": [float("nan"), *values[1:]],
        "n_labelled": list(budgets),
        "n_validation": [0] * len(values),
    }
    times = [started.isoformat()] * len(values)
    metrics = {
        name: {"steps": list(budgets), "values": column, "timestamps": times} for name, column in columns.items()
    }
    metrics["froc_at_0.5"] = {"steps": list(budgets[:-1]), "values": list(values[:-1]), "timestamps": times[:-1]}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "cout.txt").write_text("läuft\n")
    np.save(
        folder / "curve.npy",
        np.array(list(zip(budgets, values, strict=True)), dtype=[("n_labelled", "f8"), ("dice", "f8")]),
    )
    with open(folder / "picks.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["cycle", "index", "file", "score"])
        table.writerows([["initial", 3, "a, b.png", ""], [0, 5 + number, f"{number}.png", 0.25]])
    return folder
