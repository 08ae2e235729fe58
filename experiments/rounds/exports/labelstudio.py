"""Label Studio: suggestions as tasks with predictions, and the labelling configuration that fits them.

Formats: https://labelstud.io/guide/predictions and https://labelstud.io/tags (positions are percent of the picture).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from math import isfinite
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np

from data.files import atomic
from experiments.rounds.brushes import packed
from experiments.rounds.contours import keyholed, present, regions
from experiments.rounds.exports.colours import colour_of
from experiments.rounds.exports.target import TOLERANCE, Target, inside, relative
from experiments.rounds.exports.voc import NO_XML
from experiments.rounds.exports.whole import json_list
from experiments.rounds.suggestion import Prediction, Seen, Writer

CHANGES_NO_RESULT = True

TASKS, LABELLING = "label_studio_tasks.json", "label_studio_labelling.xml"
SERVED = "/data/local-files/?d="  # what Label Studio puts before the path below LOCAL_FILES_DOCUMENT_ROOT
SHAPES = ("polygon", "brush")  # of masks: polygons are small and edited corner by corner, brushes hold every pixel


def polygons(target: Target) -> AbstractContextManager[Writer]:
    """Writes the tasks, with masks as polygons, and the labelling configuration; see `task_of`."""
    return _written(target, "polygon")


def brushes(target: Target) -> AbstractContextManager[Writer]:
    """The same, with masks as brushes."""
    return _written(target, "brush")


@contextmanager
def _written(target: Target, shape: str) -> Iterator[Writer]:
    with json_list(target.folder / TASKS) as add:

        def write(seen: Seen) -> None:
            name = relative(seen.suggestion, target.root).as_posix()
            add(task_of(target.task, target.classes, seen, name, SERVED, target.title, shape, target.tolerance))

        yield write
        with atomic(target.folder / LABELLING) as temporary:
            temporary.write_text(labelling(target.task, target.classes, shape) + "\n", encoding="utf-8")


def labelling(task: str, classes: Sequence[str], shape: str = "polygon") -> str:
    """The labelling configuration: masks by polygon or brush, boxes, or one class for the picture."""
    if task == "classify":
        tag, entries, options = "Choices", classes, ' choice="single" showInline="true"'
        inner = "".join(f"<Choice value={_attribute(name)}/>" for name in entries)
    else:
        tag, entries = _kind(task, shape)[1], classes[1:] if task == "segment" else classes
        options = ' strokeWidth="2" opacity="0.3"' if tag == "PolygonLabels" else ""
        rows = [f"<Label value={_attribute(name)} background='{colour_of(c)}'/>" for c, name in enumerate(entries)]
        inner = "".join(rows)
    image = '<Image name="image" value="$image" zoom="true" zoomControl="true" rotateControl="false"/>'
    return f'<View>{image}<{tag} name="label" toName="image"{options}>{inner}</{tag}></View>'


def task_of(
    task: str,
    classes: Sequence[str],
    seen: Seen,
    name: str,
    before: str,
    version: str,
    shape: str = "polygon",
    tolerance: float = TOLERANCE,
) -> dict[str, Any]:
    """One task; `name` is the path of the image below the folder that is served at `before`.

    The score of the prediction is rank / (rank + 1), so that 'Uncertainty sampling', which hands out the lowest first,
    follows the ranks; the score of the strategy is in the data. Images without a prediction have one without regions,
    which only carries their place.
    """
    said = seen.suggestion
    height, width = said.size
    data = {
        "image": before + quote(name, errors="surrogateescape"),
        "name": name,
        "height": height,
        "width": width,
        "part": said.part,
        "rank": said.rank,
        "score": said.score if isfinite(said.score) else None,
        "uncertainty": said.uncertainty if isfinite(said.uncertainty) else None,
        "nearest": said.nearest,
        "why": said.why,
    }
    hint = None if said.part == "test" else seen.prediction
    drawn = [] if hint is None else results(task, classes, hint, said.size, shape, tolerance)
    order = said.rank / (said.rank + 1)
    return {"data": data, "predictions": [{"model_version": version, "score": order, "result": drawn}]}


def results(
    task: str,
    classes: Sequence[str],
    prediction: Prediction,
    size: tuple[int, int],
    shape: str = "polygon",
    tolerance: float = TOLERANCE,
) -> list[dict[str, Any]]:
    """What a model makes of a picture of height x width pixels, as regions or a choice of Label Studio."""
    places = {"from_name": "label", "to_name": "image"}
    if task == "classify" and prediction.probs is not None:
        chosen = {"choices": [classes[int(prediction.probs.argmax())]]}
        return [{"id": "r1", "type": "choices", **places, "value": chosen}]
    sides = {"original_width": size[1], "original_height": size[0], "image_rotation": 0}
    kind, _ = _kind(task, shape)

    def named(c: int) -> dict[str, list[str]]:
        return {kind: [classes[c]]}

    values: list[tuple[dict[str, Any], dict[str, float]]] = []
    whole = np.array(size[::-1], np.float64)
    if prediction.class_map is not None and shape == "brush":
        for c in present(prediction.class_map):
            values.append(({"format": "rle", "rle": list(packed(prediction.class_map == c)), **named(c)}, {}))
    elif prediction.class_map is not None:
        for region in regions(prediction.class_map, tolerance):
            points = np.round(100 * keyholed(region) / whole, 6).tolist()
            values.append(({"points": points, "closed": True, **named(region.label)}, {}))
    else:
        for row in inside(prediction, size):
            (x, y), (w, h) = 100 * row[:2] / whole, 100 * (row[2:4] - row[:2]) / whole
            box = {"x": float(x), "y": float(y), "width": float(w), "height": float(h), "rotation": 0}
            values.append(({**box, **named(int(row[4]))}, {"score": round(float(row[5]), 6)}))
    return [
        {"id": f"r{i}", "type": kind, **places, **sides, "value": value, **score}
        for i, (value, score) in enumerate(values, start=1)
    ]


def _kind(task: str, shape: str) -> tuple[str, str]:
    """The type of a region and the tag of its control."""
    tag = "RectangleLabels" if task == "detect" else "PolygonLabels" if shape == "polygon" else "BrushLabels"
    return tag.lower(), tag


def _attribute(name: str) -> str:
    return quoteattr(NO_XML.sub("?", name))
