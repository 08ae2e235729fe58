"""Boxes in PASCAL VOC format, any such folder.

VOC: Everingham et al., "The PASCAL visual object classes (VOC) challenge", International Journal of Computer Vision 88,
2010.
"""

from __future__ import annotations

import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np

from data import files
from data.formats import reading
from data.formats.boxes import BAD_BOXES, Boxed, boxed_images, require_policy
from data.formats.labelled import find_root
from data.limits import OneOf
from data.names import Missing, Refused, require_one_of, suggestion
from data.store import Images

SIDES = ("xmin", "ymin", "xmax", "ymax")
# What to subtract from SIDES for edges counted from 0.
CORNERS = {"pixels": (1.0, 1.0, 0.0, 0.0), "edges": (0.0, 0.0, 0.0, 0.0)}
VOC_TREE = """
voc/   (or the data root itself)
    JPEGImages/a.jpg ...   (any format that Pillow reads)
    Annotations/a.xml ...
    ImageSets/Main/train.txt   val.txt   test.txt   (optional: one stem per line; trainval.txt in place of train.txt)
"""


class Annotation(NamedTuple):
    """One XML file."""

    file: Path
    size: tuple[int, int] | None  # (width, height); None where it is absent or 0
    names: list[str]  # class of each object
    corners: list[list[float]]  # SIDES of each object, as written


def voc(
    data_root: Path,
    scale: float = 1.0,
    bad_boxes: Annotated[str, OneOf(BAD_BOXES)] = "refuse",
    classes: Sequence[str] = (),
    corners: Annotated[str, OneOf(CORNERS)] = "pixels",
    cache_root: Path | None = None,
) -> Images:
    """The images of a VOC folder with their boxes, in the order train, val, test and as listed, or else by name.

    `classes` gives the order of the classes; left empty they are those that occur, in natural order. `corners` says
    what the numbers are: 'pixels', as VOC has them, the first and last pixel of the object counted from 1; or 'edges'
    counted from 0, as labelImg and most other tools write them. `bad_boxes` is one of data.formats.boxes: 'refuse'
    names a box that is empty, inverted or outside, 'clip' clips or drops it. Objects marked as difficult are kept.
    Images that no list names are left out with a warning. Without test.txt a fixed fifth of the training part is
    'test'. FileNotFoundError or ValueError names what is missing or wrong.
    """
    root = find_root(data_root, ["voc"], ["Annotations", "JPEGImages"], VOC_TREE)
    return read_voc("voc", root, VOC_TREE, scale, bad_boxes, classes, corners, cache_root)


def read_voc(
    dataset: str,
    root: Path,
    tree: str,
    scale: float,
    bad_boxes: str,
    classes: Sequence[str],
    corners: str,
    cache_root: Path | None,
) -> Images:
    """The images of one VOC folder as dataset `dataset`, see `voc`; errors show `tree` where a folder is missing."""
    require_policy(bad_boxes)
    require_one_of("corners", corners, CORNERS)
    for inner in ("JPEGImages", "Annotations"):
        files.require_folder(root / inner, tree)
    pictures = _by_stem(root / "JPEGImages")
    parts = _official_parts(root / "ImageSets" / "Main")
    if parts is None:
        _require_pictures(root, pictures)
        parts = dict.fromkeys(pictures, "train")
    for stem, part in parts.items():
        if stem not in pictures:
            near = suggestion(stem, pictures)
            raise Missing(
                f"{root / 'JPEGImages'} holds no picture {stem}, which {part}.txt in ImageSets/Main names.{near}"
            )
    if unlisted := len(pictures.keys() - parts.keys()):
        lists = root / "ImageSets" / "Main"
        warnings.warn(
            f"{dataset}: {unlisted} of {len(pictures)} pictures are in no list of {lists}: left out.", stacklevel=3
        )
    annotations = [_read(root / "Annotations" / f"{stem}.xml") for stem in parts]
    classes = list(classes) or sorted({name for a in annotations for name in a.names}, key=reading.natural)
    if not classes:
        raise Refused(
            f"none of the {len(annotations)} annotations in {root / 'Annotations'} has an object, expected at least one"
        )
    if corners == "pixels" and bad_boxes == "refuse":
        _require_counted_from_one(annotations)
    found = [
        Boxed(pictures[stem], _boxes(annotation, classes, corners), annotation.file, part, annotation.size)
        for (stem, part), annotation in zip(parts.items(), annotations, strict=True)
    ]
    return boxed_images(dataset, root, found, classes, scale, bad_boxes, [__file__], (corners,), cache_root)


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in reading.picture_files(folder):
        if file.stem in found:
            raise Refused(
                f"{found[file.stem]} and {file.name} have the same stem, expected one picture for each annotation"
            )
        found[file.stem] = file
    if not found:
        raise Missing(f"{folder} holds no picture that can be read; expected this tree:\n{VOC_TREE.strip()}")
    return found


def _official_parts(folder: Path) -> dict[str, str] | None:
    """Stem -> part, in the order of the lists; None where there is none. ValueError for an image in two of them."""
    lists = {part: folder / f"{part}.txt" for part in ("train", "val", "test")}
    if not lists["train"].is_file() and (folder / "trainval.txt").is_file():
        lists["train"] = folder / "trainval.txt"
    lists = {part: file for part, file in lists.items() if file.is_file()}
    if not lists:
        return None
    if "train" not in lists:
        raise Missing(
            f"{folder} has {', '.join(f'{part}.txt' for part in lists)} but neither train.txt nor trainval.txt"
        )
    stems = {
        part: [line.split()[0] for line in file.read_text().splitlines() if line.strip()]
        for part, file in lists.items()
    }
    if lists["train"].name == "trainval.txt":
        stems["train"] = [stem for stem in stems["train"] if stem not in set(stems.get("val", []))]
    parts: dict[str, str] = {}
    for part, named in stems.items():
        for stem in named:
            if stem in parts:
                raise Refused(
                    f"{lists[part]} names {stem!r}, which {lists[parts[stem]].name} names already; "
                    "expected every image once"
                )
            parts[stem] = part
    return parts


def _require_pictures(root: Path, pictures: dict[str, Path]) -> None:
    """FileNotFoundError for an annotation without a picture: nothing else says which images there are."""
    for file in sorted((root / "Annotations").glob("*.xml")):
        if file.stem not in pictures:
            raise Missing(
                f"{file} has no picture: expected a picture with the stem {file.stem} in {root / 'JPEGImages'}"
            )


def _read(file: Path) -> Annotation:
    """The objects of one XML file. ValueError names a file or object that is not as VOC has it."""
    if not file.is_file():
        raise Missing(f"{file} does not exist; expected one for every picture, without objects where there are none")
    try:
        tree = ElementTree.parse(file).getroot()
    except ElementTree.ParseError as error:
        raise Refused(f"{file} is not readable as XML: {error}") from error
    names, corners = [], []
    for number, element in enumerate(tree.findall("object"), start=1):
        name = (element.findtext("name") or "").strip()
        if not name:
            raise Refused(f"{file}: object {number} has no name")
        written = [(element.findtext(f"bndbox/{side}") or "").strip() for side in SIDES]
        try:
            corners.append([float(text) for text in written])
        except ValueError:
            sides = dict(zip(SIDES, written, strict=True))
            raise Refused(f"{file}: bndbox of object {number} is {sides}, expected four numbers") from None
        names.append(name)
    width, height = ((tree.findtext(f"size/{side}") or "").strip() for side in ("width", "height"))
    known = all(re.fullmatch(r"0*[1-9]\d*", side) for side in (width, height))
    return Annotation(file, (int(width), int(height)) if known else None, names, corners)


def _require_counted_from_one(annotations: Sequence[Annotation]) -> None:
    for annotation in annotations:
        for number, box in enumerate(annotation.corners, start=1):
            if min(box) == 0:
                zero = f"{annotation.file}: box {number} of {len(annotation.corners)} has {SIDES[box.index(0)]}=0"
                raise Refused(
                    f"{zero}, but VOC counts pixels from 1; say corners='edges' where numbers are edges counted from 0"
                )


def _boxes(annotation: Annotation, classes: Sequence[str], corners: str) -> np.ndarray:
    """(M, 5): edges counted from 0, and the class index."""
    for name in annotation.names:
        if name not in classes:
            raise Refused(
                f"{annotation.file} has an object {name!r}, "
                f"which is none of {', '.join(classes)}.{suggestion(name, classes)}"
            )
    edges = np.array(annotation.corners, np.float64).reshape(-1, 4) - CORNERS[corners]
    return np.column_stack([edges, [float(classes.index(name)) for name in annotation.names]])
