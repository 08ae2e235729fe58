"""Images with boxes in VOC format of which some are not annotated yet, see `data.unlabelled`.

An annotation without objects says that nothing is there; an image without annotation waits for one. Images lie in
JPEGImages/ or images/, or in the folder itself; annotations in Annotations/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from data import files
from data.formats import voc_lists, voc_xml
from data.formats.boxes import Boxed
from data.formats.classes import LIST
from data.formats.endings import natural
from data.formats.folders import Unused
from data.formats.tables import read_text
from data.formats.unlabelled import note_both, note_lost, one_each, ours, stem
from data.formats.voc_xml import CORNERS, Annotation
from data.names import Refused, suggestion
from data.notes import LEFT_OUT, note
from data.unlabelled import BOXES, Unlabelled

PLACES = {"pictures": ("jpegimages", "images"), "annotations": ("annotations", "xmls", "xml")}
TREE = """
a.jpg ...   or JPEGImages/a.jpg ...   (any format that data.formats.endings lists)
Annotations/a.xml ...   (of those that are annotated)
"""


def read(root: Path, given: Unlabelled, classes: Sequence[str], corners: str) -> tuple[list[Boxed], list[str]]:
    """All images, and the classes: as given, as classes.txt lists them, or those that occur."""
    files.require_folder(root, TREE)
    unused = Unused(root)
    pictures, annotations = (_folder(root, kind) for kind in PLACES)
    found = voc_lists.pictures_by_stem(pictures or root, unused, TREE)
    texts = voc_lists.annotations_by_stem(annotations, unused) if annotations else {}
    _, parts = voc_lists.official_parts(root, found)
    parts = dict.fromkeys(found, "train") | (parts or voc_lists.parts_of_folders(found))
    if lost := sorted(texts.keys() - found.keys()):
        note(LEFT_OUT, f"{len(lost)} annotations are of no image and not used, the first {texts[lost[0]].name}.")
    own = {stem: voc_xml.read(texts[stem]) for stem in found if stem in texts}
    by_name = {picture.relative_to(pictures or root).as_posix(): stem for stem, picture in found.items()}
    told = one_each((by_name.get(path, path), file) for path, file in ours(given, BOXES, ".xml").items())
    note_lost(told.keys() - found.keys())
    mine = {stem: voc_xml.read(file) for stem, file in told.items() if stem in found}
    named = classes_of(root, classes, [name for each in (*own.values(), *mine.values()) for name in each.names])
    corners = voc_xml.counting(list(own.values()), corners)
    return boxed(found, parts, pictures or root, own, mine, lambda each: boxes_of(each, named, corners), named), named


def boxed(
    found: Mapping[str, Path],
    parts: Mapping[str, str],
    folder: Path,
    own: Mapping[str, Annotation],
    mine: Mapping[str, Annotation],
    to_boxes: Callable[[Annotation], Float[ndarray, "m 5"]],
    classes: Sequence[str],
) -> list[Boxed]:
    """Every image with its boxes, the user's own or else ours."""
    entries, differing = [], {}
    for key, picture in sorted(found.items(), key=lambda item: natural(item[0])):
        name, said = picture.relative_to(folder).as_posix(), own.get(key)
        boxes = to_boxes(said) if said else np.zeros((0, 5))
        if key in mine:
            our = boxes_of(mine[key], classes, "edges")
            if said and not (our.shape == boxes.shape and np.abs(our - boxes).max(initial=0) < 1):
                differing[name] = f"{len(boxes)} and {len(our)} boxes"
            boxes, said = (boxes, said) if said else (our, mine[key])
        where, size = (said.file, said.size) if said else (picture, None)
        entries.append(Boxed(picture, boxes, where, parts[key], size, name=name, labelled=said is not None))
    note_both(differing)
    return entries


def opened(found: Sequence[Boxed], root: Path, classes: Sequence[str], given: Unlabelled) -> list[Boxed]:
    """Entries of another format, named by their paths, with our boxes where they have no annotation of their own."""
    names = {entry.file: entry.file.relative_to(root).as_posix() for entry in found}
    of_stem = {stem(Path(name)): name for name in names.values()}
    mine = one_each((of_stem.get(path, path), file) for path, file in ours(given, BOXES, ".xml").items())
    note_lost(mine.keys() - set(names.values()))
    entries = []
    for entry in sorted(found, key=lambda entry: natural(names[entry.file])):
        name = names[entry.file]
        if entry.source != entry.file:
            entries.append(entry._replace(name=name))
        elif name not in mine:
            entries.append(entry._replace(name=name, labelled=False))
        else:
            said = voc_xml.read(mine[name])
            boxes, told = boxes_of(said, classes, "edges"), {"name": name, "relative": False}
            entries.append(entry._replace(boxes=boxes, source=mine[name], size=said.size, **told))
    return entries


def classes_of(root: Path, chosen: Sequence[str], present: Sequence[str]) -> list[str]:
    """The classes in order. Refused where nothing tells them."""
    if not chosen and (root / LIST).is_file():
        chosen = [line.strip() for line in read_text(root / LIST).splitlines() if line.strip()]
    named = [str(name) for name in chosen] or sorted(set(present), key=natural)
    if not named:
        raise Refused(
            f"{root} does not tell the classes of objects yet: say classes=cell, say, or classes=cell,debris, or "
            f"write a class a line in {LIST}"
        )
    return named


def boxes_of(annotation: Annotation, classes: Sequence[str], corners: str) -> Float[ndarray, "m 5"]:
    """(M, 5): edges counted from 0, and the class index. Refused names an object of another class."""
    for name in annotation.names:
        if name not in classes:
            near = suggestion(name, classes)
            listed = ", ".join(classes)
            raise Refused(f"{annotation.file} has an object {name!r}, which is none of {listed}.{near}")
    edges = np.array(annotation.corners, np.float64).reshape(-1, 4) - CORNERS[corners]
    return np.column_stack([edges, [float(classes.index(name)) for name in annotation.names]])


def _folder(root: Path, kind: str) -> Path | None:
    """The folder of pictures or of annotations, in any case; None where there is none."""
    found = [each for each in root.iterdir() if each.is_dir() and each.name.casefold() in PLACES[kind]]
    if len(found) > 1:
        raise Refused(f"{found[0]} and {found[1].name} could both hold the {kind}; rename one of them")
    return found[0] if found else None
