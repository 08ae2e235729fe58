"""yolo/labels/: a text for each image that has a prediction, with its boxes or the polygons of its mask.

A line is `class x y width height` around the centre, or `class x y x y ...`, in fractions of width and height.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from data.formats.folders import shown
from experiments.rounds.contours import keyholed, regions
from experiments.rounds.exports.target import Names, Target, inside
from experiments.rounds.exports.whole import whole_folder
from experiments.rounds.suggestion import Prediction, Seen, Writer


@contextmanager
def yolo(target: Target) -> Iterator[Writer]:
    """Writes yolo/labels/<path of the image>.txt and yolo/classes.txt. Scores have no place in this format."""
    names, first = Names(target.root), 1 if target.task == "segment" else 0
    with whole_folder(target.folder / "yolo") as folder:
        listed = "".join(f"{shown(name)}\n" for name in target.classes[first:])
        (folder / "classes.txt").write_text(listed, encoding="utf-8", errors="backslashreplace")
        (folder / "labels").mkdir()

        def write(seen: Seen) -> None:
            if seen.prediction is None:
                return
            file = folder / "labels" / names.free(seen.suggestion, ".txt")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(
                "".join(f"{line}\n" for line in _lines(seen.prediction, seen.suggestion.size, target.tolerance))
            )

        yield write


def _lines(prediction: Prediction, size: tuple[int, int], tolerance: float) -> Iterator[str]:
    whole = np.array(size[::-1], np.float64)
    if prediction.class_map is not None:
        for region in regions(prediction.class_map, tolerance):
            yield _line(region.label - 1, (keyholed(region) / whole).ravel())
        return
    for row in inside(prediction, size):
        low, high = row[:2] / whole, row[2:4] / whole
        yield _line(int(row[4]), np.concatenate([(low + high) / 2, high - low]))


def _line(c: int, fractions: np.ndarray) -> str:
    return " ".join([str(c), *(f"{fraction:.10g}" for fraction in fractions.tolist())])
