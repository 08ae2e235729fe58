"""DeepLesion: 32,735 lesions on 32,120 axial CT slices of 4,427 patients, boxed around a radiologist's diameters.

Yan et al., "DeepLesion: automated mining of large-scale lesion annotations and universal lesion detection with deep
learning", Journal of Medical Imaging 5(3), 2018. A box is what both diameters span with 5 pixels on every side. Other
lesions of a slice may be unmarked.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from data import files, splits
from data.formats import boxes, labelled, reading
from data.formats.tables import opened
from data.limits import OneOf
from data.names import Missing, Refused, require_one_of, suggestion
from data.notes import CHANGED, LEFT_OUT, WARNING, note
from data.store import Images, Record, cached
from data.threads import ordered_map

# 1 to 8 in the table.
LESION_TYPES = ("bone", "abdomen", "mediastinum", "liver", "lung", "kidney", "soft_tissue", "pelvis")
PARTS = {"1": "train", "2": "val", "3": "test"}
WINDOWS = {"lung": (-1500.0, 500.0), "soft_tissue": (-175.0, 275.0), "bone": (-500.0, 1300.0)}  # HU
SOURCES = ("official", "samples_8bit")
COLUMNS = ("File_name", "Patient_index", "Bounding_boxes", "Coarse_lesion_type", "Possibly_noisy", "DICOM_windows")
TREE = """
deeplesion/
    DL_info.csv
    Images_png/000001_01_01/109.png ...   (patient_study_series/slice.png, 16 bits)
    or, with source=samples_8bit, truth_samples_8bit/train/000001_01_01_109.jpg ...   (and test/)
"""


class Lesion(NamedTuple):
    """A row of the table."""

    name: str  # of the key slice: 000001_01_01_109.png
    patient: str
    box: list[float]  # xyxy
    noisy: bool
    window: tuple[float, float]  # low and high in HU
    part: str


def deeplesion(
    data_root: Path,
    scale: float = 1.0,
    lesion_type: Annotated[str, OneOf(("all", *LESION_TYPES))] = "all",
    window: str = "dicom",
    context: Annotated[int, OneOf((0, 1))] = 0,
    bad_boxes: Annotated[str, OneOf(boxes.BAD_BOXES)] = "clip",
    cache_root: Path | None = None,
    source: Annotated[str, OneOf(SOURCES)] = "official",
) -> Images:
    """The key slices under `data_root`/deeplesion as kind 'boxes' of one class 'lesion', in the order of DL_info.csv.

    `window` brings Hounsfield units to 0..255: 'dicom' is each slice's own, else a name of WINDOWS or 'low,high' in HU.
    With `context` 1 the three channels are the slices k-1, k and k+1, whatever their distance. `scale` in (0, 1]
    shrinks images and boxes; `bad_boxes` is one of data.formats.boxes.BAD_BOXES. Slices without a picture are left out
    with a warning; lesions marked as noisy are kept with a warning.

    `lesion_type` keeps the lesions of one of LESION_TYPES; no training lesion has a known type, so any filter empties
    the training part. Where that part is empty, the official 'val' becomes 'train', with a warning. A table without
    parts gets a fixed test part of a fifth of the slices, by whole patients.

    `source` 'samples_8bit' reads 8-bit JPEGs of key slices, in which 0..255 stand for -1024 to 3071 HU, instead of the
    16-bit originals.

    FileNotFoundError or ValueError names what is missing or wrong.
    """
    scale, fixed_window, bad_boxes = (
        reading.require_scale(scale),
        _fixed_window(window),
        boxes.require_policy(bad_boxes),
    )
    require_one_of("lesion_type", lesion_type, ("all", *LESION_TYPES))
    require_one_of("context", context, (0, 1))
    require_one_of("source", source, SOURCES)
    if context and source != "official":
        raise Refused(
            f"context={context} needs the neighbours of key slices, "
            f"which source={source!r} has not; say source='official'"
        )
    folder = files.require_folder(Path(data_root) / "deeplesion", TREE)
    table = folder / "DL_info.csv"
    lesions_of = _read(table, lesion_type)
    slices = _with_pictures(table, lesions_of, _pictures(folder, source, lesions_of))
    lesions = [lesion for of_slice in slices.values() for lesion in of_slice]
    if noisy := sum(lesion.noisy for lesion in lesions):
        _note(WARNING, f"lesions marked as possibly noisy, and kept: {noisy} of {len(lesions)}.")
    keys = [of_slice[0] for of_slice in slices.values()]
    parts = _parts(keys, lesion_type)
    stacks = [_stack(file, context) for file in slices]
    if repeated := sum(stack.count(file) - 1 for stack, file in zip(stacks, slices, strict=True)):
        _note(CHANGED, f"neighbours that are absent, for which the key slice itself stands: {repeated}.")

    def decode(i: int) -> UInt8[ndarray, "h w channels"]:
        return _windowed(stacks[i], source, fixed_window or keys[i].window)

    def records() -> Iterator[Record]:
        checker = boxes.BoxChecker(bad_boxes)
        images = ordered_map(decode, range(len(keys)))
        for key, of_slice, part, image in zip(keys, slices.values(), parts, images, strict=True):
            # The table counts pixels' centres from 1 (as the authors' loader does), and this code pixels' edges from 0.
            given = np.array([[*(c - 0.5 for c in lesion.box), 0.0] for lesion in of_slice])
            checked = checker(given, image.shape[0], image.shape[1], f"{table}, {key.name}")
            small, target = boxes.shrunk(image, checked, scale)
            yield Record(key.name, small, target, 0, part, key.patient)
        checker.warn("deeplesion")

    sources = [table, *dict.fromkeys(file for stack in stacks for file in stack)]
    modules = [__file__, boxes.__file__, labelled.__file__, splits.__file__]
    digest = reading.fingerprint(folder, sources, modules, scale, lesion_type, window, context, bad_boxes, source)
    return cached("deeplesion", digest, "boxes", ("lesion",), records, len(keys), cache_root)


def _fixed_window(window: str) -> tuple[float, float] | None:
    """Low and high in HU, or None for 'dicom'."""
    if window == "dicom" or window in WINDOWS:
        return WINDOWS.get(window)
    try:
        low, high = (float(bound) for bound in window.split(","))
    except ValueError:
        known = ("dicom", *WINDOWS)
        raise Refused(
            f"window={window!r} is unknown.{suggestion(window, known)} Known: "
            f"{', '.join(known)}, or two numbers like '-1024,3071' in HU"
        ) from None
    if not -np.inf < low < high < np.inf:
        raise Refused(f"window={window!r} must be a lower and a higher number of Hounsfield units, like '-175,275'")
    return low, high


def _read(table: Path, lesion_type: str) -> dict[str, list[Lesion]]:
    """Lesions of the wanted type by their key slice."""
    if not table.is_file():
        raise Missing(f"{table} does not exist; expected this tree:\n{TREE.strip()}")
    wanted = {"all": None} | {name: number for number, name in enumerate(LESION_TYPES, 1)}
    slices: dict[str, list[Lesion]] = {}
    with opened(table) as lines:
        reader = csv.DictReader(lines)
        columns = reader.fieldnames or []
        for column in COLUMNS:
            if column not in columns:
                raise Refused(
                    f"{table} has no column {column!r}, only {', '.join(columns)}.{suggestion(column, columns)}"
                )
        for row in reader:
            try:
                lesion_class, lesion = int(row["Coarse_lesion_type"]), _lesion(row)
            except (ValueError, KeyError, TypeError) as error:
                raise Refused(
                    f"line {reader.line_num} of {table} ({row['File_name']}) cannot be understood: {error}"
                ) from error
            if wanted[lesion_type] in (None, lesion_class):
                slices.setdefault(lesion.name, []).append(lesion)
    if not slices:
        raise Refused(f"{table} has no lesion of lesion_type={lesion_type!r}")
    return slices


def _lesion(row: dict[str, str]) -> Lesion:
    if not re.fullmatch(r"\w+_\d+\.png", row["File_name"]):
        raise Refused(f"File_name is {row['File_name']!r}, expected one like 000001_01_01_109.png")
    box, (low, high) = (
        [float(value) for value in row[column].split(",")] for column in ("Bounding_boxes", "DICOM_windows")
    )
    if len(box) != 4 or not low < high:
        given = f"Bounding_boxes is {row['Bounding_boxes']!r} and DICOM_windows {row['DICOM_windows']!r}"
        raise Refused(f"{given}, expected x1, y1, x2, y2 and low, high")
    flag = row.get("Train_Val_Test", "")
    if flag and flag not in PARTS:
        raise Refused(f"Train_Val_Test is {flag!r}, expected 1 (train), 2 (val) or 3 (test)")
    return Lesion(
        row["File_name"], row["Patient_index"], box, int(row["Possibly_noisy"]) > 0, (low, high), PARTS.get(flag, "")
    )


def _pictures(folder: Path, source: str, names: Iterable[str]) -> dict[str, Path]:
    """The pictures that exist, by the name of their slice in the table."""
    if source == "official":
        images = files.require_folder(folder / "Images_png", TREE)
        places = {name: images / name.rpartition("_")[0] / name.rpartition("_")[2] for name in names}
        return {name: file for name, file in places.items() if file.is_file()}
    samples = files.require_folder(folder / "truth_samples_8bit", TREE)
    return {f"{file.stem}.png": file for file in samples.glob("*/*.jpg")}


def _with_pictures(table: Path, slices: dict[str, list[Lesion]], pictures: dict[str, Path]) -> dict[Path, list[Lesion]]:
    """Lesions by the picture of their key slice, where there is one."""
    found = {pictures[name]: lesions for name, lesions in slices.items() if name in pictures}
    if not found:
        raise Missing(
            f"none of the {len(slices)} key slices of {table} has a picture; expected this tree:\n{TREE.strip()}"
        )
    if absent := len(slices) - len(found):
        _note(
            LEFT_OUT,
            f"{table.name} lists {len(slices)} key slices, "
            f"{absent} of them without a picture; the other {len(found)} are used.",
        )
    return found


def _parts(keys: list[Lesion], lesion_type: str) -> list[str]:
    """The part of each slice, so that there is one to learn from wherever that is possible."""
    parts = [key.part for key in keys]
    if "" in parts:
        held = labelled.held_out([0] * len(keys), [key.patient for key in keys])
        return ["test" if chosen else "train" for chosen in held]
    if "train" in parts or "val" not in parts:
        return parts
    _note(
        WARNING,
        f"no training slice is left for lesion_type={lesion_type!r}; the official validation part is 'train' instead.",
    )
    return ["train" if part == "val" else part for part in parts]


def _stack(key: Path, context: int) -> list[Path]:
    """The files of slices k - context .. k + context; an absent one is the key slice itself."""
    around = [
        key.with_name(f"{int(key.stem) + step:03d}.png") if step else key for step in range(-context, context + 1)
    ]
    return [file if file.is_file() else key for file in around]


def _windowed(stack: list[Path], source: str, window: tuple[float, float]) -> UInt8[ndarray, "h w channels"]:
    """Slices as channels, low..high HU as 0..255."""
    slices = [_hounsfield(file, source) for file in stack]
    for file, values in zip(stack, slices, strict=True):
        reading.require_equal_size(stack[len(stack) // 2], slices[len(stack) // 2], file, values)
    low, high = window
    return np.rint(np.clip((np.stack(slices, axis=-1) - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def _hounsfield(file: Path, source: str) -> Float[ndarray, "h w"]:
    stored = reading.read_mask(file)  # integers as they are, one channel
    if source == "samples_8bit":
        return stored / 255 * 4095 - 1024
    if stored.max() < 256:
        raise Refused(f"{file} holds values up to {stored.max()}, expected 16-bit values around 32768")
    return stored - 32768.0


def _note(kind: str, sentence: str) -> None:
    note(kind, f"DeepLesion: {sentence}")
