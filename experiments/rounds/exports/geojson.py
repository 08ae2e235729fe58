"""geojson/: a file for each image that has a prediction, as QuPath opens and saves it (RFC 7946, but in pixels)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy import ndarray

from experiments.rounds.contours import regions
from experiments.rounds.exports.colours import colour_of, red_green_blue
from experiments.rounds.exports.target import Names, Target, inside
from experiments.rounds.exports.whole import whole_folder
from experiments.rounds.suggestion import Seen, Writer


@contextmanager
def geojson(target: Target) -> Iterator[Writer]:
    """Writes geojson/<path of the image>.geojson: polygons with their holes, with class, colour and score."""
    names, first = Names(target.root), 1 if target.task == "segment" else 0
    with whole_folder(target.folder / "geojson") as folder:

        def write(seen: Seen) -> None:
            if seen.prediction is None:
                return
            file = folder / names.free(seen.suggestion, ".geojson")
            file.parent.mkdir(parents=True, exist_ok=True)
            found = _outlines(seen, target.tolerance)
            features = [_feature(target.classes[c], colour_of(c - first), rings, score) for c, rings, score in found]
            file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))

        yield write


def _outlines(seen: Seen, tolerance: float) -> Iterator[tuple[int, list[ndarray], float | None]]:
    """Class, rings (the outer one first) and score of each object."""
    prediction = seen.prediction
    if prediction is None:
        return
    if prediction.class_map is not None:
        for region in regions(prediction.class_map, tolerance):
            yield region.label, [region.outer, *region.holes], None
        return
    for x1, y1, x2, y2, c, score in inside(prediction, seen.suggestion.size).tolist():
        yield int(c), [np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])], score


def _feature(name: str, colour: str, rings: list[ndarray], score: float | None) -> dict[str, Any]:
    closed = [np.concatenate([ring, ring[:1]]).tolist() for ring in rings]
    properties: dict[str, Any] = {
        "objectType": "annotation",
        "classification": {"name": name, "color": red_green_blue(colour)},
    }
    if score is not None:
        properties["measurements"] = {"score": round(score, 6)}
    geometry = {"type": "Polygon", "coordinates": closed}
    return {"type": "Feature", "geometry": geometry, "properties": properties}
