"""The records of runs where they are stored: the files of the scripts, or what the mirror wrote into MongoDB."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pymongo.database import Database
from pymongo.errors import PyMongoError

from data.catalogue import OWN
from data.names import Refused, Unreachable
from experiments.tracking.database import open_database, plain
from experiments.tracking.formerly import by_todays_options
from experiments.tracking.options import RENAMED
from experiments.tracking.records import BROKEN, PATIENCE, is_mongo, reason_of, run_folders, status_of, time_of

STATUSES = ("QUEUED", "RUNNING", "COMPLETED", "FAILED", "INTERRUPTED", "TIMEOUT", "DEAD")
FIELDS = ("status", "command", "host", "meta", "start_time", "heartbeat", "stop_time")  # of Sacred's record, and
OF_EXPERIMENT = ("name", "mainfile", "dependencies", "repositories")  # of its part "experiment"
UNLABELLED = "pretrain"  # the script whose runs have no curve over labels: they are left out
CLASSES_ARE_STRATA = ("classify", "detect")  # tasks whose images are in the groups of their classes

Curves = dict[str, tuple[list[int], list[float]]]  # metric -> numbers of labelled images, values


@dataclass(frozen=True)
class Record:
    """One stored run: what it was asked, how it ended, and what Sacred wrote beside that."""

    run_id: int  # of its folder; of its document in MongoDB
    status: str  # Sacred's, or DEAD
    task: str
    command: str
    started: datetime  # UTC, to the millisecond
    config: dict[str, Any]
    picks: Any  # where picks.csv is: a file, or the id of one in GridFS; None where there is none
    info: Mapping[str, Any]  # what the run noted: trivial values of its metrics, an oracle's start
    document: Mapping[str, Any]  # FIELDS and OF_EXPERIMENT of Sacred's record, and the options as "config"

    @property
    def dataset(self) -> str:
        """The name of the dataset for people: one's own goes by `dataset_title` or, in older runs, by its folder."""
        title = self.config.get("dataset_title") or ""
        if not title and self.config["dataset"] in OWN:
            title = Path(str(self.config.get("data_root") or "")).name
        return str(title or self.config["dataset"])

    @property
    def trivial(self) -> dict[str, float]:
        """What a prediction reaches that looks at no image, by metric; empty for runs that did not note it."""
        noted = self.info.get("trivial")
        return {str(n): float(v) for n, v in noted.items() if _is_number(v)} if isinstance(noted, Mapping) else {}

    @property
    def oracle_start(self) -> bool:
        """Whether the first labels were chosen by the true classes of the pool; of older runs their strata tell it."""
        if self.command != "main" or not self.info.keys().isdisjoint(("oracle_start", "trivial")):
            return self.command == "main" and bool(self.info.get("oracle_start"))
        return self.task in CLASSES_ARE_STRATA and self.config.get("initial", "stratified") == "stratified"


class FolderRecords:
    """The runs that the scripts left in a folder, each file read once; `damaged` names the others, with the reason."""

    def __init__(self, runs: Path):
        self.runs, self.records, self.damaged = runs, list[Record](), dict[str, str]()
        self._measured: dict[int, Curves] = {}
        for folder in run_folders(runs):
            try:
                run, config = (json.loads((folder / name).read_bytes()) for name in ("run.json", "config.json"))
                if run["experiment"]["name"] == UNLABELLED:
                    continue
                run |= {name: time_of(run.get(name)) for name in ("start_time", "heartbeat")}
                noted = folder / "info.json"
                info = json.loads(noted.read_bytes()) if noted.exists() else {}
                self.records.append(_record(int(folder.name), run, config, info, folder / "picks.csv"))
            except BROKEN as error:
                self.damaged[folder.name] = reason_of(error)

    def curves(
        self, chosen: Sequence[Record], names: Collection[str] | None, damaged: dict[str, str]
    ) -> dict[int, Curves]:
        """Of metrics.json, which unlike curve.npy is there for unfinished runs too."""
        found = {}
        for record in chosen:
            try:
                columns = self._curves_of(record)
            except BROKEN as error:
                damaged[str(record.run_id)] = f"metrics.json: {reason_of(error)}"
                continue
            if not columns and record.status == "COMPLETED":
                damaged[str(record.run_id)] = "no metrics"
            else:
                found[record.run_id] = {name: columns[name] for name in columns if names is None or name in names}
        return found

    def _curves_of(self, record: Record) -> Curves:
        if record.run_id not in self._measured:
            file = self.runs / str(record.run_id) / "metrics.json"
            columns = json.loads(file.read_bytes()) if file.exists() or record.status == "COMPLETED" else {}
            self._measured[record.run_id] = {name: _curve(column) for name, column in columns.items()}
        return self._measured[record.run_id]

    def picks(self, chosen: Sequence[Record], damaged: dict[str, str]) -> Iterable[tuple[Record, str]]:
        for record in chosen:
            try:
                yield record, record.picks.read_text()
            except BROKEN as error:
                if record.status == "COMPLETED" or not isinstance(error, FileNotFoundError):
                    damaged[str(record.run_id)] = f"picks.csv: {reason_of(error)}"


class DatabaseRecords:
    """The runs that the mirror wrote into MongoDB: one query for all runs, one for metrics, one for files."""

    def __init__(self, database: Database):
        self.database, self.records, self.damaged = database, list[Record](), dict[str, str]()
        wanted = (*FIELDS, *(f"experiment.{name}" for name in OF_EXPERIMENT), "config", "artifacts", "info")
        labelled = {"experiment.name": {"$ne": UNLABELLED}}
        for run in database["runs"].find(labelled, dict.fromkeys(wanted, 1)).sort("_id", 1):
            try:
                files = {artifact["name"]: artifact["file_id"] for artifact in run.get("artifacts", [])}
                self.records.append(
                    _record(int(run["_id"]), run, run["config"], run.get("info") or {}, files.get("picks.csv"))
                )
            except BROKEN as error:
                self.damaged[str(run["_id"])] = reason_of(error)

    def curves(
        self, chosen: Sequence[Record], names: Collection[str] | None, damaged: dict[str, str]
    ) -> dict[int, Curves]:
        found: dict[int, Curves] = {record.run_id: {} for record in chosen}
        query: dict[str, Any] = {"run_id": {"$in": list(found)}} | (
            {"name": {"$in": list(names)}} if names is not None else {}
        )
        for metric in self.database["metrics"].find(query, {"_id": 0, "run_id": 1, "name": 1, "steps": 1, "values": 1}):
            try:
                found[metric["run_id"]][metric["name"]] = _curve(metric)
            except BROKEN as error:
                damaged[str(metric["run_id"])] = f"metric {metric.get('name')}: {reason_of(error)}"
        for record in chosen:
            if names is None and not found[record.run_id] and record.status == "COMPLETED":
                damaged.setdefault(str(record.run_id), "no metrics; python -m analysis.sync sends them")
        return {run_id: curve for run_id, curve in found.items() if str(run_id) not in damaged}

    def picks(self, chosen: Sequence[Record], damaged: dict[str, str]) -> Iterable[tuple[Record, str]]:
        pieces: dict[Any, list[tuple[int, bytes]]] = defaultdict(list)
        for chunk in self.database["fs.chunks"].find({"files_id": {"$in": [r.picks for r in chosen if r.picks]}}):
            pieces[chunk["files_id"]].append((chunk["n"], chunk["data"]))
        for record in chosen:
            if record.picks in pieces:
                try:
                    yield record, b"".join(data for _, data in sorted(pieces[record.picks])).decode()
                except UnicodeDecodeError as error:
                    damaged[str(record.run_id)] = f"picks.csv: {reason_of(error)}"
            elif record.status == "COMPLETED":
                damaged[str(record.run_id)] = "no picks.csv; python -m analysis.sync sends it"


Records = FolderRecords | DatabaseRecords
Source = str | Path | Records


def read(source: Source) -> Records:
    """The records of a runs folder or of a `mongodb://` address; each is read once and then given back.

    Raises FileNotFoundError without the folder, ConnectionError where MongoDB does not answer, ValueError for no
    address of one.
    """
    if isinstance(source, FolderRecords | DatabaseRecords):
        return source
    with answering():
        return (
            DatabaseRecords(open_database(str(source), PATIENCE)) if is_mongo(source) else FolderRecords(Path(source))
        )


@contextmanager
def answering() -> Iterator[None]:
    """Says in one sentence that MongoDB does not answer."""
    try:
        yield
    except PyMongoError as error:
        raise Unreachable(f"MongoDB does not answer, or refuses: {str(error)[:120]}") from error


def _by_todays_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a run, those of earlier versions by the names that they have now."""
    options = {name: value for name, value in by_todays_options(config).items() if name not in RENAMED}
    for name in config.keys() & RENAMED.keys():
        whole, _, entry = RENAMED[name].partition(".")
        options[whole] = {**options.get(whole, {}), entry: config[name]} if entry else config[name]
    return options


def _record(run_id: int, run: Mapping[str, Any], config: Mapping[str, Any], info: Any, picks: Any) -> Record:
    started = run["start_time"]
    started = started.replace(microsecond=started.microsecond // 1000 * 1000)  # what MongoDB keeps
    options = _by_todays_names(plain(config))
    missing = [name for name in ("dataset", "heuristic", "run", "seed") if name not in options]
    if missing:
        raise Refused(f"no option {', '.join(missing)}")
    status = status_of(run["status"], run.get("heartbeat"), started)
    experiment = {name: run["experiment"].get(name) for name in OF_EXPERIMENT}
    code = {(r["commit"], r["dirty"]): r for r in experiment["repositories"] or ()}  # Sacred names one for each source
    experiment["repositories"] = list(code.values())
    document = {name: run.get(name) for name in FIELDS} | {"experiment": experiment, "config": options}
    noted = info if isinstance(info, Mapping) else {}
    return Record(run_id, status, run["experiment"]["name"], run["command"], started, options, picks, noted, document)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _curve(columns: Mapping[str, Any]) -> tuple[list[int], list[float]]:
    steps, values = [int(step) for step in columns["steps"]], [float(value) for value in columns["values"]]
    if len(steps) != len(values):
        raise Refused(f"{len(steps)} steps, but {len(values)} values")
    return steps, values
