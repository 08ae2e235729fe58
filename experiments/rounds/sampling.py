"""The main metric of a model on the test images, with its interval over patients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import nan
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy import ndarray
from torch import nn

from data.store import Images
from experiments.learning.batches import WithoutTargets
from experiments.learning.evidence import ModelEvidence
from experiments.measures.classification import classification_metrics
from experiments.measures.detection import DetectionScores
from experiments.measures.table import unit_of
from experiments.stopping.sample import Interval, mean_of, sampled
from experiments.tasks.task import Task

RULES = ("convention", "criterion", "iou", "second_hit", "by_class", "size_edges")  # how boxes are counted
MEANS = ("dice", "iou", "hd95")  # of maps: those that are means over images; others have no interval here
RESAMPLES, OF_BOXES = 1000, 200  # a metric of boxes takes about 20 ms each

Values = Mapping[str, Any]
Measure = Callable[[Int[ndarray, " n"]], float]


def interval_of(
    task: Task, evidence: ModelEvidence, test: Images, options: Values, value: float, rng: np.random.Generator
) -> Interval:
    """The interval around the `value` that was measured; NaN ends where none can be told."""
    metric = str(options["metric"])
    if test.kind == "class":
        measure = _of_classes(evidence, test, metric)
    elif test.kind == "boxes":
        measure = _of_boxes(evidence, test, metric, options)
    else:
        measure = _of_maps(task, evidence.model, test, metric, evidence.cycle)
    if measure is None:
        return Interval(value)
    n = OF_BOXES if test.kind == "boxes" else RESAMPLES
    found = sampled(measure, test.patients, rng, n_resamples=n, share=not unit_of(metric))
    return Interval(value, found.low, found.high)


def _of_classes(evidence: ModelEvidence, test: Images, metric: str) -> Measure:
    name = "mc_mean" if metric.startswith("mc_") else "probs"
    indices = np.arange(len(test))
    probs = evidence.stacked(WithoutTargets(test), indices, frozenset({name}), "test")[name].cpu().double().numpy()
    probs /= probs.sum(1, keepdims=True)
    truth, name = np.array([int(test.target(i)) for i in range(len(test))]), metric.removeprefix("mc_")
    if name == "accuracy":
        return mean_of((probs.argmax(1) == truth).astype(float))

    def measure(positions: Int[ndarray, " n"]) -> float:
        return float(classification_metrics(probs[positions], truth[positions])[name])  # type: ignore[arg-type]

    return measure


def _of_boxes(evidence: ModelEvidence, test: Images, metric: str, options: Values) -> Measure:
    found: list[Any] = [None] * len(test)
    for positions, batch in evidence.stream(
        WithoutTargets(test), np.arange(len(test)), frozenset({"detections"}), "test"
    ):
        for position, detections in zip(positions, batch["detections"], strict=True):
            found[position] = detections
    targets = [test.target(i) for i in range(len(test))]

    def measure(positions: Int[ndarray, " n"]) -> float:
        scores = DetectionScores(len(test.classes), **{name: options[name] for name in RULES})
        scores.add([found[i] for i in positions], [targets[i] for i in positions])
        return float(scores.summary().get(metric, nan))  # type: ignore[arg-type]

    return measure


def _of_maps(task: Task, model: nn.Module, test: Images, metric: str, cycle: int) -> Measure | None:
    if metric.removeprefix("mc_") not in MEANS:
        return None
    values = [task.evaluate(model, test.subset([i]), cycle).get(metric, nan) for i in range(len(test))]
    return mean_of(np.array(values, float))
