"""ISIC 2020: is a skin lesion a melanoma? 33,126 dermoscopic photographs of 2,056 patients, 1.8 % of them melanomas.

Rotemberg et al., "A patient-centric dataset of images and metadata for identifying melanomas using clinical context",
Scientific Data 8, 2021. The release holds 425 pairs of duplicates (ISIC_2020_Training_Duplicates.csv); they are kept as
they are.

The photographs are large. Shrink them once and decoding takes minutes less:

    python -m data.sets.isic resize data/raw/isic2020/train data/raw/isic2020/train_256 --size 256
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from data import files
from data.formats import reading
from data.formats.labelled import TEST_FRACTION, Labelled, find_root, images_of
from data.formats.tables import opened
from data.names import Missing, Refused, suggestion
from data.store import Images
from data.threads import ordered_map

CLASSES = ("benign", "melanoma")
SPLITS = (("trainval_split.csv", "train"), ("test_split.csv", "test"))
ORIGINALS = ("train.csv", "ISIC_2020_Training_GroundTruth_v2.csv", "ISIC_2020_Training_GroundTruth.csv")
FOLDERS = (
    *("ISIC_2020_Training_JPEG_300x300/train", "train_256", "train_300", "ISIC_2020_Training_JPEG/train"),
    *("ISIC_2020_Training_JPEG", "jpeg/train", "train"),
)
TREE = """
isic2020/
    trainval_split.csv   test_split.csv   (columns image_name, target, and patient_id where known)
    or train.csv, the original (columns image_name, patient_id, target); a fifth of its patients becomes the test part
    train/ISIC_0015719.jpg ...   (or ISIC_2020_Training_JPEG/train/, jpeg/train/; copies in train_256/ come first)
"""


def isic2020(data_root: Path, image_size: int | None, cache_root: Path | None = None, images: str = "") -> Images:
    """ISIC 2020, RGB, with patients where the csv knows them: the split files, or else train.csv divided by patient.

    `images` is the folder of the photographs, relative to the dataset's folder or absolute; by default the first of
    FOLDERS that exists.
    """
    root = find_root(data_root, ["isic2020", "ISIC2020"], [SPLITS[0][0], *ORIGINALS], TREE)
    places = [root / files.at_home(images)] if images else [root / name for name in FOLDERS]
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        raise Missing(f"{' and '.join(map(str, places))} do not exist; expected this tree:\n{TREE.strip()}")
    if (root / SPLITS[0][0]).is_file():
        if not (root / SPLITS[1][0]).is_file():
            raise Missing(
                f"{root / SPLITS[1][0]} does not exist beside {SPLITS[0][0]}; expected this tree:\n{TREE.strip()}"
            )
        found, fraction = [entry for name, part in SPLITS for entry in _listed(root / name, folder, part)], 0.0
    else:
        table = next(root / name for name in ORIGINALS if (root / name).is_file())
        found, fraction = _listed(table, folder, "train", need_patient=True), TEST_FRACTION
    seen: set[str] = set()
    for entry in found:
        if entry.file.name in seen:
            raise Refused(f"{entry.file.stem} is listed twice in the tables of {root}; an image belongs to one part")
        seen.add(entry.file.name)
    return images_of("isic2020", root, found, CLASSES, image_size, 3, [__file__], cache_root, test_fraction=fraction)


def resize_folder(source: Path, destination: Path, size: int) -> int:
    """Write every picture of `source` to `destination` as JPEG of `size` pixels on its shorter side; returns how many.

    Pictures that are already there are passed over, so that an interrupted run can go on; smaller ones are copied in
    size.
    """
    source = files.require_folder(Path(source), "SRC/ISIC_0015719.jpg ...")
    if size < 16:
        raise Refused(f"--size {size} must be at least 16 pixels")
    destination = Path(destination)
    destination.mkdir(parents=True, exist_ok=True)
    if destination.samefile(source):
        raise Refused(f"{destination} is the folder of the originals; choose another one for the small copies")
    targets = {file: destination / f"{file.stem}.jpg" for file in reading.picture_files(source)}
    missing = [file for file, target in targets.items() if not target.exists()]
    written = ordered_map(lambda file: _shrink(file, targets[file], size), missing)
    for _ in tqdm(written, "resize", len(missing), unit="image", dynamic_ncols=True):
        pass
    return len(missing)


def _shrink(file: Path, target: Path, size: int) -> None:
    try:
        with Image.open(file) as picture:
            scale = min(1.0, size / min(picture.size))
            small = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
            picture.draft(
                "RGB", (2 * small[0], 2 * small[1])
            )  # the JPEG decoder halves for free; twice the size keeps the quality
            shrunk = picture.convert("RGB").resize(small, Image.Resampling.BILINEAR)
    except reading.UNREADABLE as error:
        raise Refused(f"{file} is corrupt or cut short: {error}") from error
    unfinished = target.with_suffix(".unfinished")
    shrunk.save(unfinished, "JPEG", quality=95)
    os.replace(unfinished, target)


def _listed(table: Path, folder: Path, part: str, need_patient: bool = False) -> list[Labelled]:
    with opened(table) as lines:
        reader = csv.DictReader(lines, skipinitialspace=True)
        columns = reader.fieldnames or []
        for column in ("image_name", "target", *(["patient_id"] * need_patient)):
            if column not in columns:
                raise Refused(
                    f"{table} has no column {column!r}, only {', '.join(columns)}.{suggestion(column, columns)}"
                )
        found = []
        for row in reader:
            if row["target"] not in ("0", "1"):
                raise Refused(
                    f"line {reader.line_num} of {table} has target {row['target']!r}, "
                    "expected 0 (benign) or 1 (melanoma)"
                )
            name = row["image_name"].removesuffix(".jpg")
            found.append(Labelled(folder / f"{name}.jpg", int(row["target"]), part, row.get("patient_id") or ""))
    there = {file.name for file in folder.iterdir()}
    if missing := [entry.file.name for entry in found if entry.file.name not in there]:
        raise Missing(f"{table} names {len(missing)} images that are not in {folder}, the first {missing[0]}")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m data.sets.isic", description="Shrink a folder of photographs once, before experiments."
    )
    commands = parser.add_subparsers(required=True, metavar="resize")
    resize = commands.add_parser("resize", help="write small copies of the pictures in SRC to DST")
    resize.add_argument("SRC", type=Path)
    resize.add_argument("DST", type=Path)
    resize.add_argument("--size", type=int, default=256, help="pixels of the shorter side (default 256)")
    chosen = parser.parse_args(arguments)
    try:
        written = resize_folder(chosen.SRC, chosen.DST, chosen.size)
    except (ValueError, OSError) as error:
        parser.exit(1, f"{error}\n")
    print(f"wrote {written} pictures to {chosen.DST}")


if __name__ == "__main__":
    main()
