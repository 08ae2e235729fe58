"""The records of runs where they are stored: the files that the scripts leave, or what the mirror wrote into MongoDB."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pymongo.database import Database

from experiments.tracking.mongo import LONGEST_OUTPUT, plain

DEAD_AFTER = 120.0  # s without a heartbeat, which comes every 10 s, after which a run that says RUNNING is taken for dead
STATUSES = ("QUEUED", "RUNNING", "COMPLETED", "FAILED", "INTERRUPTED", "TIMEOUT", "DEAD")
PATIENCE = 5000  # ms to wait for MongoDB
TIMES = ("start_time", "stop_time", "heartbeat")
BROKEN = (OSError, ValueError, KeyError, TypeError, AttributeError)  # what reading a damaged record raises

Curves = dict[str, tuple[list[int], list[float]]]  # metric -> numbers of labelled images, values


@dataclass(frozen=True)
class Stored:
    """One stored run: what it was asked, and how it ended."""

    run_id: int  # of its folder; of its document in MongoDB
    status: str  # Sacred's, or DEAD
    task: str
    command: str
    started: datetime  # UTC, to the millisecond
    config: dict[str, Any]
    picks: Any  # where picks.csv is: a file, or the id of one in GridFS; None where there is none


@dataclass(eq=False)
class Run:
    """A run as its folder holds it: the entry and metrics in the form that MongoDB stores, and where its artifacts are."""

    folder: Path
    entry: dict[str, Any]
    metrics: dict[str, dict[str, list]]
    artifacts: dict[str, Path]


class FolderReader:
    """Reads the files that the scripts leave."""

    def __init__(self, runs: Path):
        self.runs = runs

    def records(self, damaged: dict[str, str]) -> Iterable[Stored]:
        for folder in run_folders(self.runs):
            try:
                run, config = (json.loads((folder / name).read_bytes()) for name in ("run.json", "config.json"))
                run |= {name: time_of(run.get(name)) for name in ("start_time", "heartbeat")}
                yield _stored(int(folder.name), run, config, folder / "picks.csv")
            except BROKEN as error:
                damaged[folder.name] = reason_of(error)

    def curves(self, chosen: Sequence[Stored], names: Collection[str] | None, damaged: dict[str, str]) -> dict[int, Curves]:
        """Of metrics.json, which unlike curve.npy is there for unfinished runs too."""
        found = {}
        for stored in chosen:
            file = self.runs / str(stored.run_id) / "metrics.json"
            try:
                columns = json.loads(file.read_bytes()) if file.exists() or stored.status == "COMPLETED" else {}
                found[stored.run_id] = {name: _curve(columns[name]) for name in columns if names is None or name in names}
                if not columns and stored.status == "COMPLETED":
                    damaged[str(stored.run_id)] = "no metrics"
                    del found[stored.run_id]
            except BROKEN as error:
                damaged[str(stored.run_id)] = f"metrics.json: {reason_of(error)}"
        return found

    def picks(self, chosen: Sequence[Stored], damaged: dict[str, str]) -> Iterable[tuple[Stored, str]]:
        for stored in chosen:
            try:
                yield stored, stored.picks.read_text()
            except BROKEN as error:
                if stored.status == "COMPLETED" or not isinstance(error, FileNotFoundError):
                    damaged[str(stored.run_id)] = f"picks.csv: {reason_of(error)}"


class DatabaseReader:
    """Reads what the mirror wrote: one query for runs, one for metrics, one for files."""

    def __init__(self, database: Database):
        self.database = database

    def records(self, damaged: dict[str, str]) -> Iterable[Stored]:
        wanted = ("status", "command", "experiment.name", "start_time", "heartbeat", "config", "artifacts")
        for run in self.database["runs"].find({}, dict.fromkeys(wanted, 1)).sort("_id", 1):
            try:
                files = {artifact["name"]: artifact["file_id"] for artifact in run.get("artifacts", [])}
                yield _stored(int(run["_id"]), run, run["config"], files.get("picks.csv"))
            except BROKEN as error:
                damaged[str(run["_id"])] = reason_of(error)

    def curves(self, chosen: Sequence[Stored], names: Collection[str] | None, damaged: dict[str, str]) -> dict[int, Curves]:
        found: dict[int, Curves] = {stored.run_id: {} for stored in chosen}
        query: dict[str, Any] = {"run_id": {"$in": list(found)}} | ({"name": {"$in": list(names)}} if names is not None else {})
        for metric in self.database["metrics"].find(query, {"_id": 0, "run_id": 1, "name": 1, "steps": 1, "values": 1}):
            try:
                found[metric["run_id"]][metric["name"]] = _curve(metric)
            except BROKEN as error:
                damaged[str(metric["run_id"])] = f"metric {metric.get('name')}: {reason_of(error)}"
        for stored in chosen:
            if names is None and not found[stored.run_id] and stored.status == "COMPLETED":
                damaged.setdefault(str(stored.run_id), "no metrics; python -m analysis.sync sends them")
        return {run_id: curve for run_id, curve in found.items() if str(run_id) not in damaged}

    def picks(self, chosen: Sequence[Stored], damaged: dict[str, str]) -> Iterable[tuple[Stored, str]]:
        pieces: dict[Any, list[tuple[int, bytes]]] = defaultdict(list)
        for chunk in self.database["fs.chunks"].find({"files_id": {"$in": [s.picks for s in chosen if s.picks]}}):
            pieces[chunk["files_id"]].append((chunk["n"], chunk["data"]))
        for stored in chosen:
            if stored.picks in pieces:
                try:
                    yield stored, b"".join(data for _, data in sorted(pieces[stored.picks])).decode()
                except UnicodeDecodeError as error:
                    damaged[str(stored.run_id)] = f"picks.csv: {reason_of(error)}"
            elif stored.status == "COMPLETED":
                damaged[str(stored.run_id)] = "no picks.csv; python -m analysis.sync sends it"


def is_mongo(source: str | Path) -> bool:
    """Whether a source is the address of a MongoDB server."""
    return str(source).startswith(("mongodb://", "mongodb+srv://"))


def run_folders(runs: Path) -> list[Path]:
    """The folders of runs, by number. Raises FileNotFoundError where there is no such folder."""
    if not runs.is_dir():
        raise FileNotFoundError(f"no folder of runs at {runs}; give one, or an address that starts with mongodb://")
    return sorted((f for f in runs.iterdir() if f.name.isdecimal() and f.name.isascii()), key=lambda f: int(f.name))


def status_of(status: str, heartbeat: datetime | None, started: datetime) -> str:
    """The status, or DEAD for a run that says RUNNING and has given no sign of life for two minutes. Times are UTC, without zone."""
    silent = datetime.now(UTC).replace(tzinfo=None) - (heartbeat or started)
    return "DEAD" if status == "RUNNING" and silent.total_seconds() > DEAD_AFTER else status


def _stored(run_id: int, run: Mapping[str, Any], config: Mapping[str, Any], picks: Any) -> Stored:
    started = run["start_time"]
    started = started.replace(microsecond=started.microsecond // 1000 * 1000)  # what MongoDB keeps
    options: dict[str, Any] = plain(config)
    missing = [name for name in ("dataset", "heuristic", "run", "seed") if name not in options]
    if missing:
        raise ValueError(f"no option {', '.join(missing)}")
    status = status_of(run["status"], run.get("heartbeat"), started)
    return Stored(run_id, status, run["experiment"]["name"], run["command"], started, options, picks)


def _curve(columns: Mapping[str, Any]) -> tuple[list[int], list[float]]:
    steps, values = [int(step) for step in columns["steps"]], [float(value) for value in columns["values"]]
    if len(steps) != len(values):
        raise ValueError(f"{len(steps)} steps, but {len(values)} values")
    return steps, values


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
        raise ValueError("run.json has no start_time")
    return Run(folder, plain(entry), {name: plain(column) for name, column in metrics.items()}, artifacts)


def time_of(text: str | None) -> datetime | None:
    """A time as Sacred's files hold it."""
    return datetime.fromisoformat(text) if text else None


def reason_of(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
