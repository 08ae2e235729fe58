"""Surface defects: GAPs (asphalt), KolektorSDD2 and the older KolektorSDD (commutators); is a surface in order or not?

GAPs: Stricker et al., "Improving visual road condition assessment by extensive experiments on the extended GAPs
dataset", IJCNN 2019. KolektorSDD: Tabernik et al., "Segmentation-based deep-learning approach for surface-defect
detection", Journal of Intelligent Manufacturing 31, 2020. KolektorSDD2: Bozic et al., "Mixed supervision for
surface-defect detection", Computers in Industry 129, 2021.

The Kolektor images are long and their defects small: they are squeezed to a square, because a crop could cut off what
the label is about.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from data import files
from data.formats import reading
from data.formats.labelled import TEST_FRACTION, Labelled, find_root, images_of, labelled_record, resized
from data.formats.tables import opened
from data.limits import Between, OneOf
from data.names import Missing, Refused, require_one_of, suggestion
from data.store import Images, Record, cached

SURFACES = ("OK", "NG")
GAPS_CLASSES = {
    "NORMvsDISTRESS": ("intact road", "distress"),
    "NORMvsDISTRESS_50k": ("intact road", "distress"),
    "ZEB_50k": ("intact road", "applied patch", "pothole", "inlaid patch", "open joint", "crack"),
}
GAPS_PARTS = {"train": "train", "valid": "val", "test": "test"}
GAPS_TREE = """
gaps/v2/NORMvsDISTRESS_50k_160/   (as the package gaps-dataset lays it out: version, issue, patch size)
    train/chunks_160x160_NORMvsDISTRESS_50k_train_chunk_00_x.npy   ..._chunk_00_y.npy ...
    valid/chunks_160x160_NORMvsDISTRESS_50k_valid_chunk_0_x.npy ...
    test/chunks_160x160_NORMvsDISTRESS_50k_test_chunk_0_x.npy ...
"""
KSDD2_TREE = """
ksdd2/   (or KolektorSDD2/)
    train/20000.png   train/20000_GT.png ...
    test/20001.png   test/20001_GT.png ...
or without the masks, but with train.csv and test.csv beside the folders: columns file and label (OK or NG)
"""
KSDD_TREE = """
ksdd/   (or KolektorSDD/)
    kos01/Part0.jpg   kos01/Part0_label.bmp ...
    kos02/...
"""


def gaps(
    data_root: Path,
    image_size: int | None,
    cache_root: Path | None = None,
    issue: Annotated[str, OneOf(GAPS_CLASSES)] = "NORMvsDISTRESS_50k",
    patch_size: Annotated[int, Between(8, 4096)] = 160,
    version: Annotated[int, OneOf((1, 2))] = 2,
) -> Images:
    """GAPs patches, grey, from chunks: x (N, 1, p, p) in -1..1, y (N,); parts become 'train', 'val', 'test'.

    The subset valid-test of version 2 is left aside.
    """
    require_one_of("issue", issue, GAPS_CLASSES)
    classes = GAPS_CLASSES[issue]
    inner = f"v{version}/{issue}_{patch_size}"
    root = find_root(data_root, ["gaps", "GAPs"], [inner], GAPS_TREE) / inner
    chunks = [(part, x, _targets_of(x)) for subset, part in GAPS_PARTS.items() for x in _chunks(root / subset)]

    def records() -> Iterator[Record]:
        for part, x_file, y_file in chunks:
            patches, labels = _read_chunk(x_file, y_file, patch_size)
            for row, (patch, label) in enumerate(zip(patches, labels, strict=True)):
                name = f"{x_file.stem.removesuffix('_x')}_{row:05d}"
                yield labelled_record(name, resized(_to_bytes(patch, x_file), image_size), int(label), classes, part)

    sources = [file for _, x, y in chunks for file in (x, y)]
    digest = reading.fingerprint(root, sources, [__file__], image_size, issue, version)
    return cached("gaps", digest, "class", classes, records, None, cache_root)


def ksdd2(data_root: Path, image_size: int | None, cache_root: Path | None = None) -> Images:
    """KolektorSDD2, RGB, about 230 x 630: OK where <number>_GT.png is empty, else NG; or as train.csv and test.csv say.

    The stray files '10301 (copy).png' and '10301_GT (copy).png' of the release are passed over.
    """
    root = find_root(data_root, ["ksdd2", "KolektorSDD2"], ["train"], KSDD2_TREE)
    found = [entry for part in ("train", "test") for entry in _ksdd2_part(root, part)]
    return images_of("ksdd2", root, found, SURFACES, image_size, 3, [__file__], cache_root, whole=True)


def ksdd(data_root: Path, image_size: int | None, cache_root: Path | None = None) -> Images:
    """KolektorSDD, grey, about 500 x 1250: OK where Part<n>_label.bmp is empty, else NG; an item is the patient.

    There is no official test part in the files: a fixed fifth of the items is 'test'.
    """
    names = ["ksdd", "KolektorSDD", "kolektorsdd"]
    root = next((place for name in names if (place := Path(data_root) / name).is_dir()), Path(data_root))
    files.require_folder(root, KSDD_TREE)
    items = [folder for folder in root.iterdir() if folder.is_dir() and folder.name.startswith("kos")]
    found = []
    for item in sorted(items, key=lambda folder: reading.natural(folder.name)):
        for file in reading.picture_files(item):
            if not file.stem.endswith("_label"):
                found.append(Labelled(file, _defect(file.with_name(f"{file.stem}_label.bmp")), "train", item.name))
    if not found:
        raise Missing(f"{root} holds no image of an item kos01, kos02, ...; expected this tree:\n{KSDD_TREE.strip()}")
    return images_of(
        "ksdd", root, found, SURFACES, image_size, 1, [__file__], cache_root, whole=True, test_fraction=TEST_FRACTION
    )


def _chunks(folder: Path) -> list[Path]:
    found = sorted(
        files.require_folder(folder, GAPS_TREE).glob("chunks_*_x.npy"), key=lambda file: reading.natural(file.name)
    )
    if not found:
        raise Missing(f"{folder} has no chunks_*_x.npy; expected this tree:\n{GAPS_TREE.strip()}")
    return found


def _targets_of(x_file: Path) -> Path:
    y_file = x_file.with_name(x_file.name.removesuffix("_x.npy") + "_y.npy")
    if not y_file.is_file():
        raise Missing(f"{y_file} does not exist, expected the labels of {x_file.name}")
    return y_file


def _read_chunk(x_file: Path, y_file: Path, patch_size: int) -> tuple[ndarray, ndarray]:
    read = {}
    for file in (x_file, y_file):
        try:
            read[file] = np.load(file, mmap_mode="r")
        except (ValueError, OSError, EOFError) as error:
            raise Refused(f"{file} is damaged or is no .npy file: {error}") from error
    x, y = read[x_file], read[y_file].ravel()
    if x.shape != (len(y), 1, patch_size, patch_size):
        expected = (len(y), 1, patch_size, patch_size)
        raise Refused(f"{x_file} has shape {x.shape}, expected {expected} for the {len(y)} labels of {y_file.name}")
    return x, y


def _to_bytes(patch: ndarray, file: Path) -> UInt8[ndarray, "p p 1"]:
    if patch.dtype == np.uint8:
        return np.ascontiguousarray(patch[0, ..., None])
    low, high = float(patch.min()), float(patch.max())
    if not max(abs(low), abs(high)) <= 1.001:
        raise Refused(f"{file} holds values from {low:g} to {high:g}, expected patches in -1..1, or 8-bit ones")
    return np.rint((patch[0, ..., None].astype(np.float64).clip(-1, 1) + 1) * 127.5).astype(np.uint8)


def _ksdd2_part(root: Path, part: str) -> list[Labelled]:
    folder, table = files.require_folder(root / part, KSDD2_TREE), root / f"{part}.csv"
    if table.is_file():
        found = [Labelled(folder / name, label, part) for name, label in _surfaces(table)]
        if missing := [entry.file for entry in found if not entry.file.is_file()]:
            raise Missing(f"{table} names {len(missing)} files that do not exist, the first {missing[0]}")
    else:
        pictures = [f for f in reading.picture_files(folder) if "_GT" not in f.stem and "(copy)" not in f.stem]
        found = [Labelled(file, _defect(file.with_name(f"{file.stem}_GT.png")), part) for file in pictures]
    if not found:
        raise Missing(f"{folder} holds no image; expected this tree:\n{KSDD2_TREE.strip()}")
    return found


def _surfaces(table: Path) -> Iterator[tuple[str, int]]:
    """File name and label of each row."""
    with opened(table) as lines:
        reader = csv.DictReader(lines, skipinitialspace=True)
        columns = reader.fieldnames or []
        for column in ("file", "label"):
            if column not in columns:
                raise Refused(
                    f"{table} has no column {column!r}, only {', '.join(columns)}.{suggestion(column, columns)}"
                )
        for row in reader:
            require_one_of("label", row["label"], SURFACES, f"line {reader.line_num} of {table}")
            yield row["file"], SURFACES.index(row["label"])


def _defect(mask: Path) -> int:
    if not mask.is_file():
        raise Missing(f"mask {mask} does not exist, so nothing says whether the surface is in order")
    return int(reading.read_mask(mask).any())
