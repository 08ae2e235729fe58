"""Boxes in COCO format (`coco`): any such json file, or one for each part, with its images.

Lin et al., "Microsoft COCO: Common objects in context", ECCV 2014; format: https://cocodataset.org/#format-data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np

from data.formats import coco_files, coco_table, open_voc, outlines
from data.formats.boxes import BadBoxes, Boxed, Own, boxed_images, require_policy
from data.formats.coco_table import Id, Marked, Table
from data.formats.folders import Unused, parts_of_places, pictures_below
from data.formats.labelled import TEST_FRACTION, TestShare
from data.formats.pictures import Bands, Exif, Levels, Options, Scaling
from data.limits import OneOf
from data.names import Refused, require_one_of
from data.notes import LEFT_OUT, WARNING, note
from data.store import Images
from data.unlabelled import Unlabelled

UNITS = {"pixels": 0.0, "fractions": 1.0, "percent": 100.0}  # what the whole width or height is
MODULES = [__file__, *(str(module.__file__) for module in (coco_files, coco_table, outlines))]
FEW = 4  # boxes whose areas are that of another reading by chance


def coco(
    data_root: Path,
    scale: float = 1.0,
    bad_boxes: BadBoxes = "refuse",
    cache_root: Path | None = None,
    units: Annotated[str, OneOf(UNITS)] = "pixels",
    patient_pattern: str = "",
    test_fraction: TestShare = TEST_FRACTION,
    exif: Exif = "apply",
    window: Levels = None,
    scaling: Scaling = "set",
    bands: Bands = None,
    unlabelled: Unlabelled | None = None,
) -> Images:
    """The images of COCO json files with their boxes: train, val, test, each as listed; classes by category id.

    Files whose name or folder holds the word train, val or test give that part; where there is none such, one file
    holds all images. Without a test part, a fixed `test_fraction` of the training part is 'test', by whole patients
    where the images, patients.csv or `patient_pattern` tell them (data.formats.patients). Crowd annotations, which mark
    groups and not single objects, are left out with a note. `bad_boxes` is one of data.formats.boxes: 'refuse' names a
    box that is empty, inverted or outside, 'clip' clips or drops. `units` says what the numbers of boxes are: pixels,
    or fractions or percent of the width and height. `exif`, `window`, `scaling` and `bands` are told in
    data.formats.pictures.Options. With `unlabelled` (see there) pictures that no file lists wait for boxes. Missing or
    Refused names what is missing or wrong.
    """
    require_policy(bad_boxes)
    require_one_of("units", units, UNITS)
    root = coco_files.root_of(data_root)
    tables = coco_files.tables_of(root)
    classes = coco_table.classes_of(list(tables.values()))
    pictures = coco_files.Pictures(root)
    found = []
    for part, table in tables.items():
        parts = coco_table.parts_of(table, part, len(tables) == 1)
        found += _boxed(pictures, table, parts, classes, UNITS[units])
    if not coco_table.part_is_said(list(tables.values())):
        parts = parts_of_places(root, [entry.file for entry in found])
        found = [entry._replace(part=part) for entry, part in zip(found, parts, strict=True)]
    if crowds := sum(entry.crowd for table in tables.values() for entry in table.annotations):
        note(LEFT_OUT, f"coco: {crowds} crowd annotations mark groups and not single objects: left out.")
    own = Own(patient_pattern, test_fraction, Options(exif, "one", window, scaling, bands))
    names = list(dict.fromkeys(classes.values()))
    if unlabelled is not None:
        listed = {entry.file.resolve() for entry in found}
        others = [file for file in pictures_below(root, Unused(root)) if file.resolve() not in listed]
        found = [*found, *(Boxed(file, np.zeros((0, 5)), file) for file in others)]
        found = open_voc.opened(found, root, names, unlabelled)
        return boxed_images("coco", root, found, names, scale, bad_boxes, MODULES, (), cache_root, own)
    pictures.tell([entry.file for entry in found], [table.file for table in tables.values()])
    return boxed_images("coco", root, found, names, scale, bad_boxes, MODULES, (), cache_root, own)


def _boxed(
    pictures: coco_files.Pictures, table: Table, parts: Sequence[str], classes: Mapping[Id, str], whole: float
) -> list[Boxed]:
    """The images of one file."""
    names = list(dict.fromkeys(classes.values()))
    rows: dict[Id, list[list[float]]] = {picture.id: [] for picture in table.images}
    sizes = {picture.id: picture.size for picture in table.images}
    unlike = []
    if not whole:
        _require_sides(table)
    for entry in table.annotations:
        if entry.crowd or entry.category not in classes:
            continue
        corners = _corners(table.file, entry, sizes[entry.image])
        if not whole and _differs(entry, corners, sizes[entry.image]):
            unlike.append(entry.number)
        row = [corner / whole for corner in corners] if whole else corners
        rows[entry.image].append([*row, float(names.index(classes[entry.category]))])
    if unlike:
        many = f"{len(unlike)} of {len(table.annotations)} boxes, the first of annotation {unlike[0]},"
        note(WARNING, f"{table.file.name}: {many} are not around their segmentation: is bbox [x, y, width, height]?")
    return [
        Boxed(
            pictures.find(table.file, picture),
            np.array(rows[picture.id], np.float64).reshape(-1, 5),
            table.file,
            told,
            picture.size,
            bool(whole),
            picture.patient,
        )
        for picture, told in zip(table.images, parts, strict=True)
    ]


def _corners(file: Path, entry: Marked, size: tuple[int, int] | None) -> list[float]:
    """x1, y1, x2, y2: of the box, or where there is none around the outline."""
    if entry.box is not None:
        x, y, width, height = entry.box
        return [x, y, x + width, y + height]
    corners = outlines.around(entry.outline, size)
    if corners is None:
        raise Refused(f"{file}: annotation {entry.number} has neither a bbox nor polygons or run lengths around which")
    return corners


def _require_sides(table: Table) -> None:
    """Refused where the areas tell that boxes are two corners and not a corner, a width and a height."""
    told = [(*entry.box, entry.area) for entry in table.annotations if entry.box and entry.area and not entry.crowd]
    x, y, a, b, area = np.array(told, np.float64).reshape(-1, 5).T
    sides, corners = (np.abs(product - area) <= 0.02 * area for product in (a * b, (a - x) * (b - y)))
    if len(told) >= FEW and corners.mean() > 0.9 and sides.mean() < 0.5:
        raise Refused(
            f"{table.file}: the area of {int(corners.sum())} of {len(told)} boxes is that of [x1, y1, x2, y2], but a "
            "bbox is [x, y, width, height]; correct them"
        )


def _differs(entry: Marked, corners: list[float], size: tuple[int, int] | None) -> bool:
    """Whether a box is far from the outline of the same object, as where it holds two corners."""
    if entry.box is None or entry.outline is None:
        return False
    around = outlines.around(entry.outline, size)
    if around is None or not np.isfinite(corners).all():
        return False
    slack = 2 + 0.1 * max(around[2] - around[0], around[3] - around[1])
    return bool(np.abs(np.subtract(corners, around)).max() > slack)
