"""MongoDB as a mirror of the stored files: it may be down, go away or come back, and never costs a result."""

from __future__ import annotations

import hashlib
import mimetypes
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pymongo
from bson import ObjectId
from bson.errors import BSONError
from gridfs import DEFAULT_CHUNK_SIZE, GridFS
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import ConfigurationError, DuplicateKeyError, PyMongoError
from sacred.observers import MongoObserver
from sacred.observers.mongo import force_valid_bson_key
from sacred.utils import ObserverError

from data.names import Refused
from experiments.tracking.telling import tell

CHANGES_NO_RESULT = True

PATIENCE = 2000  # ms to wait for a server
LACKS = "MongoDB lacks parts of this run"  # what a run says in the end whose mirror is not whole
PAUSE = 10.0  # s between attempts while the server is away
LONGEST_OUTPUT = 4_000_000  # characters of a run's output that are mirrored, its last ones; a document holds 16 MB


def open_database(url: str, patience: int) -> Database:
    """The database that an address names (`sacred` where it names none), not yet connected; waits `patience` ms for an answer.

    Raises ValueError for what is no address.
    """
    try:
        client = pymongo.MongoClient(
            url, serverSelectionTimeoutMS=patience, connectTimeoutMS=patience, socketTimeoutMS=5 * patience, tz_aware=False
        )
        return client.get_default_database("sacred")
    except ConfigurationError as error:
        raise Refused(f"not the address of a MongoDB server ({error}); expected mongodb://host:port/database") from error


def create_indexes(database: Database) -> None:
    """What is looked up: metrics of a run, runs by their start, in Omniboard by dataset, strategy and tag; GridFS's own two."""
    # Omniboard 2.16 sorts, and computes a status, after it has gone through all runs: no index can serve these
    database["metrics"].create_index([("run_id", 1), ("name", 1)])
    by_option = ["config.dataset", "config.heuristic", "config.run"]
    of_runs = (["start_time", "host.hostname"], by_option, ["config.heuristic"], ["omniboard.tags"])
    database["runs"].create_indexes([pymongo.IndexModel([(name, 1) for name in names]) for names in of_runs])
    database["fs.files"].create_index([("filename", 1), ("uploadDate", 1)])
    database["fs.chunks"].create_index([("files_id", 1), ("n", 1)], unique=True)


def plain(value: Any) -> Any:
    """The value as MongoDB stores it: arrays, tuples and sets become lists, paths and all other objects their text.

    So do the records that Sacred's files hold in their place, such as {"py/tuple": [1, 2]}.
    """
    if value is None or isinstance(value, bool | str | datetime | ObjectId):
        return value
    if isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**63 else float(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        if any(str(key).startswith("py/") for key in value):
            return _unpacked(value)
        return {force_valid_bson_key(key): plain(item) for key, item in list(value.items())}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return [plain(item) for item in sorted(value, key=str)]
    return plain(value.tolist()) if hasattr(value, "tolist") else str(value)


def _unpacked(value: Mapping[str, Any]) -> Any:
    """What Sacred's files hold for an array, tuple, set or path; any other object as its text."""
    for name in ("py/tuple", "py/set"):
        if name in value:
            return plain(value[name])
    if str(value.get("py/object", "")).startswith("numpy."):
        return plain(value["value"] if "value" in value else value.get("values"))
    if "py/reduce" in value and str(value["py/reduce"][0]).find("pathlib") >= 0:
        return str(Path(*plain(value["py/reduce"][1])))
    return str(value)


def identity(run: Mapping[str, Any]) -> tuple[str, datetime | None, str]:
    """What tells a run from all others wherever its record is copied to: machine, start in ms as MongoDB keeps it, number of its folder."""
    start = run.get("start_time")
    host = run.get("host", {})
    start = start and start.replace(microsecond=start.microsecond // 1000 * 1000)
    return str(host.get("hostname", "")), start, Path(host.get("stored_in") or str(run.get("_id"))).name


def place_run(runs: Collection, entry: dict[str, Any], number: int) -> bool:
    """Insert a run under this number where it is free, else under the next one; sets `_id`. False where the run was there.

    Whoever inserts the same run at the same time tries the same number, and the one who is late finds the run.
    """
    while True:
        same_start = {"start_time": entry["start_time"], "host.hostname": entry["host"].get("hostname")}
        for found in runs.find(same_start, {"start_time": 1, "host": 1}):
            if identity(found) == identity(entry):
                entry["_id"] = found["_id"]
                return False
        try:
            runs.insert_one(entry | {"_id": number})
            entry["_id"] = number
            return True
        except DuplicateKeyError:
            last = runs.find_one({"_id": {"$type": "number"}}, {"_id": 1}, sort=[("_id", -1)])
            number = int(last["_id"]) + 1 if last else number


def store_file(files: GridFS, name: str, content: bytes, content_type: str | None) -> ObjectId:
    """Keep a file under a name and its digest, once; returns its id."""
    digest = hashlib.sha256(content).hexdigest()
    found = files.find_one({"filename": name, "sha256": digest})
    return found._id if found else files.put(content, filename=name, content_type=content_type, sha256=digest)


def store_files(database: Database, wanted: Sequence[tuple[str, Path]]) -> list[ObjectId]:
    """Keep files under names and digests, once, in few round trips; returns their ids. A file is listed after its content is there."""
    there = database["fs.files"].find({"filename": {"$in": [name for name, _ in wanted]}}, {"filename": 1, "sha256": 1}).sort("_id", -1)
    known = {(file["filename"], file.get("sha256")): file["_id"] for file in there}
    ids, contents, entries = [], [], []
    for name, path in wanted:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            described = {"filename": name, "sha256": digest, "contentType": mimetypes.guess_type(name)[0] or "application/octet-stream"}
            size = file.tell()
            file.seek(0)
            if (name, digest) in known:
                ids.append(known[name, digest])
            elif 0 < size <= DEFAULT_CHUNK_SIZE:
                ids.append(ObjectId())
                contents.append({"files_id": ids[-1], "n": 0, "data": file.read()})
                listed = {"_id": ids[-1], "length": size, "chunkSize": DEFAULT_CHUNK_SIZE, "uploadDate": datetime.now(UTC)}
                entries.append(listed | described)
            else:
                ids.append(GridFS(database).put(file, **described))
    if entries:
        database["fs.chunks"].insert_many(contents)
        database["fs.files"].insert_many(entries)
    return ids


def store_sources(files: GridFS, sources: Iterable[Sequence[str]], folder: Path) -> list[list[Any]]:
    """Keep source files once for all runs; returns [name, id] of each.

    `sources` are pairs of a name and of the place below the folder of runs where the files keep it, which holds its digest.
    """
    there = [(name, kept) for name, kept in sources if (folder / kept).is_file()]
    known = {file.filename: file._id for file in files.find({"filename": {"$in": [kept for _, kept in there]}})}
    return [[name, known.get(kept) or store_file(files, kept, (folder / kept).read_bytes(), None)] for name, kept in there]


def artifact_name(run_id: Any, name: str) -> str:
    """Name of an artifact in GridFS, as Sacred gives it."""
    return f"artifact://runs/{run_id}/{name}"


class Mirror(MongoObserver):
    """Sacred's observer, but what could not be sent is kept and sent again at every later event.

    A run has the number of its folder, where that is free in the database; `host.stored_in` names the folder. Metrics are set whole, not
    appended, so that sending twice does no harm; the last event sends everything once more, and the status comes after all else. A run
    that vanished from the database is sent anew. Every error of the database is one warning.
    """

    def __init__(self, url: str, stored_in: Callable[[], str]):
        try:
            database = open_database(url, PATIENCE)
        except ValueError as error:
            raise SystemExit(f"ALIQUOT_MONGO is {error}") from None
        super().__init__(client=database.client, db_name=database.name, priority=10)  # after the files
        self._database = database
        self._stored_in = stored_in
        self._start: Callable[[], Any] | None = None
        self._begin: Callable[[], Any] | None = None
        self._entries: dict[str, Any] = {}
        self._columns: dict[str, dict[str, list]] = {}
        self._unsent_metrics: set[str] = set()
        self._artifacts: dict[str, tuple[str, str | None]] = {}
        self._unsent_artifacts: set[str] = set()
        self._metric_ids: dict[str, str] = {}
        self._not_before = 0.0
        self._down = False
        self._lock = threading.RLock()  # heartbeats come from a thread of Sacred's

    def started_event(self, ex_info, command, host_info, start_time, config, meta_info, _id):
        host = {**plain(host_info), "stored_in": self._stored_in()}
        start = super().started_event

        def begin() -> None:
            create_indexes(self._database)
            start(ex_info, command, host, start_time, plain(config), plain(meta_info), None)

        self._start = self._begin = begin
        self._send()
        return _id

    def log_metrics(self, metrics_by_name, info):
        with self._lock:
            for name, new in metrics_by_name.items():
                columns = self._columns.setdefault(name, {"steps": [], "values": [], "timestamps": []})
                for column, values in columns.items():
                    values.extend(plain(new[column]))
                self._unsent_metrics.add(name)

    def heartbeat_event(self, info, captured_out, beat_time, result):
        self._send(info=_still(info), captured_out=captured_out[-LONGEST_OUTPUT:], heartbeat=beat_time, result=plain(result))

    def artifact_event(self, name, filename, metadata=None, content_type=None):
        with self._lock:
            self._artifacts[name] = (filename, content_type)
            self._unsent_artifacts.add(name)
        self._send()

    def completed_event(self, stop_time, result):
        self._finish(stop_time=stop_time, result=plain(result), status="COMPLETED")

    def interrupted_event(self, interrupt_time, status):
        self._finish(stop_time=interrupt_time, status=status)

    def failed_event(self, fail_time, fail_trace):
        self._finish(stop_time=fail_time, fail_trace=fail_trace, status="FAILED")

    def _finish(self, **entries: Any) -> None:
        self._all_is_unsent()
        for _ in range(3):
            self._not_before = 0.0
            if self._send(**entries):
                return
        tell(mongo=LACKS)
        print(f"warning: {LACKS}; its files are complete, analysis.sync sends them later", file=sys.stderr)

    def _all_is_unsent(self) -> None:
        with self._lock:
            self._unsent_metrics = set(self._columns)
            self._unsent_artifacts = set(self._artifacts)

    def _send(self, **entries: Any) -> bool:
        """Send all that is unsent; False where the server did not take it."""
        with self._lock:
            self._entries.update(entries)
            if time.monotonic() < self._not_before:
                return False
            try:
                self._send_all()
            except (PyMongoError, BSONError, ObserverError, OSError) as error:
                if not self._down:
                    reason = str(error)[:120]
                    print(f"warning: MongoDB does not answer ({reason}); the run goes on, its files are complete", file=sys.stderr)
                self._down, self._not_before = True, time.monotonic() + PAUSE
                return False
            self._down = False
            return True

    def _send_all(self) -> None:
        if self._begin is None and not self._is_there():
            self._begin = self._start
            self._metric_ids.clear()
            self._all_is_unsent()
        if self._begin is not None:
            self._begin()
            self._begin = None
        entry: Any = self.run_entry
        metrics: Any = self.metrics
        entry.update(self._entries)
        for name in sorted(self._unsent_metrics):
            key = {"run_id": entry["_id"], "name": name}
            done = metrics.update_one(key, {"$set": self._columns[name]}, upsert=True)
            if done.upserted_id is not None:
                self._metric_ids[name] = str(done.upserted_id)
            self._unsent_metrics.discard(name)
        entry["info"] = {**entry["info"], "metrics": [{"name": name, "id": key} for name, key in self._metric_ids.items()]}
        for name in sorted(self._unsent_artifacts):
            self._send_artifact(entry, name, *self._artifacts[name])
            self._unsent_artifacts.discard(name)
        self.save()

    def _send_artifact(self, entry: dict[str, Any], name: str, filename: str, content_type: str | None) -> None:
        copy = Path(entry["host"]["stored_in"]) / name  # what the files kept; the original may have changed since
        file = copy if copy.exists() else Path(filename)
        if not file.exists():
            print(f"warning: artifact {name} is gone and was not sent to MongoDB", file=sys.stderr)
            return
        file_id = store_file(self.fs, artifact_name(entry["_id"], name), file.read_bytes(), content_type)
        entry["artifacts"] = [a for a in entry["artifacts"] if a["name"] != name] + [{"name": name, "file_id": file_id}]

    def _is_there(self) -> bool:
        entry: Any = self.run_entry
        place = {"_id": entry["_id"], "start_time": entry["start_time"], "host.stored_in": entry["host"]["stored_in"]}
        return self.runs.find_one(place, {"_id": 1}) is not None

    def insert(self) -> None:
        entry: Any = self.run_entry
        folder = Path(entry["host"]["stored_in"]).name
        place_run(self.runs, entry, int(folder) if folder.isdigit() else 1)

    def save(self) -> None:
        entry: Any = self.run_entry
        self.runs.update_one({"_id": entry["_id"]}, {"$set": entry})

    def save_sources(self, ex_info):
        return store_sources(self.fs, ex_info["sources"], Path(self._stored_in()).parent)


def _still(info: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of what the run may change at this moment."""
    while True:
        try:
            return plain(info)
        except RuntimeError:  # changed size during the copy
            continue
