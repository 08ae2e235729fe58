"""One simulated study, from options to the last cycle: the division of the data, the first labels, and the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray
from torch import nn

from data.files import under_root
from data.inventory import Inventory, take
from data.names import Missing, Refused
from data.splits import Splits, initial, make_splits, read_splits
from data.store import Images
from experiments.learning.batches import WithoutTargets
from experiments.learning.devices import device_of
from experiments.learning.features import features_of
from experiments.learning.labels import FromDataset
from experiments.learning.parallel import alone
from experiments.learning.querying import QueryOptions, Selection
from experiments.learning.randomness import START, generator, torch_seeded
from experiments.learning.stop_set import StopSet
from experiments.learning.weights import classes_of, load_weights
from experiments.loop import Row, Study, active_learning, evidence_of
from experiments.tasks.task import Definition, Task, Trivial
from experiments.tracking.checkpoints import Begun, Checkpoint, State, data_digest
from heuristics.core.initial import STARTS, start
from heuristics.core.units import members, whole

Values = Mapping[str, Any]


def splits_of(images: Images, options: Values) -> Splits:
    """Pool, validation and test set of this run."""
    if options["splits_dir"]:
        return read_splits(images, under_root(options["splits_dir"]))
    seed = options["seed"] if options["split_seed"] < 0 else options["split_seed"]
    return make_splits(images, options["n_val"], generator(seed, START, "split"))


def identity(splits: Splits) -> str:
    """Digest of the data of a run and their division."""
    return data_digest(splits.train, splits.val, splits.test)


def check_budget(options: Values, n_pool: int) -> None:
    """Refuse to spend more labels than the pool has."""
    n_initial, n_query, n_cycles = options["n_initial"], options["n_query"], options["n_cycles"]
    if n_initial > n_pool:
        raise Refused(f"n_initial={n_initial}, but the pool has {n_pool} images")
    spent = n_initial + n_query * n_cycles
    if spent > n_pool:
        most = (n_pool - n_initial) // n_query
        raise Refused(
            f"n_initial={n_initial} + n_cycles={n_cycles} x n_query={n_query} are {spent} labels, "
            f"but the pool has {n_pool} images; n_cycles={most} is the most"
        )


def check_volumes(options: Values, train: Images) -> None:
    """Refuse options for volumes where the pool has none, and to pay less in a cycle than the largest of them costs."""
    asked = "unit=volume" if options["unit"] == "volume" else f"apart={options['apart']}" if options["apart"] else ""
    if asked and not (train.volumes != "").any():
        raise Refused(f"{asked} needs volumes, which dataset {train.dataset!r} does not have: use unit=slice, apart=0")
    if options["unit"] == "volume":
        names, sizes = np.unique(train.volumes[train.volumes != ""], return_counts=True)
        largest, name = int(sizes.max()), names[sizes.argmax()]
        for option in ("n_initial", "n_query"):
            if options[option] < largest:
                costs = f"unit=volume pays for whole volumes, and the largest of the pool, {name}, has {largest} slices"
                raise Refused(f"{option}={options[option]}: {costs}; use {option}={largest} or more")


def simulate(
    begun: Begun,
    definition: Definition,
    splits: Splits,
    record: Callable[[Row], None],
    supervised: bool = False,
    tell: Callable[[Inventory], None] = lambda found: None,
) -> tuple[State, Trivial]:
    """Go on from the saved state, or begin: the state of the finished run, and what its numbers are read beside.

    `supervised` trains once on the whole pool. `tell` hears what was read before anything is trained.
    """
    options, checkpoint, state = begun.options, begun.checkpoint, begun.state
    if not supervised:
        check_budget(options, len(splits.train))
        check_volumes(options, splits.train)
    torch.use_deterministic_algorithms(device_of(options["device"]).type == "cpu")  # a GPU keeps its fast kernels
    task = definition.make_task(options, splits.train)
    if state is None:
        state = State(cycle=0, labelled_map=first_labels(task, splits, options, supervised), data=identity(splits))
    if not state.finished_by:  # else nothing is trained: only its record is made again
        state.code = begun.code
    checkpoint.save(state)  # what an unfinished training belongs to
    start = None if supervised else np.flatnonzero(state.labelled_map == 1)  # labels beyond it carry higher steps
    trivial = trivial_of(task, splits.test, options["metric"])
    tell(take(splits, start, (options["metric"], *trivial[options["metric"]])))
    watch = definition.draw_picks(options, task, splits.train)

    def draw(cycle: int, model: nn.Module, pool: Int[ndarray, " n"], selection: Selection) -> None:
        if options["save_maps"]:
            with alone():
                watch(checkpoint.outputs, cycle, model, pool, selection)

    study = Study(
        task=task,
        make_batches=definition.make_batches(options, splits.train),
        splits=splits,
        heuristic=begun.heuristic,
        query=QueryOptions.of(options),
        labels=FromDataset(),
        stop_set=stop_set_of(task, splits, state, options),
        n_cycles=0 if supervised else options["n_cycles"],
        start=options["start"],
        metric=options["metric"],
        seed=options["seed"],
        checkpoint=checkpoint,
        keep_models=options["keep_models"],
        draw=draw,
    )
    return active_learning(study, state, record), trivial


def trivial_of(task: Task, test: Images, metric: str) -> Trivial:
    """What the numbers of a test part are read beside. Refused where the main metric has no value on it."""
    trivial = task.trivial(test)
    if metric not in trivial:
        raise Refused(f"metric {metric!r} has no value on the test part of {test.dataset!r}: use another one")
    return trivial


def first_labels(task: Task, splits: Splits, options: Values, supervised: bool) -> Int[ndarray, " n"]:
    """1 for the images that are labelled before the first training: all, or `n_initial` chosen as `initial` says.

    With unit=volume they are whole volumes of at most so many slices.
    """
    seed, how, n_initial = options["seed"], options["initial"], options["n_initial"]
    rng = generator(seed, START, "initial")
    labelled = np.zeros(len(splits.train), dtype=np.int64)
    n_classes = len(splits.train.classes) if splits.train.kind == "class" else 0
    if supervised:
        labelled[:] = 1
    elif how in STARTS and not _is_own(splits.train, options):
        embeddings = features_of(splits.train).of(splits.train.rows)
        labelled[start(how, embeddings, n_initial, rng, n_classes)] = 1
    elif how in STARTS:  # on what the first model, as it is given, makes of the images
        with torch_seeded(seed, START, "weights"):
            model = task.make_model()
        own = replace(QueryOptions.of(options), embeddings="model")  # whatever strategies see later
        evidence = evidence_of(task, model, own, seed, START)
        embeddings = evidence.embed(WithoutTargets(splits.train), np.arange(len(splits.train)))
        labelled[start(how, embeddings, n_initial, rng, n_classes)] = 1
    elif options["unit"] == "volume":
        volumes = members(splits.train.volumes)
        taken = whole(rng.permutation(len(volumes)), np.array([len(v) for v in volumes]), n_initial)
        labelled[np.concatenate([volumes[v] for v in taken])] = 1
    else:
        labelled[initial(splits.train.groups, n_initial, rng, how == "stratified")] = 1
    return labelled


def stop_set_of(task: Task, splits: Splits, state: State, options: Values) -> StopSet:
    """`n_stop` images drawn from those that are not labelled at the start, or all of these where they are fewer."""
    unlabelled = np.flatnonzero(state.labelled_map != 1)  # later labels carry higher steps: the same after a restart
    rng = generator(options["seed"], START, "stop")
    drawn = np.sort(rng.permutation(unlabelled)[: options["n_stop"]])
    query = QueryOptions.of(options)
    evidence = lambda model, cycle: evidence_of(task, model, query, options["seed"], cycle)  # noqa: E731
    return StopSet(WithoutTargets(splits.train), drawn, evidence, task.predicts)


def _is_own(images: Images, options: Values) -> bool:
    """Whether the features of these images are those of the first model as it is given."""
    return features_of(images).frozen.name == "untrained" and options.get("train") != "head"


def evaluate_saved(begun: Begun, definition: Definition, splits: Splits) -> tuple[Path, Images, Row, Trivial]:
    """A saved model, the images of the split that it is measured on, its metrics, and what they are read beside."""
    options = begun.options
    images = {"train": splits.train, "val": splits.val, "test": splits.test}[options["split"]]
    if images is None:
        way_out = "set n_val to at least 1, or use split=test"
        raise Refused(f"split=val, but this division has no validation images: {way_out}")
    file = under_root(options["checkpoint"]) if options["checkpoint"] else _last_model(begun.checkpoint)
    if not file.is_file():
        raise Missing(f"no model at {file}: give checkpoint=<file>, or run the same command without `evaluate` first")
    images = matched(images, file)
    task = definition.make_task(options, images)
    model = load_weights(task.make_model(), file).eval()
    return file, images, task.evaluate(model, images, START), task.trivial(images)


def matched(images: Images, file: Path) -> Images:
    """The images with their classes in the order in which the model in a file was trained on them, matched by name.

    Refused where it was not trained on one of them. Older files do not name their classes, which is said.
    """
    trained_on = classes_of(file)
    if not trained_on:
        order = f"taken to be {', '.join(images.classes)}, in this order"
        print(f"{file} does not say which classes it was trained on: they are {order}.")
        return images
    try:
        found = images.ordered(trained_on)
    except Refused as error:
        raise Refused(f"{file} was trained on other classes: {error}") from None
    if absent := [name for name in trained_on if name not in images.classes]:
        print(f"{file} also knows {', '.join(map(repr, absent))}, which {images.dataset!r} does not have.")
    if found is not images:
        print(f"Classes are matched by name, in the order of {file.name}: {', '.join(trained_on)}.")
    return found


def _last_model(checkpoint: Checkpoint) -> Path:
    state = checkpoint.load()
    return checkpoint.model_file(state.cycle - 1 if state else 0)
