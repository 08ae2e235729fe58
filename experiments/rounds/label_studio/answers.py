"""What annotations say: class maps, boxes or a class, decoded as exports are, and which of several counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from data.formats import labelstudio, labelstudio_tasks
from data.formats.painted import Canvas
from data.names import Refused, suggestion
from experiments.stopping import agreement as agreeing
from experiments.stopping.agreement import BOXES, CLASSES, MAPS, Predictions

KINDS = {"classify": CLASSES, "segment": MAPS, "detect": BOXES}
ROUNDED = 3  # decimals of a pixel that are kept of boxes: percent are not exact


@dataclass(frozen=True)
class Annotation:
    """One annotation of one image as the server gives it, neither cancelled nor a draft."""

    number: int
    annotator: str
    created: str  # ISO 8601
    updated: str
    results: list[dict]


def annotations_of(task: Mapping[str, Any]) -> list[Annotation]:
    """The annotations of a task of an export that were submitted, the first one first."""
    given = task.get("annotations")
    found = [
        Annotation(
            int(entry["id"]),
            str(entry.get("completed_by")),
            str(entry.get("created_at")),
            str(entry.get("updated_at")),
            [result for result in entry.get("result") or [] if isinstance(result, dict)],
        )
        for entry in (given if isinstance(given, list) else [])
        if isinstance(entry, dict) and not entry.get("was_cancelled")
    ]
    return sorted(found, key=lambda annotation: (annotation.created, annotation.number))


def chosen(annotations: Sequence[Annotation], rule: str) -> Annotation | None:
    """The annotation that counts; None where there are several and the rule is 'refuse'. One at least is expected."""
    if len(annotations) == 1 or rule == "first":
        return annotations[0]
    return max(annotations, key=lambda a: (a.updated, a.number)) if rule == "newest" else None


def label_of(
    task: str, classes: Sequence[str], results: list[dict], size: tuple[int, int], where: str
) -> ndarray | None:
    """The label that results give an image of `size` (height, width) in pixels.

    segment: class map (h, w) of indices in `classes`, 0 the background; detect: boxes (m, 5) of x1, y1, x2, y2 as edges
    in pixels and the class; classify: the class (); None where none was chosen. No region: nothing there. Refused with
    `where` for what cannot be read as such.
    """
    said = labelstudio_tasks.task_of(Path(where), results, where, Counter())
    if task == "classify":
        return _class(said.choices, classes, where)
    height, width = size
    for region in said.regions:
        _require_known(region.label, classes if task == "detect" else classes[1:], where)
        if region.brush and said.size != (width, height):
            raise Refused(f"{region.where} was painted on {said.size} pixels, but the image has {(width, height)}")
    said = said._replace(size=(width, height))
    if task == "segment":
        return Canvas(classes, False).paint(labelstudio.shapes(said, classes), height, width, "train")
    rows = [[*labelstudio.box_around(region, said), classes.index(region.label)] for region in said.regions]
    boxes = np.array(rows, np.float64).reshape(-1, 5)
    boxes[:, :4] = (boxes[:, :4].clip(0, 1) * (width, height, width, height)).round(ROUNDED)
    if (flat := (boxes[:, 2:4] <= boxes[:, :2]).any(1)).any():
        raise Refused(f"{said.regions[int(flat.argmax())].where} has no area within the image")
    return boxes


def agreement_of(task: str, pairs: Sequence[tuple[ndarray, ndarray]]) -> float:
    """How far two annotators agree on the images that both labelled, at most 1: kappa of classes, mean Dice of maps, F1
    of matched boxes (see `experiments.stopping.agreement`). NaN where nothing tells.
    """
    if not pairs:
        return nan
    first, second = (_predictions(task, [pair[side] for pair in pairs]) for side in (0, 1))
    return agreeing.agreement(first, second)


def _predictions(task: str, labels: Sequence[ndarray]) -> Predictions:
    of_images = np.array(labels, np.int64) if task == "classify" else [_as_compared(task, label) for label in labels]
    return Predictions(KINDS[task], of_images)


def _as_compared(task: str, label: ndarray) -> ndarray:
    return label.astype(np.int64) if task == "segment" else label


def _class(choices: Sequence[str], classes: Sequence[str], where: str) -> ndarray | None:
    if not choices:
        return None
    if len(choices) > 1:
        raise Refused(f"{where} has the choices {', '.join(choices)}, expected one class")
    _require_known(choices[0], classes, where)
    return np.array(classes.index(choices[0]))


def _require_known(label: str, classes: Sequence[str], where: str) -> None:
    if label not in classes:
        raise Refused(
            f"{where} has the label {label!r}, which is none of {', '.join(classes)}.{suggestion(label, classes)}"
        )
