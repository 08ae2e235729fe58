"""How far two models that follow one another agree on images that need no labels.

Cohen (1960, A coefficient of agreement for nominal scales) for classes, Dice for masks, F1 of matched boxes for boxes.
Bloodgood and Vijay-Shanker (2009, A method for stopping active learning based on stabilizing predictions, CoNLL) stop
by the first; the other two are what stands in its place where a prediction is a map or a set of boxes. What neither
model says anything about (no foreground, no box) tells nothing of their agreement and does not count: two networks that
both find nothing yet are not stable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from data.names import Refused
from experiments.measures.segmentation import class_counts

CLASSES, MAPS, BOXES = "classes", "maps", "boxes"
OVERLAP = 0.5  # least IoU of a box with its partner


@dataclass(frozen=True)
class Predictions:
    """What a model says of N images: a class (N,); N maps of classes (H, W), 0 the background; or N arrays of boxes
    (M, 5), xyxy in pixels and the class, the most certain first.
    """

    kind: str  # CLASSES, MAPS or BOXES
    of_images: Sequence[ndarray] | ndarray
    uncertainty: float = nan  # mean over the images, 0..1

    def __len__(self) -> int:
        return len(self.of_images)


def agreement(before: Predictions, after: Predictions) -> float:
    """Agreement of two models on the same images, at most 1; NaN where their predictions cannot tell."""
    _require_alike(before, after)
    if before.kind == CLASSES:
        return kappa(np.asarray(before.of_images), np.asarray(after.of_images))
    between = mean_dice if before.kind == MAPS else matched_f1
    return between(before.of_images, after.of_images)  # type: ignore[arg-type] - of this kind


def changed(before: Predictions, after: Predictions) -> float:
    """Share that changed, 0..1: of the images with another class, of the pixels of another class, of the images with a
    box that the other model has not.
    """
    _require_alike(before, after)
    if before.kind == BOXES:
        pairs = zip(before.of_images, after.of_images, strict=True)
        return float(np.mean([not len(a) == len(b) == len(matched(a, b)) for a, b in pairs]))
    pairs = zip(before.of_images, after.of_images, strict=True)
    differ = np.array([(np.mean(a != b), np.size(a)) for a, b in pairs])
    return float(np.average(differ[:, 0], weights=differ[:, 1]))


def kappa(before: Int[ndarray, " n"], after: Int[ndarray, " n"]) -> float:
    """Cohen's kappa, (p_o - p_e) / (1 - p_e), in -1..1: agreement beyond what the shares of the classes give by chance.

    NaN where both always name one and the same class.
    """
    observed = float((before == after).mean())
    classes = np.union1d(before, after)
    by_chance = float(sum((before == c).mean() * (after == c).mean() for c in classes))
    return nan if by_chance >= 1 else (observed - by_chance) / (1 - by_chance)


def mean_dice(before: Sequence[Int[ndarray, "_h _w"]], after: Sequence[Int[ndarray, "_h _w"]]) -> float:
    """Mean over images of the mean Dice of their foreground classes, 0..1; images without any in both do not count.

    NaN where no image counts.
    """
    counts = [class_counts(a, b).values() for a, b in zip(before, after, strict=True)]
    dice = [np.mean([2 * both / (ours + theirs) for both, ours, theirs in of_image]) for of_image in counts if of_image]
    return float(np.mean(dice)) if dice else nan


def matched_f1(before: Sequence[Float[ndarray, "_m 5"]], after: Sequence[Float[ndarray, "_k 5"]]) -> float:
    """2 x matched pairs / boxes of both, over all images, 0..1; NaN where neither model found a box."""
    pairs = sum(len(matched(a, b)) for a, b in zip(before, after, strict=True))
    boxes = sum(map(len, before)) + sum(map(len, after))
    return 2 * pairs / boxes if boxes else nan


def matched(a: Float[ndarray, "m 5"], b: Float[ndarray, "k 5"]) -> Int[ndarray, "p 2"]:
    """Pairs of boxes of one class, largest IoU first while it is at least OVERLAP; each box has one partner at most."""
    overlap = np.where(a[:, None, 4] == b[None, :, 4], _iou(a, b), 0.0)
    pairs: list[tuple[int, int]] = []
    while overlap.size and overlap.max() >= OVERLAP:
        i, j = np.unravel_index(overlap.argmax(), overlap.shape)
        pairs.append((int(i), int(j)))
        overlap[i], overlap[:, j] = 0.0, 0.0
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _iou(a: Float[ndarray, "m 5"], b: Float[ndarray, "k 5"]) -> Float[ndarray, "m k"]:
    sides = np.minimum(a[:, None, 2:4], b[None, :, 2:4]) - np.maximum(a[:, None, :2], b[None, :, :2])
    shared = sides.clip(min=0).prod(-1)
    area_a, area_b = ((boxes[:, 2:4] - boxes[:, :2]).prod(-1) for boxes in (a, b))
    union = area_a[:, None] + area_b[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _require_alike(before: Predictions, after: Predictions) -> None:
    if (before.kind, len(before)) != (after.kind, len(after)) or not len(after):
        ours, theirs = f"{before.kind} of {len(before)}", f"{after.kind} of {len(after)}"
        raise Refused(
            f"predictions to be compared are {ours} and {theirs} images: expected the same images, at least one"
        )
