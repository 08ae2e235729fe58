"""A run with all that it left, as MongoDB holds it, read from its folder or written into one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gridfs import GridFS
from pymongo.database import Database

from data.files import atomic
from data.names import Refused
from experiments.tracking.database import LONGEST_OUTPUT, plain
from experiments.tracking.records import run_folders, time_of

FINAL = ("COMPLETED", "FAILED", "INTERRUPTED", "TIMEOUT")
TIMES = ("start_time", "stop_time", "heartbeat")


@dataclass(eq=False)
class Run:
    """A run as its folder holds it: entry and metrics in the form of MongoDB, and where its artifacts are."""

    folder: Path
    entry: dict[str, Any]
    metrics: dict[str, dict[str, list]]
    artifacts: dict[str, Path]


def read_run(folder: Path) -> Run:
    """All that a folder holds of its run. Raises one of BROKEN for a record that cannot be read."""
    run = json.loads((folder / "run.json").read_bytes())
    artifacts = {name: folder / name for name in run["artifacts"] if (folder / name).is_file()}
    entry = run | {name: time_of(run.get(name)) for name in TIMES}
    entry |= {"config": json.loads((folder / "config.json").read_bytes()), "format": "MongoObserver-0.7.0"}
    entry["host"] = {"stored_in": str(folder.resolve())} | run["host"]
    output, info, measured = (folder / name for name in ("cout.txt", "info.json", "metrics.json"))
    entry["captured_out"] = output.read_text(errors="replace")[-LONGEST_OUTPUT:] if output.exists() else ""
    entry["info"] = json.loads(info.read_bytes()) if info.exists() else {}
    columns = json.loads(measured.read_bytes()) if measured.exists() or run["status"] == "COMPLETED" else {}
    metrics = {}
    for name, column in columns.items():
        times = [datetime.fromisoformat(time) for time in column["timestamps"]]
        metrics[name] = {"steps": column["steps"], "values": column["values"], "timestamps": times}
    if entry["start_time"] is None:
        raise Refused("run.json has no start_time")
    return Run(folder, plain(entry), {name: plain(column) for name, column in metrics.items()}, artifacts)


def content_of(status: str, metrics: dict[str, Any], artifacts: Any) -> tuple[bool, int, int]:
    """How much of a run there is; the greater has more."""
    return status in FINAL, sum(len(metric["values"]) for metric in metrics.values()), len(artifacts)


def write_run(
    database: Database,
    run: dict[str, Any],
    metrics: dict[str, Any],
    runs: Path,
    folder: Path | None,
    source_names: dict[Any, str],
) -> None:
    """Write a run as Sacred's file observer would; a new folder appears when it is whole."""
    files = GridFS(database)
    into = folder or runs / f".sync-{os.getpid()}"
    record = {
        name: value for name, value in run.items() if name not in ("_id", "config", "info", "captured_out", "format")
    }
    record["host"] = {"stored_in": str(run["_id"])} | run["host"]
    sources = [
        (name, _write_source(files, file_id, runs, source_names))
        for name, file_id in run["experiment"].get("sources", [])
    ]
    record["experiment"] = run["experiment"] | {"sources": [list(source) for source in sources if source[1]]}
    record["artifacts"] = [artifact["name"] for artifact in run["artifacts"]]
    columns = {
        name: {column: metric[column] for column in ("steps", "values", "timestamps")}
        for name, metric in metrics.items()
    }
    info = {name: value for name, value in run["info"].items() if name != "metrics"}
    save = _save if folder else Path.write_bytes
    into.mkdir(exist_ok=True)
    try:
        for artifact in run["artifacts"]:
            if Path(artifact["name"]).name != artifact["name"] or artifact["name"].endswith(".json"):
                raise Refused(f"artifact {artifact['name']!r} is no name of a file that a run may have")
            save(into / artifact["name"], files.get(artifact["file_id"]).read())
        save(into / "cout.txt", run["captured_out"].encode())
        for name, value in {"config": run["config"], "metrics": columns, "info": info, "run": record}.items():
            if value:
                save(into / f"{name}.json", json.dumps(value, sort_keys=True, indent=2, default=_plain_text).encode())
        if folder is None:
            _take_number(into, runs, int(run["_id"]))
    finally:
        if folder is None:
            shutil.rmtree(into, ignore_errors=True)


def _plain_text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _save(file: Path, content: bytes) -> None:
    with atomic(file) as temporary:
        temporary.write_bytes(content)


def _write_source(files: GridFS, file_id: Any, runs: Path, names: dict[Any, str]) -> str:
    """Where a source lies below the runs, '' where the database lacks it; written once."""
    if file_id not in names:
        stored = files.find_one({"_id": file_id})
        if stored is None:
            return ""
        content = stored.read()
        path = Path(stored.filename)
        own = path.parent.name == "_sources"
        name = path.name if own else f"{path.stem}_{hashlib.md5(content).hexdigest()}{path.suffix}"
        if not (runs / "_sources" / name).exists():
            _save(runs / "_sources" / name, content)
        names[file_id] = f"_sources/{name}"
    return names[file_id]


def _take_number(folder: Path, runs: Path, number: int) -> None:
    """Give a folder its number, or the next free one where another run has it."""
    while True:
        if not (runs / str(number)).exists():
            try:
                os.rename(folder, runs / str(number))
                return
            except OSError:
                if not (runs / str(number)).exists():
                    raise
        number = max(int(f.name) for f in run_folders(runs)) + 1
