"""MongoDB as a mirror of the stored files: it may be down, go away or come back, and never costs a result."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bson.errors import BSONError
from pymongo.errors import PyMongoError
from sacred.observers import MongoObserver
from sacred.utils import ObserverError

from experiments.tracking.database import (
    LONGEST_OUTPUT,
    artifact_name,
    create_indexes,
    open_database,
    place_run,
    plain,
    store_file,
    store_sources,
)
from experiments.tracking.telling import tell

CHANGES_NO_RESULT = True

PATIENCE = 2000  # ms to wait for a server
LACKS = "MongoDB lacks parts of this run"  # what a run says in the end whose mirror is not whole
PAUSE = 10.0  # s between attempts while the server is away


class Mirror(MongoObserver):
    """Sacred's observer, but what could not be sent is kept and sent again at every later event.

    A run has the number of its folder, where that is free in the database; `host.stored_in` names the folder. Metrics
    are set whole, not appended, so that sending twice does no harm; the last event sends everything once more, and the
    status comes after all else. A run that vanished from the database is sent anew. Every error of the database is one
    warning.
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
        output = captured_out[-LONGEST_OUTPUT:]
        self._send(info=_still(info), captured_out=output, heartbeat=beat_time, result=plain(result))

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
                    silence = f"MongoDB does not answer ({str(error)[:120]})"
                    print(f"warning: {silence}; the run goes on, its files are complete", file=sys.stderr)
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
        listed = [{"name": name, "id": key} for name, key in self._metric_ids.items()]
        entry["info"] = {**entry["info"], "metrics": listed}
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
