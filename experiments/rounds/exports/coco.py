"""coco.json: polygons of masks, or boxes with scores, of the images that have a prediction.

Format: https://cocodataset.org/#format-data, with the `score` that results have beside the ground truth.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from experiments.rounds.contours import area, keyholed, regions
from experiments.rounds.exports.target import Target, frame_of, inside, relative
from experiments.rounds.exports.whole import json_list
from experiments.rounds.suggestion import Seen, Writer

NAME = "coco.json"


@contextmanager
def coco(target: Target) -> Iterator[Writer]:
    """Writes coco.json. Images without a prediction are not listed, for COCO takes them for images without objects.

    An object is one connected piece of a class; its holes are cut in (`contours.keyholed`), for COCO has none.
    Annotations are written at once; only a line for each image is kept in memory.
    """
    first = 1 if target.task == "segment" else 0  # the background is no category
    categories = [{"id": c + 1 - first, "name": name} for c, name in enumerate(target.classes) if c >= first]
    images: list[dict[str, Any]] = []
    count = 0

    def tail() -> str:
        return f'],\n"images": {json.dumps(images)},\n"categories": {json.dumps(categories)}}}'

    with json_list(target.folder / NAME, '{"annotations": [', tail) as add:

        def write(seen: Seen) -> None:
            nonlocal count
            if seen.prediction is None:
                return
            name, (height, width) = _name(seen, target), seen.suggestion.size
            images.append({"id": len(images) + 1, "file_name": name, "width": width, "height": height})
            for found in _objects(seen, target.tolerance):
                count += 1
                add({"id": count, "image_id": len(images), "iscrowd": 0, **found})

        yield write


def _name(seen: Seen, target: Target) -> str:
    return relative(seen.suggestion, target.root).as_posix() + frame_of(seen.suggestion)


def _objects(seen: Seen, tolerance: float) -> Iterator[dict[str, Any]]:
    prediction = seen.prediction
    if prediction is None:
        return
    if prediction.class_map is not None:
        for region in regions(prediction.class_map, tolerance):
            polygon = keyholed(region)
            (x1, y1), (x2, y2) = region.outer.min(0).tolist(), region.outer.max(0).tolist()
            outline = {"bbox": [x1, y1, x2 - x1, y2 - y1], "segmentation": [polygon.ravel().tolist()]}
            yield {"category_id": region.label, "area": area(polygon), **outline}
        return
    for x1, y1, x2, y2, c, score in inside(prediction, seen.suggestion.size).tolist():
        sides = [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)]
        yield {
            "category_id": int(c) + 1,
            "bbox": sides,
            "area": round(sides[2] * sides[3], 2),
            "score": round(score, 6),
        }
