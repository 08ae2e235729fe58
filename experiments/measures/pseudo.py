"""How right pseudo-labels are: the only place in a run's loop that reads labels which were not bought, for a report.

`pseudo_precision` is the share of the pseudo-labels that are right, `pseudo_recall` the share of the hidden labels that
have a right one; NaN where nothing can be counted. What is counted are images, boxes, or the pixels of each class. Of
a person's own images those that have no label yet are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from data.store import Images
from experiments.measures.froc import Detections, Lesions, match


def of_boxes(pseudo: Mapping[int, Float[Tensor, "_ 5"]], train: Images) -> dict[str, float]:
    """For boxes (xyxy, class) of the images with these indices: right is a box of the class with an IoU of at least
    0.5.
    """
    known = train.labelled
    ours = {i: boxes.cpu().numpy() for i, boxes in pseudo.items() if known[i]}
    found = [Detections(b[:, :4], np.ones(len(b), dtype=np.float32), b[:, 4].astype(np.int64)) for b in ours.values()]
    truth = [train.target(i).numpy() for i in ours]
    lesions = [Lesions(t[:, :4], t[:, 4].astype(np.int64)) for t in truth]
    n_found, n_true = sum(len(f.scores) for f in found), sum(len(t) for t in truth)
    hits = np.isfinite(match(found, lesions).found_at).sum() if n_found and n_true else 0
    return {"pseudo_boxes": float(n_found)} | _shares(float(hits), n_found, n_true)


def of_classes(
    indices: Int[ndarray, " n"], classes: Int[ndarray, " n"], certain: Bool[ndarray, " n"], train: Images
) -> dict[str, float]:
    """For one class for each image with these indices, of which those that are `certain` count as pseudo-labels."""
    known = train.labelled[indices]
    indices, classes, certain = indices[known], classes[known], certain[known]
    truth = np.array([int(train.target(int(i))) for i in indices], dtype=np.int64)
    return _shares(float(((classes == truth) & certain).sum()), int(certain.sum()), len(truth))


def of_maps(maps: Iterable[tuple[int, Int[ndarray, "h w"]]], train: Images) -> dict[str, float]:
    """For a class for each pixel of the images with these indices: means over the classes that are found, or are there.

    Pixels whose hidden class is none of the dataset's are not counted.
    """
    n_classes = len(train.classes)
    confusion = np.zeros((n_classes, n_classes), dtype=np.int64)
    known = train.labelled
    for i, labels in maps:
        if not known[i]:
            continue
        truth = train.target(i).numpy().astype(np.int64)
        counted = truth < n_classes
        pairs = truth[counted] * n_classes + labels[counted]
        confusion += np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)
    right, found, there = confusion.diagonal(), confusion.sum(0), confusion.sum(1)
    return {
        f"pseudo_{name}": float(np.mean(right[of > 0] / of[of > 0])) if of.any() else float("nan")
        for name, of in (("precision", found), ("recall", there))
    }


def _shares(hits: float, n_found: int, n_true: int) -> dict[str, float]:
    precision, recall = (hits / n if n else float("nan") for n in (n_found, n_true))
    return {"pseudo_precision": precision, "pseudo_recall": recall}
