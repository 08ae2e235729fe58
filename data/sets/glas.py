"""GlaS: 165 images of colon glands, stained with H&E, benign or malignant, with the outline of every gland.

The Warwick-QU dataset of the MICCAI 2015 challenge (Sirinukunwattana et al., "Gland segmentation in colon histology
images: The GlaS challenge contest", Medical Image Analysis 35, 2017). Patients occur in its official training part and
in its test parts alike.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from data import files
from data.formats import reading
from data.formats.tables import opened
from data.names import Missing, Refused
from data.notes import WARNING, note
from data.store import Images, Record, cached

PARTS = ("train", "testA", "testB")
GRADES = ("benign", "malignant")
GRADE, PATIENT = "grade (GlaS)", "patient ID"
TREE = """
glas/
    Grade.csv
    train_1.bmp   train_1_anno.bmp   ...
    testA_1.bmp   testA_1_anno.bmp   ...
    testB_1.bmp   testB_1_anno.bmp   ...
"""


def glas(data_root: Path, scale: float = 1.0, cache_root: Path | None = None) -> Images:
    """The images under `data_root`/glas: train, testA, testB, each by number, with gland ids as 'instance_map'.

    `group` is 0 for benign and 1 for malignant; `scale` in (0, 1] shrinks images and masks. A copy without one of the
    test parts is used with a warning. FileNotFoundError or ValueError names what is missing or wrong.
    """
    scale = reading.require_scale(scale)
    folder = files.require_folder(Path(data_root) / "glas", TREE)
    found = _find(folder)
    grades = _read_grades(folder / "Grade.csv")
    for image, _ in found:
        if image.stem not in grades:
            raise Refused(f"{folder / 'Grade.csv'} has no row for {image.stem}")

    def records() -> Iterator[Record]:
        for image_file, mask_file in found:
            image, mask = reading.read_image(image_file, channels=3), reading.read_mask(mask_file)
            reading.require_equal_size(image_file, image, mask_file, mask)
            if mask.dtype != "uint8":
                raise Refused(
                    f"{mask_file} holds {mask.dtype} values, expected the 8-bit gland ids of the original files"
                )
            group, patient = grades[image_file.stem]
            part = image_file.stem.split("_")[0]
            yield Record(
                image_file.name, reading.shrink(image, scale), reading.shrink_mask(mask, scale), group, part, patient
            )

    sources = [folder / "Grade.csv", *(file for pair in found for file in pair)]
    digest = reading.fingerprint(folder, sources, [__file__], scale)
    return cached("glas", digest, "instance_map", ("background", "gland"), records, len(found), cache_root)


def _find(folder: Path) -> list[tuple[Path, Path]]:
    """Pairs of image and mask."""
    images = [f for f in folder.iterdir() if re.fullmatch(rf"({'|'.join(PARTS)})_\d+\.bmp", f.name)]
    images.sort(key=lambda file: (PARTS.index(file.stem.split("_")[0]), reading.natural(file.name)))
    present = {file.stem.split("_")[0] for file in images}
    if "train" not in present or len(present) == 1:
        lacking = "train_*.bmp" if "train" not in present else "testA_*.bmp and testB_*.bmp"
        raise Missing(f"no {lacking} in {folder}; expected this tree:\n{TREE.strip()}")
    for part in set(PARTS) - present:
        note(WARNING, f"this copy of GlaS has no {part}_*.bmp: {folder} is used without {part}.")
    pairs = [(file, file.with_name(f"{file.stem}_anno.bmp")) for file in images]
    for image, mask in pairs:
        if not mask.is_file():
            raise Missing(f"{image} has no mask: expected {mask.name} beside it")
    return pairs


def _read_grades(file: Path) -> dict[str, tuple[int, str]]:
    """Image stem -> (grade, patient); the original file ends its lines with a bare CR and starts values with blanks."""
    if not file.is_file():
        raise Missing(f"{file} does not exist; expected this tree:\n{TREE.strip()}")
    with opened(file) as lines:
        rows = [
            {(key or "").strip(): (value or "").strip() for key, value in row.items() if key}
            for row in csv.DictReader(lines)
        ]
    grades: dict[str, tuple[int, str]] = {}
    for row in rows:
        for column in ("name", PATIENT, GRADE):
            if column not in row:
                raise Refused(f"{file} has no column {column!r}; its columns are {', '.join(row)}")
        if row[GRADE] not in GRADES:
            raise Refused(f"{file}: {GRADE!r} of {row['name']} is {row[GRADE]!r}, expected one of {', '.join(GRADES)}")
        grades[row["name"]] = GRADES.index(row[GRADE]), row[PATIENT]
    return grades
