"""Bringing a MongoDB database to the content of a runs folder, or the other way round."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from gridfs import GridFS
from gridfs.errors import NoFile
from pymongo import DeleteMany, UpdateOne
from pymongo.database import Database
from pymongo.errors import BulkWriteError
from pymongo.write_concern import WriteConcern

from experiments.tracking.database import (
    artifact_name,
    create_indexes,
    identity,
    place_run,
    store_files,
    store_sources,
)
from experiments.tracking.records import BROKEN, reason_of, run_folders, status_of, time_of
from experiments.tracking.whole_runs import Run, content_of, read_run, write_run

# where these are equal, so is the rest
DECISIVE = ("status", "result", "stop_time", "heartbeat", "config", "fail_trace", "command")
RUNS_AT_ONCE = 20  # each may have LONGEST_OUTPUT
FILES_AT_ONCE = 64  # of at most one chunk of GridFS, 255 kB, in memory

Pairs = list[tuple[Run, dict[str, Any]]]  # of a run and what the database has of it


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
        return "\n".join(
            [counts + left, *(f"damaged, left out: run {name} ({reason})" for name, reason in self.damaged.items())]
        )


def to_database(runs: Path, database: Database) -> Report:
    """Bring the database to the content of the files, some runs at a time; a run's status is written after all else."""
    report, folders = Report(), run_folders(runs)
    create_indexes(database)
    # the journal is waited for once, at the end
    lasting, database = database, database.with_options(write_concern=WriteConcern(w=1))
    sources: dict[str, Any] = {}
    for part in _parts(folders, RUNS_AT_ONCE):
        finished = []
        for folder in part:
            try:
                run = read_run(folder)
            except BROKEN as error:
                report.damaged[folder.name] = reason_of(error)
                continue
            if status_of(run.entry["status"], run.entry["heartbeat"], run.entry["start_time"]) == "RUNNING":
                report.in_progress.append(folder.name)
                continue
            finished.append(run)
        _send(database, runs, finished, sources, report)
    # matches nothing, and returns when all before it is on disk
    lasting["runs"].update_one({"_id": "none"}, {"$set": {"status": None}})
    return report


def _send(database: Database, runs: Path, batch: list[Run], sources: dict[str, Any], report: Report) -> None:
    """Add or repair these runs; `sources` are the ids of source files that are known to be in the database."""
    starts = [run.entry["start_time"] for run in batch]
    wanted = dict.fromkeys((*DECISIVE, "start_time", "host.hostname", "host.stored_in", "artifacts"), 1)
    there = {identity(found): found for found in database["runs"].find({"start_time": {"$in": starts}}, wanted)}
    new: dict[tuple, Run] = {}
    for run in batch:
        if identity(run.entry) not in there:
            new.setdefault(identity(run.entry), run)  # a copied folder is the same run
    there |= dict(zip(new, _begin(database, runs, list(new.values()), sources), strict=True))
    pairs = [(run, there[identity(run.entry)]) for run in batch]
    metric_ids, changed = _send_metrics(database, pairs)
    listed = _send_artifacts(database, pairs)
    updates = []
    for run, found in pairs:
        added = run in new.values()
        differs = not added and any(_text(run.entry.get(name)) != _text(found.get(name)) for name in DECISIVE)
        artifacts = listed[found["_id"]]
        other_files = artifacts != {artifact["name"]: artifact["file_id"] for artifact in found.get("artifacts", [])}
        if added or differs or other_files or found["_id"] in changed:
            fixed = ("host", "experiment") if differs else ("host", "experiment", "captured_out")
            update = {name: value for name, value in run.entry.items() if name not in fixed}
            update["info"] = run.entry["info"] | {
                "metrics": [{"name": n, "id": key} for n, key in metric_ids[found["_id"]].items()]
            }
            update["artifacts"] = [{"name": name, "file_id": file_id} for name, file_id in artifacts.items()]
            updates.append(UpdateOne({"_id": found["_id"]}, {"$set": update}))
            (report.added if added else report.repaired).append(run.folder.name)
        else:
            report.equal.append(run.folder.name)
    if updates:
        database["runs"].bulk_write(updates)


def _begin(database: Database, runs: Path, new: list[Run], sources: dict[str, Any]) -> list[dict[str, Any]]:
    """Give each new run a number, its own where that is free; until all is sent, it says RUNNING."""
    kept = {kept for run in new for _, kept in run.entry["experiment"].get("sources", [])}
    sources |= dict(store_sources(GridFS(database), [(name, name) for name in sorted(kept - sources.keys())], runs))
    begun = []
    for run in new:
        own = [[name, sources[kept]] for name, kept in run.entry["experiment"].get("sources", []) if kept in sources]
        entry = run.entry | {"_id": int(run.folder.name), "status": "RUNNING", "artifacts": []}
        begun.append(entry | {"experiment": run.entry["experiment"] | {"sources": own}})
    try:
        if begun:
            database["runs"].insert_many(begun, ordered=False)
    except BulkWriteError as error:  # other runs have these numbers, or somebody has just sent these runs
        for failed in error.details["writeErrors"]:
            entry = begun[failed["index"]]
            place_run(database["runs"], entry, entry["_id"])
    return begun


def _send_metrics(database: Database, pairs: Pairs) -> tuple[dict[int, dict[str, str]], set[int]]:
    """The ids of all metrics of each run by name, and the runs of which some differed."""
    kept: dict[int, dict[str, Any]] = {found["_id"]: {} for _, found in pairs}
    for metric in database["metrics"].find({"run_id": {"$in": list(kept)}}):
        kept[metric["run_id"]][metric["name"]] = metric
    ids = {
        found["_id"]: {n: str(m["_id"]) for n, m in kept[found["_id"]].items() if n in run.metrics}
        for run, found in pairs
    }
    writes, written = [], []
    for run, found in pairs:
        run_id, old = found["_id"], kept[found["_id"]]
        for name, columns in run.metrics.items():
            if name not in old or _text({column: old[name].get(column) for column in columns}) != _text(columns):
                writes.append(UpdateOne({"run_id": run_id, "name": name}, {"$set": columns}, upsert=True))
                written.append((run_id, name))
        if old.keys() - run.metrics.keys():
            writes.append(DeleteMany({"run_id": run_id, "name": {"$nin": list(run.metrics)}}))
            written.append((run_id, ""))
    if writes:
        for i, key in (database["metrics"].bulk_write(writes, ordered=False).upserted_ids or {}).items():
            ids[written[i][0]][written[i][1]] = str(key)
    return ids, {run_id for run_id, _ in written}


def _send_artifacts(database: Database, pairs: Pairs) -> dict[int, dict[str, Any]]:
    """The ids of the files of each run by name."""
    listed: dict[int, dict[str, Any]] = {found["_id"]: {} for _, found in pairs}
    wanted = [(found["_id"], name, file) for run, found in pairs for name, file in run.artifacts.items()]
    for part in _parts(wanted, FILES_AT_ONCE):
        ids = store_files(database, [(artifact_name(run_id, name), file) for run_id, name, file in part])
        for (run_id, name, _), file_id in zip(part, ids, strict=True):
            listed[run_id][name] = file_id
    return listed


def _parts(whole: list, size: int) -> Iterator[list]:
    return (whole[i : i + size] for i in range(0, len(whole), size))


def _text(value: Any) -> str:
    """A value such that equal contents are equal texts, NaN and the milliseconds that MongoDB keeps included."""
    return json.dumps(
        value,
        sort_keys=True,
        default=lambda v: v.isoformat(timespec="milliseconds") if isinstance(v, datetime) else str(v),
    )


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
            local = read_run(folder)
            known[identity(place)] = folder, content_of(local.entry["status"], local.metrics, local.artifacts)
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
            if folder is not None and content >= content_of(run["status"], metrics, run["artifacts"]):
                report.equal.append(name)
                continue
            write_run(database, run, metrics, runs, folder, source_names)
        except (NoFile, *BROKEN) as error:
            report.damaged[name] = reason_of(error)
            continue
        (report.added if folder is None else report.repaired).append(name)
    return report
