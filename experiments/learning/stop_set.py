"""The stop set: a fixed part of the pool whose predictions are compared from model to model; its labels are not asked.

An image of it may be picked and labelled later, and stays: a set that lost the images that a strategy finds hard would
seem to calm down.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import log, nan
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn

from experiments.learning.batches import WithoutTargets
from experiments.learning.evidence import ModelEvidence
from experiments.stopping.agreement import BOXES, CLASSES, MAPS, Predictions, agreement, changed
from heuristics.core.evidence import entropy_of, likeliest

SIDE = 64  # pixels of the longer side of a map that is compared
CERTAIN = 0.5  # least score of a box that is compared


class StopSet:
    """Images whose predictions by the last model are kept in memory; a restart makes them again from that model."""

    def __init__(
        self,
        images: WithoutTargets,
        indices: Int[ndarray, " n"],
        evidence: Callable[[nn.Module, int], ModelEvidence],  # of the model of a cycle
        wanted: str,  # the evidence that is the task's prediction: probs or detections
    ):
        self.images, self.indices, self.evidence, self.wanted = images, indices, evidence, wanted
        self._last: Predictions | None = None

    def measure(self, cycle: int, previous: nn.Module | None, model: nn.Module) -> dict[str, float]:
        """Columns of a cycle: uncertainty of its model, and how far it agrees with the previous one, if there is one.

        stop_uncertainty  mean over the images of the entropy over the C classes by ln C, 0..1: that of an image, mean
                          over its pixels, or the largest of its boxes (0 without a box)
        stop_agreement    kappa, Dice or F1, see `experiments.stopping.agreement`; NaN where nothing is found
        stop_changed      share of the images, of the pixels, or of the images with another box
        stop_seconds      time that all this took
        """
        if not len(self.indices):
            return {}
        started = time.perf_counter()
        if self._last is None and previous is not None:
            self._last = self.predict(previous, cycle - 1)
        before, self._last = self._last, self.predict(model, cycle)
        row = {"stop_uncertainty": self._last.uncertainty}
        if before is not None:
            row |= {"stop_agreement": agreement(before, self._last), "stop_changed": changed(before, self._last)}
        return row | {"stop_seconds": time.perf_counter() - started}

    def predict(self, model: nn.Module, cycle: int) -> Predictions:
        """What a model says of the images, in their order."""
        found: list[Any] = [None] * len(self.indices)
        doubt = np.zeros(len(self.indices))
        evidence, wanted = self.evidence(model, cycle), frozenset({self.wanted})
        kind = CLASSES
        for positions, (of, made, doubts) in evidence.stream(self.images, self.indices, wanted, "stop set", _said):
            kind, doubt[positions] = of, doubts
            for position, prediction in zip(positions, made, strict=True):
                found[position] = prediction
        whole = np.array(found, dtype=np.int64) if kind == CLASSES else found
        return Predictions(kind, whole, float(doubt.mean()) if len(doubt) else nan)


def _said(evidence: dict[str, Any]) -> tuple[str, list, ndarray | list[float]]:
    """Of a batch the kind of its predictions, those of its images, and their uncertainty."""
    if "detections" in evidence:
        images = evidence["detections"]
        return BOXES, [_boxes(image) for image in images], [doubt_of_boxes(image["probs"]) for image in images]
    probs = evidence["probs"]
    entropy = entropy_of(probs).reshape(len(probs), -1).mean(1).cpu().double().numpy()
    return (MAPS if probs.ndim > 2 else CLASSES), list(_labels(probs)), entropy / most_doubt(probs)


def _labels(probs: Float[Tensor, "b c *s"]) -> ndarray:
    """The likeliest classes; of a map every n-th row and column, so that SIDE is not exceeded."""
    labels = likeliest(probs).cpu().numpy()
    step = -(-max(labels.shape[1:], default=1) // SIDE)
    return labels.astype(np.int16)[:, ::step, ::step] if labels.ndim > 1 else labels


def _boxes(image: dict[str, Tensor]) -> Float[ndarray, "m 5"]:
    """The boxes that are certain, with their class."""
    certain = image["scores"] >= CERTAIN
    boxes, labels = (image[name][certain].cpu().numpy().astype(np.float64) for name in ("boxes", "labels"))
    return np.concatenate([boxes, labels[:, None]], axis=1)


def doubt_of_boxes(probs: Float[Tensor, "m classes"]) -> float:
    """The largest entropy of a box, in 0..1; 0 without one."""
    return float(entropy_of(probs.float()).max()) / most_doubt(probs) if len(probs) else 0.0


def most_doubt(probs: Float[Tensor, "b c *s"]) -> float:
    """The largest entropy over so many classes, ln C; of a single class, where it is always 0, 1."""
    return log(probs.shape[1]) or 1.0
