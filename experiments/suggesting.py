"""A round with a person: what `suggest` does. It trains, measures and asks with the functions of the simulation.

A study lies in a folder of ours: state.json, the last model, and a folder for each list. What its state says has
happened; a process that is killed before is as if it had not begun, and the same command makes the same list.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray
from torch import nn

from data.files import folder_of
from data.names import Refused
from data.notes import GUESSED, LEFT_OUT, WARNING
from data.splits import Splits
from data.store import Images
from experiments.learning.devices import device_of
from experiments.learning.labels import FromDataset
from experiments.learning.querying import QueryOptions
from experiments.learning.randomness import START, generator
from experiments.learning.stop_set import StopSet
from experiments.learning.weights import load_weights, save_weights
from experiments.loop import Row, Study, ask, evidence_of, measure, train
from experiments.rounds import division
from experiments.rounds.made_with import in_words, unlike
from experiments.rounds.place import forget, read
from experiments.rounds.sampling import interval_of
from experiments.rounds.state import Asked, Rounds, checksums, load, save
from experiments.rounds.suiting import keep_suited
from experiments.simulation import check_volumes, first_labels, stop_set_of
from experiments.tasks.task import Definition, Task
from experiments.tracking.checkpoints import Checkpoint, State
from experiments.tracking.options import WHERE
from heuristics.core.registry import Heuristic

TOLD = (WARNING, LEFT_OUT, GUESSED)  # notes of readers that are said at every call
WAIT, NOTHING, FIRST, TRAIN, RECORD = "wait", "nothing", "first", "train", "record"  # what there is to do

Values = dict[str, Any]


@dataclass
class Turn:
    """One call of `suggest`: what was read, and what there is to do."""

    task: str  # segment, classify or detect
    options: Values
    heuristic: Heuristic
    definition: Definition
    checkpoint: Checkpoint
    state: Rounds
    images: Images  # all of the folder
    said: list[str]  # what has changed in it, in sentences
    step: str = WAIT

    @property
    def folder(self) -> Path:
        return self.checkpoint.folder

    @property
    def data_root(self) -> Path:
        return folder_of(self.options["data_root"])

    def of(self, names: list[str]) -> Images:
        """The images of these names, in their order."""
        index = {name: i for i, name in enumerate(self.images.names)}
        return self.images.subset([index[name] for name in names])

    @property
    def train(self) -> Images:
        return self.of(self.state.order)

    @property
    def test(self) -> Images:
        """The test images that are labelled; none where they hold no box, so that nothing can be measured."""
        test = self.of(self.state.test)
        labelled = np.flatnonzero(test.labelled)
        if test.kind == "boxes" and not any(len(test.target(i)) for i in labelled.tolist()):
            labelled = labelled[:0]
        return test.subset(labelled)


def opened(
    task: str,
    definition: Definition,
    options: Values,
    check: Callable[[Values], Heuristic],
    code: str,
    checkpoint: Checkpoint,
) -> Turn:
    """Read the folder and the state of its study, and see what there is to do. The checkpoint is locked.

    `check` refuses what cannot work, and gives the strategy: it sees what was taken from the images too.
    """
    if options["resume"] == "fresh":
        forget(checkpoint.folder)
    state = load(checkpoint.folder)
    given = options
    options, images = read(task, definition, given, state, checkpoint.folder)
    heuristic = check(options)
    if state is None:
        state = division.begin(images, options["n_test"], generator(options["seed"], START, "split"))
    else:
        division.require_classes(state, images)
    said = [f"{kind}: {sentence}" for kind, sentence in images.notes if kind in TOLD]
    said += [division.counted(state, images), *division.take_in(state, images)]
    turn = Turn(task, options, heuristic, definition, checkpoint, state, images, said)
    check_volumes(options, turn.train)
    turn.step = step_of(turn)
    if taken := keep_suited(state, given, options, images.kind, turn.step == TRAIN):
        turn.said.append(taken)
    state.code = state.code or code
    if turn.step == TRAIN and state.code != code:
        turn.said.append(f"The code has changed since the last round (then {state.code}, now {code}).")
        state.code = code
    return turn


def step_of(turn: Turn) -> str:
    """What there is to do now."""
    state, images = turn.state, turn.images
    pending = division.waiting(state, images)
    news = division.is_news(state, images)
    if pending and not (turn.options["accept"] == "some" and news and turn.train.labelled.any()):
        return RECORD if state.recorded < state.round else WAIT
    if not turn.train.labelled.any():
        return FIRST
    if state.round and not news:
        return RECORD if state.recorded < state.round else NOTHING
    return TRAIN


def first_list(turn: Turn) -> None:
    """Ask for the first labels before there is a model, and for those of the test images."""
    options, train = turn.options, turn.train
    n_initial = min(options["n_initial"], len(train))
    if n_initial < options["n_initial"]:
        turn.said.append(f"n_initial={options['n_initial']}, but there are {len(train)} images to learn from: all.")
    task = turn.definition.make_task(options, train)
    splits = Splits(train, None, turn.test)
    chosen = np.flatnonzero(first_labels(task, splits, {**options, "n_initial": n_initial}, supervised=False))
    turn.state.asked = [Asked(train.names[i], "start") for i in chosen.tolist()] + _of_test(turn)
    keep(turn)


def next_round(turn: Turn) -> nn.Module:
    """Train on the labels there are, measure, choose what to ask next; the state is kept when all that is known."""
    options, state, train_images = turn.options, turn.state, turn.train
    torch.use_deterministic_algorithms(device_of(options["device"]).type == "cpu")  # as simulations
    task = turn.definition.make_task(options, train_images)
    labelled, cycle = np.flatnonzero(train_images.labelled), state.round
    splits = splits_of(turn)
    stop_set = stop_set_in(turn, task, splits, labelled)
    study, previous = study_of(turn, task, splits, stop_set), last_model(turn, task)
    begin_training(turn)
    if state.curve and options["metric"] not in state.curve[-1] and previous is not None and len(turn.test):
        state.curve[-1] |= measure(study, cycle - 1, np.arange(state.curve[-1]["n_labelled"]), previous)
    model, trained = train(study, cycle, labelled, previous)
    measured = measure(study, cycle, labelled, model) if len(turn.test) else {"n_labelled": len(labelled)}
    row: Row = {**measured, **trained, "query_seconds": 0.0} | stop_set.measure(cycle, previous, model)
    pool = np.flatnonzero(~train_images.labelled)
    asked: list[Asked] = []
    if len(pool):
        images = stop_set.images
        selection, told = ask(study, cycle, labelled, pool, images, model)
        row |= told
        scores = selection.scores_of_chosen() or [None] * len(selection.chosen)
        chosen = zip(pool[selection.chosen].tolist(), scores, strict=True)
        asked = [Asked(train_images.names[i], "query", score) for i, score in chosen]
    state.sample = sample_of(turn, task, study, cycle, model, row)
    state.trivial = trivial_in_words(task, splits.test, options["metric"])
    file = turn.checkpoint.model_file(cycle)
    save_weights(model, file, train_images.classes)
    state.weights = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    state.asked, state.round = asked + _of_test(turn), cycle + 1
    state.curve.append(row)
    keep(turn)
    turn.checkpoint.forget_before(state.round, options["keep_models"])
    return model


def keep(turn: Turn) -> None:
    """Keep the state of a list that is made: from now on it stands."""
    state = turn.state
    labels, test = checksums(turn.images), set(state.test)
    state.labels = {name: label for name, label in labels.items() if name not in test}
    state.tested = {name: label for name, label in labels.items() if name in test}
    state.picks.append([each.name for each in state.asked if each.part != "test"])
    state.options = {name: value for name, value in turn.options.items() if name not in WHERE}
    state.training = ""
    save(state, turn.folder)


def begin_training(turn: Turn) -> None:
    """Drop an unfinished training of other labels or options than those there are now."""
    state, options = turn.state, {n: v for n, v in turn.options.items() if n not in WHERE}
    said = [state.round, state.order, checksums(turn.train), options, state.code]
    digest = hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:12]
    if state.training != digest:
        turn.checkpoint.training_file.unlink(missing_ok=True)
    state.training = digest
    save(state, turn.folder)


def splits_of(turn: Turn) -> Splits:
    """The images to learn from, to validate with where the folder has a part for that, and to measure with."""
    n_val, images = turn.options["n_val"], turn.images
    val = images.subset(np.flatnonzero((images.parts == "val") & images.labelled)) if n_val else None
    if val is not None and not len(val):
        raise Refused(f"n_val={n_val}, but the folder has no labelled part val: use n_val=0")
    return Splits(turn.train, val, turn.test)


def study_of(turn: Turn, task: Task, splits: Splits, stop_set: StopSet) -> Study:
    """What a round shares with a simulation."""
    options = turn.options
    return Study(
        task=task,
        make_batches=turn.definition.make_batches(options, splits.train),
        splits=splits,
        heuristic=turn.heuristic,
        query=QueryOptions.of(options),
        labels=FromDataset(),
        stop_set=stop_set,
        n_cycles=options["n_cycles"],
        start=options["start"],
        metric=options["metric"],
        seed=options["seed"],
        checkpoint=turn.checkpoint,
        keep_models=options["keep_models"],
        draw=lambda cycle, model, pool, selection: None,
    )


def stop_set_in(turn: Turn, task: Task, splits: Splits, labelled: Int[ndarray, " l"]) -> StopSet:
    """The images on which models are compared: drawn before the first training, and the same ever after."""
    state, names = turn.state, splits.train.names
    at_first = np.zeros(len(names), np.int64)
    at_first[labelled] = 1
    found = stop_set_of(task, splits, State(cycle=0, labelled_map=at_first), turn.options)
    if state.stop is None:
        state.stop = [names[i] for i in found.indices.tolist()]
    index = {name: i for i, name in enumerate(names)}
    found.indices = np.array(sorted(index[name] for name in state.stop), np.int64)
    return found


def last_model(turn: Turn, task: Task) -> nn.Module | None:
    """The model of the round before, or None before the first, and where the options describe another network now."""
    file = turn.checkpoint.model_file(turn.state.round - 1)
    if not turn.state.round or not file.is_file():
        return None
    if others := in_words(unlike(turn.options, turn.state.options)):
        turn.said.append(f"The last model was made with {others} and is not compared with.")
        return None
    try:
        return load_weights(task.make_model(), file).eval()
    except Refused as error:
        turn.said.append(f"The last model is not compared with: {error}.")
        return None


def sample_of(turn: Turn, task: Task, study: Study, cycle: int, model: nn.Module, row: Row) -> list[float]:
    """Value, low and high end of the main metric on the test images; NaN where there are none."""
    options, test = turn.options, study.splits.test
    if not len(test):
        return [nan, nan, nan]
    n_passes = options.get("eval_samples") or options["mc_samples"]
    evidence = evidence_of(task, model, replace(study.query, mc_samples=n_passes), options["seed"], cycle)
    rng = generator(options["seed"], cycle, "stop")
    found = interval_of(task, evidence, test, options, float(row.get(options["metric"], nan)), rng)
    return [found.value, found.low, found.high]


def trivial_in_words(task: Task, test: Images, metric: str) -> str:
    """What a prediction reaches that looks at no image; '' where it has no value."""
    value, which = (task.trivial(test) if len(test) else {}).get(metric, (nan, ""))
    return f"A prediction that looks at no image has {value:.2f} ({which})." if which else ""


def _of_test(turn: Turn) -> list[Asked]:
    """The test images that have no label yet."""
    test = turn.of(turn.state.test)
    return [Asked(test.names[i], "test") for i in np.flatnonzero(~test.labelled).tolist()]
