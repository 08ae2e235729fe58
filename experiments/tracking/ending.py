"""The end of any run: its rows and files in Sacred's record, the mark that it is finished, and what was lost since."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sacred.run import Run

from data.files import atomic
from experiments.tracking.checkpoints import Checkpoint, State, crc32_of, holds
from experiments.tracking.recording import stored_folder

CONTENT_TYPES = {
    **{".png": "image/png", ".csv": "text/csv", ".json": "application/json"},
    **dict.fromkeys((".npy", ".pt"), "application/octet-stream"),
}


def record_row(run: Run, row: Mapping[str, Any]) -> None:
    """Log every number of a row at what it is counted by, which stands first in it."""
    step = next(iter(row.values()))
    for name, value in row.items():
        if isinstance(value, int | float):
            run.log_scalar(name, value, step)


def mark_finished(run: Run, checkpoint: Checkpoint, state: State, files: Sequence[Path]) -> None:
    """Give the record its files, and note in the state which run completed it with which files."""
    for file in files:
        run.add_artifact(str(file), content_type=CONTENT_TYPES[file.suffix])
    state.finished_by = str(run._id)
    state.finished_start = run.start_time.isoformat()  # type: ignore[union-attr] - it has started
    state.delivered = {file.name: crc32_of(file) for file in files}
    checkpoint.save(state)


def name_files(run: Run, files: Sequence[Path]) -> None:
    """Print where the files of a finished run are."""
    print("\n".join(os.path.relpath(stored_folder(run) / file.name) for file in files))


def restore_lost(checkpoint: Checkpoint, state: State, write: Callable[[], Sequence[Path]]) -> None:
    """Put back what a finished run delivered and what has been lost or damaged since, from what `write` can make.

    Pictures and weights are made only while a run is going on: they come back where the copy that the checkpoint
    holds is whole.
    """
    folder, lost = checkpoint.record_of(state), checkpoint.lost(state)
    if not lost:
        return
    made = {file.name: file for file in write()}
    made_once = {n for n, file in made.items() if file.parent != checkpoint.outputs or file.suffix == ".pt"}
    made = {n: f for n, f in made.items() if n not in made_once or holds(f, state.delivered.get(n, crc32_of(f)))}
    back = [name for name in lost if name in made]
    for name in back:
        with atomic(folder / name) as temporary:
            shutil.copyfile(made[name], temporary)
        state.delivered[name] = crc32_of(made[name])
    checkpoint.save(state)
    if back:
        print(f"Lost or damaged in {os.path.relpath(folder)} and written again: {', '.join(back)}")
    if gone := sorted(set(lost) - set(back)):
        print(f"Lost, and drawn only while a run is going on (resume=fresh runs it again): {', '.join(gone)}")
