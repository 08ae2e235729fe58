"""ACDC as SSL4MIS and WSL4MIS have it: HDF5 files of slices and volumes, with lists of the parts.

https://github.com/HiLab-git/SSL4MIS, code/dataloaders: `image` is a volume scaled to 0..1, as slices by rows and
columns, `label` its classes; frames are renumbered, 01 for end-diastole and 02 for end-systole. What else a file holds
(`scribble`) is not read.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

from data.formats import tables
from data.names import Missing, Refused
from data.sets.acdc_nifti import FRAME, GROUPS, Frame

LISTS = (("train_slices.list", "train"), ("train.list", "train"), ("val.list", "val"), ("test.list", "test"))
SLICES = ("data/slices", "ACDC_training_slices", "slices")
VOLUMES = ("data", "ACDC_training_volumes", ".")
NEEDS = (*(name for name, _ in LISTS), *SLICES[:2])
SLICE = re.compile(rf"({FRAME.pattern})_slice_(\d+)")
TREE = """
acdc/   (or ACDC/)
    train_slices.list   val.list   test.list          (names, one a line; optional)
    data/slices/patient001_frame01_slice_0.h5 ...     (or ACDC_training_slices/)
    data/patient011_frame01.h5 ...                    (whole volumes; where they are missing their slices are taken)
"""


def find(root: Path) -> tuple[list[Frame], list[Path]]:
    """The frames by patient and number, and all files that are read. Missing names a listed file that is not there."""
    folder = _folder_of_slices(root)
    slices = _slices_in(folder)
    lists = [(root / name, part) for name, part in LISTS if (root / name).is_file()]
    if any(file.name == "train_slices.list" for file, _ in lists):
        lists = [(file, part) for file, part in lists if file.name != "train.list"]
    elif lists and "train" not in {part for _, part in lists}:
        raise Missing(f"{root} has no train_slices.list; expected this tree:\n{TREE.strip()}")
    frames = {}
    for file, part in lists:
        named = _listed(root, file, part, folder, slices)
        if not named:
            raise Refused(f"{file} names nothing, expected names such as patient001_frame01_slice_0; or remove it")
        names = Counter(frame.name for frame in named)
        for frame in named:
            if names[frame.name] > 1:
                raise Refused(f"{file} names {frame.name} twice, whole and by its slices, expected one of both")
            if frame.name in frames:
                raise Refused(f"{file} names {frame.name}, as another list does: a patient is on one side only")
            frames[frame.name] = frame
    if not lists:
        frames = {stem: _frame(stem, "", tuple(found), tuple(found.values())) for stem, found in slices.items()}
    if not frames:
        raise Missing(f"{root} has no slice such as patient001_frame01_slice_0.h5; expected this tree:\n{TREE.strip()}")
    found = sorted(frames.values(), key=lambda frame: (frame.patient, frame.number))
    return found, sorted({file for frame in found for file in frame.images} | {file for file, _ in lists})


def volume(frame: Frame) -> tuple[Shaped[ndarray, "n h w"], Shaped[ndarray, "..."]]:
    """The values of a frame and their classes, slice by slice; Refused where slices differ in size or do not come
    first in a volume.
    """
    read = [_read(file) for file in frame.images]
    if not frame.numbers:
        if read[0][0].ndim != 3:
            raise Refused(f"{frame.images[0]} holds an image of the shape {read[0][0].shape}, expected three axes")
        _require_slices_first(frame, read[0][0].shape)
        return read[0]
    for side, kind in enumerate(("an image", "a label")):
        shapes = {both[side].shape for both in read}
        if len(shapes) > 1:
            raise Refused(f"the slices of {frame.name} in {frame.images[0].parent} differ in size: {sorted(shapes)}")
        if len(next(iter(shapes))) != 2:
            raise Refused(f"{frame.images[0]} holds {kind} of the shape {shapes.pop()}, expected rows and columns")
    return np.stack([image for image, _ in read]), np.stack([label for _, label in read])


def _require_slices_first(frame: Frame, shape: tuple[int, ...]) -> None:
    """Refused where the axes of a volume are in another order: by the slices of the frame that lie in files of their
    own, else where the last axis is by far the shortest.
    """
    file, expected = frame.images[0], "expected slices first, then rows and columns"
    root = file.parent.parent if file.parent.name in VOLUMES else file.parent
    slices = _slices_in(_folder_of_slices(root)).get(frame.name, {})
    if slices:
        one = next(iter(slices.values()))
        size = _read(one)[0].shape
        if size != shape[1:] or max(slices) >= shape[0]:
            held = f"{one.parent} holds slices of it of the shape {size}, the last with the number {max(slices)}"
            raise Refused(f"{file} has the axes {shape}, but {held}: {expected}")
    elif 3 * shape[2] <= 2 * min(shape[:2]):
        raise Refused(f"{file} has the axes {shape}, of which the last is by far the shortest: {expected}")


def _folder_of_slices(root: Path) -> Path:
    return next((root / name for name in SLICES if (root / name).is_dir()), root / SLICES[0])


def _slices_in(folder: Path) -> dict[str, dict[int, Path]]:
    """Frame -> number -> file of a slice."""
    found: dict[str, dict[int, Path]] = defaultdict(dict)
    for file in folder.iterdir() if folder.is_dir() else ():
        if file.suffix == ".h5" and (name := SLICE.fullmatch(file.stem)):
            found[name[1]][int(name[4])] = file
    return {stem: dict(sorted(found[stem].items())) for stem in sorted(found)}


def _listed(root: Path, file: Path, part: str, folder: Path, slices: dict[str, dict[int, Path]]) -> list[Frame]:
    """The frames that a list names, by their slices or as whole volumes; equal lines count once."""
    wanted: dict[str, dict[int, Path]] = defaultdict(dict)
    frames = []
    lines = (line.strip().removesuffix(".h5") for line in tables.read_text(file).splitlines())
    for line in filter(None, dict.fromkeys(lines)):
        if of_slice := SLICE.fullmatch(line):
            stem, number = of_slice[1], int(of_slice[4])
            if number not in slices.get(stem, {}):
                raise Missing(f"{file} names {line}, and there is no {line}.h5 in {folder}")
            wanted[stem][number] = slices[stem][number]
        elif FRAME.fullmatch(line):
            whole = next((f for v in VOLUMES if (f := root / v / f"{line}.h5").is_file()), None)
            if whole:
                frames.append(_frame(line, part, (), (whole,)))
            elif line in slices:
                wanted[line] = slices[line]
            else:
                raise Missing(f"{file} names {line}, and there is neither {root / 'data' / line}.h5 nor a slice of it")
        else:
            raise Refused(f"{file} names {line!r}, expected names such as patient001_frame01_slice_0")
    return frames + [_frame(stem, part, tuple(sorted(f)), tuple(f[k] for k in sorted(f))) for stem, f in wanted.items()]


def _frame(stem: str, part: str, numbers: tuple[int, ...], files: tuple[Path, ...]) -> Frame:
    patient, number = FRAME.fullmatch(stem).groups()  # type: ignore[union-attr]
    return Frame(stem, patient, int(number), "", len(GROUPS), part, numbers, files, files)


def _read(file: Path) -> tuple[ndarray, ndarray]:
    try:
        with h5py.File(file) as opened:
            image, label = np.asarray(opened["image"]), np.asarray(opened["label"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise Refused(f"{file} cannot be read as HDF5 with image and label: {error}") from error
    for name, array, kinds in (("image", image, "uif"), ("label", label, "buif")):
        if array.dtype.kind not in kinds:
            raise Refused(f"{file} holds {array.dtype} as {name}, expected one number for each voxel")
        if not array.size:
            raise Refused(
                f"{file} holds no voxel as {name}: its axes are {array.shape}, expected each to be at least 1"
            )
    return image, label
