"""How good a segmentation is: Dice, IoU, 95 % Hausdorff distance, and the object-level scores of the GlaS challenge.

Classes.  0 is background and every larger label a foreground class. Dice, IoU and Hausdorff distance of an image are
means over the foreground classes that its prediction or its truth contains; a class absent from both is left out, so
that it rewards nobody. An image without any foreground in either is perfect: Dice 1, IoU 1, distance 0.

Objects.  Sirinukunwattana et al., 2017, Gland segmentation in colon histology images: the GlaS challenge contest,
Medical Image Analysis 35:489-502, and the evaluation page of the challenge. Predicted objects are the 8-connected
components of the predicted foreground, without those below `min_size` pixels; true objects are the ids of the
annotation, whether connected or not. The partner of an object is the one of the other side, in the same image, that
shares most pixels with it. As in the definition of the challenge, sums run over the objects of all images of the test
set: nothing is averaged by image.

    object_f1         2 TP / (2 TP + FP + FN). A predicted object that covers at least half of its partner is a true
                      positive, any other a false positive; a true object without a true positive is a false negative.
                      Of two exact halves one is a true positive.
    object_dice       mean of two means: Dice of each predicted object with its partner, weighted by area, and the same
                      for the true objects. An object that overlaps nothing has Dice 0.
    object_hausdorff  the same two means of the (100 %) Hausdorff distance in pixels. An object that overlaps nothing is
                      measured against the object of the other side that is nearest in this distance; where the image
                      has none, its diagonal counts.

Where the test set has no object on one side, the mean of the other side stands alone; on neither side, F1 and Dice are
1, the distance 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.spatial import KDTree

from data.formats.masks import IGNORED
from data.names import Refused
from experiments.measures.objects import components, detections, edge, object_rows, objects_of, overlaps
from experiments.measures.table import by_class

DISTANCES = ("hd95", "object_hausdorff")  # of which less is better
Truth = tuple[str, Int[ndarray, "h w"], Int[ndarray, "h w"] | None]  # part of the test set, classes, ids of the objects


class SegmentationScores:
    """Scores of a test set, gathered image by image; images may differ in size and none is kept."""

    def __init__(self, min_size: int = 0):
        """`min_size`: predicted components of fewer pixels are no objects; the scores of pixels count every pixel."""
        if min_size < 0:
            raise Refused(f"min_size={min_size} must be a number of pixels, 0 or more")
        self.min_size = min_size
        self._per_image: list[tuple[float, float, float]] = []  # Dice, IoU, Hausdorff
        self._pooled: dict[int, Int[ndarray, " 3"]] = {}  # class -> pixels in both, predicted, true
        self._by_class: dict[int, list[float]] = {}  # class -> Dice of each image that contains it
        self._detections: list[tuple[int, int, int]] = []  # TP, FP, FN of an image
        self._predicted_objects: list[ndarray] = []  # rows of area, Dice, Hausdorff
        self._true_objects: list[ndarray] = []

    def add(
        self,
        predicted: Int[ndarray, "h w"],
        truth: Int[ndarray, "h w"],
        instances: Int[ndarray, "h w"] | None = None,
    ) -> None:
        """Add one image: predicted and true classes, and where known the ids of the true objects (0 is background).

        Raises ValueError for unequal or empty shapes, negative labels, or `instances` given for some images only.
        """
        for name, labels in {"predicted": predicted, "truth": truth, "instances": instances}.items():
            if labels is None:
                continue
            if labels.shape != truth.shape or labels.size == 0:
                shapes = f"{name} has shape {labels.shape}, truth {truth.shape}"
                raise Refused(f"{shapes}: expected equal shapes with at least one pixel")
            if labels.min() < 0:
                raise Refused(f"{name} contains {labels.min()}: labels must be 0 (background) or more")
        if self._per_image and (instances is not None) != bool(self._detections):
            raise Refused("instances must be given for all images of a test set or for none")

        counts = class_counts(predicted, truth)
        for c, count in counts.items():
            self._pooled[c] = self._pooled.get(c, np.zeros(3, dtype=np.int64)) + count
            self._by_class.setdefault(c, []).append(_mean_dice({c: count}))
        distances = [hausdorff95(predicted == c, truth == c) for c in counts]
        self._per_image.append((_mean_dice(counts), _mean_iou(counts), float(np.mean(distances)) if distances else 0.0))

        if instances is not None:
            found, true = objects_of(components(predicted > 0, self.min_size)), objects_of(instances)
            overlap = overlaps(found, true)
            self._detections.append(detections(overlap, true))
            diagonal = float(np.hypot(*truth.shape))
            self._predicted_objects.append(object_rows(found, true, overlap, diagonal))
            self._true_objects.append(object_rows(true, found, overlap.T, diagonal))

    def summary(self) -> dict[str, float]:
        """Scores of the images added so far.

        Means over the images are `dice`, `iou`, `hd95` (pixels); over all their pixels `dice_pooled`; over all their
        objects, where instances were given, `object_f1`, `object_dice`, `object_hausdorff` (pixels). Raises ValueError
        before the first image.
        """
        if not self._per_image:
            raise Refused("no image was added: a summary needs at least one")
        dice, iou, hd95 = np.mean(self._per_image, axis=0)
        scores = {"dice": float(dice), "dice_pooled": _mean_dice(self._pooled), "iou": float(iou), "hd95": float(hd95)}
        if self._detections:
            tp, fp, fn = np.sum(self._detections, axis=0)
            scores["object_f1"] = float(2 * tp / (2 * tp + fp + fn)) if tp + fp + fn else 1.0
            sides = [np.concatenate(rows) for rows in (self._predicted_objects, self._true_objects)]
            means = [np.average(rows[:, 1:], axis=0, weights=rows[:, 0]) for rows in sides if len(rows)]
            object_dice, object_hausdorff = np.mean(means, axis=0) if means else (1.0, 0.0)
            scores |= {"object_dice": float(object_dice), "object_hausdorff": float(object_hausdorff)}
        return scores

    def dice_of_classes(self, n_classes: int) -> Float[ndarray, " c"]:
        """Dice of each foreground class: mean over images whose prediction or truth contains it; NaN without any."""
        return np.array([np.mean(self._by_class.get(c, np.nan)) for c in range(1, n_classes)])


class PartScores:
    """Scores of a test set and, where it has several parts, of each part: `dice`, `dice_testB`.

    With several foreground classes `dice[name]`, `dice_testB[name]` are those of one class.
    """

    def __init__(self, parts: Iterable[str], classes: Sequence[str], min_size: int = 0):
        several = sorted(set(parts))
        names = ["", *several] if len(several) > 1 else [""]
        self.classes = classes
        self.of = {name: SegmentationScores(min_size) for name in names}

    def add(
        self,
        part: str,
        predicted: Int[ndarray, "h w"],
        truth: Int[ndarray, "h w"],
        instances: Int[ndarray, "h w"] | None = None,
    ) -> None:
        """Add one image of this part, as `SegmentationScores.add` does; pixels IGNORED are background in both."""
        outside = ignored(truth, len(self.classes))
        if outside.any():
            predicted, truth = np.where(outside, 0, predicted), np.where(outside, 0, truth)
        for name in dict.fromkeys(("", part)):
            if name in self.of:
                self.of[name].add(predicted, truth, instances)

    def summary(self) -> dict[str, float]:
        """The scores by name."""
        found = {}
        for part, scores in self.of.items():
            found |= {f"{name}{_of(part)}": value for name, value in scores.summary().items()}
        if len(self.classes) > 2:
            for part, scores in self.of.items():
                found |= by_class(f"dice{_of(part)}", self.classes[1:], scores.dice_of_classes(len(self.classes)))
        return found


def ignored(truth: Int[ndarray, "h w"], n_classes: int) -> Bool[ndarray, "h w"]:
    """Which pixels do not count; with 256 classes, IGNORED is one of them."""
    return truth == IGNORED if n_classes <= IGNORED else np.zeros(truth.shape, bool)


def _of(part: str) -> str:
    return f"_{part}" if part else ""


def trivial_scores(
    images: Callable[[], Iterable[Truth]],
    classes: Sequence[str],
    min_size: int = 0,
) -> dict[str, tuple[float, str]]:
    """The scores of predictions that look at no image, and which prediction that is, such as "all gland".

    Every pixel is of the commonest class, or of the commonest foreground class, whichever makes a score better; Dice of
    one class is that of calling all pixels so. `images()` gives the truths of the test set, one at a time.
    """
    parts = [part for part, _, _ in images()]
    counted = (truth[~ignored(truth, len(classes))] for _, truth, _ in images())
    counts = np.array([np.bincount(truth, minlength=len(classes)) for truth in counted])
    pixels, found = counts.sum(0), {}
    for c in dict.fromkeys((int(pixels.argmax()), 1 + int(pixels[1:].argmax()))):
        scores = PartScores(parts, classes, min_size)
        for part, truth, instances in images():
            scores.add(part, np.full_like(truth, c), truth, instances)
        for name, value in scores.summary().items():
            less = name.startswith(DISTANCES)
            if name not in found or (value < found[name][0] if less else value > found[name][0]):
                found[name] = value, f"all {classes[c]}"
    dice = 2 * counts / (counts + counts.sum(1, keepdims=True))  # of predicting a class everywhere
    for part in scores.of if len(classes) > 2 else ():
        means = dice[[part in ("", own) for own in parts]].mean(0)
        values = by_class(f"dice{_of(part)}", classes[1:], means[1:])
        found |= {name: (value, f"all {c}") for (name, value), c in zip(values.items(), classes[1:], strict=True)}
    return found


def class_counts(predicted: Int[ndarray, "h w"], truth: Int[ndarray, "h w"]) -> dict[int, Int[ndarray, " 3"]]:
    """Foreground class -> pixels in both, in the prediction, in the truth; only classes that occur in one of them."""
    n = int(max(predicted.max(), truth.max())) + 1
    sides = (truth[predicted == truth], predicted, truth)
    table = np.stack([np.bincount(labels.ravel(), minlength=n) for labels in sides], axis=1)
    return {c: table[c] for c in range(1, n) if table[c].any()}


def _mean_dice(counts: dict[int, Int[ndarray, " 3"]]) -> float:
    each = [2 * both / (predicted + true) for both, predicted, true in counts.values()]
    return float(np.mean(each)) if each else 1.0


def _mean_iou(counts: dict[int, Int[ndarray, " 3"]]) -> float:
    each = [both / (predicted + true - both) for both, predicted, true in counts.values()]
    return float(np.mean(each)) if each else 1.0


def hausdorff95(a: Bool[ndarray, "h w"], b: Bool[ndarray, "h w"]) -> float:
    """95 % Hausdorff distance of two masks, in pixels, as MONAI defines it.

    It is the larger of the two 95th percentiles of the distances from the edge of one to the edge of the other. Both
    empty: 0. One empty: the diagonal of the image, the worst that a pair can do.
    """
    if not a.any() and not b.any():
        return 0.0
    if not a.any() or not b.any():
        return float(np.hypot(*a.shape))
    points_a, points_b = np.argwhere(edge(a)), np.argwhere(edge(b))
    to_b, to_a = KDTree(points_b).query(points_a)[0], KDTree(points_a).query(points_b)[0]
    return float(max(np.percentile(to_b, 95), np.percentile(to_a, 95)))
