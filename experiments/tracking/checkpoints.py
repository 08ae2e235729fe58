"""What a restart needs: the key of a run, its lock, and the atomic save and load of its state and model."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import socket
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from jaxtyping import Int
from numpy import ndarray
from torch import nn

from data.catalogue import OWN
from data.files import FULL, atomic, folder_of, sweep
from data.names import InProgress, Refused
from data.store import Images
from experiments.learning.weights import save_weights
from experiments.tracking.head_options import by_shares, idle
from experiments.tracking.options import CHOOSING, WHERE

IN_PROGRESS = "this run is already in progress"
RECORD = ("run.json", "config.json", "metrics.json")  # what `analysis` reads of a run


@dataclass
class State:
    """Everything a restart needs beside the last model; a few kB."""

    cycle: int  # the cycle to run next
    # as baal has it: 0 unlabelled, else the step at which an image was labelled; empty where nothing is labelled
    labelled_map: Int[ndarray, " n"] = field(default_factory=lambda: np.zeros(0, np.int64))
    curve: list[dict[str, Any]] = field(default_factory=list)  # one row of numbers per finished cycle
    picks: list[Int[ndarray, " q"]] = field(default_factory=list)  # dataset indices labelled after each cycle
    scores: list[list[float]] = field(default_factory=list)  # their scores, empty for heuristics that give none
    code: str = ""  # digest of the project's sources that made it
    data: str = ""  # digest of the dataset and its division
    finished_by: str = ""  # the Sacred run that completed it
    finished_start: str = ""  # when that one began, as in its record: another run may get its number
    delivered: dict[str, int] = field(default_factory=dict)  # name and crc32 of each file that it left in its folder


@dataclass
class Begun:
    """A run that has begun: what is made once for all of it. Its checkpoint is locked."""

    options: Mapping[str, Any]
    heuristic: Any  # what the options ask for; None where nothing is chosen
    checkpoint: Checkpoint
    state: State | None  # to go on from
    code: str  # digest of the code that runs


def run_key(command: str, options: Mapping[str, Any]) -> str:
    """Name of a run: experiment and dataset for people, and a digest of every option that can change its result."""
    supervised = command.endswith("supervised")
    ignored = idle(options) | (WHERE | CHOOSING if supervised else WHERE)
    decisive = {name: value for name, value in options.items() if name not in ignored}
    if options["dataset"] in OWN:
        decisive["data_root"] = str(folder_of(options["data_root"]).resolve())
    if by_shares(command, options):
        decisive["devices"] = options["devices"]
    digest = hashlib.sha256(json.dumps([command, decisive], sort_keys=True, default=str).encode()).hexdigest()[:12]
    chosen_by = "" if supervised or "heuristic" not in options else f"-{options['heuristic']}"
    return f"{command}-{options['dataset']}{chosen_by}-{options['run']}-{digest}"


def crc32_of(file: Path) -> int:
    return zlib.crc32(file.read_bytes())


def holds(file: Path, crc32: int) -> bool:
    """Whether a file is there, with this content."""
    try:
        return crc32_of(file) == crc32
    except OSError:
        return False


def data_digest(*parts: Images | None) -> str:
    """Digest of a dataset and of which of its images are the pool, the validation and the test set."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"none" if part is None else part.fingerprint.encode() + part.rows.tobytes())
    return digest.hexdigest()[:12]


class Checkpoint:
    """The folder of one run's state, `<runs>/resume/<key>/`, or another one."""

    def __init__(self, runs: Path, key: str, folder: Path | None = None):
        self.runs = runs
        self.folder = folder or runs / "resume" / key
        self.state_file = self.folder / "state.json"
        self.training_file = self.folder / "training.pt"
        self.outputs = self.folder / "outputs"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold this run during the block; InProgress names the process that holds it already.

        A process that ends in any way frees what it holds.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock, holder = FileLock(self.folder / "lock", timeout=0), self.folder / "holder"
        try:
            lock.acquire()
        except Timeout:
            who = holder.read_text().strip() if holder.exists() else ""
            way_out = "stop that process or choose another run"
            raise InProgress(f"{IN_PROGRESS} ({who or 'just begun'}); {way_out}") from None
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS, *FULL):
                raise
            way_out = "ALIQUOT_RUNS names a folder elsewhere"
            raise Refused(f"the file system of {self.folder} cannot lock files ({error}); {way_out}") from None
        try:
            sweep(self.folder.rglob(".*"), older_than=0.0)  # half-written by a process that was killed
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
            yield
        finally:
            lock.release()

    def open(self, resume: str) -> State | None:
        """The state to continue from, or None to begin, as always after resume=fresh."""
        if resume == "fresh":
            self.clear()
        return self.load()

    def require_same_data(self, state: State, data: str) -> None:
        """Refused where the data changed under a run."""
        if state.data != data:
            change = f"then {state.data}, now {data}"
            again = "use resume=fresh to start again"
            raise Refused(f"the data or their division changed under this run ({change}); {again}")

    def require_same_code(self, state: State, code: str, resume: str) -> None:
        """Refused where the code changed under an unfinished run, unless resume=force."""
        if state.code != code and resume != "force":
            raise Refused(
                f"the code changed under this unfinished run (then {state.code}, now {code}); "
                "use resume=force to continue all the same, or resume=fresh to start again"
            )

    def load(self) -> State | None:
        """The saved state, or None where there is none."""
        if not self.state_file.exists():
            return None
        try:
            saved = json.loads(self.state_file.read_text())
            saved["labelled_map"] = np.array(saved["labelled_map"], dtype=np.int64)
            saved["picks"] = [np.array(p, dtype=np.int64) for p in saved["picks"]]
            return State(**saved)
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(f"cannot read {self.state_file} ({error}); start again with resume=fresh") from error

    def is_completed(self, state: State) -> bool:
        """Whether a whole record of Sacred's says that the run is complete."""
        return bool(state.finished_by) and not self.damage_of_record(state)

    def damage_of_record(self, state: State) -> str:
        """What is wrong with the record of the run that finished it, as after a power cut, or '' where nothing is."""
        found = {}
        for name in RECORD:
            try:
                found[name] = json.loads((self.record_of(state) / name).read_text())
            except FileNotFoundError:
                return f"{name} is missing"
            except ValueError:
                found[name] = None
            if not isinstance(found[name], dict):
                return f"{name} is damaged"
        run, metrics = found["run.json"], found["metrics.json"]
        if run.get("status") != "COMPLETED":
            return f"its status is {run.get('status')}"
        if state.finished_start and run.get("start_time") != state.finished_start:
            return "it is another run's"
        along = next(iter(state.curve[0])) if state.curve else "n_labelled"  # what its rows are counted by stands first
        recorded = metrics.get(along)
        if not isinstance(recorded, dict) or len(recorded.get("values") or ()) != len(state.curve):
            return "metrics.json lacks rows"
        return ""

    def record_of(self, state: State) -> Path:
        """The folder of the run that finished it."""
        return self.runs / state.finished_by

    def lost(self, state: State) -> list[str]:
        """Names of the files that a finished run delivered and that are missing or damaged now."""
        folder, known = self.record_of(state), state.delivered
        if not known:  # finished by an older version
            listed = json.loads((folder / "run.json").read_text()).get("artifacts", [])
            return [name for name in listed if not (folder / name).is_file() or not (folder / name).stat().st_size]
        return [name for name, crc32 in known.items() if not holds(folder / name, crc32)]

    def save(self, state: State) -> None:
        """Write the state atomically; floats survive to the last digit."""
        picks = [p.tolist() for p in state.picks]
        plain = {**state.__dict__, "labelled_map": state.labelled_map.tolist(), "picks": picks}
        with atomic(self.state_file) as temporary:
            temporary.write_text(json.dumps(plain, indent=1))

    def save_model(self, model: nn.Module, cycle: int, classes: Sequence[str]) -> None:
        """Keep the model of a cycle."""
        save_weights(model, self.model_file(cycle), classes)

    def model_file(self, cycle: int) -> Path:
        return self.folder / f"model-{cycle}.pt"

    def forget_before(self, cycle: int, keep_models: bool) -> None:
        """Remove what a restart at `cycle` no longer needs: unfinished training, and models older than the last."""
        self.training_file.unlink(missing_ok=True)
        for file in () if keep_models else self.folder.glob("model-*.pt"):
            if file != self.model_file(cycle - 1):
                file.unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget the run (resume=fresh)."""
        shutil.rmtree(self.outputs, ignore_errors=True)
        # the state last: it vouches for the others
        for file in (self.training_file, *self.folder.glob("model-*.pt"), self.state_file):
            file.unlink(missing_ok=True)


class Followed(Checkpoint):
    """The same folder for the other processes of the run, which read what is there and leave it as it is."""

    def save(self, state: State) -> None:
        pass

    def save_model(self, model: nn.Module, cycle: int, classes: Sequence[str]) -> None:
        pass

    def forget_before(self, cycle: int, keep_models: bool) -> None:
        pass
