"""The command `check`: all that was read, and about how long a run takes here. Nothing is kept of what it trains."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from data.inventory import lines, take
from data.names import Refused
from data.splits import Splits
from data.store import Images
from experiments.learning.batches import WithoutTargets, equal_size_batches
from experiments.learning.devices import device_of, precision_of
from experiments.learning.querying import QueryOptions, query
from experiments.learning.randomness import START, torch_seeded
from experiments.learning.recipe import Recipe
from experiments.learning.training import fit
from experiments.loop import evidence_of
from experiments.simulation import Begun, Values, check_budget, check_volumes, first_labels, trivial_of
from experiments.tasks.task import Definition, Task
from experiments.tracking.suited import duration

CHANGES_NO_RESULT = True
STEPS = 2  # of a training that are timed, after one that is not


def examine(begun: Begun, definition: Definition, splits: Splits) -> Iterator[str]:
    """What was read, line by line, then about how long a run takes. Refused last, for what a run would be refused."""
    options, metric = begun.options, begun.options["metric"]
    torch.use_deterministic_algorithms(device_of(options["device"]).type == "cpu")  # as runs are
    start = trivial = problem = None
    task = definition.make_task(options, splits.train)
    try:
        trivial = (metric, *trivial_of(task, splits.test, metric)[metric])
        check_budget(options, len(splits.train))
        check_volumes(options, splits.train)
        start = np.flatnonzero(first_labels(task, splits, options, supervised=False))
    except Refused as error:
        problem = error
    yield from lines(take(splits, start, trivial), full=True)
    if problem:
        raise problem
    yield guess(begun, definition, task, splits)


def guess(begun: Begun, definition: Definition, task: Task, splits: Splits) -> str:
    """About how long a run takes, from a few steps and one batch of the real recipe."""
    options, n_cycles, pool = begun.options, begun.options["n_cycles"], len(splits.train)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of measures that few images do not define
        with torch_seeded(options["seed"], START, "weights", device=device_of(options["device"])):
            model = task.make_model()
        step = 0.0 if task.fit else seconds_of_step(model, task, definition, options, splits.train)
        image = seconds_of_test(model, task, options, splits.test)
        asked = seconds_of_asking(model, task, begun, splits)
        fit = seconds_of_fit(model, task, options)
    labelled = [options["n_initial"] + cycle * options["n_query"] for cycle in range(n_cycles + 1)]
    steps = [Recipe.of(options, n).steps for n in labelled]
    validations = sum(-(-n // options["val_every"]) for n in steps) * len(splits.val) if splits.val else 0
    considered = [min(pool - n, options["pool_subset"] or pool) for n in labelled[:-1]]
    parts = {
        f"{_times(n_cycles + 1, 'training')} of {_range(steps)} steps at {step:.2g} s": sum(steps) * step,
        f"{_times(n_cycles + 1, 'fit')} of a head at {fit:.2g} s": (n_cycles + 1) * fit,
        f"tests of {len(splits.test)} images at {image:.2g} s": (n_cycles + 1) * len(splits.test) * image,
        f"validations of {len(splits.val or ())} images": validations * image,
        f"{_times(n_cycles, 'question')} about {_range(considered)} images at {asked:.2g} s": sum(considered) * asked,
    }
    told = ", ".join(words for words, seconds in parts.items() if seconds > 0)
    where = f"{device_of(options['device']).type}, {precision_of(options)}"
    return f"A run takes about {duration(sum(parts.values()))} here ({where}): {told}."


def seconds_of_step(model: nn.Module, task: Task, definition: Definition, options: Values, train: Images) -> float:
    """Seconds of one step of a training; the model is trained by it."""
    batches = definition.make_batches(options, train)(np.arange(options["n_initial"]), START, None)

    def trained(steps: int) -> float:
        recipe = replace(batches.recipe, steps=steps, patience=0)
        return fit(model, task.loss, replace(batches, recipe=recipe), before_step=task.before_step)["train_seconds"]

    trained(1)  # what is done once
    return trained(STEPS) / STEPS


def seconds_of_fit(model: nn.Module, task: Task, options: Values) -> float:
    """Seconds of one training of a model that learns without steps, on as many images as half-way through a run."""
    if task.fit is None:
        return 0.0
    n, fit = options["n_initial"] + options["n_cycles"] * options["n_query"] // 2, task.fit
    return _seconds(lambda: fit(model, np.arange(n), START))


def seconds_of_test(model: nn.Module, task: Task, options: Values, test: Images) -> float:
    """Seconds per image of a batch of the test part."""
    telling = [i for i in range(len(test)) if test.kind != "boxes" or len(test.target(i))]
    images = test.subset(telling)
    batch = images.subset(next(equal_size_batches(images.shapes, options["eval_batch_size"])))
    task.evaluate(model, batch.subset([0]), START)
    return _seconds(lambda: task.evaluate(model, batch, START)) / len(batch)


def seconds_of_asking(model: nn.Module, task: Task, begun: Begun, splits: Splits) -> float:
    """Seconds per image of asking about one batch; 0 for a strategy that cannot be asked about so few."""
    options, n = begun.options, begun.options["n_initial"]
    pool = np.arange(n, len(splits.train))[: options["query_batch_size"]]
    if not options["n_cycles"] or not len(pool):
        return 0.0
    known = {"labelled": splits.train.subset(np.arange(n))} | ({"validation": splits.val} if splits.val else {})
    one = replace(QueryOptions.of(options), n_query=1, pool_subset=0)
    if task.proxy is not None and task.proxy.fit is not None:
        task, model = task.proxy, task.proxy.make_model()
        task.fit(model, np.arange(n), START)  # type: ignore[misc] - it has one
    evidence = evidence_of(task, model, one, options["seed"], START)
    images = WithoutTargets(splits.train)
    try:
        return _seconds(lambda: query(begun.heuristic, evidence, images, pool, one, known)) / len(pool)
    except Refused:
        return 0.0


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _range(numbers: list[int]) -> str:
    low, high = min(numbers, default=0), max(numbers, default=0)
    return str(low) if low == high else f"{low} to {high}"


def _times(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"
