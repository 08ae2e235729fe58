"""python -m analysis.sync SOURCE TARGET: bring a MongoDB database to the content of a runs folder, or the other way round.

One of the two is a folder, the other an address that starts with mongodb://. Can be repeated at will: what is equal is left as it is.
From files, runs that the database lacks are added and those that differ are repaired. Into files, runs that are missing are added, and
those of which the database has more (a final status, more measurements) are completed; what the files have is never replaced by less.
Runs that are in progress are left alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import mimetypes
import os
import shutil
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from gridfs import GridFS
from gridfs.errors import NoFile
from pymongo import UpdateOne
from pymongo.database import Database
from pymongo.errors import PyMongoError
from pymongo.write_concern import WriteConcern

from analysis.stored import BROKEN, PATIENCE, is_mongo, reason_of, run_folders, status_of, time_of
from experiments.checkpoints import atomic
from experiments.mongo import (
    LONGEST_OUTPUT,
    artifact_name,
    create_indexes,
    identity,
    open_database,
    place_run,
    plain,
    store_file,
    store_sources,
)

TIMES = ("start_time", "stop_time", "heartbeat")
DECISIVE = ("status", "result", "stop_time", "heartbeat", "config", "fail_trace", "command")  # where these are equal, so is the rest
FINAL = ("COMPLETED", "FAILED", "INTERRUPTED", "TIMEOUT")


@dataclass
class Report:
    """What was done, as numbers of runs; the names of folders that could not be read."""

    added: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    equal: list[str] = field(default_factory=list)
    in_progress: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        counts = f"{len(self.added)} added, {len(self.repaired)} repaired, {len(self.equal)} as they were"
        left = f", {len(self.in_progress)} in progress and left alone" if self.in_progress else ""
        return "\n".join([counts + left, *(f"damaged, left out: run {name} ({reason})" for name, reason in self.damaged.items())])


def to_database(runs: Path, database: Database) -> Report:
    """Bring the database to the content of the files; the status of a run is written after all else."""
    report = Report()
    create_indexes(database)
    lasting, database = database, database.with_options(write_concern=WriteConcern(w=1))  # the journal is waited for once, at the end
    wanted = dict.fromkeys((*DECISIVE, "start_time", "host.hostname", "host.stored_in", "artifacts"), 1)
    known = {identity(run): run for run in database["runs"].find({}, wanted)}
    for folder in run_folders(runs):
        try:
            entry, metrics, artifacts = _read(folder)
        except BROKEN as error:
            report.damaged[folder.name] = reason_of(error)
            continue
        if status_of(entry["status"], entry["heartbeat"], entry["start_time"]) == "RUNNING":
            report.in_progress.append(folder.name)
            continue
        found = known.get(identity(entry))
        changed = _send(database, runs, entry, metrics, artifacts, found, int(folder.name))
        (report.added if found is None else report.repaired if changed else report.equal).append(folder.name)
    lasting["runs"].update_one({"_id": "none"}, {"$set": {"status": None}})  # matches nothing; returns when all before it is on disk
    return report


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, list]], dict[str, Path]]:
    """A run as MongoDB holds it, its metrics and its artifacts."""
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
    return plain(entry), plain(metrics), artifacts


def _send(
    database: Database,
    runs: Path,
    entry: dict[str, Any],
    metrics: dict[str, dict[str, list]],
    artifacts: dict[str, Path],
    found: dict[str, Any] | None,
    number: int,
) -> bool:
    """Add or repair one run; False where nothing differed."""
    files, changed = GridFS(database), found is None
    if found is None:
        sources = store_sources(files, entry["experiment"].get("sources", []), runs)
        begun = entry | {"status": "RUNNING", "artifacts": [], "experiment": entry["experiment"] | {"sources": sources}}
        place_run(database["runs"], begun, number)
        found = begun
    kept = {metric["name"]: metric for metric in database["metrics"].find({"run_id": found["_id"]})}
    other = [n for n in metrics if n not in kept or _text({c: kept[n].get(c) for c in metrics[n]}) != _text(metrics[n])]
    metric_ids = {name: str(kept[name]["_id"]) for name in metrics if name in kept}
    if other:
        writes = [UpdateOne({"run_id": found["_id"], "name": name}, {"$set": metrics[name]}, upsert=True) for name in other]
        done = database["metrics"].bulk_write(writes)
        metric_ids |= {other[i]: str(key) for i, key in (done.upserted_ids or {}).items()}
        changed = True
    if kept.keys() - metrics.keys():
        database["metrics"].delete_many({"run_id": found["_id"], "name": {"$nin": list(metrics)}})
        changed = True
    listed, new_files = _send_artifacts(database, files, found, artifacts)
    differs = any(_text(entry.get(name)) != _text(found.get(name)) for name in DECISIVE)
    if changed or new_files or differs:
        info = entry["info"] | {"metrics": [{"name": name, "id": key} for name, key in metric_ids.items()]}
        fixed = ("host", "experiment") if differs else ("host", "experiment", "captured_out")
        update = {name: value for name, value in entry.items() if name not in fixed} | {"info": info, "artifacts": listed}
        database["runs"].update_one({"_id": found["_id"]}, {"$set": update})
    return changed or new_files or differs


def _send_artifacts(
    database: Database, files: GridFS, found: dict[str, Any], artifacts: dict[str, Path]
) -> tuple[list[dict[str, Any]], bool]:
    """The artifacts as a run lists them, and whether that differs from what the database had."""
    there = {artifact["name"]: artifact["file_id"] for artifact in found.get("artifacts", [])}
    digests = {f["_id"]: f.get("sha256") for f in database["fs.files"].find({"_id": {"$in": list(there.values())}}, {"sha256": 1})}
    listed = {}
    for name, file in artifacts.items():
        content = file.read_bytes()
        listed[name] = there.get(name)
        if digests.get(listed[name], "") != hashlib.sha256(content).hexdigest():
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            listed[name] = store_file(files, artifact_name(found["_id"], name), content, kind)
    return [{"name": name, "file_id": file_id} for name, file_id in listed.items()], listed != there


def _text(value: Any) -> str:
    """A value such that equal contents are equal texts, NaN and the milliseconds that MongoDB keeps included."""
    return json.dumps(value, sort_keys=True, default=lambda v: v.isoformat(timespec="milliseconds") if isinstance(v, datetime) else str(v))


def to_folder(database: Database, runs: Path) -> Report:
    """Add to the files the runs that only the database has, and complete those of which it has more."""
    report = Report()
    runs.mkdir(parents=True, exist_ok=True)
    known: dict[tuple, tuple[Path, tuple]] = {}
    for folder in run_folders(runs):
        try:
            run = json.loads((folder / "run.json").read_bytes())
            place = {"host": {"stored_in": str(folder)} | run["host"], "start_time": time_of(run["start_time"])}
        except BROKEN as error:
            report.damaged[folder.name] = reason_of(error)
            continue
        try:
            entry, metrics, artifacts = _read(folder)
            known[identity(place)] = folder, _content(entry["status"], metrics, artifacts)
        except BROKEN:
            known[identity(place)] = folder, ()
    source_names: dict[Any, str] = {}
    for run in database["runs"].find({}):
        name = str(run["_id"])
        try:
            if status_of(run["status"], run.get("heartbeat"), run["start_time"]) == "RUNNING":
                report.in_progress.append(name)
                continue
            metrics = {metric["name"]: metric for metric in database["metrics"].find({"run_id": run["_id"]})}
            folder, content = known.get(identity(run), (None, ()))
            if folder is not None and content >= _content(run["status"], metrics, run["artifacts"]):
                report.equal.append(name)
                continue
            _write(database, run, metrics, runs, folder, source_names)
        except (NoFile, *BROKEN) as error:
            report.damaged[name] = reason_of(error)
            continue
        (report.added if folder is None else report.repaired).append(name)
    return report


def _content(status: str, metrics: dict[str, Any], artifacts: Any) -> tuple[bool, int, int]:
    """How much of a run there is; the greater has more."""
    return status in FINAL, sum(len(metric["values"]) for metric in metrics.values()), len(artifacts)


def _write(
    database: Database, run: dict[str, Any], metrics: dict[str, Any], runs: Path, folder: Path | None, source_names: dict[Any, str]
) -> None:
    """Write a run as Sacred's file observer would; a new folder appears when it is whole."""
    files = GridFS(database)
    into = folder or runs / f".sync-{os.getpid()}"
    record = {name: value for name, value in run.items() if name not in ("_id", "config", "info", "captured_out", "format")}
    record["host"] = {"stored_in": str(run["_id"])} | run["host"]
    sources = [(name, _write_source(files, file_id, runs, source_names)) for name, file_id in run["experiment"].get("sources", [])]
    record["experiment"] = run["experiment"] | {"sources": [list(source) for source in sources if source[1]]}
    record["artifacts"] = [artifact["name"] for artifact in run["artifacts"]]
    columns = {name: {column: metric[column] for column in ("steps", "values", "timestamps")} for name, metric in metrics.items()}
    info = {name: value for name, value in run["info"].items() if name != "metrics"}
    save = _save if folder else Path.write_bytes
    into.mkdir(exist_ok=True)
    try:
        for artifact in run["artifacts"]:
            if Path(artifact["name"]).name != artifact["name"] or artifact["name"].endswith(".json"):
                raise ValueError(f"artifact {artifact['name']!r} is no name of a file that a run may have")
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="a runs folder, or mongodb://host:port/database")
    parser.add_argument("target", help="the other of the two")
    asked = parser.parse_args()
    if is_mongo(asked.source) == is_mongo(asked.target):
        raise SystemExit("give a runs folder and an address that starts with mongodb://, in the order from, to")
    try:
        if is_mongo(asked.target):
            print(to_database(Path(asked.source), open_database(asked.target, PATIENCE)))
        else:
            print(to_folder(open_database(asked.source, PATIENCE), Path(asked.target)))
    except PyMongoError as error:
        raise SystemExit(f"MongoDB does not answer, or refused: {str(error)[:200]}") from None
    except (ValueError, OSError) as error:
        raise SystemExit(f"{error}") from None


if __name__ == "__main__":
    main()
