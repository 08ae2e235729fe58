"""What a restart needs: the key of a run, its lock, and the atomic save and load of its state and model."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import pickle
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray
from torch import nn

from data.formats.reading import default_data_root
from data.store import Images

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("experiments", "models", "heuristics", "data")
# Options that say where and how to run, not what: a run may be resumed with other values of them.
WHERE = frozenset(
    "data_root results_dir device workers save_every save_maps resume checkpoint split memory_limit keep_models".split()
)
# Options that say how to choose: training once on everything does not depend on them.
CHOOSING = frozenset(
    "heuristic heuristic_options n_initial initial n_query n_cycles start "
    "pool_subset mc_samples aggregate empty_score select beta balance then candidates query_batch_size".split()
)
OWN_FOLDERS = frozenset({"folder", "coco", "voc"})  # datasets that are whatever lies in the user's folder: another folder, other data
HELD: dict[Path, TextIO] = {}  # lock files of the runs that this process holds


@dataclass
class State:
    """Everything a restart needs beside the last model; a few kB."""

    cycle: int  # the cycle to run next
    labelled_map: Int[ndarray, " n"]  # as baal has it: 0 unlabelled, else the step at which an image was labelled
    curve: list[dict[str, Any]] = field(default_factory=list)  # one row of metrics per finished cycle
    picks: list[Int[ndarray, " q"]] = field(default_factory=list)  # dataset indices labelled after each cycle
    scores: list[list[float]] = field(default_factory=list)  # their scores, empty for heuristics that give none
    code: str = ""  # digest of the project's sources that made it
    data: str = ""  # digest of the dataset and its division
    finished_by: str = ""  # the Sacred run that completed it


def run_key(command: str, options: Mapping[str, Any]) -> str:
    """Name of a run: experiment and dataset for people, and a digest of every option that can change its result."""
    supervised = command.endswith("supervised")
    ignored = WHERE | CHOOSING if supervised else WHERE
    decisive = {name: value for name, value in options.items() if name not in ignored}
    if options["dataset"] in OWN_FOLDERS:
        decisive["data_root"] = str(folder_of(options["data_root"]).resolve())
    digest = hashlib.sha256(json.dumps([command, decisive], sort_keys=True, default=str).encode()).hexdigest()[:12]
    chosen_by = "" if supervised else f"-{options['heuristic']}"
    return f"{command}-{options['dataset']}{chosen_by}-{options['run']}-{digest}"


def folder_of(data_root: str) -> Path:
    """Where the datasets lie, from the option `data_root`; relative paths start at the project."""
    return ROOT / Path(data_root).expanduser() if data_root else default_data_root()


def data_digest(*parts: Images | None) -> str:
    """Digest of a dataset and of which of its images are the pool, the validation and the test set."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"none" if part is None else part.fingerprint.encode() + part.rows.tobytes())
    return digest.hexdigest()[:12]


def check_unchanged(state: State, data: str, resume: str) -> None:
    """ValueError where the data, or (unless resume=force) the code, changed under a run."""
    if state.data != data:
        change = f"then {state.data}, now {data}"
        raise ValueError(f"the data or their division changed under this run ({change}); use resume=fresh to start again")
    if state.code != code_digest() and resume != "force":
        raise ValueError(
            f"the code changed under this unfinished run (then {state.code}, now {code_digest()}); "
            "use resume=force to continue all the same, or resume=fresh to start again"
        )


def code_digest() -> str:
    """Digest of the project's own source files that this process has loaded, without the MongoDB mirror, which changes no result."""
    loaded = {str(getattr(module, "__file__", None)) for module in list(sys.modules.values())}
    files = {Path(file).resolve() for file in loaded if file.split(os.sep)[-2:-1] and file.split(os.sep)[-2] in SOURCES}
    ours = {f for f in files if f.parent.parent == ROOT and f.name != "mongo.py"}
    digest = hashlib.sha256()
    for file in sorted(ours):
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place if the block succeeds, so that `path` is always whole.

    Raises OSError with one sentence when the disk is full; what was there before is kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or _no_space(path.parent)
        if full:
            raise OSError(
                errno.ENOSPC, f"the disk is full while saving {path}; free some space and start the same command again to continue"
            ) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def load_weights(model: nn.Module, file: Path) -> None:
    """Put saved weights into a model; ValueError names the file where they do not fit or cannot be read."""
    try:
        model.load_state_dict(torch.load(file, map_location=next(model.parameters()).device, weights_only=True))
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{file} holds no weights that fit this model ({reason}); use the options it was trained with") from error


def _no_space(folder: Path) -> bool:
    space = os.statvfs(folder)
    return space.f_bavail * space.f_frsize < 2**16


class Checkpoint:
    """The folder of one run's state, `<runs>/resume/<key>/`."""

    def __init__(self, runs: Path, key: str):
        self.runs = runs
        self.folder = runs / "resume" / key
        self.state_file = self.folder / "state.json"
        self.training_file = self.folder / "training.pt"
        self.outputs = self.folder / "outputs"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold this run during the block, which ends what `hold` and outer blocks began too."""
        self.hold()
        try:
            yield
        finally:
            if self.folder in HELD:
                HELD.pop(self.folder).close()

    def hold(self) -> None:
        """Hold this run for this process until the end of its `lock`; ValueError names the process that holds it already.

        A process that ends in any way frees what it holds.
        """
        if self.folder in HELD:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as unless_held:
            file = unless_held.enter_context(open(self.folder / "lock", "a+"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "just begun"
                raise ValueError(f"this run is already in progress ({holder}); stop that process or choose another run") from None
            for left in self.folder.glob(".*"):  # half-written by a process that was killed
                left.unlink()
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
            HELD[self.folder] = file
            unless_held.pop_all()

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
            raise ValueError(f"cannot read {self.state_file} ({error}); start again with resume=fresh") from error

    def is_completed(self, state: State) -> bool:
        """Whether Sacred's record says that the run is complete; one that cannot be read, as after a power cut, does not."""
        try:
            record = json.loads((self.runs / state.finished_by / "run.json").read_text())
            return bool(state.finished_by) and record["status"] == "COMPLETED"
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def save(self, state: State) -> None:
        """Write the state atomically; floats survive to the last digit."""
        plain = {**state.__dict__, "labelled_map": state.labelled_map.tolist(), "picks": [p.tolist() for p in state.picks]}
        with atomic(self.state_file) as temporary:
            temporary.write_text(json.dumps(plain, indent=1))

    def model_file(self, cycle: int) -> Path:
        return self.folder / f"model-{cycle}.pt"

    def save_model(self, model: nn.Module, cycle: int) -> None:
        """Keep the model of a cycle, for `evaluate`, warm starts and pseudo-labels."""
        with atomic(self.model_file(cycle)) as temporary:
            torch.save(model.state_dict(), temporary)

    def forget_before(self, cycle: int, keep_models: bool) -> None:
        """Remove what a restart at `cycle` no longer needs: unfinished training, and models older than the last."""
        self.training_file.unlink(missing_ok=True)
        for file in () if keep_models else self.folder.glob("model-*.pt"):
            if file != self.model_file(cycle - 1):
                file.unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget the run (resume=fresh)."""
        shutil.rmtree(self.outputs, ignore_errors=True)
        for file in (self.training_file, *self.folder.glob("model-*.pt"), self.state_file):  # the state last: it vouches for the others
            file.unlink(missing_ok=True)
