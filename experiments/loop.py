"""The active-learning loop. One for all tasks: a task is a record of functions."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from baal.active.dataset import ActiveLearningDataset
from jaxtyping import Int
from numpy import ndarray
from torch import nn
from tqdm import tqdm

from data.names import Refused
from data.splits import Splits
from experiments.learning.batches import WithoutTargets
from experiments.learning.evidence import ModelEvidence
from experiments.learning.labels import Labels
from experiments.learning.parallel import first_says, require_alike
from experiments.learning.querying import QueryOptions, Selection, query
from experiments.learning.randomness import torch_seeded
from experiments.learning.stop_set import StopSet
from experiments.learning.teacher import network_of
from experiments.learning.training import fit
from experiments.learning.weights import load_weights
from experiments.tasks.task import MakeBatches, Task
from experiments.tracking.checkpoints import Checkpoint, State
from heuristics.core.registry import Heuristic

Row = dict[str, Any]  # what is recorded of a cycle


@dataclass(frozen=True)
class Study:
    """What all cycles of one run share."""

    task: Task
    make_batches: MakeBatches
    splits: Splits
    heuristic: Heuristic
    query: QueryOptions
    labels: Labels  # who answers
    stop_set: StopSet  # what tells whether the models still change
    n_cycles: int
    start: str  # cold: from new weights each cycle | warm: from the weights of the cycle before
    metric: str  # what validation maximises
    seed: int
    checkpoint: Checkpoint
    keep_models: bool
    draw: Callable[[int, nn.Module, Int[ndarray, " n"], Selection], None]  # sees each choice


def active_learning(study: Study, state: State, record: Callable[[Row], None]) -> State:
    """Train, measure, ask, label, repeat, from wherever `state` stands; `record` gets a row per cycle.

    Returns early where labels that were asked for are not there yet: the same call asks the same again.
    """
    for row in state.curve:
        record(row)  # a resumed run is complete in itself
    images = WithoutTargets(study.splits.train)
    active = ActiveLearningDataset(images, labelled=state.labelled_map)  # type: ignore[arg-type]
    model = _model_of(study, state.cycle - 1) if state.cycle <= study.n_cycles else None
    cycles = range(state.cycle, study.n_cycles + 1)
    for cycle in tqdm(cycles, "cycle", study.n_cycles + 1, initial=state.cycle, dynamic_ncols=True):
        labelled, pool = np.flatnonzero(active.labelled), np.flatnonzero(~active.labelled)
        previous = model
        model, trained = train(study, cycle, labelled, previous)
        row = {**measure(study, cycle, labelled, model), **trained, "query_seconds": 0.0}
        row |= study.stop_set.measure(cycle, previous, model)
        if cycle < study.n_cycles and len(pool):
            selection, asked = ask(study, cycle, labelled, pool, images, model)
            answered = study.labels.of(pool[selection.chosen])
            if answered is None:
                return state
            row |= asked
            positions = np.searchsorted(pool, answered)
            state.picks.append(answered)
            state.scores.append(selection.scores_of(positions))
            active.label(positions.tolist())  # pool-relative, as baal expects
        record(row)
        state.curve.append(row)
        state.labelled_map = active.labelled_map.copy()
        state.cycle = cycle + 1
        study.checkpoint.save_model(model, cycle, study.splits.train.classes)
        study.checkpoint.save(state)
        study.checkpoint.forget_before(state.cycle, study.keep_models)
    return state


def train(
    study: Study, cycle: int, labelled: Int[ndarray, " l"], previous: nn.Module | None
) -> tuple[nn.Module, dict[str, float]]:
    """The model of a cycle, and how its training went."""
    with torch_seeded(study.seed, cycle, "weights"):
        model = study.task.make_model()
    if study.start == "warm" and previous is not None:
        model.load_state_dict(previous.state_dict())
    if study.task.fit is not None:
        told = study.task.fit(model, labelled, cycle)
        require_alike(model, f"the weights after the training of cycle {cycle}")
        return model, told
    batches = study.make_batches(labelled, cycle, previous)
    val, evaluate = study.splits.val, study.task.evaluate
    validate = (lambda m: evaluate(m, val, cycle)[study.metric]) if val else None
    save_to, before_step = study.checkpoint.training_file, study.task.before_step
    trained = fit(model, study.task.loss, batches, before_step=before_step, validate=validate, save_to=save_to)
    told = study.task.report(model, labelled, cycle) if study.task.report else {}
    return model, {**batches.report, **trained, **told}


def measure(study: Study, cycle: int, labelled: Int[ndarray, " l"], model: nn.Module) -> Row:
    """What the model reaches on the test set, which nothing else ever sees."""
    started = time.perf_counter()
    measured = study.task.evaluate(model, study.splits.test, cycle)
    n_validation = len(study.splits.val) if study.splits.val else 0
    seconds = time.perf_counter() - started
    return {"n_labelled": len(labelled), **measured, "n_validation": n_validation, "test_seconds": seconds}


def ask(
    study: Study,
    cycle: int,
    labelled: Int[ndarray, " l"],
    pool: Int[ndarray, " n"],
    images: WithoutTargets,
    model: nn.Module,
) -> tuple[Selection, dict[str, float]]:
    """Which images of the pool to label next, and what the choice took."""
    started = time.perf_counter()
    known = {"labelled": study.splits.train.subset(labelled)}
    known |= {"validation": study.splits.val} if study.splits.val else {}
    task, chooser = study.task, model
    if task.proxy is not None:
        task = task.proxy
        chooser, _ = train(replace(study, task=task, start="cold"), cycle, labelled, None)
    evidence = evidence_of(task, chooser, study.query, study.seed, cycle)
    progress = min(1.0, cycle / max(study.n_cycles - 1, 1))  # a person may go on for ever
    selection = first_says(query(study.heuristic, evidence, images, pool, study.query, known, progress))
    seconds = time.perf_counter() - started
    study.draw(cycle, model, pool, selection)
    return selection, {"query_seconds": seconds, **selection.summary()}


def evidence_of(task: Task, model: nn.Module, options: QueryOptions, seed: int, cycle: int) -> ModelEvidence:
    """The evidence of the model of a cycle."""
    sizes = options.mc_samples, options.query_batch_size, options.memory_limit
    return ModelEvidence(task.evidence, network_of(model), *sizes, seed, cycle, task.look, options.embeddings)


def _model_of(study: Study, cycle: int) -> nn.Module | None:
    """The model that a finished cycle left, or None before the first."""
    if cycle < 0:
        return None
    try:
        return load_weights(study.task.make_model(), study.checkpoint.model_file(cycle)).eval()
    except Refused as error:
        raise Refused(f"{error}; resume=fresh starts this run again") from None
