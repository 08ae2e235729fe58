"""What a finished run leaves in its folder: curve.npy, picks.npy, picks.csv, curve.png, and its table on the screen."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from data.files import atomic
from data.splits import Splits
from experiments.measures.table import is_measured, is_of_class
from experiments.pictures.curve import save_curve
from experiments.tracking.checkpoints import State

FILES = ("curve.npy", "picks.npy", "picks.csv", "curve.png")


def deliver(
    state: State, splits: Splits, folder: Path, title: str, metric: str, trivial: Mapping[str, float]
) -> list[Path]:
    """Write FILES; picks are indices of the whole dataset, as in the files of the command `splits`.

    Returns them and all pictures.
    """
    names, rows = splits.train.names, splits.train.rows
    curve = curve_of(state)
    save_array(folder / "curve.npy", curve)
    start = np.flatnonzero(state.labelled_map == 1)  # labels beyond the start carry higher steps
    save_array(folder / "picks.npy", rows[np.concatenate([start, *state.picks])])
    with atomic(folder / "picks.csv") as temporary, open(temporary, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["cycle", "index", "file", "score"])
        table.writerows(["initial", rows[i], names[i], ""] for i in start.tolist())
        for cycle, picks in enumerate(state.picks):
            scores = state.scores[cycle] or [""] * len(picks)
            table.writerows([cycle, rows[i], names[i], s] for i, s in zip(picks.tolist(), scores, strict=True))
    drawn = [c for c in curve.dtype.names or () if is_measured(c) and not is_of_class(c)]
    metrics = {c: curve[c].tolist() for c in drawn if not np.isnan(curve[c]).all()}
    labels = curve["n_labelled"].tolist()
    save_curve(folder / "curve.png", labels, metrics, title, metric, trivial=trivial)
    return [folder / name for name in FILES] + sorted(folder.glob("maps/*.png"))


def curve_of(state: State) -> ndarray:
    """The curve (T + 1,), with a column for every number that a cycle recorded; NaN where one did not."""
    columns = dict.fromkeys(n for row in state.curve for n, value in row.items() if isinstance(value, int | float))
    rows = [tuple(float(row.get(c, np.nan)) for c in columns) for row in state.curve]
    return np.array(rows, dtype=[(c, "f8") for c in columns])


def column(state: State, metric: str) -> tuple[Float[ndarray, " t"], Float[ndarray, " t"]]:
    """Numbers of labels, and the metric that was reached with them."""
    rows = state.curve
    return np.array([row["n_labelled"] for row in rows], float), np.array([row[metric] for row in rows], float)


def title_of(options: Mapping[str, Any], oracle: bool = False) -> str:
    """What a picture of a run is called; `oracle`: its first labels were drawn with the classes known."""
    start = " (oracle's start)" if oracle else ""
    return f"{options['dataset_title'] or options['dataset']}, {options['heuristic']}, run {options['run']}{start}"


def save_array(file: Path, array: ndarray) -> None:
    with atomic(file) as temporary, open(temporary, "wb") as opened:
        np.save(opened, array)


def save_result(folder: Path, stem: str, values: ndarray) -> Path:
    """<heuristic>_<run>.npy, as the older scripts wrote it, or the next free name where that holds another result."""
    number = 1
    file = folder / f"{stem}.npy"
    while (there := _read_result(file)) is not None and not np.array_equal(there, values):
        number += 1
        file = folder / f"{stem}-{number}.npy"
    if number > 1:
        print(f"{folder / stem}.npy holds another result and is left as it is")
    if there is None:
        save_array(file, values)
    return file


def _read_result(file: Path) -> ndarray | None:
    """The values in a file, or None where there are none, as in one that a power cut left empty."""
    try:
        return np.load(file)
    except (FileNotFoundError, ValueError, EOFError):
        return None


def print_table(state: State, metric: str) -> None:
    """The curve of the run, its main metric first, as wide as the terminal."""
    first = state.curve[0]
    others = [c for c in first if c not in (metric, "n_labelled") and isinstance(first[c], float)]
    shown = [metric, *(c for c in others if not is_of_class(c))]
    shown = shown[: max(1, (os.get_terminal_size().columns if os.isatty(1) else 100) // 14 - 1)]
    print("\n" + "".join(f"{c:>14.13}" for c in ["n_labelled", *shown]))
    for row in state.curve:
        print(f"{row['n_labelled']:>14}" + "".join(f"{row[c]:>14.4f}" for c in shown))


def beside_trivial(metric: str, value: float, trivial: Mapping[str, tuple[float, str]]) -> str:
    """What a value of the main metric, of which more is better, has to be read beside, in words."""
    least, words = trivial[metric]
    line = f"trivial prediction: {metric} {least:.4f} ({words})"
    return line if value > least else f"{line}\nThe model's {metric} of {value:.4f} is no better than that."
