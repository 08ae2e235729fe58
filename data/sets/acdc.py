"""ACDC: short-axis cine MR of 150 hearts, at end-diastole and end-systole, with both ventricles and the myocardium.

The dataset of the MICCAI 2017 challenge (Bernard et al., "Deep learning techniques for automatic MRI cardiac
multi-structures segmentation and diagnosis: is the problem solved?", IEEE TMI 37, 2018), as its NIfTI volumes or as the
HDF5 files that SSL4MIS and WSL4MIS (https://github.com/HiLab-git) made of the 100 training patients.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy import ndarray

from data import phases, splits
from data.formats import labelled, reading
from data.formats.labelled import TEST_FRACTION, TEST_SEED
from data.formats.volumes import Place
from data.formats.windows import Window, to_bytes
from data.limits import Numbers
from data.names import Refused
from data.notes import CHANGED, GUESSED, WARNING, note
from data.phases import PHASES
from data.sets import acdc_h5, acdc_nifti
from data.sets.acdc_nifti import CLASSES, Frame
from data.store import Images, Record, cached

WITHIN = (0.5, 99.5)  # percentiles of a volume that become black and white
PLACES = ("acdc", "ACDC", "acdc/database", "ACDC/database")
TREE = f"{acdc_nifti.TREE}\nor, as SSL4MIS has it:\n{acdc_h5.TREE}"


def acdc(
    data_root: Path,
    scale: float = 1.0,
    spacing: Annotated[list | None, Numbers(0.01, 1000, count=3)] = None,
    cache_root: Path | None = None,
) -> Images:
    """The slices of all annotated volumes, grey, by patient, phase and number, with classes as CLASSES.

    `group` is the index in `acdc_nifti.GROUPS` of the patient's disease, 5 where it is not known; volumes are called
    patient001_ED and patient001_ES. Parts are the challenge's training and testing, or the lists of SSL4MIS; without
    either a fixed fifth of the patients is 'test'. HDF5 files do not say their `spacing` (millimetres between rows,
    columns and slices). `scale` in (0, 1] shrinks images and masks. Missing or Refused names the file that is wrong.
    """
    scale = reading.require_scale(scale)
    root = labelled.find_root(data_root, PLACES, (*acdc_nifti.NEEDS, *acdc_h5.NEEDS), TREE)
    as_nifti = any((root / need).is_dir() for need in acdc_nifti.NEEDS)
    if as_nifti and spacing:
        raise Refused(f"spacing={list(spacing)} is for HDF5 files: the NIfTI volumes of {root} say their own")
    found, sources = acdc_nifti.find(root) if as_nifti else acdc_h5.find(root)
    found = _divided(root, _with_phases(found))
    _tell_what_lacks(found)
    given = Place("", 0, (spacing[0], spacing[1], spacing[2])) if spacing else Place()

    def records() -> Iterator[Record]:
        lying = []
        for frame in found:
            image, mask = acdc_nifti.volume(frame) if as_nifti else acdc_h5.volume(frame)
            _require_alike(frame, image, mask)
            lying += [frame.masks[0].name] if as_nifti and not acdc_nifti.lies_alike(frame) else []
            sides = acdc_nifti.spacing(frame) if as_nifti else given.spacing
            low, high = np.percentile(image, WITHIN).tolist()
            pixels = to_bytes(image, Window(low, high if high > low else low + 1))[..., None]
            for k, number in enumerate(frame.numbers or range(len(image))):
                small = reading.shrink(pixels[k], scale)
                target = reading.shrink_mask(mask[k].astype(np.uint8), scale)
                place = Place(frame.volume, number, sides).resized(image.shape[1:], small.shape)
                name = f"{frame.name}_slice_{number}"
                yield Record(name, small, target, frame.group, frame.part, frame.patient, *place)
        many = f"{len(found)} volumes: black and white are their percentiles {WITHIN[0]:g} and {WITHIN[1]:g}"
        note(CHANGED, f"the values of {many}.")
        if lying:
            many = f"{len(lying)} annotations say to lie otherwise in the body than their images"
            note(WARNING, f"{many}, the first is {lying[0]}: voxels go with voxels, and the spacing is the image's.")

    code = [__file__, acdc_nifti.__file__, acdc_h5.__file__, labelled.__file__, splits.__file__, phases.__file__]
    digest = reading.fingerprint(root, sources, code, scale, spacing, [frame[:6] for frame in found])
    return cached("acdc", digest, "class_map", CLASSES, records, None, cache_root)


def _with_phases(found: Sequence[Frame]) -> list[Frame]:
    """The frames with the phases that no file tells: the earlier one of a patient, or number 1, is end-diastole."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for frame in found:
        numbers[frame.patient].append(frame.number)
    first = {patient: min(own) if len(own) > 1 else 1 for patient, own in numbers.items()}
    guessed = {frame.patient for frame in found if not frame.phase}
    if guessed:
        note(
            GUESSED, f"the phases of {len(guessed)} patients are not told: the earlier frame is taken as end-diastole."
        )
    early = lambda frame: frame.number == first[frame.patient]  # noqa: E731
    told = [frame if frame.phase else frame._replace(phase=PHASES[0 if early(frame) else 1]) for frame in found]
    volumes = Counter(frame.volume for frame in told)
    if twice := [frame for frame in told if volumes[frame.volume] > 1]:
        raise Refused(f"{twice[0].images[0]} is not the only frame of {twice[0].volume}, expected one for each phase")
    return told


def _tell_what_lacks(found: Sequence[Frame]) -> None:
    """Note patients of one phase, and volumes of which not all slices are here."""
    frames = Counter(frame.patient for frame in found)
    if single := [patient for patient, count in frames.items() if count < len(PHASES)]:
        note(WARNING, f"{len(single)} patients have one phase alone, the first is {single[0]}.")
    gaps = [frame.volume for frame in found if frame.numbers and len(frame.numbers) <= frame.numbers[-1]]
    if gaps:
        lacking = f"{len(gaps)} volumes lack slices, the first is {gaps[0]}"
        note(WARNING, f"{lacking}: their Dice is of the others, and distances may not be measured.")


def _divided(root: Path, found: list[Frame]) -> list[Frame]:
    """The frames with parts: as they are told, or a fixed fifth of the patients for test; no patient in two."""
    parts: dict[str, str] = {}
    for frame in found:
        if parts.setdefault(frame.patient, frame.part) != frame.part:
            raise Refused(
                f"{root}: {frame.patient} is in {parts[frame.patient]} and in {frame.part}, expected one part"
            )
    if "test" in parts.values():
        return found
    group_of = {frame.patient: frame.group for frame in found if frame.part != "val"}
    if len(group_of) < 2:
        raise Refused(f"{root} has {len(group_of)} patient to learn from and to test with, expected at least 2")
    count = max(1, round(TEST_FRACTION * len(group_of)))
    held = splits.divide(list(group_of.values()), count, np.random.default_rng(TEST_SEED))[1]
    tested = {list(group_of)[i] for i in held}
    note(
        GUESSED, f"acdc has no test part here: {len(tested)} of {len(group_of)} patients are it, the same in all runs."
    )
    return [f._replace(part="test" if f.patient in tested else f.part or "train") for f in found]


def _require_alike(frame: Frame, image: ndarray, mask: ndarray) -> None:
    """Refused for an annotation that is not of its image, for values that are no classes, and for pixels that are no
    numbers.
    """
    file = frame.masks[0]
    if image.shape != mask.shape:
        raise Refused(f"{file}: the annotation has the size {mask.shape}, expected {image.shape} like its image")
    if not np.isfinite(image).all():
        k = int(np.argwhere(~np.isfinite(image))[0][0])
        raise Refused(f"{_of_slice(frame.images, k)} holds values in slice {k} that are no finite numbers")
    strange = np.argwhere(~np.isin(mask, range(len(CLASSES))))
    if len(strange):
        listed = ", ".join(f"{k} {name}" for k, name in enumerate(CLASSES))
        file, value = _of_slice(frame.masks, int(strange[0][0])), mask[tuple(strange[0])]
        raise Refused(f"{file} holds the value {value:g}, expected classes: {listed}")


def _of_slice(files: Sequence[Path], k: int) -> Path:
    """The file that slice k of a volume is in."""
    return files[k] if len(files) > 1 else files[0]
