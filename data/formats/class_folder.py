"""Your own images with one class each: a folder per class, or a csv of file, label, patient and part."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

from data import files
from data.formats import reading
from data.formats.labelled import TEST_FRACTION, Labelled, images_of, in_class_folders
from data.limits import Between
from data.names import Missing, Refused, require_one_of, suggestion
from data.store import Images

PARTS = ("train", "val", "test")
OWN_TREE = """
benign/a.png ...   malignant/b.jpg ...   (one folder per class)
or train/benign/a.png ...   test/benign/c.png ...   (val/ is optional)
or labels.csv with columns file, label and, where known, patient and part; files are relative to the csv
"""


def own(
    data_root: Path,
    image_size: int | None,
    cache_root: Path | None = None,
    test_fraction: Annotated[float, Between(0, 0.9)] = TEST_FRACTION,
) -> Images:
    """Your own images under `data_root`: labels.csv if it is there, else class folders, in train/, val/, test/ or not.

    Images become grey or, if any is coloured, all RGB. Without an official test part, a fixed share `test_fraction` of
    every class is 'test', and all images of a patient go to the same side. Names are paths relative to `data_root`
    where file names repeat.
    """
    root = files.require_folder(Path(data_root), OWN_TREE)
    if (root / "labels.csv").is_file():
        found, classes = _from_csv(root)
    elif (root / "train").is_dir():
        found, classes = in_class_folders(root / "train", "train", None, OWN_TREE)
        for part in ("val", "test"):
            if (root / part).is_dir():
                found += in_class_folders(root / part, part, classes, OWN_TREE)[0]
    else:
        found, classes = in_class_folders(root, "train", None, OWN_TREE)
    official = any(entry.part == "test" for entry in found)
    fraction = 0.0 if official else float(test_fraction)
    return images_of("folder", root, found, classes, image_size, None, [__file__], cache_root, test_fraction=fraction)


def _from_csv(root: Path) -> tuple[list[Labelled], list[str]]:
    table = root / "labels.csv"
    with open(table, newline="", encoding="utf-8-sig") as lines:
        reader = csv.DictReader(lines, skipinitialspace=True)
        columns = reader.fieldnames or []
        for column in ("file", "label"):
            if column not in columns:
                raise Refused(
                    f"{table} has no column {column!r}, only {', '.join(columns)}.{suggestion(column, columns)}"
                )
        rows = [(reader.line_num, {key: (value or "").strip() for key, value in row.items() if key}) for row in reader]
    classes = sorted({row["label"] for _, row in rows}, key=reading.natural)
    if len(classes) < 2:
        raise Refused(
            f"{table} has {len(rows)} rows with {len(classes)} different labels, expected at least two labels"
        )
    found: dict[Path, Labelled] = {}
    for number, row in rows:
        file, part = root / row["file"], row.get("part") or "train"
        if not row["label"]:
            raise Refused(f"line {number} of {table} has no label for {row['file']!r}")
        if not file.is_file():
            raise Missing(f"line {number} of {table} names {file}, which does not exist")
        if file in found:
            raise Refused(f"line {number} of {table} names {row['file']!r} for the second time")
        require_one_of("part", part, PARTS, f"line {number} of {table}")
        found[file] = Labelled(file, classes.index(row["label"]), part, row.get("patient", ""))
    return list(found.values()), classes
