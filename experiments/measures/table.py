"""What is measured: every metric with its direction and unit, and what those of single classes are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from data.names import require_one_of


class Measure(NamedTuple):
    """One column of a curve."""

    sign: int  # 1: more is better, -1: less is better, 0: neither
    unit: str  # "" for a share in 0..1
    meaning: str


SEGMENTATION = {
    "dice": Measure(1, "", "mean over images of the mean Dice of their foreground classes"),
    "dice_pooled": Measure(1, "", "Dice of all pixels of the test set together"),
    "iou": Measure(1, "", "mean over images of the mean intersection over union"),
    "hd95": Measure(-1, "px", "95th percentile of the distance between boundaries (Hausdorff)"),
    "dice_volume": Measure(1, "", "mean over volumes of the mean Dice of their foreground classes"),
    "hd95_volume": Measure(-1, "mm", "95th percentile of the distance between surfaces of a volume (Hausdorff)"),
    "asd_volume": Measure(-1, "mm", "mean distance between surfaces of a volume"),
    "object_f1": Measure(1, "", "F1 of found objects (GlaS challenge)"),
    "object_dice": Measure(1, "", "Dice of matched objects, weighted by area (GlaS challenge)"),
    "object_hausdorff": Measure(-1, "px", "Hausdorff distance of matched objects, weighted by area (GlaS challenge)"),
}
CLASSIFICATION = {
    "accuracy": Measure(1, "", "share of correct predictions"),
    "balanced_accuracy": Measure(1, "", "mean recall of the classes"),
    "worst_class_accuracy": Measure(1, "", "lowest recall of a class"),
    "macro_f1": Measure(1, "", "mean F1 of the classes"),
    "macro_auroc": Measure(1, "", "mean area under the ROC curve of each class against the rest"),
    "nll": Measure(-1, "nats", "mean negative log-likelihood of the true class"),
    "ece": Measure(-1, "", "expected calibration error"),
}
FPS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # false positives per image at which sensitivity is reported
DETECTION = {
    "froc": Measure(1, "", "mean sensitivity at 0.5 to 16 false positives per image"),
    **{f"froc_at_{x:g}": Measure(1, "", f"sensitivity at {x:g} false positives per image") for x in FPS},
    "ap": Measure(1, "", "COCO's average precision"),
    "ap50": Measure(1, "", "COCO's average precision at an IoU of 0.5"),
    "ar": Measure(1, "", "COCO's average recall"),
    **{f"sensitivity_{s}": Measure(1, "", f"sensitivity to {s} lesions") for s in ("small", "medium", "large")},
}
OF_RUNS = {  # columns that every curve has beside its metrics
    "n_labelled": Measure(0, "images", "labelled images that were trained on"),
    "n_validation": Measure(0, "images", "labelled images that chose the weights"),
    "train_loss": Measure(-1, "", "mean loss of the last tenth of the steps"),
    "train_seconds": Measure(-1, "s", "time of training"),
    "test_seconds": Measure(-1, "s", "time of testing"),
    "query_seconds": Measure(-1, "s", "time of choosing"),
    "head_l2": Measure(0, "", "precision of the prior on the weights of a head, as it was given or cross-validated"),
    "loader_share": Measure(-1, "", "share of training spent waiting for batches"),
    **{f"score_{name}": Measure(0, "", f"{name} of the scores of the pool") for name in ("mean", "std", "min", "max")},
    "stop_agreement": Measure(0, "", "agreement with the model before on the stop set: kappa, Dice or F1 of boxes"),
    "stop_changed": Measure(0, "", "share of the predictions on the stop set that changed"),
    "stop_uncertainty": Measure(0, "", "mean entropy on the stop set, as a share of its maximum"),
    "stop_seconds": Measure(-1, "s", "time of the predictions on the stop set"),
    "pseudo_boxes": Measure(0, "boxes", "pseudo-labels that joined training"),
    "pseudo_precision": Measure(1, "", "share of pseudo-labels that are right; of pixels the mean over the classes"),
    "pseudo_recall": Measure(
        1, "", "share of hidden labels that have a right pseudo-label; of pixels the mean over the classes"
    ),
}
TABLE = {**SEGMENTATION, **CLASSIFICATION, **DETECTION, **OF_RUNS}


def base_of(name: str) -> str:
    """The metric that a column is, without `mc_`, `[class]` and `_part`; the name itself where the table has none."""
    bare = name.partition("[")[0].removeprefix("mc_")
    parts = bare.split("_")
    shorter = ("_".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((metric for metric in shorter if metric in TABLE), name)


def higher_is_better(name: str) -> bool:
    """Whether more of a metric is better; distances, losses and times are the others."""
    return TABLE[base_of(name)].sign >= 0 if base_of(name) in TABLE else True


def unit_of(name: str) -> str:
    """The unit of a metric; empty for a share in 0..1 and for what is not in the table."""
    return TABLE[base_of(name)].unit if base_of(name) in TABLE else ""


def is_measured(name: str) -> bool:
    """Whether a column is a result, and not a count, a time or a score of the pool."""
    of_training = ("train_loss", "pseudo_precision", "pseudo_recall", "pseudo_boxes")
    return base_of(name) not in OF_RUNS or base_of(name) in of_training


def require_metric(name: str, known: dict[str, Measure], stochastic: bool) -> None:
    """Refused where `name` is no metric of which more is better; with `stochastic` those of the MC mean count too."""
    better = [metric for metric, measure in known.items() if measure.sign > 0]
    require_one_of("metric", name, [*better, *(f"mc_{m}" for m in better if stochastic)])


def by_class(metric: str, classes: Sequence[str], values: ArrayLike) -> dict[str, float]:
    """The values of C classes by name, as in "accuracy[white cell]": a class may be called anything."""
    numbers = np.asarray(values, float).tolist()
    return {f"{metric}[{name}]": value for name, value in zip(classes, numbers, strict=True)}


def is_of_class(name: str) -> bool:
    """Whether a metric is that of a single class."""
    return "[" in name
