"""One simulated study, from options to deliverables: what `main` and `supervised` of every script do."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray
from sacred.run import Run
from torch import nn

from analysis.curves import aubc
from data.splits import Splits, initial, make_splits, read_splits
from data.store import Images
from experiments.learning.querying import Answer, Asking, WithoutTargets, embed
from experiments.learning.randomness import generator, torch_seeded
from experiments.learning.training import Recipe
from experiments.loop import Budget, MakeBatches, Task, Trivial, active_learning
from experiments.measures.table import is_of_class
from experiments.pictures.plots import save_curve
from experiments.tracking.checkpoints import Checkpoint, State, atomic, code_digest, data_digest, load_weights, run_key
from experiments.tracking.common import device_of, open_state, runs_folder, stored_folder, under_root
from heuristics import get as get_heuristic
from heuristics.core.initial import STARTS
from heuristics.core.registry import Heuristic

Watch = Callable[[Path, int, nn.Module, ndarray, Answer], Path]  # folder, cycle, model, pool, answer -> the picture it drew
MoreFiles = Callable[[State, Path, Mapping[str, Any], Images], list[Path]]  # what one task alone delivers
CONTENT_TYPES = {".png": "image/png", ".csv": "text/csv", ".npy": "application/octet-stream"}


def identity(splits: Splits) -> str:
    """Digest of the data of a run and their division."""
    return data_digest(splits.train, splits.val, splits.test)


def splits_of(images: Images, options: Mapping[str, Any]) -> Splits:
    """Pool, validation and test set of this run."""
    if options["splits_dir"]:
        return read_splits(images, under_root(options["splits_dir"]))
    seed = options["seed"] if options["split_seed"] < 0 else options["split_seed"]
    return make_splits(images, options["n_val"], generator(seed, 0, "split"))


def recipe_of(options: Mapping[str, Any], n_labelled: int) -> Recipe:
    """How to train on this many labelled images; epochs are turned into steps."""
    steps = options["steps"] or max(1, options["epochs"] * options["repeats"] * n_labelled // options["batch_size"])
    shared = {name: options[name] for name in Recipe.__dataclass_fields__ if name in options and name != "steps"}
    return Recipe(**{**shared, "steps": steps})


def check_budget(options: Mapping[str, Any], n_pool: int) -> None:
    """Refuse to spend more labels than the pool has."""
    spent = options["n_initial"] + options["n_query"] * options["n_cycles"]
    if options["n_initial"] > n_pool:
        raise ValueError(f"n_initial={options['n_initial']}, but the pool has {n_pool} images")
    if spent > n_pool:
        most = (n_pool - options["n_initial"]) // options["n_query"]
        raise ValueError(
            f"n_initial={options['n_initial']} + n_cycles={options['n_cycles']} x n_query={options['n_query']} are {spent} labels, "
            f"but the pool has {n_pool} images; n_cycles={most} is the most"
        )


def heuristic_of(options: Mapping[str, Any]) -> Heuristic:
    """The query strategy with its options."""
    return get_heuristic(options["heuristic"], **options["heuristic_options"])


def asking_of(options: Mapping[str, Any]) -> Asking:
    """How the pool is asked."""
    shared = {name: options[name] for name in Asking.__dataclass_fields__ if name in options and name != "batch_size"}
    return Asking(batch_size=options["query_batch_size"], **shared)


def simulate(
    run: Run,
    command: str,
    options: Mapping[str, Any],
    task: Task,
    splits: Splits,
    make_batches: MakeBatches,
    watch: Watch,
    more_files: MoreFiles | None = None,
) -> float:
    """Run active learning (`main`) or train once on everything (`supervised`); returns the area under the main curve.

    `watch(folder, cycle, model, pool, answer)` draws what was chosen, below the folder, where `save_maps` asks for it; `more_files` writes
    what this task alone delivers.
    """
    supervised = command == "supervised"
    if not supervised:
        check_budget(options, len(splits.train))
    torch.use_deterministic_algorithms(device_of(options["device"]).type == "cpu")  # a GPU keeps its fast kernels
    checkpoint = checkpoint_of(run, command, options)
    with checkpoint.lock():
        state = open_state(checkpoint, identity(splits), options["resume"])
        if state is None:
            state = State(cycle=0, labelled_map=_first_labels(task, splits, options, supervised), data=identity(splits))
        else:
            print(f"Continuing after {state.cycle} finished cycles.")
        state.code = code_digest()
        checkpoint.save(state)  # what an unfinished training belongs to

        def draw(cycle: int, model: nn.Module, pool: ndarray, answer: Answer) -> None:
            if options["save_maps"]:
                watch(checkpoint.outputs, cycle, model, pool, answer)

        shared = {name: options[name] for name in ("start", "metric", "precision", "keep_models")}
        budget = Budget(n_cycles=0 if supervised else options["n_cycles"], **shared)
        state = active_learning(
            task, make_batches, splits, heuristic_of(options), state, asking_of(options), budget, options["seed"], checkpoint,
            record=lambda row: _record(run, row), draw=draw,
        )  # fmt: skip
        trivial = task.trivial(splits.test)
        run.info["trivial"] = {name: value for name, (value, _) in trivial.items()}
        files = deliver(state, splits, checkpoint.outputs, options)
        files += more_files(state, checkpoint.outputs, options, splits.test) if more_files else []
        for file in files:
            run.add_artifact(str(file), content_type=CONTENT_TYPES[file.suffix])
        if options["results_dir"]:
            stem = f"{'supervised' if supervised else options['heuristic']}_{options['run']}"
            print(_save_result(under_root(options["results_dir"]), stem, _column(state, options["metric"])[1]))
        if run._id is not None:
            state.finished_by = str(run._id)
            checkpoint.save(state)
    result = aubc(*_column(state, options["metric"]))
    _print_table(state, options["metric"])
    print(f"area under the curve of {options['metric']}: {result:.4f}")
    print(beside_trivial(options["metric"], state.curve[-1][options["metric"]], trivial))
    print("\n".join(os.path.relpath(stored_folder(run) / file.name) for file in files))
    return result


def checkpoint_of(run: Run, command: str, options: Mapping[str, Any]) -> Checkpoint:
    """Where this run keeps what a restart needs."""
    return Checkpoint(runs_folder(), run_key(f"{run.experiment_info['name']}-{command}", options))


def evaluate_saved(run: Run, options: Mapping[str, Any], splits: Splits, task: Task) -> float:
    """Metrics of a saved model on a split, as a table and as Sacred metrics; returns the main one."""
    images = {"train": splits.train, "val": splits.val, "test": splits.test}[options["split"]]
    if images is None:
        raise ValueError("split=val, but this division has no validation images: set n_val to at least 1, or use split=test")
    file = under_root(options["checkpoint"]) if options["checkpoint"] else _last_model(checkpoint_of(run, "main", options))
    if not file.is_file():
        raise FileNotFoundError(f"no model at {file}: give checkpoint=<file>, or run the same command without `evaluate` first")
    model = task.make_model()
    load_weights(model, file)
    row = task.evaluate(model.eval(), images, 0)
    _record(run, {"n_labelled": 0, **row})  # a saved model does not say on how many labels it was trained
    print(f"{file} on {len(images)} images ({options['split']})")
    measured, trivial = {n: v for n, v in row.items() if isinstance(v, float)}, task.trivial(images)
    width = max(28, *map(len, measured))
    print(f"{'':>{width}}  {'value':>9}  {'trivial':>9}")
    for name, value in measured.items():
        print(f"{name:>{width}}  {value:>9.4f}" + (f"  {trivial[name][0]:>9.4f}" if name in trivial else ""))
    print(beside_trivial(options["metric"], row[options["metric"]], trivial))
    return row[options["metric"]]


def beside_trivial(metric: str, value: float, trivial: Trivial) -> str:
    """What a value of the main metric, of which more is better, has to be read beside, in words."""
    least, words = trivial[metric]
    line = f"trivial prediction: {metric} {least:.4f} ({words})"
    return line if value > least else f"{line}\nThe model's {metric} of {value:.4f} is no better than that."


def _last_model(checkpoint: Checkpoint) -> Path:
    state = checkpoint.load()
    return checkpoint.model_file(state.cycle - 1 if state else 0)


def _first_labels(task: Task, splits: Splits, options: Mapping[str, Any], supervised: bool) -> Int[ndarray, " n"]:
    """1 for the images that are labelled before the first training: all of them, or `n_initial` chosen as `initial` says."""
    seed, how, n_initial = options["seed"], options["initial"], options["n_initial"]
    rng = generator(seed, 0, "initial")
    labelled = np.zeros(len(splits.train), dtype=np.int64)
    if supervised:
        labelled[:] = 1
    elif how in STARTS:  # what the first model makes of the images before any training: its given weights decide what that is worth
        with torch_seeded(seed, 0, "weights"):
            model = task.make_model()
        everything = np.arange(len(splits.train))
        embeddings = embed(task, model, WithoutTargets(splits.train), everything, asking_of(options), seed, 0)
        labelled[STARTS[how](embeddings, n_initial, rng)] = 1
    else:
        labelled[initial(splits.train.groups, n_initial, rng, how == "stratified")] = 1
    return labelled


def _record(run: Run, row: Mapping[str, Any]) -> None:
    for name, value in row.items():
        if isinstance(value, int | float):
            run.log_scalar(name, value, row["n_labelled"])


def _column(state: State, metric: str) -> tuple[ndarray, ndarray]:
    rows = state.curve
    return np.array([row["n_labelled"] for row in rows], dtype=float), np.array([row[metric] for row in rows], dtype=float)


def deliver(state: State, splits: Splits, folder: Path, options: Mapping[str, Any]) -> list[Path]:
    """Write curve.npy, picks.npy, picks.csv and curve.png; picks are indices of the whole dataset, as in the CSVs of data.splits."""
    names, rows = splits.train.names, splits.train.rows
    files = [folder / name for name in ("curve.npy", "picks.npy", "picks.csv", "curve.png")]
    columns = list(dict.fromkeys(name for row in state.curve for name, value in row.items() if isinstance(value, int | float)))
    curve = np.array([tuple(float(row.get(c, np.nan)) for c in columns) for row in state.curve], dtype=[(c, "f8") for c in columns])
    _save_array(files[0], curve)
    start = np.flatnonzero(state.labelled_map == 1)  # labels beyond the start carry higher steps
    _save_array(files[1], rows[np.concatenate([start, *state.picks])])
    with atomic(files[2]) as temporary, open(temporary, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["cycle", "index", "file", "score"])
        table.writerows(["initial", rows[i], names[i], ""] for i in start.tolist())
        for cycle, picks in enumerate(state.picks):
            scores = state.scores[cycle] or [""] * len(picks)
            table.writerows([cycle, rows[i], names[i], s] for i, s in zip(picks.tolist(), scores, strict=True))
    title = f"{options['dataset']}, {options['heuristic']}, run {options['run']}"
    aside = ("n_labelled", "n_validation", "train_seconds", "test_seconds", "query_seconds", "loader_share")
    drawn = [c for c in columns if c not in aside and not c.startswith("score_") and not is_of_class(c)]
    metrics = {c: curve[c].tolist() for c in drawn if not np.isnan(curve[c]).all()}
    save_curve(files[3], curve["n_labelled"].tolist(), metrics, title, options["metric"])
    return files + sorted(folder.glob("maps/*.png"))


def _save_array(file: Path, array: ndarray) -> None:
    with atomic(file) as temporary, open(temporary, "wb") as opened:
        np.save(opened, array)


def _save_result(folder: Path, stem: str, values: ndarray) -> Path:
    """<heuristic>_<run>.npy, as the older scripts wrote it, or the next free name where that holds another result."""
    number = 1
    file = folder / f"{stem}.npy"
    while file.exists() and not np.array_equal(np.load(file), values):
        number += 1
        file = folder / f"{stem}-{number}.npy"
    if number > 1:
        print(f"{folder / stem}.npy holds another result and is left as it is")
    if not file.exists():
        _save_array(file, values)
    return file


def _print_table(state: State, metric: str) -> None:
    first = state.curve[0]
    others = [c for c in first if c not in (metric, "n_labelled") and isinstance(first[c], float)]
    shown = [metric, *(c for c in others if not is_of_class(c))]
    shown = shown[: max(1, (os.get_terminal_size().columns if os.isatty(1) else 100) // 14 - 1)]
    print("\n" + "".join(f"{c:>14.13}" for c in ["n_labelled", *shown]))
    for row in state.curve:
        print(f"{row['n_labelled']:>14}" + "".join(f"{row[c]:>14.4f}" for c in shown))
