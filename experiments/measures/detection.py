"""How good a detector is on a test set: the free-response curve of radiology, and average precision and recall of COCO.

`experiments/measures/froc.py` defines hits, second hits and sensitivity at x false positives per image. COCO's average
precision and recall (Lin et al., 2014, Microsoft COCO: common objects in context) always ask for the right class and
for IoU, and see at most the 100 detections of highest score in an image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from data.names import Refused
from experiments.measures.froc import (
    FPS,
    Detections,
    Lesions,
    Matches,
    check_conventions,
    found_within,
    froc_curve,
    match_by,
    sensitivity_at,
    sensitivity_by_group,
    size_groups,
)
from experiments.measures.froc import convention as in_words

SIZES = ("small", "medium", "large")


class DetectionScores:
    """Detections and lesions of a test set, gathered batch by batch, and their scores; no image is kept."""

    def __init__(
        self,
        n_classes: int,
        criterion: str = "iou",
        iou: float = 0.5,
        second_hit: str = "ignored",
        by_class: bool = True,
        size_edges: Sequence[float | int] = (32, 96),
        fps_of_groups: float = 4.0,
        convention: str = "one_to_one",
    ):
        """`n_classes` counts the foreground; `by_class`: a hit must have the right class; `convention`: see froc.py.

        `size_edges`: square roots of the areas, in pixels, at which small lesions end and large ones begin (COCO's by
        default). `fps_of_groups`: false positives per image, of all classes together, at which sensitivity by size and
        by class is taken. Raises ValueError for unknown conventions and values out of range.
        """
        check_conventions(criterion, iou, second_hit, convention)
        if n_classes < 1:
            raise Refused(f"n_classes={n_classes} must be 1 or more")
        if len(size_edges) != 2 or not 0 < size_edges[0] < size_edges[1]:
            raise Refused(f"size_edges={tuple(size_edges)} must be two rising numbers of pixels, like (32, 96)")
        if not fps_of_groups >= 0:
            raise Refused(f"fps_of_groups={fps_of_groups} must be a number of false positives per image, 0 or more")
        self.n_classes, self.size_edges, self.fps_of_groups = n_classes, size_edges, fps_of_groups
        self._rules: dict[str, Any] = {"criterion": criterion, "iou": iou, "second_hit": second_hit}
        self._rules |= {"by_class": by_class, "convention": convention}
        self._detections: list[Detections] = []
        self._lesions: list[Lesions] = []

    @property
    def convention(self) -> str:
        """What counts as a hit and what becomes of second hits, in words."""
        return in_words(**self._rules)

    def add(self, detections: Sequence[Mapping[str, Tensor]], targets: Sequence[Float[Tensor, "_ 5"]]) -> None:
        """Add B images: `boxes`, `scores` and `labels` of what was found in each, and its true boxes with their class.

        Raises ValueError for unequal numbers of images or a class that is not in 0..n_classes - 1.
        """
        if len(detections) != len(targets):
            raise Refused(f"detections of {len(detections)} images, targets of {len(targets)}: expected equal numbers")
        for found, target in zip(detections, targets, strict=True):
            boxes, scores, labels = (found[name].detach().cpu() for name in ("boxes", "scores", "labels"))
            true = target.detach().cpu().numpy()
            image = Detections(boxes.float().numpy(), scores.float().numpy(), labels.numpy())
            lesions = Lesions(true[:, :4], true[:, 4].astype(np.int64))
            for name, classes in (("detection", image.labels), ("lesion", lesions.labels)):
                if classes.size and not 0 <= classes.min() <= classes.max() < self.n_classes:
                    unknown = classes[(classes < 0) | (classes >= self.n_classes)][0]
                    what = f"{name} of class {unknown} in image {len(self._lesions)}"
                    raise Refused(f"{what}: expected 0 to {self.n_classes - 1}")
            self._detections.append(image)
            self._lesions.append(lesions)

    def summary(self) -> dict[str, float | list[float]]:
        """Scores of the images added so far, each in 0..1.

        froc_at_0.5 ... froc_at_16  sensitivity at that many false positives per image
        froc                        mean of these six
        sensitivity_small ...       sensitivity by size of the lesion at `fps_of_groups`; NaN for a size without lesions
        per_class_sensitivity       the same by class, one value per class
        ap, ap50, ar                COCO: mean over classes and IoU 0.50:0.05:0.95 of average precision, precision at
                                    IoU 0.5 alone, and mean over classes and IoU of the recall with at most 100
                                    detections per image

        Raises ValueError without images, and where no image has a lesion.
        """
        matches = self._matches()
        operating_points = sensitivity_at(froc_curve(matches))
        scores: dict[str, float | list[float]] = {}
        scores |= {f"froc_at_{x:g}": float(y) for x, y in zip(FPS, operating_points, strict=True)}
        scores["froc"] = float(operating_points.mean())
        found = found_within(matches, self.fps_of_groups)
        boxes, labels = (np.concatenate(arrays) for arrays in zip(*self._lesions, strict=True))
        by_size = sensitivity_by_group(found, size_groups(boxes, self.size_edges), len(SIZES))
        scores |= {f"sensitivity_{size}": float(value) for size, value in zip(SIZES, by_size, strict=True)}
        scores["per_class_sensitivity"] = sensitivity_by_group(found, labels, self.n_classes).tolist()
        return scores | coco_scores(self._detections, self._lesions)

    def curve(self) -> Float[ndarray, "points 2"]:
        """Corners of the free-response curve: false positives per image and sensitivity, both rising."""
        return froc_curve(self._matches())

    def operating_points(self) -> Float[ndarray, " p"]:
        """Sensitivity at 0.5, 1, 2, 4, 8 and 16 false positives per image: a row of froc.npy."""
        return sensitivity_at(self.curve())

    def _matches(self) -> Matches:
        return match_by(self._detections, self._lesions, **self._rules)


def trivial_detections(targets: Sequence[Float[Tensor, "_ 5"]], shapes: Int[ndarray, "n 2"]) -> list[dict[str, Tensor]]:
    """A prediction that looks at no image: in each one box of the commonest class, of mean place and mean size.

    Means are of all boxes of all images, as shares of height and width; the score is 1. Raises ValueError
    where no image has a box.
    """
    sides = torch.from_numpy(shapes[:, [1, 0, 1, 0]].astype(np.float32))  # of x1, y1, x2, y2
    boxes = torch.cat([target[:, :4] / side for target, side in zip(targets, sides, strict=True)])
    if not len(boxes):
        raise Refused("no image of the test part has a box: nothing can be measured on it")
    label = torch.cat([target[:, 4] for target in targets]).long().bincount().argmax()[None]
    return [{"boxes": boxes.mean(0)[None] * side, "scores": torch.ones(1), "labels": label} for side in sides]


def coco_scores(detections: Sequence[Detections], lesions: Sequence[Lesions]) -> dict[str, float]:
    """`ap`, `ap50` and `ar` of N images as COCO defines them, over the classes that have lesions, at least one."""
    from torchmetrics.detection import MeanAveragePrecision  # imported late: it takes seconds

    def tensors(image: Detections | Lesions) -> dict[str, Tensor]:
        return {name: torch.from_numpy(np.asarray(array)) for name, array in image._asdict().items()}

    # COCO's own thresholds: the defaults are rounded to float32, which moves every recall that equals one of them
    overlaps, recalls = np.linspace(0.5, 0.95, 10).tolist(), np.linspace(0, 1, 101).tolist()
    metric = MeanAveragePrecision(iou_thresholds=overlaps, rec_thresholds=recalls, backend="faster_coco_eval")
    metric.warn_on_many_detections = False
    metric.update([tensors(image) for image in detections], [tensors(image) for image in lesions])
    scores = metric.compute()
    return {"ap": float(scores["map"]), "ap50": float(scores["map_50"]), "ar": float(scores["mar_100"])}
