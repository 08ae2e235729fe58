"""What a COCO json file says, checked: images, categories and annotations with ids of one kind.

Tools write numbers as text, ids as text beside numbers, and the same category twice; what is clear is read.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data.formats.classes import note_alike, order
from data.formats.columns import NAMES
from data.formats.folders import part_of
from data.formats.tables import read_text
from data.formats.words import is_missing
from data.names import Refused
from data.notes import GUESSED, LEFT_OUT, WARNING, note

ENTRIES = {
    "images": ("id", "file_name"),
    "annotations": ("image_id", "category_id"),
    "categories": ("id", "name"),
}
NO = ("", "0", "false", "no", "none", "null", "0.0")  # what a text says where it means no
Id = int | str


class Picture(NamedTuple):
    """An entry of 'images'."""

    id: Id
    name: str
    size: tuple[int, int] | None  # (width, height); None where it is absent or 0
    patient: str
    part: str  # as written, '' where the entry does not say it


class Marked(NamedTuple):
    """An entry of 'annotations'."""

    number: int  # its place in the file, from 1
    image: Id
    category: Id
    box: list[float] | None  # x, y, width, height as written; None where it is absent
    outline: Any  # 'segmentation': polygons, run lengths, or None
    crowd: bool
    area: float  # as written, 0 where it is absent


class Table(NamedTuple):
    """A COCO json file."""

    file: Path
    images: list[Picture]
    annotations: list[Marked]
    categories: dict[Id, tuple[str, str]]  # id -> name and supercategory


def read(file: Path) -> Table:
    """A COCO file. Refused names the entry that lacks something or cannot be understood."""
    table = load(file)
    for key, fields in ENTRIES.items():
        entries = table.get(key) if isinstance(table, dict) else None
        if not isinstance(entries, list):
            raise Refused(f"{file} has no list {key!r}; expected a COCO file with images, annotations and categories")
        for number, entry in enumerate(entries, start=1):
            if lacking := [field for field in fields if not isinstance(entry, dict) or field not in entry]:
                raise Refused(f"{file}: entry {number} of {key!r} has no {lacking[0]!r}")
    images = [_picture(file, number, entry) for number, entry in enumerate(table["images"], start=1)]
    if (different := len({image.id for image in images})) < len(images):
        raise Refused(f"{file} has {len(images)} images with {different} different ids, expected each id once")
    known: dict[Id, tuple[str, str]] = {}
    for number, entry in enumerate(table["categories"], start=1):
        name, above = entry["name"], entry.get("supercategory")
        if not isinstance(name, str | int | float) or not str(name).strip():
            raise Refused(f"{file}: entry {number} of 'categories' is called {name!r}, expected a name")
        known[identity(entry["id"], f"{file}: entry {number} of 'categories'")] = (
            str(name).strip(),
            above.strip() if isinstance(above, str) else "",
        )
    if len(known) < len(table["categories"]) or not known:
        many = f"{len(table['categories'])} categories with {len(known)} different ids"
        raise Refused(f"{file} has {many}, expected each id once")
    annotations = [_marked(file, number, entry) for number, entry in enumerate(table["annotations"], start=1)]
    if painted := sum(map(_is_painted, table["annotations"])):
        note(
            GUESSED,
            f"{file.name}: {painted} masks of CVAT have iscrowd=1, as all that it exports as run lengths: "
            "they are read as single objects.",
        )
    pictures = {image.id for image in images}
    for entry in annotations:
        if entry.image not in pictures:
            raise Refused(
                f"{file}: annotation {entry.number} is for image_id {entry.image!r}, which 'images' does not have"
            )
        if entry.category not in known:
            listed = ", ".join(map(str, sorted(known, key=lambda i: order(str(i)))[:50]))
            raise Refused(
                f"{file}: annotation {entry.number} has category_id {entry.category!r}, expected one of {listed}"
            )
    return Table(file, images, annotations, known)


def load(file: Path) -> Any:
    """The content of a json file in any encoding of text. Refused for what is no json."""
    try:
        return json.loads(read_text(file).lstrip("\ufeff"))
    except RecursionError:
        raise Refused(f"{file} is not readable as json: it is nested too deeply") from None
    except ValueError as error:
        if isinstance(error, Refused):
            raise
        raise Refused(f"{file} is not readable as json: {error}") from error


def identity(value: Any, where: str) -> Id:
    """An id as a whole number where it can be one ('3', 3.0), else as its text. Refused for lists and the like."""
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise Refused(f"{where} has the id {str(value)[:60]!r}, expected a whole number or a name")
    text = str(value).strip() if isinstance(value, str) else ""
    return int(text) if re.fullmatch(r"[+-]?\d{1,300}", text) else text or value


def classes_of(tables: Sequence[Table]) -> dict[Id, str]:
    """Category id -> name of its class, by rising id; several ids may have one class.

    Refused where two files differ. Noted: a name that several ids have, a dummy category 0 (left out), and categories
    that nothing is marked as.
    """
    first = tables[0].categories
    for table in tables[1:]:
        if {i: name for i, (name, _) in table.categories.items()} != {i: name for i, (name, _) in first.items()}:
            own = {i: name for i, (name, _) in table.categories.items()}
            raise Refused(
                f"{table.file} has the categories {own}, those of the files before it are "
                f"{ {i: name for i, (name, _) in first.items()} }; expected the same in all"
            )
    used = {entry.category for table in tables for entry in table.annotations}
    categories = dict(sorted(first.items(), key=lambda item: order(str(item[0]))))
    file = tables[0].file.name
    if 0 in categories and 0 not in used and len(categories) > 1 and _is_dummy(categories):
        name = categories.pop(0)[0]
        note(LEFT_OUT, f"{file}: category 0 ({name!r}) has no annotation and seems to be a dummy: it is no class.")
    by_name: dict[str, list[Id]] = defaultdict(list)
    for i, (name, _) in categories.items():
        by_name[name].append(i)
    called = {i: name for i, (name, _) in categories.items()}
    for name, ids in by_name.items():
        above = {categories[i][1] for i in ids}
        if len(ids) > 1 and len(above) == len(ids):
            called |= {i: f"{categories[i][1]}: {name}" for i in ids}
            note(WARNING, f"{file}: {len(ids)} categories are called {name!r} and told apart by their supercategories.")
        elif len(ids) > 1:
            listed = " and ".join(map(str, ids))
            note(WARNING, f"{file}: categories {listed} are both called {name!r}: they are read as one class.")
    named = dict.fromkeys(called.values())
    note_alike(list(named), file)
    if absent := [name for name in named if not any(called[i] == name for i in used if i in called)]:
        shown = ", ".join(map(repr, absent[:8])) + (" ..." if len(absent) > 8 else "")
        note(WARNING, f"{file}: nothing is marked as {shown}.")
    return called


def parts_of(table: Table, part: str, alone: bool) -> list[str]:
    """The part of every image: that of its file, or where one file holds all, what its entry says."""
    words = [picture.part for picture in table.images]
    if not any(words):
        return [part] * len(words)
    parts = [part_of(word) for word in words]
    if not alone or None in parts:
        note(LEFT_OUT, f"{table.file.name}: the parts that images tell ({words[0]!r} ...) are not used.")
        return [part] * len(words)
    note(GUESSED, f"{table.file.name}: the parts are those that its images tell.")
    return [told or part for told in parts]


def part_is_said(tables: Sequence[Table]) -> bool:
    """Whether files or their entries say of any picture which part it is of."""
    return len(tables) > 1 or any(picture.part for table in tables for picture in table.images)


def said(entry: Mapping[str, Any], meaning: str) -> str:
    """What an entry of 'images' says of its patient or part under a usual name of it, '' where it does not."""
    names = NAMES[meaning][0].split()
    found = {k: v for k, v in entry.items() if k.casefold() in names and isinstance(v, str | int | float)}
    return next((str(v).strip() for v in found.values() if not is_missing(str(v))), "")


def finite_numbers(values: Any, count: int = 0) -> list[float] | None:
    """Numbers as floats (nan and inf too, which are found bad later); None where these are none, or not `count`."""
    if not isinstance(values, list) or (count and len(values) != count):
        return None
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return None
    try:
        return [float(v) for v in values]
    except OverflowError:
        return None


def _is_dummy(categories: Mapping[Id, tuple[str, str]]) -> bool:
    """Whether category 0 only stands above the others, as a tool that keeps the number 0 free writes it."""
    name, above = categories[0]
    others = {supercategory for i, (_, supercategory) in categories.items() if i != 0}
    dummy = name.strip("_ ").casefold() in ("background", "dummy", "none", "bg", "ignore")
    return dummy or above.casefold() == "none" or name in others


def _picture(file: Path, number: int, entry: dict) -> Picture:
    where = f"{file}: entry {number} of 'images'"
    name = entry["file_name"]
    if not isinstance(name, str) or not name.strip():
        raise Refused(f"{where} has file_name {name!r}, expected a path")
    sides = [_side(entry.get(side), where, side) for side in ("width", "height")]
    return Picture(
        identity(entry["id"], where),
        name,
        (sides[0], sides[1]) if all(sides) else None,
        said(entry, "patient"),
        said(entry, "part"),
    )


def _side(value: Any, where: str, side: str) -> int:
    """A width or height as a whole number, 0 where it is not known."""
    if value is None or value == "":
        return 0
    try:
        number = float(value)
        if isinstance(value, bool) or number != int(number) or number < 0:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise Refused(f"{where} has {side} {str(value)[:60]!r}, expected a whole number of pixels") from None
    return int(number)


def _is_painted(entry: Mapping[str, Any]) -> bool:
    """Whether CVAT wrote this (it alone gives every object attributes): the mask of one object, marked as a crowd."""
    attributes = entry.get("attributes")
    own = isinstance(attributes, dict) and "occluded" in attributes and not attributes.get("is_crowd")
    return own and entry.get("iscrowd") == 1 and isinstance(entry.get("segmentation"), dict)


def _marked(file: Path, number: int, entry: dict) -> Marked:
    where = f"{file}: annotation {number}"
    outline = entry.get("segmentation") or None
    box = entry.get("bbox")
    if box is None and outline is None:
        raise Refused(f"{file}: entry {number} of 'annotations' has no 'bbox'")
    sides = None
    if box is not None and not (box == [] and outline is not None):
        sides = finite_numbers(box, 4)
        if sides is None:
            raise Refused(f"{where} has bbox {str(box)[:80]}, expected [x, y, width, height]")
    crowd = entry.get("iscrowd", 0)
    crowd = crowd.strip().casefold() not in NO if isinstance(crowd, str) else bool(crowd)
    crowd = crowd and not _is_painted(entry)
    image, category = (identity(entry[key], f"{where} ({key})") for key in ("image_id", "category_id"))
    area = finite_numbers([entry.get("area")], 1) or [0.0]
    return Marked(number, image, category, sides, outline, crowd, area[0])
