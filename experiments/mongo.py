"""MongoDB as a mirror of the stored files: it may be down, go away or come back, and never costs a result."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pymongo
from pymongo.errors import PyMongoError
from sacred.observers import MongoObserver
from sacred.utils import ObserverError

PATIENCE = 2000  # ms to wait for a server
PAUSE = 10.0  # s between attempts while the server is away


class Mirror(MongoObserver):
    """Sacred's observer, but what could not be sent is kept and sent again at every later event.

    The database counts its own runs; `host.stored_in` names the folder of the files. Metrics are set whole, not appended, so that
    sending twice does no harm. Every error of the database is one warning.
    """

    def __init__(self, url: str, stored_in: Callable[[], str]):
        client = pymongo.MongoClient(url, serverSelectionTimeoutMS=PATIENCE, connectTimeoutMS=PATIENCE, socketTimeoutMS=5 * PATIENCE)
        super().__init__(client=client, db_name=client.get_default_database("sacred").name, priority=10)  # after the files
        self._stored_in = stored_in
        self._begin: Callable[[], Any] | None = None
        self._columns: dict[str, dict[str, list]] = {}
        self._unsent_metrics: set[str] = set()
        self._unsent_artifacts: list[tuple] = []
        self._metric_ids: dict[str, str] = {}
        self._not_before = 0.0
        self._down = False
        self._lock = threading.RLock()  # heartbeats come from a thread of Sacred's

    def started_event(self, ex_info, command, host_info, start_time, config, meta_info, _id):
        host = {**host_info, "stored_in": self._stored_in()}
        start = super().started_event
        self._begin = lambda: start(ex_info, command, host, start_time, config, meta_info, None)
        self._send()
        return _id

    def log_metrics(self, metrics_by_name, info):
        with self._lock:
            for name, new in metrics_by_name.items():
                columns = self._columns.setdefault(name, {"steps": [], "values": [], "timestamps": []})
                for column, values in columns.items():
                    values.extend(new[column])
                self._unsent_metrics.add(name)

    def heartbeat_event(self, info, captured_out, beat_time, result):
        self._send(info=deepcopy(info), captured_out=captured_out, heartbeat=beat_time, result=result)

    def artifact_event(self, name, filename, metadata=None, content_type=None):
        with self._lock:
            self._unsent_artifacts.append((name, filename, metadata, content_type))
        self._send()

    def completed_event(self, stop_time, result):
        self._finish(stop_time=stop_time, result=result, status="COMPLETED")

    def interrupted_event(self, interrupt_time, status):
        self._finish(stop_time=interrupt_time, status=status)

    def failed_event(self, fail_time, fail_trace):
        self._finish(stop_time=fail_time, fail_trace=fail_trace, status="FAILED")

    def _finish(self, **entries: Any) -> None:
        for _ in range(3):
            self._not_before = 0.0
            if self._send(**entries):
                return
        print("warning: MongoDB lacks parts of this run; its files are complete", file=sys.stderr)

    def _send(self, **entries: Any) -> bool:
        """Send all that is unsent; False where the server did not take it."""
        with self._lock:
            entry: Any = self.run_entry
            if entry is not None:
                entry.update(entries)
            if time.monotonic() < self._not_before:
                return False
            try:
                self._send_all(entries)
            except (PyMongoError, ObserverError, OSError) as error:
                if not self._down:
                    reason = str(error)[:120]
                    print(f"warning: MongoDB does not answer ({reason}); the run goes on, its files are complete", file=sys.stderr)
                self._down, self._not_before = True, time.monotonic() + PAUSE
                return False
            self._down = False
            return True

    def _send_all(self, entries: dict[str, Any]) -> None:
        if self._begin is not None:
            self._begin()
            self._begin = None
        entry: Any = self.run_entry
        metrics: Any = self.metrics
        entry.update(entries)
        for name in sorted(self._unsent_metrics):
            key = {"run_id": entry["_id"], "name": name}
            done = metrics.update_one(key, {"$set": self._columns[name]}, upsert=True)
            if done.upserted_id is not None:
                self._metric_ids[name] = str(done.upserted_id)
            self._unsent_metrics.discard(name)
        entry["info"]["metrics"] = [{"name": name, "id": key} for name, key in self._metric_ids.items()]
        while self._unsent_artifacts:
            super().artifact_event(*self._unsent_artifacts[0])
            self._unsent_artifacts.pop(0)
        self.save()
