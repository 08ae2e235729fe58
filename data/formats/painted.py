"""Outlines of objects become masks: class maps, or maps of instances."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Integer
from numpy import ndarray

from data import phases, splits
from data.formats import boxes, brush, folders, labelled, outlines, patients, reading, seen_boxes, tables, volumes
from data.formats.boxes import Boxed, Own
from data.formats.mask_values import MOST_CLASSES
from data.names import Refused
from data.notes import GUESSED, LEFT_OUT, WARNING, note
from data.store import Images, Record, cached

SHARED = (boxes, brush, folders, labelled, outlines, patients, phases, seen_boxes, splits, tables, volumes)


class Shape(NamedTuple):
    """One object."""

    label: int  # index in the classes; 0 is the background
    outline: Any  # as COCO has it: polygons in pixels, or run lengths; or the bytes of a brush
    where: str  # for messages
    relative: bool = False  # polygons are in fractions of width and height


class Painted(NamedTuple):
    """One picture (its `boxes` are not used) and its objects."""

    of: Boxed
    shapes: list[Shape]


def painted_images(
    dataset: str,
    root: Path,
    found: Sequence[Painted],
    classes: Sequence[str],
    instances: bool,
    scale: float,
    own: Own,
    code: Iterable[str],
    cache_root: Path | None,
) -> Images:
    """The pictures with a 'class_map' of `classes`, the background first, or with an 'instance_map' of all objects.

    Where objects overlap the smaller one is on top. Parts and patients are as in `boxes.boxed_images`. Refused names a
    picture or an outline that cannot be read.
    """
    scale, options = reading.require_scale(scale), own.pictures.checked()
    if len(classes) > MOST_CLASSES - 1:
        raise Refused(f"{root} has {len(classes)} classes, expected at most {MOST_CLASSES - 1}")
    pictures = [entry.of.file for entry in found]
    names = labelled.unique_names(pictures, root)

    def records() -> Iterator[Record]:
        reader, canvas = reading.survey(pictures, options), Canvas(classes, instances)
        boxes.require_one_each(reader.sources, pictures)
        of = [entry.of for entry in found]
        known = boxes.whose_are(root, of, reader.sources, own)
        places = volumes.places_of(reader.sources, names, known)
        whose = volumes.whose(known, places)
        parts = boxes.with_test_part([entry.part for entry in of], [0] * len(of), whose, own.test_fraction)
        patients.note_shared(whose, parts)
        decoded = labelled.ordered_map(reader.read, reader.sources)
        for i, (entry, image, source) in enumerate(zip(found, decoded, reader.sources, strict=True)):
            height, width = image.shape[:2]
            boxes.require_shown(entry.of, np.zeros((0, 5)), height, width, source, options.exif)
            target = reading.shrink_mask(canvas.paint(entry.shapes, height, width, parts[i]), scale)
            small = reading.shrink(image, scale)
            yield Record(names[i], small, target, 0, parts[i], whose[i], *places[i].resized(image.shape, small.shape))
        canvas.tell(dataset)

    told = [file for file in root.iterdir() if file.name.casefold() == patients.TABLE]
    sources = [*pictures, *dict.fromkeys(entry.of.source for entry in found), *told]
    modules = [__file__, *(str(module.__file__) for module in SHARED), *code]
    said = [(entry.of.part, entry.of.patient) for entry in found]
    digest = reading.fingerprint(root, sources, modules, scale, tuple(classes), instances, said, own)
    kind = "instance_map" if instances else "class_map"
    named = ("background", "object") if instances else tuple(classes)
    return cached(dataset, digest, kind, named, records, len(found), cache_root)


class Canvas:
    """Paints objects and counts what is lost."""

    def __init__(self, classes: Sequence[str], instances: bool):
        self.classes, self.instances = list(classes), instances
        self._of_part: dict[str, ndarray] = {}
        self._empty = self._images = self._lost = self._hidden = 0

    def paint(self, shapes: Sequence[Shape], height: int, width: int, part: str) -> Integer[ndarray, "h w"]:
        """The objects of one picture; instances are numbered from 1 as listed."""
        target = np.zeros((height, width), np.uint16 if self.instances else np.uint8)
        masks = [_mask(shape, height, width) for shape in shapes]
        order = sorted(range(len(shapes)), key=lambda i: -int(masks[i].sum()))
        for i in order:
            target[masks[i]] = i + 1 if self.instances else shapes[i].label
        counts = self._of_part.setdefault("test" if part.startswith("test") else part, np.zeros(len(self.classes), int))
        for i, shape in enumerate(shapes):
            value = i + 1 if self.instances else shape.label
            self._lost += not masks[i].any()
            self._hidden += bool(masks[i].any() and not (target[masks[i]] == value).any())
            counts[shape.label] += 1
        self._images, self._empty = self._images + 1, self._empty + (not shapes)
        return target

    def tell(self, dataset: str) -> None:
        if self._empty:
            many = f"{self._empty} of {self._images}"
            note(GUESSED, f"{dataset}: {many} images have no outline and are read as images without an object.")
        if self._lost:
            note(LEFT_OUT, f"{dataset}: {self._lost} objects hold the centre of no pixel of their image.")
        if self._hidden:
            note(WARNING, f"{dataset}: {self._hidden} objects are wholly below others, of which the smaller is on top.")
        counts = {part: found[1:] for part, found in self._of_part.items()}
        seen_boxes.note_absent(dataset, self.classes[1:], counts, "outline")


def _mask(shape: Shape, height: int, width: int) -> ndarray:
    polygons = outlines.polygons_of(shape.outline)
    if polygons is not None:
        polygons = [points * (width, height) for points in polygons] if shape.relative else polygons
        corners = np.concatenate(polygons)
        if (corners < -1).any() or (corners > np.array([width, height]) + 1).any():
            raise Refused(
                f"{shape.where} reaches outside its image of {width} x {height} pixels: from "
                f"{corners.min(0).tolist()} to {corners.max(0).tolist()}"
            )
        if not shape.relative and 0 < corners.max() <= 1 and min(width, height) > boxes.LARGE:
            raise Refused(f"{shape.where} lies within 0 to 1, expected pixels and not fractions")
        return outlines.filled(polygons, height, width)
    if isinstance(shape.outline, bytes):
        return brush.painted(shape.outline, height, width, shape.where)
    if isinstance(shape.outline, dict):
        return outlines.run_lengths(shape.outline, height, width, shape.where)
    raise Refused(f"{shape.where} is {str(shape.outline)[:60]}, expected polygons [[x, y, x, y, ...]] or run lengths")
