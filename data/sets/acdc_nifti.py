"""The volumes of the ACDC challenge as it gives them out: NIfTI, a folder for each patient."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

from data.formats import nifti, tables
from data.formats.folders import is_junk
from data.formats.volumes import UNKNOWN
from data.names import Missing, Refused
from data.notes import LEFT_OUT, WARNING, note
from data.phases import PHASES

CLASSES = ("background", "right ventricle", "myocardium", "left ventricle")  # 0 to 3, as the challenge numbers them
GROUPS = ("NOR", "MINF", "DCM", "HCM", "RV")  # Group of Info.cfg: healthy, and four diseases
PARTS = {"training": "train", "testing": "test"}
NEEDS = (*PARTS, "patient001")
TREE = """
acdc/
    training/patient001/Info.cfg
                        patient001_frame01.nii.gz   patient001_frame01_gt.nii.gz   (end-diastole)
                        patient001_frame12.nii.gz   patient001_frame12_gt.nii.gz   (end-systole)   ...
    testing/patient101/...   (optional)
"""
FRAME = re.compile(r"(patient\d+)_frame(\d+)")
NIFTI = re.compile(rf"({FRAME.pattern})\.(?i:nii(?:\.gz)?)")


class Frame(NamedTuple):
    """One annotated volume before it is decoded."""

    name: str  # patient001_frame01
    patient: str
    number: int  # of the frame
    phase: str  # ED, ES, or '' where it is not told
    group: int  # index in GROUPS; their number where it is not told
    part: str  # train, val, test, or '' where it is not told
    numbers: tuple[int, ...]  # of the slices
    images: tuple[Path, ...]  # one file of the volume, or one for each slice
    masks: tuple[Path, ...]

    @property
    def volume(self) -> str:
        return f"{self.patient}_{self.phase}"


def find(root: Path) -> tuple[list[Frame], list[Path]]:
    """The annotated frames by patient and number, and all files that are read.

    Parts are told by the folders training and testing. A part testing without any annotation is left out, which is
    noted, as is every patient without Info.cfg. Missing names a frame without annotation, with the expected tree.
    """
    folders = [(part, root / name) for name, part in PARTS.items() if (root / name).is_dir()] or [("", root)]
    if [part for part, _ in folders] == ["test"]:
        raise Missing(f"{root} has no folder training; expected this tree:\n{TREE.strip()}")
    frames, sources, without = [], [], []
    for part, folder in folders:
        found = [frame for patient in _patients(folder) for frame in _frames(patient, part)]
        if part == "test" and not any(frame.masks[0].is_file() for frame in found):
            note(LEFT_OUT, f"{folder} has no annotations (_gt): its {len(found)} volumes are not used.")
            continue
        for frame in found:
            if not frame.masks[0].is_file():
                raise Missing(f"{frame.images[0]} has no annotation: expected {frame.masks[0].name} beside it")
            info = frame.images[0].parent / "Info.cfg"
            told = info.is_file()
            without += [] if told else [frame.patient]
            frames.append(_told(frame, info) if told else frame)
            sources += [frame.images[0], frame.masks[0], *([info] if told else [])]
    if without:
        many = f"{len(set(without))} patients have no Info.cfg, the first is {without[0]}"
        note(WARNING, f"acdc: {many}: their disease is not known, and their phases are guessed.")
    return frames, sorted(set(sources))


def volume(frame: Frame) -> tuple[Shaped[ndarray, "n h w"], Shaped[ndarray, "..."]]:
    """The values of a frame and their classes, slice by slice; the classes are of whatever size the file has."""
    stacks = []
    for file in (frame.images[0], frame.masks[0]):
        slices = [nifti.decode(file, k).values[..., 0] for k in nifti.look(file).frames]
        stacks.append(np.stack(slices))
    return stacks[0], stacks[1]


def spacing(frame: Frame) -> tuple[float, float, float]:
    """Millimetres between rows, columns and slices; nan where the file says none."""
    row, column, between = nifti.look(frame.images[0]).spacing
    return tuple(side if side > 0 else UNKNOWN[0] for side in (row, column, between))  # type: ignore[return-value]


def lies_alike(frame: Frame) -> bool:
    """Whether the annotation says to lie in the body where its image does, to a hundredth of a millimetre."""
    image, mask = (nifti.affine(file) for file in (frame.images[0], frame.masks[0]))
    return bool(np.allclose(image, mask, rtol=1e-3, atol=0.01))


def _patients(folder: Path) -> list[Path]:
    found = [inner for inner in folder.iterdir() if inner.is_dir() and re.fullmatch(r"patient\d+", inner.name)]
    if not found:
        raise Missing(f"{folder} has no folder patient001 ...; expected this tree:\n{TREE.strip()}")
    return sorted(found)


def _frames(folder: Path, part: str) -> list[Frame]:
    """The frames of a patient with the files that should be their annotations; the whole series (_4d) is not read."""
    names = sorted(file.name for file in folder.iterdir() if NIFTI.fullmatch(file.name) and not is_junk(file.name))
    if not names:
        expected = f"{folder.name}_frame01.nii.gz and the like"
        raise Missing(f"{folder} holds no frame: expected {expected} in this tree:\n{TREE.strip()}")
    frames = []
    for name in names:
        stem, patient, number = NIFTI.fullmatch(name).groups()  # type: ignore[union-attr]
        if patient != folder.name:
            raise Refused(f"{folder / name} is of another patient than its folder says")
        mask = folder / f"{stem}_gt{name.removeprefix(stem)}"
        frames.append(Frame(stem, patient, int(number), "", len(GROUPS), part, (), (folder / name,), (mask,)))
    return frames


def _told(frame: Frame, info: Path) -> Frame:
    """The frame with what Info.cfg says of it."""
    pairs = (line.partition(":") for line in tables.read_text(info).splitlines())
    said = {name.strip(): value.strip() for name, _, value in pairs}
    numbers = {phase: said.get(phase, "") for phase in PHASES}
    if not all(number.isdecimal() for number in numbers.values()):
        raise Refused(f"{info} does not say which frames are ED and ES, expected lines such as 'ED: 1' and 'ES: 12'")
    phase = next((phase for phase, number in numbers.items() if int(number) == frame.number), "")
    if not phase:
        both = f"ED is frame {numbers['ED']} and ES frame {numbers['ES']}"
        raise Refused(f"{frame.images[0]} is neither phase: {info} says that {both}")
    group = said.get("Group", "")
    if group and group not in GROUPS:
        raise Refused(f"{info}: Group is {group!r}, expected one of {', '.join(GROUPS)}")
    return frame._replace(phase=phase, group=GROUPS.index(group) if group else len(GROUPS))
