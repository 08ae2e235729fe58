"""Labels from a table: labels.csv with columns file, label and, where known, patient and part."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data.formats.classes import LIST
from data.formats.folders import PARTS, Finder, Unused, part_of, parts_of_places, pictures_below, shown
from data.formats.patients import TABLE, as_patients, is_persons_name
from data.formats.tables import Row, Table, read_table
from data.formats.words import is_missing
from data.names import Missing, Refused, suggestion
from data.notes import GUESSED, LEFT_OUT, note

MISSING = ("refuse", "leave_out", "keep")
OPEN = "open"  # rows without a label, and pictures in no row, are kept with the label ''
NAMES = ("labels.csv", "labels.tsv")


class Entry(NamedTuple):
    """One image and what was written of it."""

    file: Path
    label: str
    part: str = "train"
    patient: str = ""


def find(root: Path) -> Path | None:
    """The table of labels in a folder, in any case; None where there is none. Refused for a workbook or two tables."""
    found = sorted(file for file in root.iterdir() if file.name.casefold() in NAMES and file.is_file())
    if len(found) > 1:
        raise Refused(f"{found[0]} and {found[1].name} both tell the labels; keep one of them")
    books = [file for file in root.iterdir() if re.fullmatch(r"labels\.(xlsx?|ods|numbers)", file.name.casefold())]
    if books and not found:
        raise Refused(f"{books[0]} is a workbook; save it as labels.csv")
    return found[0] if found else None


def read(root: Path, file: Path, missing: str, test_fold: int) -> list[Entry]:
    """The images that a table names, in its order. What `missing` and `test_fold` mean: data.formats.class_folder.own.

    Refused with the line for a file that is not there, is outside of the folder or named twice, a label that is
    missing, a part that is none. Pictures that the table does not name are noted, or kept where `missing` is OPEN.
    """
    table = read_table(file, ["file", "label"], ["patient", "part"])
    rows = _labelled(table, missing)
    pictures, others = _files(root, table, rows, missing)
    if "part" in table.columns or test_fold >= 0:
        parts = [*_parts(table, rows, test_fold), *("train" for _ in others)]
    else:
        parts = parts_of_places(root, [*pictures, *others])
    whose = [""] * len(rows)
    if "patient" in table.columns:
        cells = [row.cells["patient"] for row in rows]
        whose = as_patients(cells, file.name, is_persons_name(table.columns["patient"]))
    labels = ["" if missing == OPEN and is_missing(row.cells["label"]) else row.cells["label"] for row in rows]
    without = [""] * len(others)
    columns = [*pictures, *others], [*labels, *without], parts, [*whose, *without]
    return [Entry(*each) for each in zip(*columns, strict=True)]


def _labelled(table: Table, missing: str) -> list[Row]:
    """The rows that have a label; those that have none are refused, or left out and counted, or kept as a class."""
    if missing == OPEN:
        return table.rows
    lacking = [row for row in table.rows if is_missing(row.cells["label"])]
    if missing == "keep":
        lacking = [row for row in lacking if not row.cells["label"]]
    if lacking and missing != "leave_out":
        label, name = lacking[0].cells["label"], shown(lacking[0].cells["file"])
        ways = "write its label, or say dataset_options.missing=leave_out to do without such rows"
        if label:
            ways += f", missing=keep if {label!r} is a class"
        said = f" ({label!r} says that it is missing)" if label else ""
        raise Refused(
            f"line {lacking[0].line} of {table.file} has no label for {name!r}{said}, "
            f"nor have {len(lacking) - 1} other rows; {ways}"
        )
    if lacking:
        words = Counter(row.cells["label"] or "empty" for row in lacking)
        listed = ", ".join(f"{count} {word}" for word, count in words.most_common())
        note(LEFT_OUT, f"{table.file.name}: {len(lacking)} rows without a label are not used ({listed}).")
    without = {row.line for row in lacking}
    kept = [row for row in table.rows if row.line not in without]
    if not kept:
        raise Refused(f"{table.file} has no row with a label")
    return kept


def _files(root: Path, table: Table, rows: Sequence[Row], missing: str) -> tuple[list[Path], list[Path]]:
    """The pictures that the rows name, and where `missing` is OPEN all others."""
    finder, found, lines = Finder(root), [], {}
    for row in rows:
        written = row.cells["file"]
        where = f"line {row.line} of {table.file}"
        if not written:
            raise Refused(f"{where} names no file")
        try:
            picture = finder.find(written)
        except Missing as error:
            raise Missing(f"{where}: {error}") from error
        except Refused as error:
            raise Refused(f"{where}: {error}") from error
        if picture is None:
            raise Missing(
                f"{where} names {shown(str(root / written))}, which does not exist.{finder.suggestion(written)}"
            )
        real = os.path.realpath(picture)
        if real in lines:
            raise Refused(f"{where} names {shown(written)!r} for the second time, the first was line {lines[real]}")
        lines[real] = row.line
        found.append(picture)
    finder.tell()
    tables = [table.file, *(file for file in root.iterdir() if file.name.casefold() in (TABLE, LIST))]
    if missing == OPEN:
        named = set(lines)
        others = [file for file in pictures_below(root, Unused(root)) if os.path.realpath(file) not in named]
        return found, others
    finder.unused(found, tables).tell()
    return found, []


def _parts(table: Table, rows: Sequence[Row], test_fold: int) -> list[str]:
    """The part of every row by a column, 'train' where the cell is empty."""
    column = table.columns.get("part")
    if column is None:
        raise Refused(f"test_fold={test_fold} is set, but {table.file} has no column of folds")
    cells = [row.cells["part"] for row in rows]
    if all(re.fullmatch(r"\d+(\.0*)?", cell) for cell in cells):
        return _of_fold(table, column, [int(float(cell)) for cell in cells], test_fold)
    if test_fold >= 0:
        raise Refused(f"test_fold={test_fold} is set, but column {column!r} of {table.file} holds no numbers of folds")
    parts, empty = [], 0
    for row, cell in zip(rows, cells, strict=True):
        part = "train" if is_missing(cell) else part_of(cell)
        if part is None:
            known = ", ".join(PARTS)
            raise Refused(
                f"line {row.line} of {table.file}: unknown part {cell!r}.{suggestion(cell, PARTS)} Known: {known}; "
                f"if column {column!r} is something else, rename it"
            )
        empty += is_missing(cell)
        parts.append(part)
    if empty:
        note(GUESSED, f"{table.file.name}: {empty} rows have nothing in column {column!r} and are read as train.")
    return parts


def _of_fold(table: Table, column: str, folds: Sequence[int], test_fold: int) -> list[str]:
    present = sorted(set(folds))
    if test_fold < 0:
        listed = ", ".join(map(str, present[:6]))
        raise Refused(
            f"column {column!r} of {table.file} holds numbers ({listed}), which do not say what is the test part; "
            f"say dataset_options.test_fold={present[-1]} (or another of them), or remove the column"
        )
    if test_fold not in present or len(present) < 2:
        listed = ", ".join(map(str, present))
        raise Refused(f"test_fold={test_fold} must be one of several in column {column!r}: {listed}")
    count = folds.count(test_fold)
    note(GUESSED, f"{table.file.name}: fold {test_fold} of column {column!r} is test ({count} images), all else train.")
    return ["test" if fold == test_fold else "train" for fold in folds]
