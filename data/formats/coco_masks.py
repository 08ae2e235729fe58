"""Masks from the polygons and run lengths of COCO json files (`segment.py with coco`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data.formats import coco_files, coco_table
from data.formats.boxes import Boxed, Own
from data.formats.coco_table import Id, Marked, Table
from data.formats.folders import parts_of_places
from data.formats.labelled import TEST_FRACTION, TestShare
from data.formats.painted import Painted, Shape, painted_images
from data.formats.pictures import Bands, Exif, Levels, Options, Scaling
from data.names import Refused
from data.notes import LEFT_OUT, note
from data.store import Images

MODULES = [__file__, *(str(module.__file__) for module in (coco_files, coco_table))]


def coco_masks(
    data_root: Path,
    scale: float = 1.0,
    cache_root: Path | None = None,
    instances: bool = False,
    patient_pattern: str = "",
    test_fraction: TestShare = TEST_FRACTION,
    exif: Exif = "apply",
    window: Levels = None,
    scaling: Scaling = "set",
    bands: Bands = None,
) -> Images:
    """The images of COCO json files with class maps of their categories by rising id, or with `instances` with maps
    that number the objects.

    Class 0 is the background: a category of that name, else what is in no outline. Where objects overlap the smaller
    one is on top. Crowds, groups of objects, are part of class maps and left out of instances with a note. Files,
    parts, patients and all other options are those of `data.formats.coco.coco`. Missing or Refused names what is
    missing or wrong, for instance an object with a box and no outline.
    """
    root = coco_files.root_of(data_root)
    tables = coco_files.tables_of(root)
    categories = coco_table.classes_of(list(tables.values()))
    called = {i: name for i, name in categories.items() if name.casefold() not in ("background", "_background_")}
    classes = ["background", *dict.fromkeys(called.values())]
    label_of = {i: classes.index(called[i]) if i in called else 0 for i in categories}
    pictures = coco_files.Pictures(root)
    found, crowds = [], 0
    for part, table in tables.items():
        shapes: dict[Id, list[Shape]] = {picture.id: [] for picture in table.images}
        for entry in table.annotations:
            if entry.crowd and instances:
                crowds += 1
            elif entry.category in label_of and not (instances and not label_of[entry.category]):
                shapes[entry.image].append(_shape(table, entry, label_of[entry.category]))
        for picture, told in zip(table.images, coco_table.parts_of(table, part, len(tables) == 1), strict=True):
            file, nothing = pictures.find(table.file, picture), np.zeros((0, 5))
            boxed = Boxed(file, nothing, table.file, told, picture.size, False, picture.patient)
            found.append(Painted(boxed, shapes[picture.id]))
    if not coco_table.part_is_said(list(tables.values())):
        parts = parts_of_places(root, [entry.of.file for entry in found])
        found = [e._replace(of=e.of._replace(part=part)) for e, part in zip(found, parts, strict=True)]
    if crowds:
        note(LEFT_OUT, f"coco: {crowds} crowd annotations mark groups and not single objects: left out of instances.")
    pictures.tell([entry.of.file for entry in found], [table.file for table in tables.values()])
    own = Own(patient_pattern, test_fraction, Options(exif, "one", window, scaling, bands))
    return painted_images("coco", root, found, classes, instances, scale, own, MODULES, cache_root)


def _shape(table: Table, entry: Marked, label: int) -> Shape:
    where = f"{table.file}: the segmentation of annotation {entry.number}"
    if entry.outline is None:
        raise Refused(
            f"{table.file}: annotation {entry.number} has a bbox and no segmentation, expected an outline of every "
            "object; boxes alone are for detect.py with coco"
        )
    return Shape(label, entry.outline, where)
