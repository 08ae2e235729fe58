"""Which mask belongs to which picture of a user's folder: by equal stems, or by a pattern on the names."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from data import files
from data.formats import endings, folders
from data.formats.pictures import Source
from data.formats.volumes import Place
from data.names import Missing, Refused, suggestion
from data.notes import LEFT_OUT, note

TOLD = ("patients.csv", "classes.txt")  # files beside the folders that are read elsewhere
TREE = """
images/a.jpg    masks/a.png    (any format that data.formats.endings lists; masks hold class numbers 0, 1, ...
                                as grey values or palette indices)
images/b.tif    masks/b.png
or, with an official division (val/ is optional):
images/train/a.jpg    masks/train/a.png
images/test/b.jpg     masks/test/b.png
or, with the same folders on both sides, each a series of slices or a patient:
images/scan1/IM0001.dcm    masks/scan1/IM0001.png
"""


class Pair(NamedTuple):
    """An image file, its mask, and the official part, '' where there is no division."""

    part: str
    image: Path
    mask: Path | None  # None where it has none yet


class Found(NamedTuple):
    """One image and its mask, before they are decoded."""

    file: str  # name of the image's file, below the folder of images
    part: str
    image: Source
    mask: Source | None  # None where it has none yet
    patient: str = ""
    place: Place = Place()


def find(root: Path, mask_pattern: str = "", unlabelled: bool = False) -> list[Pair]:
    """The pairs under `root`/images and `root`/masks in natural order, by official parts or series where there are any.

    With `unlabelled` an image need not have a mask, and images may lie in `root` itself. Refused or Missing names a
    file without partner, or a folder that is no part.
    """
    images, masks = (folder_of(root, name, unlabelled) for name in ("images", "masks"))
    if masks.exists() and (series := _series(images, masks)):
        _require_all_read(root, [images, masks, *(folder for both in series for folder in both)])
        return [Pair("", *pair) for both in series for pair in _pairs(*both, mask_pattern, unlabelled)]
    parts = _parts(images) if images != root else {}
    if not parts:
        _require_all_read(root, [images, masks])
        return [Pair("", *pair) for pair in _pairs(images, masks, mask_pattern, unlabelled)]
    loose = endings.picture_files(images)
    if loose:
        listed = ", ".join(folder.name for folder in parts.values())
        raise Refused(f"{loose[0]} lies beside subfolders, expected it in one of {listed}")
    parts_of_masks = _parts(masks) if masks.exists() else {}
    _require_all_read(root, [images, masks, *parts.values(), *parts_of_masks.values()])
    found = []
    for part in folders.PARTS:
        if part in parts or (part != "val" and not unlabelled):
            of_images = parts.get(part, images / part)
            of_masks = parts_of_masks.get(part, masks / of_images.name)
            for folder in (of_images, *(() if unlabelled else (of_masks,))):
                files.require_folder(folder, TREE)
            found += [Pair(part, *pair) for pair in _pairs(of_images, of_masks, mask_pattern, unlabelled)]
    return found


def _series(images: Path, masks: Path) -> list[tuple[Path, Path]]:
    """The folders of slices and those of their masks, where all pictures lie in folders and these are called alike on
    both sides; empty for parts and for folders that are one word away from them.
    """
    of_images, of_masks = ({inner.name: inner for inner in folders.subfolders(side)} for side in (images, masks))
    of_parts = any(folders.part_of(name) or suggestion(name, folders.PARTS) for name in of_images)
    if not of_images or of_images.keys() != of_masks.keys() or of_parts or endings.picture_files(images):
        return []
    return [(of_images[name], of_masks[name]) for name in of_images]


def _require_all_read(root: Path, read: Sequence[Path]) -> None:
    """Refused for pictures below the folders that are `read`, or in a part beside them; all else is noted."""
    unused = folders.Unused(root)
    for file in folders.walk(root):
        told = file.parent == root and file.name.casefold() in TOLD
        if file.parent in read or told or file.is_dir():
            continue
        junk = folders.is_junk(file.name)
        picture = not junk and endings.ending_of(file) in endings.READ
        if picture and file.is_relative_to(read[0]) or picture and file.is_relative_to(read[1]):
            raise Refused(f"{file} lies in a folder below {file.parent.parent}, which is not read; move it up")
        beside = folders.part_of(file.relative_to(root).parts[0])
        if picture and beside:
            raise Refused(
                f"{file} lies in a folder that is called like the part {beside}, beside images/ and masks/, and would "
                f"not be read; expected images/{beside}/ and masks/{beside}/ (and so for the other parts)"
            )
        reason = "hidden or left by an operating system" if junk else "outside of images/ and masks/"
        unused.add(reason, file)
    unused.tell()


def folder_of(root: Path, name: str, unlabelled: bool = False) -> Path:
    """The folder images or masks, in any case. Missing names the folders that there are in its place.

    With `unlabelled` images may lie in `root`, and masks need not be there yet.
    """
    present = folders.subfolders(files.require_folder(root, TREE))
    found = [folder for folder in present if folder.name.casefold() == name]
    if len(found) > 1:
        raise Refused(f"{found[0]} and {found[1].name} could both be {name}; rename one of them")
    if not found and unlabelled:
        return root if name == "images" else root / name
    if not found:
        others = ", ".join(folder.name for folder in present[:8]) or "no folders"
        raise Missing(f"{root} has no folder {name}, only {others}; expected this tree:\n{TREE.strip()}")
    return found[0]


def _parts(folder: Path) -> dict[str, Path]:
    """Part -> its folder; empty without subfolders. Refused for a folder that is no part, or two of one."""
    for inner in folders.subfolders(folder):
        if folders.part_of(inner.name) is None:
            near = suggestion(inner.name, folders.PARTS)
            raise Refused(
                f"{inner} is none of the parts train, val, test.{near} Pictures in it would not be read; expected "
                "a part, or folders of slices that are called alike in images/ and masks/, and no picture beside them"
            )
    return folders.part_folders(folder)


def _pairs(
    image_folder: Path, mask_folder: Path, mask_pattern: str, unlabelled: bool
) -> list[tuple[Path, Path | None]]:
    """Images with their masks, in natural order."""
    key_of_image, key_of_mask = _keys(mask_pattern)
    images = _by_key(image_folder, key_of_image)
    if not images:
        raise Missing(f"{image_folder} holds no picture that can be read; expected this tree:\n{TREE.strip()}")
    masks = _by_key(mask_folder, key_of_mask) if mask_folder.exists() or not unlabelled else {}
    for key, image in images.items():
        if key not in masks and not unlabelled:
            expected = f"one with {key!r} in its name" if mask_pattern else f"a file {key}.png, or with another ending,"
            raise Missing(
                f"{image} has no mask: expected {expected} in {mask_folder}.{suggestion(key, masks)}"
                f"{_other_names(images, masks) if not mask_pattern else ''}"
            )
    for key, mask in masks.items():
        if key not in images and unlabelled:
            note(LEFT_OUT, f"{mask.name} is the mask of no image: it is not used.")
        elif key not in images:
            raise Missing(f"{mask} has no image: expected a picture with the stem {key} in {image_folder}")
    return [(image, masks.get(key)) for key, image in images.items()]


def _keys(mask_pattern: str) -> tuple[Callable[[str], str], Callable[[str], str]]:
    """What an image's and its mask's stem have in common.

    Without pattern, all of it. A pattern with {} is the mask's stem, with that of the image in place of {}; any other
    is a regular expression with one group, which is found in both.
    """
    if not mask_pattern:
        return str, str
    if "{}" in mask_pattern:
        return mask_pattern.replace("{}", "{0}").format, str
    try:
        compiled = re.compile(mask_pattern)
    except re.error as error:
        raise Refused(f"mask_pattern={mask_pattern!r} is no regular expression: {error}") from error
    if compiled.groups != 1:
        example = "expected '{}_mask' (the image's name in place of {}) or one group, such as '^([0-9]+)_'"
        raise Refused(f"mask_pattern={mask_pattern!r} has {compiled.groups} groups; {example}")

    def key(stem: str) -> str:
        match = compiled.search(stem)
        if match is None or not match[1]:
            raise Refused(f"mask_pattern={mask_pattern!r} finds nothing in the name {stem!r}")
        return match[1]

    return key, key


def _by_key(folder: Path, key_of: Callable[[str], str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in endings.picture_files(folder):
        key = unicodedata.normalize("NFC", key_of(endings.stem_of(file)))
        if key in found:
            raise Refused(f"{found[key]} and {file.name} have the same stem, expected one file for each image")
        found[key] = file
    return found


def _other_names(images: dict[str, Path], masks: dict[str, Path]) -> str:
    """The pattern that pairs most names, where equal stems pair none."""
    if images.keys() & masks.keys():
        return ""
    affixes = Counter(
        (mask[: mask.index(image)], mask[mask.index(image) + len(image) :])
        for image in images
        for mask in masks
        if image in mask
    )
    if affixes:
        (before, after), _ = affixes.most_common(1)[0]
        return f" Masks are called otherwise: say dataset_options.mask_pattern='{before}{{}}{after}'"
    if all(re.match(r"\d+(?!\d)", name) for name in [*images, *masks]):
        return r" Masks are called otherwise: say dataset_options.mask_pattern='^(\d+)' where the number is common"
    return r" Where masks are called otherwise, say dataset_options.mask_pattern, such as '{}_mask' or '^(\d+)_'"
