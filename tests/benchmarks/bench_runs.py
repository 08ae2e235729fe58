"""Time of reading and mirroring many stored runs, and whether the database finds what Omniboard asks by an index.

    ALIQUOT_MONGOD=.../mongod python -m tests.benchmarks.bench_runs [--runs 10000] [--folder F] [--only load]

Makes folders of runs like those of a study: 18 metrics at 6 budgets, 53 options, 340 picks, 40 kB of output, a figure of 120 kB (220 kB
a run, on disk and again in the database). A folder that is given is filled once and kept. Each step runs in a process of its own: seconds,
its processor seconds and those of the server, and the rise of its peak memory. Without a mongod (see tests/mongo_install.sh) only the
files are measured. No time is asserted.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from analysis.runs import load, load_picks
from experiments.tracking.database import open_database
from experiments.tracking.sync import to_database
from tests.benchmarks.measure import in_own_process, measured
from tests.mongo_server import Server

DATASETS, HEURISTICS = [f"set_{i}" for i in range(10)], ["random", "entropy", *(f"strategy_{i}" for i in range(18))]
BUDGETS = list(range(40, 341, 60))
METRICS = ["accuracy", "n_labelled", *(f"metric_{i}" for i in range(16))]
START = datetime(2026, 1, 2, 3, 4, 5, 678901)
STEPS = {
    "load from files": lambda runs, url: len(load(runs)),
    "load from files, one dataset": lambda runs, url: len(load(runs, dataset=DATASETS[0])),
    "load_picks from files": lambda runs, url: len(load_picks(runs)),
    "sync to an empty database": lambda runs, url: str(to_database(Path(runs), open_database(url, 20_000))),
    "sync once more": lambda runs, url: str(to_database(Path(runs), open_database(url, 20_000))),
    "load from MongoDB": lambda runs, url: len(load(url)),
    "load from MongoDB, one dataset": lambda runs, url: len(load(url, dataset=DATASETS[0])),
    "load_picks from MongoDB": lambda runs, url: len(load_picks(url)),
    "load_picks from MongoDB, one dataset": lambda runs, url: len(load_picks(url, dataset=DATASETS[0])),
}


def make(runs: Path, n_runs: int) -> None:
    """Fill a folder with the runs that it lacks; every combination of dataset, strategy and run is there once."""
    (runs / "_sources").mkdir(parents=True, exist_ok=True)
    sources = [[f"package/module_{i}.py", f"_sources/module_{i}_0123456789abcdef.py"] for i in range(38)]
    for i, (_, kept) in enumerate(sources):
        (runs / kept).write_text(f"# {i}\n" * 1500)
    for number in range(1, n_runs + 1):
        if not (runs / str(number) / "run.json").exists():
            _store(runs / str(number), number, sources)


def _store(folder: Path, number: int, sources: list[list[str]]) -> None:
    rng = np.random.default_rng(number)
    folder.mkdir(exist_ok=True)
    config = {f"option_{i}": i / 8 for i in range(43)} | {"n_initial": 40, "n_query": 60, "n_cycles": 5, "heuristic_options": {}}
    config |= {"dataset": DATASETS[number % 10], "heuristic": HEURISTICS[number // 10 % 20], "run": number // 200, "seed": number // 200}
    config |= {"metric": "accuracy", "n_val": 0}
    started = START + timedelta(minutes=number)
    ended = (started + timedelta(minutes=1)).isoformat()
    repository = {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False, "url": "/somewhere/aliquot"}
    experiment = {"name": "classify", "base_dir": "/somewhere/aliquot", "mainfile": "experiments/classify.py", "sources": sources}
    experiment |= {"dependencies": [f"package_{i}==1.2.{i}" for i in range(30)], "repositories": [repository] * 38}
    record = {"experiment": experiment, "command": "main", "host": {"hostname": "one", "cpu": "A", "os": ["Linux", "Linux-6"]}}
    record |= {"status": "FAILED" if number % 50 == 0 else "COMPLETED", "start_time": started.isoformat(), "stop_time": ended}
    record |= {"heartbeat": ended, "artifacts": ["curve.npy", "picks.npy", "picks.csv", "curve.png"], "resources": []}
    record |= {"result": rng.random(), "meta": {"command": "main", "options": {f"--flag{i}": None for i in range(24)}}}
    columns = {}
    for name in METRICS:
        values = BUDGETS if name == "n_labelled" else rng.random(len(BUDGETS)).tolist()
        columns[name] = {"steps": BUDGETS, "values": values, "timestamps": [ended] * len(BUDGETS)}
    with open(folder / "picks.csv", "w", newline="") as file:
        rows = zip(rng.permutation(5000)[:340].tolist(), rng.random(340).tolist(), strict=True)
        lines = [["initial" if i < 40 else (i - 40) // 60, index, f"image_{index}.png", score] for i, (index, score) in enumerate(rows)]
        csv.writer(file).writerows([["cycle", "index", "file", "score"], *lines])
    np.save(folder / "curve.npy", rng.random((18, 6)))
    np.save(folder / "picks.npy", rng.permutation(5000)[:340])
    (folder / "curve.png").write_bytes(rng.bytes(120_000))
    (folder / "cout.txt").write_text("".join(f"step {i}: loss {x:.6f}\n" for i, x in enumerate(rng.random(1700))))
    for name, value in {"config": config, "metrics": columns, "run": record}.items():
        (folder / f"{name}.json").write_text(json.dumps(value, sort_keys=True, indent=2))


def asked_by_omniboard(run_id: int) -> dict[str, dict[str, Any]]:
    """The commands that Omniboard 2.16.1 sends for its table, its filters and a run's page (its server/runs.response.js)."""
    shown = ["_id", "experiment.name", "status", "result", "start_time", "duration", "command", "omniboard.notes", "meta.comment"]
    shown += ["config.dataset", "config.heuristic", "config.run"]
    late = {"$gt": [{"$subtract": [datetime(2030, 1, 1), {"$ifNull": ["$heartbeat", "$start_time"]}]}, 120_000]}
    status = {"$cond": {"if": {"$and": [{"$eq": ["$status", "RUNNING"]}, late]}, "then": "PROBABLY_DEAD", "else": "$status"}}

    def table(sort: str = "_id", order: int = -1, **kept: Any) -> dict[str, Any]:
        stages: list[dict[str, Any]] = [{"$project": dict.fromkeys([*shown, "heartbeat"], 1)}]
        stages += [{"$addFields": {"duration": {"$subtract": ["$heartbeat", "$start_time"]}, "status": status}}]
        stages += [{"$match": {"$and": [{"$or": [{name: {"$eq": value}}]} for name, value in kept.items()]}}] if kept else []
        stages += [{"$sort": {sort: order}}, {"$limit": 50}, {"$project": {"heartbeat": 0}}]
        return {"aggregate": "runs", "pipeline": stages, "cursor": {}, "allowDiskUse": True}

    page = dict.fromkeys(["captured_out", "info", "meta", "host", "experiment", "artifacts", "config", "fail_trace", "status"], 1)
    return {
        "table, newest first": table(),
        "table by start": table("start_time"),
        "table by strategy": table("config.heuristic", 1),
        "table by result": table("result"),
        "table, failed runs": table(status="FAILED"),
        "table, one dataset and strategy": table(**{"config.dataset": DATASETS[0], "config.heuristic": "entropy"}),
        "number of runs": {"aggregate": "runs", "pipeline": [{"$count": "count"}], "cursor": {}},
        "all tags": {"distinct": "runs", "key": "omniboard.tags"},
        "suggested strategies": {"distinct": "runs", "key": "config.heuristic"},
        "options, for the columns": {"aggregate": "runs", "pipeline": [{"$project": {"config": 1}}, {"$limit": 200}], "cursor": {}},
        "a run": {"aggregate": "runs", "pipeline": [{"$match": {"_id": run_id}}, {"$project": page}], "cursor": {}},
        "metrics of a run": {"find": "metrics", "filter": {"run_id": run_id}, "batchSize": 1000},
        "names of metrics": {"distinct": "metrics", "key": "name"},
    }


def stages_of(plan: Any) -> set[str]:
    """How a plan reaches the documents: IXSCAN and the like by an index, COLLSCAN through all of them."""
    found = {plan["stage"]} if isinstance(plan, dict) and isinstance(plan.get("stage"), str) else set()
    for value in plan.values() if isinstance(plan, dict) else plan if isinstance(plan, list) else ():
        found |= stages_of(value)
    return {stage for stage in found if stage.endswith("SCAN") or stage == "IDHACK"}


def ask(url: str, run_id: int) -> None:
    database = open_database(url, 60_000)
    print(f"\n{'asked by Omniboard':<40}{'ms':>8}  reached by")
    for name, command in asked_by_omniboard(run_id).items():
        seconds = []
        for _ in range(3):
            started = time.perf_counter()
            database.command(command)
            seconds.append(time.perf_counter() - started)
        plan = database.command("explain", command, verbosity="queryPlanner")
        print(f"{name:<40}{1000 * min(seconds):>8.0f}  {', '.join(sorted(stages_of(plan)))}", flush=True)


def processor_seconds(process: int) -> float:
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def run(names: list[str], runs: Path, server: Server | None) -> None:
    url = server.url() if server else ""
    for name in names:
        before = processor_seconds(server.process.pid) if server else 0.0
        seconds, processor, megabytes, result = in_own_process(__spec__.name, [name, str(runs), url])
        spent = f"{processor_seconds(server.process.pid) - before:>9.1f}" if server else f"{'':>9}"
        print(f"{name:<40}{seconds:>8.1f}{processor:>8.1f}{spent}{megabytes:>7.0f}  {result}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="how many")
    parser.add_argument("--folder", type=Path, help="where the runs are made and kept; else they are removed")
    parser.add_argument("--only", default="", help="only the steps with this in their names")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        name, runs, url = json.loads(given.measure)
        print(json.dumps(measured(lambda: STEPS[name](runs, url))))
        return
    program = os.environ.get("ALIQUOT_MONGOD") or shutil.which("mongod")
    with tempfile.TemporaryDirectory(dir=given.folder and given.folder.parent) as scratch:
        runs = given.folder or Path(scratch) / "runs"
        make(runs, given.runs)
        names = [name for name in STEPS if given.only in name]
        on_files = [name for name in names if "from files" in name]
        print(f"{f'{given.runs} runs':<40}{'s':>8}{'CPU s':>8}{'server':>9}{'MB':>7}  rows, or runs")
        run(on_files, runs, None)
        if not program:
            sys.exit("no mongod: set ALIQUOT_MONGOD to measure the database too, see tests/mongo_install.sh")
        server = Server(program, Path(scratch) / "db")
        try:
            run([name for name in names if name not in on_files], runs, server)
            ask(server.url(), given.runs // 2)
        finally:
            server.kill()


if __name__ == "__main__":
    main()
