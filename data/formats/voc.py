"""Boxes in PASCAL VOC format, any such folder.

VOC: Everingham et al., "The PASCAL visual object classes (VOC) challenge", International Journal of Computer Vision 88,
2010.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from data import files
from data.formats import open_voc, reading, voc_lists, voc_xml
from data.formats.boxes import BadBoxes, Boxed, Own, boxed_images, require_policy
from data.formats.classes import LIST, note_alike
from data.formats.folders import Unused
from data.formats.labelled import TEST_FRACTION, TestShare, find_root
from data.formats.pictures import Bands, Exif, Levels, Options, Scaling
from data.formats.tables import read_text
from data.formats.voc_xml import CORNERS, Annotation
from data.limits import OneOf
from data.names import Missing, Refused, require_one_of
from data.notes import LEFT_OUT, WARNING, note
from data.store import Images
from data.unlabelled import Unlabelled

VOC_TREE = """
voc/   (or the data root itself)
    JPEGImages/a.jpg ...   (any format that data.formats.endings lists)
    Annotations/a.xml ...
    ImageSets/Main/train.txt   val.txt   test.txt   (optional: one stem per line; trainval.txt in place of train.txt)
"""
PLACES = {"JPEGImages": ("jpegimages", "images"), "Annotations": ("annotations", "xmls", "xml")}
MODULES = [__file__, open_voc.__file__, voc_lists.__file__, voc_xml.__file__]


def voc(
    data_root: Path,
    scale: float = 1.0,
    bad_boxes: BadBoxes = "refuse",
    classes: Sequence[str] = (),
    corners: Annotated[str, OneOf(("auto", *CORNERS))] = "auto",
    cache_root: Path | None = None,
    patient_pattern: str = "",
    test_fraction: TestShare = TEST_FRACTION,
    exif: Exif = "apply",
    window: Levels = None,
    scaling: Scaling = "set",
    bands: Bands = None,
    unlabelled: Unlabelled | None = None,
) -> Images:
    """The images of a VOC folder with their boxes, in the order train, val, test and as listed, or else by name.

    `classes` gives the order of the classes; left empty they are the lines of classes.txt, or those that occur, in
    natural order. `corners` says what the numbers are: 'pixels', as VOC has them, the first and last pixel of the
    object counted from 1; 'edges' counted from 0, as labelImg and most other tools write them; 'auto' is what the files
    speak for (`voc_xml.counting`). `bad_boxes` is one of data.formats.boxes: 'refuse' names a box that is empty,
    inverted or outside, 'clip' clips or drops it. Objects marked as difficult are kept. Images that no list names are
    left out with a note. Without test.txt a fixed `test_fraction` of the training part is 'test', by whole patients
    where patients.csv or `patient_pattern` tell them. `exif`, `window`, `scaling` and `bands` are told in
    data.formats.pictures.Options. With `unlabelled` images without annotation are kept, see data.formats.open_voc;
    one without objects says that there is nothing. Missing or Refused names what is missing or wrong.
    """
    own = Own(patient_pattern, test_fraction, Options(exif, "one", window, scaling, bands))
    if unlabelled is not None:
        require_policy(bad_boxes)
        found, named = open_voc.read(Path(data_root), unlabelled, classes, corners)
        return boxed_images("voc", Path(data_root), found, named, scale, bad_boxes, MODULES, (), cache_root, own)
    root = find_root(data_root, ["voc"], ["Annotations", "JPEGImages", "annotations"], VOC_TREE)
    return read_voc("voc", root, VOC_TREE, scale, bad_boxes, classes, corners, cache_root, own)


def read_voc(
    dataset: str,
    root: Path,
    tree: str,
    scale: float,
    bad_boxes: str,
    classes: Sequence[str],
    corners: str,
    cache_root: Path | None,
    own: Own | None = None,
) -> Images:
    """The images of one VOC folder as dataset `dataset`, see `voc`; errors show `tree` where a folder is missing."""
    require_policy(bad_boxes)
    require_one_of("corners", corners, ("auto", *CORNERS))
    unused = Unused(root)
    image_folder, xml_folder = (_folder(root, name, tree) for name in PLACES)
    pictures = voc_lists.pictures_by_stem(image_folder, unused, tree)
    texts = voc_lists.annotations_by_stem(xml_folder, unused)
    lists, parts = voc_lists.official_parts(root, pictures)
    if own:
        voc_lists.tell_others(root, [image_folder, xml_folder], unused)
    if parts is None:
        for stem in texts.keys() - pictures.keys():
            raise Missing(f"{texts[stem]} has no picture: expected a picture with the stem {stem} in {image_folder}")
        parts = voc_lists.parts_of_folders(pictures)
    elif unlisted := len(pictures.keys() - parts.keys()):
        note(LEFT_OUT, f"{dataset}: {unlisted} of {len(pictures)} pictures are in no list of {lists}: left out.")
    unused.tell()
    annotations = [voc_xml.read(texts.get(stem, xml_folder / f"{stem}.xml")) for stem in parts]
    _note_other_pictures(dataset, annotations, [pictures[stem] for stem in parts])
    named = _classes(root, classes, annotations, xml_folder)
    corners = voc_xml.counting(annotations, corners)
    if corners == "pixels" and bad_boxes == "refuse":
        voc_xml.require_counted_from_one(annotations)
    found = [
        Boxed(pictures[stem], open_voc.boxes_of(annotation, named, corners), annotation.file, part, annotation.size)
        for (stem, part), annotation in zip(parts.items(), annotations, strict=True)
    ]
    return boxed_images(dataset, root, found, named, scale, bad_boxes, MODULES, (corners,), cache_root, own)


def _note_other_pictures(dataset: str, annotations: Sequence[Annotation], pictures: Sequence[Path]) -> None:
    """Warn where annotations name another picture of the set than the one that is called like them."""
    known = {picture.name for picture in pictures}
    pairs = zip(annotations, pictures, strict=True)
    others = [a for a, picture in pairs if a.called in known and a.called != picture.name]
    if others:
        many = (
            f"{len(others)} of {len(annotations)} annotations name another picture of the set than their own name does"
        )
        first = f"the first is {others[0].file.name}, which names {others[0].called}"
        note(WARNING, f"{dataset}: {many} ({first}): the names of files are followed.")


def _folder(root: Path, name: str, tree: str) -> Path:
    """The folder of a name, or one that tools call otherwise."""
    if (root / name).is_dir():
        return root / name
    others = [folder for folder in root.iterdir() if folder.is_dir() and folder.name.casefold() in PLACES[name]]
    if len(others) > 1:
        raise Refused(f"{others[0]} and {others[1].name} could both be {name}; rename one of them")
    return others[0] if others else files.require_folder(root / name, tree)


def _classes(root: Path, chosen: Sequence[str], annotations: Sequence[Annotation], folder: Path) -> list[str]:
    """The classes in order: as chosen, as classes.txt lists them, or those that occur."""
    present = sorted({name for annotation in annotations for name in annotation.names}, key=reading.natural)
    if not present and not chosen:
        raise Refused(f"none of the {len(annotations)} annotations in {folder} has an object, expected at least one")
    note_alike(present, folder.name)
    if chosen or not (root / LIST).is_file():
        return list(map(str, chosen)) or present
    return [line.strip() for line in read_text(root / LIST).splitlines() if line.strip()]
