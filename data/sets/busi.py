"""BUSI: 780 breast ultrasound images of 600 women, benign, malignant or normal, with a mask of every lesion.

Al-Dhabyani et al., "Dataset of breast ultrasound images", Data in Brief 28, 2020. Patients are not known and some
lesions occur in several images (Pawlowska et al., "Letter to the Editor. Re: Dataset of breast ultrasound images", Data
in Brief 48, 2023): numbers on a test part made here are optimistic.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from skimage.measure import label, regionprops

from data import files, splits
from data.formats import boxes, labelled, reading
from data.limits import Between
from data.names import Missing, Refused
from data.notes import LEFT_OUT, WARNING, note
from data.store import Images, Record, cached

FOLDERS = ("benign", "malignant", "normal")
CLASSES = FOLDERS[:2]
TREE = """
busi/   (or Dataset_BUSI_with_GT/)
    benign/benign (1).png   benign (1)_mask.png   benign (1)_mask_1.png (further lesions) ...
    malignant/malignant (1).png   malignant (1)_mask.png ...
    normal/normal (1).png ...   (their masks are black and not read)
"""


class Scan(NamedTuple):
    """One image and its masks; none for a normal image."""

    file: Path
    group: int  # index in FOLDERS
    masks: list[Path]


def busi(
    data_root: Path,
    scale: float = 1.0,
    min_pixels: Annotated[int, Between(0, 1e9)] = 10,
    cache_root: Path | None = None,
) -> Images:
    """The images as grey, by folder and number, a box around each component of a mask; benign and malignant.

    Components (8-connected) of fewer than `min_pixels` are slips of the pen: left out with a warning. `group` is the
    index in FOLDERS; normal images have no boxes. There is no official division: a fixed fifth of each folder is
    'test'. `scale` in (0, 1] shrinks images and boxes. FileNotFoundError or ValueError names what is missing or wrong.
    """
    scale = reading.require_scale(scale)
    if min_pixels < 1:
        raise Refused(f"min_pixels={min_pixels!r} must be at least 1")
    root = labelled.find_root(
        data_root, ["busi", "busi/Dataset_BUSI_with_GT", "Dataset_BUSI_with_GT"], ["benign"], TREE
    )
    found = [scan for group in range(len(FOLDERS)) for scan in _scans(root, group)]
    names = labelled.unique_names([scan.file for scan in found], root)
    parts = boxes.with_test_part(["train"] * len(found), [scan.group for scan in found])

    def records() -> Iterator[Record]:
        specks, empty = 0, []
        for name, scan, part in zip(names, found, parts, strict=True):
            image = reading.read_image(scan.file, channels=1)
            lesions = []
            for file in scan.masks:
                mask = reading.read_mask(file)
                reading.require_equal_size(scan.file, image, file, mask)
                corners, small = component_boxes(mask > 0, min_pixels)
                specks += small
                empty += [] if len(corners) else [file]
                lesions.append(np.column_stack([corners, np.full(len(corners), float(scan.group))]))
            small_image, target = boxes.shrunk(image, np.concatenate([np.zeros((0, 5)), *lesions]), scale)
            yield Record(name, small_image, target, scan.group, part)
        if specks:
            note(LEFT_OUT, f"busi: {specks} components of fewer than {min_pixels} pixels were left out.")
        if empty:
            note(WARNING, f"busi: {len(empty)} masks hold no lesion, the first is {empty[0]}.")

    sources = [file for scan in found for file in (scan.file, *scan.masks)]
    code = [__file__, boxes.__file__, labelled.__file__, splits.__file__]
    digest = reading.fingerprint(root, sources, code, scale, min_pixels, parts)
    return cached("busi", digest, "boxes", CLASSES, records, len(found), cache_root)


def component_boxes(mask: Bool[ndarray, "h w"], min_pixels: int = 1) -> tuple[Float[ndarray, "m 4"], int]:
    """Boxes (xyxy, edges) of the 8-connected components with at least `min_pixels`, and the number of smaller ones."""
    regions = regionprops(label(mask, connectivity=2))
    kept = [region.bbox for region in regions if region.area >= min_pixels]  # y1, x1, y2, x2
    return np.array(kept, np.float64).reshape(-1, 4)[:, [1, 0, 3, 2]], len(regions) - len(kept)


def _scans(root: Path, group: int) -> list[Scan]:
    """The images of one folder with their masks. A copy without normal images is used with a warning."""
    folder = root / FOLDERS[group]
    if FOLDERS[group] == "normal" and not folder.is_dir():
        note(WARNING, f"this copy of BUSI has no folder normal: {root} is used without normal images.")
        return []
    masks: dict[str, list[Path]] = {}
    images = []
    for file in reading.picture_files(files.require_folder(folder, TREE)):
        mask = re.fullmatch(r"(.+)_mask(_\d+)?", file.stem)
        if mask:
            masks.setdefault(mask[1], []).append(file)
        else:
            images.append(file)
    if not images:
        raise Missing(f"{folder} holds no picture that can be read; expected this tree:\n{TREE.strip()}")
    for stem in masks.keys() - {image.stem for image in images}:
        raise Missing(f"{masks[stem][0]} has no image: expected {stem}.png beside it")
    if FOLDERS[group] == "normal":
        return [Scan(image, group, []) for image in images]
    for image in images:
        if image.stem not in masks:
            raise Missing(f"{image} has no mask: expected {image.stem}_mask.png beside it")
    return [Scan(image, group, masks[image.stem]) for image in images]
