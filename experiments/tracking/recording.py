"""How runs are recorded: files are the truth, MongoDB is their mirror."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from sacred import Experiment
from sacred.host_info import HostInfoGetter
from sacred.observers import FileStorageObserver

from experiments.tracking.code import commit

CHANGES_NO_RESULT = True


def observe(ex: Experiment, runs: Path) -> None:
    """Give an experiment its observers, and the surroundings on which the last bits of a result depend."""
    files = FileStorageObserver(runs)
    ex.observers[:] = [files]
    if url := os.environ.get("ALIQUOT_MONGO"):
        from experiments.tracking.mongo import Mirror

        ex.observers.append(Mirror(url, lambda: str(files.dir)))
    ex.additional_host_info[:] = [HostInfoGetter(torch.get_num_threads, "threads"), HostInfoGetter(commit, "code")]


def stored_folder(run) -> Path:
    """Where the files of a run are."""
    return next(Path(o.dir) for o in run.observers if isinstance(o, FileStorageObserver) and o.dir)
