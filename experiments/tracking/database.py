"""What the project asks of a MongoDB: to open it, to place a run in it, and to keep a file in it once."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pymongo
from bson import ObjectId
from gridfs import DEFAULT_CHUNK_SIZE, GridFS
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import ConfigurationError, DuplicateKeyError
from sacred.observers.mongo import force_valid_bson_key

from data.names import Refused

CHANGES_NO_RESULT = True

LONGEST_OUTPUT = 4_000_000  # characters of a run's output that are kept, its last ones; a document holds 16 MB


def open_database(url: str, patience: int) -> Database:
    """The database that an address names (`sacred` where it names none), not yet connected.

    It waits `patience` ms for an answer. Raises ValueError for what is no address.
    """
    try:
        client = pymongo.MongoClient(
            url,
            serverSelectionTimeoutMS=patience,
            connectTimeoutMS=patience,
            socketTimeoutMS=5 * patience,
            tz_aware=False,
        )
        return client.get_default_database("sacred")
    except ConfigurationError as error:
        expected = "expected mongodb://host:port/database"
        raise Refused(f"not the address of a MongoDB server ({error}); {expected}") from error


def create_indexes(database: Database) -> None:
    """What is looked up: a run's metrics, runs by start, in Omniboard by dataset, strategy, tag; GridFS's own."""
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
    """What tells a run from all others, in every copy: machine, start in whole ms, number of its folder."""
    start = run.get("start_time")
    host = run.get("host", {})
    start = start and start.replace(microsecond=start.microsecond // 1000 * 1000)
    return str(host.get("hostname", "")), start, Path(host.get("stored_in") or str(run.get("_id"))).name


def place_run(runs: Collection, entry: dict[str, Any], number: int) -> bool:
    """Insert a run under this number where it is free, else under the next one; False where the run was there.

    Sets `_id`. Whoever inserts the same run at the same time tries the same number, and the one who is late finds
    the run.
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
    """Keep files under names and digests, once, in few round trips; returns their ids.

    A file is listed after its content is there.
    """
    same_name = {"filename": {"$in": [name for name, _ in wanted]}}
    there = database["fs.files"].find(same_name, {"filename": 1, "sha256": 1}).sort("_id", -1)
    known = {(file["filename"], file.get("sha256")): file["_id"] for file in there}
    ids, contents, entries = [], [], []
    for name, path in wanted:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            described = {"filename": name, "sha256": digest, "contentType": kind}
            size = file.tell()
            file.seek(0)
            if (name, digest) in known:
                ids.append(known[name, digest])
            elif 0 < size <= DEFAULT_CHUNK_SIZE:
                ids.append(ObjectId())
                contents.append({"files_id": ids[-1], "n": 0, "data": file.read()})
                listed = {"_id": ids[-1], "length": size, "chunkSize": DEFAULT_CHUNK_SIZE}
                entries.append(listed | {"uploadDate": datetime.now(UTC)} | described)
            else:
                ids.append(GridFS(database).put(file, **described))
    if entries:
        database["fs.chunks"].insert_many(contents)
        database["fs.files"].insert_many(entries)
    return ids


def store_sources(files: GridFS, sources: Iterable[Sequence[str]], folder: Path) -> list[list[Any]]:
    """Keep source files once for all runs; returns [name, id] of each.

    `sources` are pairs of a name and of the place below the folder of runs where the files keep it, which holds its
    digest.
    """
    there = [(name, kept) for name, kept in sources if (folder / kept).is_file()]
    known = {file.filename: file._id for file in files.find({"filename": {"$in": [kept for _, kept in there]}})}
    return [
        [name, known.get(kept) or store_file(files, kept, (folder / kept).read_bytes(), None)] for name, kept in there
    ]


def artifact_name(run_id: Any, name: str) -> str:
    """Name of an artifact in GridFS, as Sacred gives it."""
    return f"artifact://runs/{run_id}/{name}"
