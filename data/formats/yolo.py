"""Boxes in YOLO format (`yolo`): a text for each picture with a line for each object, in fractions of width and height.

Lines are `class x y width height` around the centre, or `class x1 y1 x2 y2 x3 y3 ...` for a polygon, whose box is used.
Layouts: those of Ultralytics, Roboflow, Darknet and CVAT (YOLO 1.1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data import files
from data.formats import folders, open_voc, yolo_yaml
from data.formats.boxes import BadBoxes, Boxed, Own, boxed_images, require_policy
from data.formats.classes import note_alike
from data.formats.endings import ending_of
from data.formats.folders import Unused, composed, part_of
from data.formats.labelled import TEST_FRACTION, TestShare
from data.formats.pictures import Bands, Exif, Levels, Options, Scaling
from data.formats.tables import read_text
from data.names import Missing, Refused
from data.notes import GUESSED, LEFT_OUT, note
from data.store import Images
from data.unlabelled import Unlabelled

TREE = """
images/a.jpg ...   labels/a.txt ...   (in both, where you have parts, train/ val/ test/ below)
or train/images/a.jpg   train/labels/a.txt   valid/...   test/...
or a.jpg   a.txt   side by side
with the names of the classes in data.yaml (names:), classes.txt or obj.names
"""
LISTS = frozenset("classes train val valid test trainval predefined_classes labels notes requirements".split())
TOLD = (".txt", ".yaml", ".yml", ".names", ".data", ".csv")  # endings of files that describe the set
MODULES = [__file__, yolo_yaml.__file__]
SLACK = 0.01  # of the width or height outside the picture, that rounding makes


class Line(NamedTuple):
    """One object of a text, in fractions of width and height."""

    label: int
    box: list[float]  # x1, y1, x2, y2
    polygon: list[float]  # x, y, x, y, ...; empty where the line is a box
    where: str


class Texts(NamedTuple):
    """A folder of pictures with texts."""

    root: Path
    names: list[str]  # of the classes 0, 1, ...
    found: list[tuple[Path, str, Path | None, list[Line]]]  # picture, its part, its text and what that says


def yolo(
    data_root: Path,
    scale: float = 1.0,
    bad_boxes: BadBoxes = "refuse",
    classes: Sequence[str] = (),
    cache_root: Path | None = None,
    patient_pattern: str = "",
    test_fraction: TestShare = TEST_FRACTION,
    exif: Exif = "apply",
    window: Levels = None,
    scaling: Scaling = "set",
    bands: Bands = None,
    unlabelled: Unlabelled | None = None,
) -> Images:
    """The pictures below `data_root` with the boxes of their texts, in the order train, val, test and by name.

    The text of a picture lies in the folder labels where it lies in images, else beside it; without text, or with an
    empty one, it has no objects, which is counted. Parts are folders called so, or those that data.yaml names; without
    a test part, a fixed `test_fraction` of the training part is 'test', by whole patients where patients.csv or
    `patient_pattern` tell them. `classes` are the names of 0, 1, ...; left empty those of data.yaml, classes.txt or
    obj.names. Boxes that reach a little outside (rounding) are clipped; `bad_boxes` says what becomes of others.
    `exif`, `window`, `scaling` and `bands` are told in data.formats.pictures.Options. With `unlabelled` (see there) a
    picture without text waits for one. Missing or Refused names the line that is wrong.
    """
    require_policy(bad_boxes)
    root, names, texts = read(data_root, classes, unlabelled is not None)
    if polygons := sum(bool(line.polygon) for *_, lines in texts for line in lines):
        total = sum(len(lines) for *_, lines in texts)
        note(GUESSED, f"yolo: {polygons} of {total} objects are polygons: their boxes are used.")
    found = []
    for picture, part, text, lines in texts:
        boxes = np.array([[*line.box, line.label] for line in lines], np.float64).reshape(-1, 5)
        found.append(Boxed(picture, boxes, text or picture, part, None, True))
    found = open_voc.opened(found, root, names, unlabelled) if unlabelled is not None else found
    own = Own(patient_pattern, test_fraction, Options(exif, "one", window, scaling, bands))
    return boxed_images("yolo", root, found, names, scale, bad_boxes, MODULES, (), cache_root, own)


def read(data_root: Path, classes: Sequence[str], unlabelled: bool = False) -> Texts:
    """The pictures of a folder with what their texts say. Missing or Refused names the line that is wrong."""
    root = files.require_folder(Path(data_root), TREE)
    pictures = folders.pictures_below(root, Unused(root))
    if not pictures:
        raise Missing(f"{root} holds no picture that can be read; expected this tree:\n{TREE.strip()}")
    texts = _texts(root)
    _tell_others(root, pictures)
    config = yolo_yaml.find(root)
    text_of = {picture: _text_of(root, picture, texts) for picture in pictures}
    of_text = {text: picture for picture, text in text_of.items()}
    if same := next((p for p, text in text_of.items() if text and of_text[text] != p), None):
        raise Refused(f"{same} and {of_text[text_of[same]].name} have one text, expected one picture for each")
    if not any(text_of.values()) and not unlabelled:
        many = f"any of its {len(pictures)} pictures"
        raise Missing(f"{root} has no text for {many}; expected this tree:\n{TREE.strip()}")
    _require_used(root, texts, {text for text in text_of.values() if text}, pictures)
    if not unlabelled and (without := sum(text is None for text in text_of.values())):
        note(GUESSED, f"yolo: {without} of {len(pictures)} pictures have no text, and so no objects.")
    rows = {text: _rows(text) for text in text_of.values() if text}
    names = _names(root, classes, config, rows)
    parts = _parts(root, pictures, config)
    found = []
    for picture in sorted(pictures, key=lambda picture: folders.PARTS.index(parts[picture])):  # stable: by name
        text = text_of[picture]
        lines = rows[text] if text else []
        _require_named(lines, names)
        found.append((picture, parts[picture], text, lines))
    return Texts(root, names, found)


def _tell_others(root: Path, pictures: Sequence[Path]) -> None:
    """Note what is neither a picture nor a text nor tells of the set."""
    unused, known = Unused(root), set(pictures)
    for file in folders.walk(root):
        if folders.is_junk(file.name):
            unused.add("hidden or left by an operating system", file)
        elif file not in known and file.suffix.casefold() not in TOLD:
            unused.add("no pictures", file)
    unused.tell()


def _texts(root: Path) -> dict[str, Path]:
    """Path below the root without ending, in composed letters -> text that can be of a picture."""
    found: dict[str, Path] = {}
    for file in folders.walk(root):
        if file.suffix.casefold() != ".txt" or folders.is_junk(file.name):
            continue
        key = _key(root, file)
        if key in found:
            raise Refused(f"{found[key]} and {file.name} are both the text of one picture; remove one of them")
        found[key] = file
    return found


def _text_of(root: Path, picture: Path, texts: Mapping[str, Path]) -> Path | None:
    """The text of a picture: below labels/ where it is below images/ (the last folder called so), else beside it."""
    places = _key(root, picture).split("/")
    for i in range(len(places) - 2, -1, -1):
        if places[i].casefold() == "images":
            for word in ("labels", "Labels", "annotations"):
                if text := texts.get("/".join([*places[:i], word, *places[i + 1 :]])):
                    return text
            break
    return texts.get("/".join(places))


def _key(root: Path, file: Path) -> str:
    path = composed(file.relative_to(root).as_posix())
    return path[: len(path) - len(ending_of(file))]


def _require_used(root: Path, texts: Mapping[str, Path], used: set[Path], pictures: Sequence[Path]) -> None:
    """Missing for a text of boxes without picture; other texts are noted."""
    others = []
    for file in texts.values():
        if file in used or file.stem.casefold() in LISTS:
            continue
        if any(place.casefold() == "labels" for place in file.relative_to(root).parts[:-1]) or _seems_boxes(file):
            raise Missing(f"{file} has no picture: expected one with the stem {file.stem}, like {pictures[0]}")
        others.append(file.name)
    if others:
        note(LEFT_OUT, f"yolo: {len(others)} texts without boxes are not used, the first is {min(others)}.")


def _seems_boxes(file: Path) -> bool:
    try:
        return bool(_rows(file))
    except Refused:
        return False


def _rows(file: Path) -> list[Line]:
    """What each line says. Refused names the line."""
    found = []
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        where = f"{file}, line {number}"
        try:
            values = [float(word) for word in words]
        except ValueError:
            raise Refused(f"{where} is {line.strip()[:80]!r}, expected numbers: class x y width height") from None
        if not np.isfinite(values).all() or values[0] != int(values[0]) or values[0] < 0:
            raise Refused(f"{where} begins with {words[0]!r}, expected the number of a class, then finite numbers")
        if len(values) == 6:
            raise Refused(f"{where} has 6 numbers, as predictions with a confidence have; expected 5, or a polygon")
        if len(values) != 5 and (len(values) < 7 or len(values) % 2 == 0):
            raise Refused(
                f"{where} has {len(values)} numbers, expected 5 (class x y width height) or a class and the x y of "
                "at least three corners"
            )
        if max(values[1:]) > 2:
            raise Refused(f"{where} has {max(values[1:]):g}, expected fractions of width and height from 0 to 1")
        polygon = [_inside(value) for value in values[1:]] if len(values) > 5 else []
        found.append(Line(int(values[0]), [_inside(corner) for corner in _corners(values, where)], polygon, where))
    return found


def _corners(values: Sequence[float], where: str) -> list[float]:
    """x1, y1, x2, y2 of a line."""
    if len(values) == 5:
        _, x, y, width, height = values
        if width < 0 or height < 0:
            raise Refused(f"{where} has a width of {width:g} and a height of {height:g}, expected 0 to 1")
        return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    return [min(values[1::2]), min(values[2::2]), max(values[1::2]), max(values[2::2])]


def _inside(side: float) -> float:
    """A fraction, moved inside where it is outside by rounding."""
    return min(max(side, 0.0), 1.0) if -SLACK <= side <= 1 + SLACK else side


def _names(
    root: Path, chosen: Sequence[str], config: yolo_yaml.Config, rows: Mapping[Path, Sequence[Line]]
) -> list[str]:
    """The classes 0, 1, ... by the option, data.yaml, classes.txt or obj.names; else numbers, noted."""
    if config.keypoints:
        raise Refused(f"{config.file} is of keypoints (kpt_shape), expected boxes or polygons")
    names = [str(name) for name in chosen] or config.names
    lists = [f for f in root.iterdir() if f.name.casefold() == "classes.txt" or f.suffix == ".names"]
    lists += [f for f in root.glob("labels/classes.txt")]
    told = {tuple(_lines(file)) for file in lists}
    if not names and len(told) > 1:
        raise Refused(f"{' and '.join(file.name for file in lists)} in {root} name different classes; keep one")
    names = names or list(next(iter(told), ()))
    if not names:
        largest = max((line.label for lines in rows.values() for line in lines), default=-1)
        if largest < 0:
            raise Refused(f"no text in {root} has an object and nothing names the classes: write classes.txt")
        if largest > 10_000:
            raise Refused(f"{root} has an object of class {largest}, and nothing names the classes")
        names = [str(number) for number in range(largest + 1)]
        note(GUESSED, f"yolo: nothing names the classes, they are called 0 to {largest}; write classes.txt.")
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise Refused(f"the classes of {root} are {', '.join(names)}: {repeated[0]!r} is there twice, expected once")
    note_alike(names, root.name)
    return names


def _lines(file: Path) -> list[str]:
    """The lines of a list of classes. Refused for one that is blank between others: it would count, or not."""
    lines = [line.strip() for line in read_text(file).rstrip().splitlines()]
    if "" in lines:
        raise Refused(f"{file}, line {lines.index('') + 1} is blank: does it count as a class? Remove it, or name it")
    return lines


def _require_named(lines: Sequence[Line], names: Sequence[str]) -> None:
    for line in lines:
        if line.label >= len(names):
            many = f"there are only {len(names)} classes (0 is {names[0]!r})"
            raise Refused(f"{line.where} is of class {line.label}, but {many}")


def _parts(root: Path, pictures: Sequence[Path], config: yolo_yaml.Config) -> dict[Path, str]:
    """The part of every picture: by data.yaml, else by a folder called so, else train."""
    found: dict[Path, str] = {}
    for picture in pictures:
        places = picture.relative_to(root).parts[:-1]
        said = {part_of(place) for place in places} - {None}
        if len(said) > 1:
            raise Refused(f"{picture} lies in folders of several parts ({', '.join(sorted(map(str, said)))})")
        found[picture] = next(iter(said), None) or ""
    told = yolo_yaml.parts_of(root, config, pictures)
    for picture, part in told.items():
        if found[picture] not in ("", part):
            raise Refused(
                f"{config.file or root} says that {picture} is of part {part}, its folder {found[picture]}; agree"
            )
        found[picture] = part
    outside = [picture for picture in pictures if not found[picture]]
    if len(outside) == len(pictures):
        return dict.fromkeys(pictures, "train")
    if outside:
        raise Refused(f"{outside[0]} and {len(outside) - 1} others are in no part, but others are; move them into one")
    if "train" not in found.values():
        raise Missing(f"{root} has pictures for {', '.join(sorted(set(found.values())))} but none for train")
    return found
