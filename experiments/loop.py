"""The active-learning loop. One for all tasks: a task is a record of functions."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from baal.active.dataset import ActiveLearningDataset
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn
from tqdm import tqdm

from data.splits import Splits
from data.store import Images
from experiments.learning.querying import Answer, Asking, WithoutTargets, query
from experiments.learning.randomness import torch_seeded
from experiments.learning.training import Batch, TrainingBatches, fit
from experiments.tracking.checkpoints import Checkpoint, State, load_weights
from heuristics.core.registry import Heuristic

# A prediction that looks at no image: metric -> its value, and the prediction in words.
Trivial = dict[str, tuple[float, str]]


@dataclass(frozen=True)
class Task:
    """What a task is: everything that classification, segmentation and detection do differently."""

    make_model: Callable[[], nn.Module]  # with dropout, unpatched, on its device
    loss: Callable[[nn.Module, Batch], Float[Tensor, ""]]
    evidence: Callable[[nn.Module, Tensor, frozenset[str], int, int], dict[str, Any]]  # model, images, wanted, mc_samples, masks_seed
    evaluate: Callable[[nn.Module, Images, int], dict[str, Any]]  # model, images with targets, cycle -> metrics
    trivial: Callable[[Images], Trivial]  # images with targets -> the yardstick of their metrics


# The training batches of a cycle from the labelled indices, the cycle and the model of the cycle before (for pseudo-labels).
MakeBatches = Callable[[Int[ndarray, " l"], int, nn.Module | None], TrainingBatches]


@dataclass(frozen=True)
class Budget:
    """How many labels are bought, and how a cycle starts."""

    n_cycles: int
    start: str = "cold"  # cold: from new weights each cycle | warm: from the weights of the cycle before
    metric: str = "dice"  # what validation maximises
    precision: str = "float32"
    keep_models: bool = False


def active_learning(
    task: Task,
    make_batches: MakeBatches,
    splits: Splits,
    heuristic: Heuristic,
    state: State,
    asking: Asking,
    budget: Budget,
    seed: int,
    checkpoint: Checkpoint,
    record: Callable[[dict[str, Any]], None],
    draw: Callable[[int, nn.Module, Int[ndarray, " n"], Answer], None],
) -> State:
    """Train, test, label, repeat, from wherever `state` stands; `record` gets a row per cycle, `draw` sees each choice."""
    images = WithoutTargets(splits.train)
    active = ActiveLearningDataset(images, labelled=state.labelled_map)  # type: ignore[arg-type]
    previous = _model_of(task, checkpoint, state.cycle - 1)
    for row in state.curve:
        record(row)  # a resumed run is complete in itself
    for cycle in tqdm(range(state.cycle, budget.n_cycles + 1), "cycle", budget.n_cycles + 1, initial=state.cycle, dynamic_ncols=True):
        with torch_seeded(seed, cycle, "weights"):
            model = task.make_model()
        if budget.start == "warm" and previous is not None:
            model.load_state_dict(previous.state_dict())
        labelled = np.flatnonzero(active.labelled)
        batches = make_batches(labelled, cycle, previous)
        trained = fit(
            model,
            task.loss,
            batches,
            precision=budget.precision,
            validate=(lambda m, v=splits.val, c=cycle: task.evaluate(m, v, c)[budget.metric]) if splits.val else None,
            save_to=checkpoint.training_file,
        )
        started = time.perf_counter()
        row = {"n_labelled": len(labelled), **task.evaluate(model, splits.test, cycle)}
        row |= {"n_validation": len(splits.val) if splits.val else 0, **batches.report, **trained}
        row["test_seconds"] = time.perf_counter() - started
        row["query_seconds"] = 0.0
        if cycle < budget.n_cycles and active.n_unlabelled:
            started = time.perf_counter()
            pool = np.flatnonzero(~active.labelled)
            known = {"labelled": splits.train.subset(labelled)} | ({"validation": splits.val} if splits.val else {})
            answer = query(heuristic, task, model, images, pool, asking, seed, cycle, known)
            row |= {"query_seconds": time.perf_counter() - started, **answer.summary()}
            state.picks.append(pool[answer.chosen])
            state.scores.append(answer.scores_of_chosen())
            draw(cycle, model, pool, answer)
            active.label(answer.chosen.tolist())  # pool-relative, as baal expects
        record(row)
        state.curve.append(row)
        state.labelled_map = active.labelled_map.copy()
        state.cycle = cycle + 1
        checkpoint.save_model(model, cycle)
        checkpoint.save(state)
        checkpoint.forget_before(state.cycle, budget.keep_models)
        previous = model
    return state


def _model_of(task: Task, checkpoint: Checkpoint, cycle: int) -> nn.Module | None:
    """The model that a finished cycle left, or None before the first."""
    if cycle < 0:
        return None
    model = task.make_model()
    load_weights(model, checkpoint.model_file(cycle))
    return model.eval()
