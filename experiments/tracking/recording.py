"""How runs are recorded: files are the truth, MongoDB is their mirror."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import torch
from sacred import Experiment
from sacred.dependencies import get_digest
from sacred.host_info import HostInfoGetter
from sacred.observers import FileStorageObserver
from sacred.serializer import flatten

from data.files import atomic, sweep
from data.names import Refused
from experiments.tracking.code import commit

CHANGES_NO_RESULT = True


class Files(FileStorageObserver):
    """Sacred's observer of files, but every file of a record is whole or absent, and is held until it is written.

    What cannot be written now is one warning and is written at the next event, as is a folder that was removed.
    Sacred swallows what its observers raise at the end of a run: `failure` keeps it, see `require_recorded`.
    """

    def __init__(self, runs: Path):
        super().__init__(runs)
        self.failure: OSError | Refused | None = None
        self._columns: dict[str, dict[str, list]] = {}  # metric -> values, steps, timestamps
        self._artifacts: dict[str, Path] = {}
        self._written: dict[str, str] = {}  # name -> the text that its file holds
        self._lock = threading.RLock()  # heartbeats come from a thread of Sacred's

    def started_event(self, ex_info, command, host_info, start_time, config, meta_info, _id):
        sweep(Path(self.basedir).glob("*/.*"))
        try:
            return super().started_event(ex_info, command, host_info, start_time, config, meta_info, _id)
        except BaseException:
            if self.dir:  # nothing has happened yet that were worth a number
                shutil.rmtree(self.dir, ignore_errors=True)
                self.dir = None
            raise

    def find_or_save(self, filename, store_dir: Path):
        """Where the store keeps a file: under its name and digest, and only ever whole."""
        file = Path(filename)
        digest = get_digest(str(file))
        kept = store_dir / f"{file.stem}_{digest}{file.suffix}"
        if not kept.exists() or get_digest(str(kept)) != digest:
            _copy(file, kept)
        return kept

    def save_json(self, obj, filename):
        self._write(filename, json.dumps(flatten(obj), sort_keys=True, indent=2))

    def save_file(self, filename, target_name=None):
        _copy(Path(filename), Path(str(self.dir)) / (target_name or Path(filename).name))

    def save_cout(self):
        self._write("cout.txt", self.cout)

    def log_metrics(self, metrics_by_name, info):
        with self._lock:
            for name, new in metrics_by_name.items():
                columns = self._columns.setdefault(name, {"values": [], "steps": [], "timestamps": []})
                columns["values"] += new["values"]
                columns["steps"] += new["steps"]
                columns["timestamps"] += [time.isoformat() for time in new["timestamps"]]

    def heartbeat_event(self, info, captured_out, beat_time, result):
        self.info, self.cout = dict(info), captured_out
        self._record(heartbeat=beat_time.isoformat(), result=result)

    def artifact_event(self, name, filename, metadata=None, content_type=None):
        with self._lock:
            self._artifacts[name] = Path(filename)
            self._written.pop(name, None)
            self._record(artifacts=list(self._artifacts))

    def completed_event(self, stop_time, result):
        self._record(status="COMPLETED", stop_time=stop_time.isoformat(), result=result)

    def interrupted_event(self, interrupt_time, status):
        self._record(status=status, stop_time=interrupt_time.isoformat())

    def failed_event(self, fail_time, fail_trace):
        self._record(status="FAILED", stop_time=fail_time.isoformat(), fail_trace=fail_trace)

    def require_recorded(self) -> None:
        """Raise what kept the record from being written."""
        if self.failure is not None:
            raise self.failure

    def _record(self, **entries: Any) -> None:
        """Write all that is not written, run.json last: it vouches for the others."""
        if self.dir is None or self.run_entry is None:  # it never started
            return
        with self._lock:
            self.run_entry.update(entries)
            try:
                self._require_own_folder(Path(self.dir))
                self.save_json(self.config, "config.json")
                if self._columns:
                    self.save_json(self._columns, "metrics.json")
                if self.info:
                    self.save_json(self.info, "info.json")
                self.save_cout()
                for name, file in self._artifacts.items():
                    if name not in self._written:
                        self.save_file(file, name)
                        self._written[name] = ""
                self.save_json(self.run_entry, "run.json")
                self.failure = None
            except (OSError, Refused) as error:
                if self.failure is None and self.run_entry["status"] == "RUNNING":
                    print(f"warning: the record cannot be written now ({error}); it is tried again", file=sys.stderr)
                self.failure = error

    def _require_own_folder(self, folder: Path) -> None:
        """Forget what was written into a folder that is gone; Refused where its number was given to another run."""
        try:
            there = json.loads((folder / "run.json").read_text())
            if there["start_time"] != self.run_entry["start_time"]:  # type: ignore[index]
                reason = "was removed while the run was in progress, and is another run's now"
                raise Refused(f"the folder {folder} {reason}; start the same command again to record this one")
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, Refused):
                raise
            self._written.clear()

    def _write(self, name: str, text: str) -> None:
        if self._written.get(name) != text:
            with atomic(Path(str(self.dir)) / name) as temporary:
                temporary.write_text(text, encoding="utf-8")
            self._written[name] = text


def _copy(source: Path, target: Path) -> None:
    with atomic(target) as temporary:
        shutil.copyfile(source, temporary)


def observe(ex: Experiment, runs: Path) -> Files:
    """Give an experiment its observers, and the surroundings on which the last bits of a result depend."""
    files = Files(runs)
    ex.observers[:] = [files]
    if url := os.environ.get("ALIQUOT_MONGO"):
        from experiments.tracking.mongo import Mirror

        ex.observers.append(Mirror(url, lambda: str(files.dir)))
    ex.additional_host_info[:] = [HostInfoGetter(torch.get_num_threads, "threads"), HostInfoGetter(commit, "code")]
    return files


def stored_folder(run) -> Path:
    """Where the files of a run are."""
    return next(Path(o.dir) for o in run.observers if isinstance(o, FileStorageObserver) and o.dir)
