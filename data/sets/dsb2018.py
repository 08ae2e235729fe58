"""Data Science Bowl 2018: nuclei in fluorescence, histology and bright-field microscopy, one mask file per nucleus.

Stage 1 of the Kaggle competition (Caicedo et al., "Nucleus segmentation across imaging experiments: the 2018 Data
Science Bowl", Nature Methods 16, 2019). Its official test images have no masks in the original folders, so a fixed
fifth of stage1_train serves as the test part.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8, UInt16
from numpy import ndarray

from data import files, splits
from data.formats import reading
from data.names import Missing, Refused
from data.store import Images, Record, cached

APPEARANCES = ("dark", "stained", "bright")  # fluorescence; coloured histology; grey on a bright ground
TEST_FRACTION, TEST_SEED = 0.2, 2018  # fixed: every run and every experiment has the same test part
TREE = """
dsb2018/
    stage1_train/
        00071198d059.../
            images/00071198d059....png
            masks/07a9bf1d7594....png   ... (one per nucleus)
        ...
"""


def dsb2018(data_root: Path, scale: float = 1.0, cache_root: Path | None = None) -> Images:
    """The images under `data_root`/dsb2018/stage1_train by id, as RGB, with nucleus ids as 'instance_map'.

    `group` is the index in APPEARANCES. The parts are 'train' and 'test': a fifth, drawn once for all with TEST_SEED,
    stratified by appearance. Where masks overlap, the later file (by name) wins. `scale` in (0, 1] shrinks images and
    masks; a nucleus that is smaller than one pixel of the result may vanish.
    """
    scale = reading.require_scale(scale)
    folder = files.require_folder(Path(data_root) / "dsb2018" / "stage1_train", TREE)
    found = [_find(case) for case in sorted(folder.iterdir()) if case.is_dir()]
    if len(found) < 2:
        raise Missing(f"{folder} has {len(found)} image folders, expected at least 2 in this tree:\n{TREE.strip()}")

    def records() -> Iterator[Record]:
        groups = np.array([appearance(reading.read_image(image, channels=3)) for image, _ in found])
        held = set(fixed_test(groups).tolist())
        for i, (image_file, mask_files) in enumerate(found):
            image = reading.read_image(image_file, channels=3)
            ids = _merge(image_file, image, mask_files)
            part = "test" if i in held else "train"
            yield Record(
                image_file.name, reading.shrink(image, scale), reading.shrink_mask(ids, scale), int(groups[i]), part
            )

    sources = [file for image, masks in found for file in (image, *masks)]
    digest = reading.fingerprint(folder, sources, [__file__, splits.__file__], scale)
    return cached("dsb2018", digest, "instance_map", ("background", "nucleus"), records, len(found), cache_root)


def appearance(image: UInt8[ndarray, "h w 3"]) -> int:
    """Index in APPEARANCES, by mean intensity (half of the range) and mean of max - min of the colours (5 of 255)."""
    if np.ptp(image, axis=2).mean() > 5:
        return APPEARANCES.index("stained")
    return APPEARANCES.index("dark" if image.mean() < 128 else "bright")


def fixed_test(groups: ndarray) -> ndarray:
    """Indices of the fixed test part."""
    return splits.divide(groups, max(1, round(TEST_FRACTION * len(groups))), np.random.default_rng(TEST_SEED))[1]


def _find(case: Path) -> tuple[Path, list[Path]]:
    """The image of a case and its masks."""
    for inner in ("images", "masks"):
        files.require_folder(case / inner, TREE)
    images, masks = reading.picture_files(case / "images"), reading.picture_files(case / "masks")
    if len(images) != 1:
        raise Refused(f"{case / 'images'} holds {len(images)} pictures, expected one")
    if not masks:
        raise Missing(f"{case / 'masks'} holds no mask, expected one picture per nucleus")
    return images[0], masks


def _merge(image_file: Path, image: ndarray, mask_files: list[Path]) -> UInt16[ndarray, "h w"]:
    """Ids 1, 2, ... in the order of the mask files, 0 elsewhere."""
    ids = np.zeros(image.shape[:2], np.uint16)
    for i, mask_file in enumerate(mask_files, start=1):
        mask = reading.read_mask(mask_file)
        reading.require_equal_size(image_file, image, mask_file, mask)
        ids[mask > 0] = i
    return ids
