"""Your own images and masks: a folder images/ and a folder masks/ whose files have equal stems."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np

from data import files, splits
from data.formats import reading
from data.limits import Between
from data.names import Missing, Refused, suggestion
from data.store import Images, Record, cached

PARTS = ("train", "val", "test")
TEST_FRACTION, TEST_SEED = 0.2, 2026  # fixed: every run and every experiment has the same test part
MOST_CLASSES = 256
TREE = """
images/a.jpg    masks/a.png    (any format that Pillow reads; masks hold class numbers 0, 1, ...
                                as grey values or palette indices)
images/b.tif    masks/b.png
or, with an official division (val/ is optional):
images/train/a.jpg    masks/train/a.png
images/test/b.jpg     masks/test/b.png
"""


def mask_folder(
    data_root: Path,
    num_classes: Annotated[int, Between(0, MOST_CLASSES)] = 0,
    scale: float = 1.0,
    cache_root: Path | None = None,
) -> Images:
    """The images under `data_root`/images in natural order with the class maps under `data_root`/masks, as 'class_map'.

    Images become grey or, if any of them is coloured, all RGB; those of more than 8 bits are divided by one power of
    two. Names are relative to images/. Without subfolders train/ and test/, a fixed fifth is the test part.
    `num_classes` counts the background; 0 finds out: then the masks must hold all the values 0, 1, ... up to the
    largest. Masks of 0 and 255 alone are read as 0 and 1, with a warning. `scale` in (0, 1] shrinks images and masks; a
    class that is lost from every mask by that is not counted where it is the last. FileNotFoundError or ValueError
    names the file that is missing or wrong.
    """
    scale = reading.require_scale(scale)
    if num_classes and not 2 <= num_classes <= MOST_CLASSES:
        allowed = f"from 2 (background and one class) to {MOST_CLASSES}, or 0 to find out"
        raise Refused(f"num_classes={num_classes} must be {allowed}")
    root = Path(data_root)
    for inner in ("images", "masks"):
        files.require_folder(root / inner, TREE)
    found = _find(root)

    def records() -> Iterator[Record]:
        values = _mask_values(found)
        whitened = num_classes in (0, 2) and 255 in values and set(values) <= {0, 255}
        if whitened:
            warnings.warn(
                f"the masks in {root / 'masks'} hold only 0 and 255: they are read as classes 0 and 1.", stacklevel=2
            )
        else:
            _check_values(values, num_classes)
        images = [image for _, image, _ in found]
        channels = 3 if any(reading.picture_mode(image) in reading.COLOURED for image in images) else 1
        depth = reading.bit_depth(images)
        for part, image_file, mask_file in found:
            image, mask = reading.read_image(image_file, channels, depth), reading.read_mask(mask_file)
            reading.require_equal_size(image_file, image, mask_file, mask)
            classes = (mask > 0 if whitened else mask).astype(np.uint8)
            name = image_file.relative_to(root / "images").as_posix()
            yield Record(name, reading.shrink(image, scale), reading.shrink_mask(classes, scale), 0, part)

    sources = [file for _, *pair in found for file in pair]
    digest = reading.fingerprint(root, sources, [__file__, splits.__file__], scale, num_classes)
    images = cached("folder", digest, "class_map", (), records, len(found), cache_root)
    n_classes = num_classes or 1 + max(int(images.targets[i].max()) for i in images.rows.tolist())
    return replace(images, classes=("background", *(f"class {c}" for c in range(1, n_classes))))


def _find(root: Path) -> list[tuple[str, Path, Path]]:
    """Part, image and mask of every image. A folder without official division is divided here."""
    if not any((root / "images" / part).is_dir() for part in PARTS):
        pairs = _pairs(root / "images", root / "masks")
        if len(pairs) < 2:
            raise Refused(
                f"{root / 'images'} holds one picture, expected at least 2: one to learn from and one to test with"
            )
        n_test = max(1, round(TEST_FRACTION * len(pairs)))
        held = set(splits.divide(len(pairs), n_test, np.random.default_rng(TEST_SEED))[1].tolist())
        return [("test" if i in held else "train", *pair) for i, pair in enumerate(pairs)]
    loose = reading.picture_files(root / "images")
    if loose:
        raise Refused(f"{loose[0]} lies beside subfolders, expected it in one of {', '.join(PARTS)}")
    found = []
    for part in PARTS:
        if part != "val" or (root / "images" / part).is_dir():
            for inner in ("images", "masks"):
                files.require_folder(root / inner / part, TREE)
            found += [(part, *pair) for pair in _pairs(root / "images" / part, root / "masks" / part)]
    return found


def _pairs(image_folder: Path, mask_folder: Path) -> list[tuple[Path, Path]]:
    """Images with their masks, in natural order."""
    images, masks = _by_stem(image_folder), _by_stem(mask_folder)
    if not images:
        raise Missing(f"{image_folder} holds no picture that can be read; expected this tree:\n{TREE.strip()}")
    for stem, image in images.items():
        if stem not in masks:
            near = suggestion(stem, masks)
            raise Missing(
                f"{image} has no mask: expected a file {stem}.png, or with another ending, in {mask_folder}.{near}"
            )
    for stem, mask in masks.items():
        if stem not in images:
            raise Missing(f"{mask} has no image: expected a picture with the stem {stem} in {image_folder}")
    return [(image, masks[stem]) for stem, image in images.items()]


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in reading.picture_files(folder):
        if file.stem in found:
            raise Refused(f"{found[file.stem]} and {file.name} have the same stem, expected one file for each image")
        found[file.stem] = file
    return found


def _mask_values(found: list[tuple[str, Path, Path]]) -> dict[int, Path]:
    """Every value that occurs in the masks, with the first file that holds it, in rising order."""
    values: dict[int, Path] = {}
    for _, _, mask_file in found:
        for value in np.unique(reading.read_mask(mask_file)).tolist():
            values.setdefault(value, mask_file)
    return dict(sorted(values.items()))


def _check_values(values: dict[int, Path], num_classes: int) -> None:
    """Refused unless the values are class numbers below `num_classes`, or 0, 1, ... without a gap where that is 0."""
    largest = max(values)
    limit = num_classes or MOST_CLASSES
    if largest >= limit or min(values) < 0:
        value = largest if largest >= limit else min(values)
        because = f"num_classes={num_classes}" if num_classes else f"class numbers go up to {MOST_CLASSES - 1}"
        file = values[value]
        raise Refused(
            f"mask {file} holds the value {value}, expected 0 to {limit - 1} because {because}.{_lossy(file)}"
        )
    if not num_classes and largest == 0:
        raise Refused(
            f"every mask holds only the value 0 (the first is {values[0]}), "
            "expected background 0 and at least one class"
        )
    gap = next(c for c in range(largest + 2) if c not in values)
    if not num_classes and gap < largest:
        after = min(value for value in values if value > gap)
        raise Refused(
            f"mask {values[after]} holds the value {after} but no mask holds {gap}, "
            "expected class numbers without a gap; "
            f"say dataset_options.num_classes={largest + 1} if class "
            f"{gap} exists and only does not occur.{_lossy(values[after])}"
        )


def _lossy(mask_file: Path) -> str:
    return " JPEG changes class numbers: save masks as PNG." if mask_file.suffix.lower() in {".jpg", ".jpeg"} else ""
