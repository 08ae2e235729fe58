"""Masks from the polygons of YOLO texts (`segment.py with yolo`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.formats import yolo, yolo_yaml
from data.formats.boxes import Boxed, Own
from data.formats.labelled import TEST_FRACTION, TestShare
from data.formats.painted import Painted, Shape, painted_images
from data.formats.pictures import Bands, Exif, Levels, Options, Scaling
from data.formats.yolo import Line
from data.names import Refused
from data.store import Images

MODULES = [__file__, yolo.__file__, yolo_yaml.__file__]


def yolo_masks(
    data_root: Path,
    scale: float = 1.0,
    classes: Sequence[str] = (),
    cache_root: Path | None = None,
    instances: bool = False,
    patient_pattern: str = "",
    test_fraction: TestShare = TEST_FRACTION,
    exif: Exif = "apply",
    window: Levels = None,
    scaling: Scaling = "set",
    bands: Bands = None,
) -> Images:
    """The pictures below `data_root` with class maps of the polygons of their texts, or with `instances` with maps that
    number them.

    Class 0 is the background: a class of that name, else what is in no polygon. Where objects overlap the smaller one
    is on top. Files, parts, patients and all other options are those of `data.formats.yolo.yolo`. Refused names a line
    that is a box and no polygon.
    """
    root, names, texts = yolo.read(data_root, classes)
    named = ["background", *(name for name in names if name.casefold() != "background")]
    label_of = [named.index(name) if name in named[1:] else 0 for name in names]
    found = []
    for picture, part, text, lines in texts:
        shapes = [Shape(label_of[line.label], [_polygon(line)], line.where, relative=True) for line in lines]
        shapes = [shape for shape in shapes if shape.label or not instances]
        found.append(Painted(Boxed(picture, np.zeros((0, 5)), text or picture, part), shapes))
    own = Own(patient_pattern, test_fraction, Options(exif, "one", window, scaling, bands))
    return painted_images("yolo", root, found, named, instances, scale, own, MODULES, cache_root)


def _polygon(line: Line) -> list[float]:
    if not line.polygon:
        raise Refused(f"{line.where} is a box, expected the x y of three corners or more; boxes are for detect.py")
    return line.polygon
