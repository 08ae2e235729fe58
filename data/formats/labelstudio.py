"""Label Studio's JSON export with its pictures (`labelstudio`): boxes, masks, or one class for each picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np

from data.formats import brush, coco_table, folders, labelstudio_tasks, patients, tables
from data.formats import classes as of_labels
from data.formats.boxes import BadBoxes, Boxed, Own, boxed_images, require_policy
from data.formats.labelled import TEST_FRACTION, Labelled, TestShare, images_of
from data.formats.labelstudio_tasks import Region, Task
from data.formats.painted import Painted, Shape, painted_images
from data.formats.pictures import Exif, Options
from data.limits import Between
from data.names import Refused, suggestion
from data.notes import LEFT_OUT, WARNING, note
from data.store import Images

SHARED = (brush, coco_table, folders, labelstudio_tasks, of_labels, patients, tables)
MODULES = [__file__, *(str(module.__file__) for module in SHARED)]


def boxes(
    data_root: Path,
    scale: float = 1.0,
    bad_boxes: BadBoxes = "refuse",
    classes: Sequence[str] = (),
    cache_root: Path | None = None,
    patient_pattern: str = "",
    test_fraction: TestShare = TEST_FRACTION,
    exif: Exif = "apply",
) -> Images:
    """The annotated pictures with the boxes of their rectangles, and those around polygons, ellipses and brushes.

    `classes` gives the order of the classes; left empty it is the natural one of the labels. Tasks without annotation
    are left out with a note; an annotation without regions is a picture without objects. All else is as in
    `data.formats.coco.coco`.
    """
    require_policy(bad_boxes)
    root, export, tasks = labelstudio_tasks.read(data_root)
    names = _classes(export, tasks, classes)
    found = []
    for task, part in zip(tasks, _parts(root, tasks), strict=True):
        rows = [[*box_around(region, task), float(names.index(region.label))] for region in task.regions]
        around = np.array(rows, np.float64).reshape(-1, 5)
        found.append(Boxed(task.file, around, export, part, task.size, True))
    own = Own(patient_pattern, test_fraction, Options(exif))
    return boxed_images("labelstudio", root, found, names, scale, bad_boxes, MODULES, (), cache_root, own)


def masks(
    data_root: Path,
    scale: float = 1.0,
    classes: Sequence[str] = (),
    cache_root: Path | None = None,
    instances: bool = False,
    patient_pattern: str = "",
    test_fraction: TestShare = TEST_FRACTION,
    exif: Exif = "apply",
) -> Images:
    """The annotated pictures with class maps of their polygons, brushes, rectangles and ellipses, the background first,
    or with `instances` with maps that number them; the smaller one is on top. See `boxes`.
    """
    root, export, tasks = labelstudio_tasks.read(data_root)
    names = ["background", *(name for name in _classes(export, tasks, classes) if name != "background")]
    found = []
    for task, part in zip(tasks, _parts(root, tasks), strict=True):
        if task.regions and task.size is None:
            raise Refused(f"{task.regions[0].where} has no original_width and original_height")
        found.append(Painted(Boxed(task.file, np.zeros((0, 5)), export, part, task.size), shapes(task, names)))
    own = Own(patient_pattern, test_fraction, Options(exif))
    return painted_images("labelstudio", root, found, names, instances, scale, own, MODULES, cache_root)


def choices(
    data_root: Path,
    image_size: int | None,
    cache_root: Path | None = None,
    classes: Sequence[str] = (),
    patient_pattern: str = "",
    test_fraction: Annotated[float, Between(0.01, 0.9)] = TEST_FRACTION,
    exif: Exif = "apply",
) -> Images:
    """The annotated pictures with the class that was chosen for each. See `boxes`; regions are not used."""
    root, export, tasks = labelstudio_tasks.read(data_root)
    for task in tasks:
        if len(task.choices) != 1:
            raise Refused(f"{export}: {task.file.name} has the choices {task.choices}, expected one class")
    counts = Counter(task.choices[0] for task in tasks)
    of_labels.require_classes(counts, export.name)
    names = _ordered(export, sorted(counts, key=of_labels.order), classes)
    if drawn := sum(len(task.regions) for task in tasks):
        note(LEFT_OUT, f"{export.name}: {drawn} regions are not used, for classes are of whole pictures.")
    whose = patients.patients_of([task.file.relative_to(root).as_posix() for task in tasks], root, patient_pattern)
    parts = _parts(root, tasks)
    if "test" in parts and test_fraction != TEST_FRACTION:
        raise Refused(f"test_fraction={test_fraction:g} has nothing to divide: the images have a part 'test'")
    found = [
        Labelled(task.file, names.index(task.choices[0]), part, patient)
        for task, part, patient in zip(tasks, parts, whose, strict=True)
    ]
    code, options, fraction = MODULES, Options(exif), 0.0 if "test" in parts else float(test_fraction)
    return images_of("labelstudio", root, found, names, image_size, None, code, cache_root, False, fraction, options)


def shapes(task: Task, names: Sequence[str]) -> list[Shape]:
    """The objects of a picture, to be painted with the index of their class in `names`."""
    size = task.size or (1, 1)
    return [Shape(names.index(r.label), r.brush or [_in_pixels(r, size)], r.where) for r in task.regions]


def box_around(region: Region, task: Task) -> list[float]:
    """x1, y1, x2, y2 of the box around an object, in fractions of width and height."""
    if region.brush and task.size:
        width, height = task.size
        rows, columns = np.nonzero(brush.painted(region.brush, height, width, region.where))
        if not len(rows):
            raise Refused(f"{region.where} is a brush that painted nothing, expected an object")
        sides = (columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height)
        return [float(side) for side in sides]
    corners = np.array(region.corners) / 100
    return [*corners.min(0).tolist(), *corners.max(0).tolist()]


def _parts(root: Path, tasks: Sequence[Task]) -> list[str]:
    return folders.parts_of_places(root, [task.file for task in tasks])


def _in_pixels(region: Region, size: tuple[int, int]) -> list[float]:
    return (np.array(region.corners) / 100 * np.array(size)).ravel().tolist()


def _classes(export: Path, tasks: Sequence[Task], chosen: Sequence[str]) -> list[str]:
    present = sorted({region.label for task in tasks for region in task.regions}, key=of_labels.order)
    if not present:
        raise Refused(
            f"{export} has no rectangle, polygon, ellipse or brush; choices are for classify.py with labelstudio"
        )
    return _ordered(export, present, chosen)


def _ordered(export: Path, present: Sequence[str], chosen: Sequence[str]) -> list[str]:
    """The classes as chosen, else those present."""
    names = [str(name) for name in chosen] or list(present)
    if others := [label for label in present if label not in names]:
        near = suggestion(others[0], names)
        raise Refused(f"{export} has the label {others[0]!r}, which is none of {', '.join(names)}.{near}")
    if len(set(names)) < len(names):
        raise Refused(f"classes={names} names a class twice")
    of_labels.note_alike(names, export.name)
    if absent := [name for name in names if name not in present]:
        note(WARNING, f"{export.name}: nothing is labelled {', '.join(map(repr, absent))}.")
    return names
