"""Boxes in COCO format (`coco`): any such json file, or one for each part, with its images.

Lin et al., "Microsoft COCO: Common objects in context", ECCV 2014; format: https://cocodataset.org/#format-data.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np

from data import files
from data.formats.boxes import BAD_BOXES, Boxed, boxed_images, require_policy
from data.limits import OneOf
from data.names import Missing, Refused
from data.store import Images

PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}  # word in a name -> part
ENTRIES = {
    "images": ("id", "file_name"),
    "annotations": ("image_id", "category_id", "bbox"),
    "categories": ("id", "name"),
}
WORD = re.compile(r"(?<![a-z])(train|validation|valid|val|test)(?![a-z])(\d*)")
TREE = """
coco/   (or the data root itself)
    annotations.json
    images/a.jpg ...   (any format that Pillow reads)
or, with official parts (val and test are optional):
    annotations/instances_train2017.json   annotations/instances_val2017.json   annotations/instances_test2017.json
    train2017/a.jpg ...   val2017/b.jpg ...   test2017/c.jpg ...   (or all of them in images/)
or:
    train/_annotations.coco.json   train/a.jpg ...   valid/...   test/...
"""


def coco(
    data_root: Path,
    scale: float = 1.0,
    bad_boxes: Annotated[str, OneOf(BAD_BOXES)] = "refuse",
    cache_root: Path | None = None,
) -> Images:
    """The images of COCO json files with their boxes: train, val, test, each as listed; classes by category id.

    Files whose name or folder holds the word train, val or test give that part; where there is none such, one file
    holds all images. Without a test part, a fixed fifth of the training part is 'test'. Crowd annotations, which mark
    groups and not single objects, are left out with a warning. `bad_boxes` is one of data.formats.boxes: 'refuse' names
    a box that is empty, inverted or outside, 'clip' clips or drops. FileNotFoundError or ValueError names what is
    missing or wrong.
    """
    require_policy(bad_boxes)
    root = Path(data_root) / "coco"
    root = root if root.is_dir() else files.require_folder(Path(data_root), TREE)
    tables = {part: (file, _read(file)) for part, file in _find(root).items()}
    categories = _categories(tables)
    found, crowds = [], 0
    for part, (file, table) in tables.items():
        entries, skipped = _annotated(root, file, table, part, list(categories))
        found, crowds = found + entries, crowds + skipped
    listed: dict[Path, Path] = {}
    for entry in found:
        if entry.file in listed:
            before = listed[entry.file].name
            raise Refused(
                f"{entry.source} lists {entry.file}, which {before} lists already; expected every picture once"
            )
        listed[entry.file] = entry.source
    if crowds:
        warnings.warn(f"coco: {crowds} crowd annotations mark groups and not single objects: left out.", stacklevel=2)
    return boxed_images("coco", root, found, list(categories.values()), scale, bad_boxes, [__file__], (), cache_root)


def _find(root: Path) -> dict[str, Path]:
    """Part -> json file. One file whose name holds no part is 'train'."""
    places = ["*.json", "annotations/*.json", *(f"{word}/*.json" for word in PARTS)]
    present = sorted({file for place in places for file in root.glob(place) if file.name[0] != "."})
    if any(file.name.startswith("instances") for file in present):  # those of COCO lie beside captions and keypoints
        present = [file for file in present if file.name.startswith("instances")]
    if not present:
        raise Missing(f"found no json file in {root}; expected this tree:\n{TREE.strip()}")
    by_part: dict[str, list[Path]] = {}
    for file in present:
        word = WORD.search(file.relative_to(root).as_posix().lower())
        by_part.setdefault(PARTS[word[1]] if word else "", []).append(file)
    if len(by_part) > 1:
        by_part.pop("", None)
    for part, several in by_part.items():
        if len(several) > 1:
            rule = f"expected one for {part}" if part else "expected one file, or train, val and test in their names"
            raise Refused(f"{root} holds {' and '.join(file.relative_to(root).as_posix() for file in several)}; {rule}")
    if not by_part.keys() & {"", "train"}:
        there = " and ".join(by_part)
        raise Missing(f"{root} has annotations for {there} but none for train; expected this tree:\n{TREE.strip()}")
    chosen = {part or "train": several[0] for part, several in by_part.items()}
    return {part: chosen[part] for part in ("train", "val", "test") if part in chosen}


def _read(file: Path) -> dict[str, list[dict[str, Any]]]:
    """A COCO table. ValueError names the file and the entry that lacks something."""
    try:
        table = json.loads(file.read_bytes())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise Refused(f"{file} is not readable as json: {error}") from error
    for key, fields in ENTRIES.items():
        entries = table.get(key) if isinstance(table, dict) else None
        if not isinstance(entries, list):
            raise Refused(f"{file} has no list {key!r}; expected a COCO file with images, annotations and categories")
        for number, entry in enumerate(entries, start=1):
            if lacking := [field for field in fields if not isinstance(entry, dict) or field not in entry]:
                raise Refused(f"{file}: entry {number} of {key!r} has no {lacking[0]!r}")
    return {key: table[key] for key in ENTRIES}


def _categories(tables: dict[str, tuple[Path, dict]]) -> dict[Any, str]:
    """Category id -> name by rising id. ValueError where two files, or two entries of one, differ."""
    categories: dict[Any, str] = {}
    for number, (file, table) in enumerate(tables.values()):
        own = {entry["id"]: str(entry["name"]) for entry in table["categories"]}
        if len(own) < len(table["categories"]) or not own:
            raise Refused(
                f"{file} has {len(table['categories'])} categories with {len(own)} different ids, expected each id once"
            )
        if number and own != categories:
            raise Refused(
                f"{file} has the categories {own}, "
                f"those of the files before it are {categories}; expected the same in all"
            )
        categories = own
    return dict(sorted(categories.items()))


def _annotated(root: Path, file: Path, table: dict, part: str, category_ids: Sequence) -> tuple[list[Boxed], int]:
    """The images of one file, and how many crowd annotations were left out."""
    rows: dict[Any, list[list[float]]] = {entry["id"]: [] for entry in table["images"]}
    if len(rows) < len(table["images"]):
        raise Refused(f"{file} has {len(table['images'])} images with {len(rows)} different ids, expected each id once")
    class_of = {identity: float(index) for index, identity in enumerate(category_ids)}
    crowds = 0
    for number, annotation in enumerate(table["annotations"], start=1):
        image, category, box = annotation["image_id"], annotation["category_id"], annotation["bbox"]
        if image not in rows:
            raise Refused(f"{file}: annotation {number} is for image_id {image!r}, which 'images' does not have")
        if category not in class_of:
            known = ", ".join(map(str, category_ids))
            raise Refused(f"{file}: annotation {number} has category_id {category!r}, expected one of {known}")
        if annotation.get("iscrowd"):
            crowds += 1
            continue
        if not isinstance(box, list) or len(box) != 4 or not all(isinstance(side, int | float) for side in box):
            raise Refused(f"{file}: annotation {number} has bbox {box!r}, expected [x, y, width, height]")
        x, y, width, height = box
        rows[image].append([x, y, x + width, y + height, class_of[category]])
    places = _places(root, file)
    found = []
    for entry in table["images"]:
        size = (entry.get("width"), entry.get("height"))
        boxes = np.array(rows[entry["id"]], np.float64).reshape(-1, 5)
        found.append(
            Boxed(_picture(places, str(entry["file_name"]), file), boxes, file, part, size if all(size) else None)
        )
    return found, crowds


def _places(root: Path, file: Path) -> list[Path]:
    """Folders in which the pictures of a json file may lie."""
    word = WORD.search(file.relative_to(root).as_posix().lower())
    names = [] if word is None else list(dict.fromkeys([word[0], word[1], PARTS[word[1]]]))
    return [place for base in (root / "images", root) for place in (*(base / name for name in names), base)] + [
        file.parent
    ]


def _picture(places: Sequence[Path], name: str, file: Path) -> Path:
    relative = PurePosixPath(name.replace("\\", "/"))
    relative = PurePosixPath(relative.name) if relative.is_absolute() else relative  # of another machine
    for place in places:
        if (place / relative).is_file():
            return place / relative
    sought = ", ".join(str(place) for place in dict.fromkeys(places) if place.is_dir())
    raise Missing(f"{file} lists {name!r}, which is in none of {sought}")
