"""Which pictures are slices of one volume, in which order, and how many millimetres their pixels are apart."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from data.formats.pictures import Source
from data.notes import GUESSED, note
from data.phases import PHASES, phase_of

UNKNOWN = (math.nan, math.nan, math.nan)
EVEN = 0.01  # share of the distance between slices by which distances may differ


class Place(NamedTuple):
    """Where a picture lies; the fields of `data.store.Record`."""

    volume: str = ""  # '' of a single picture
    slice: int = 0  # counted from 0
    spacing: tuple[float, float, float] = UNKNOWN  # millimetres between rows, columns and slices

    def resized(self, before: Sequence[int], after: Sequence[int], cut: bool = False) -> Place:
        """The place after the (height, width) of the picture changed; `cut`: to the square in its middle."""
        if tuple(before[:2]) == tuple(after[:2]):
            return self
        height, width = (min(before[:2]), min(before[:2])) if cut else before[:2]
        row, column, between = self.spacing
        return self._replace(spacing=(row * height / after[0], column * width / after[1], between))


def places_of(sources: Sequence[Source], names: Sequence[str], patients: Sequence[str]) -> list[Place]:
    """The place of every picture. `names` are those of their files, `patients` '' where none is known.

    Several pictures of one file are a volume, called as the file. Single DICOM files of one patient, series and
    direction are one too, called by a digest; its slices are in the order of their positions in the body, else of their
    numbers, else as listed. The distance between them is that of their positions, and noted where it is uneven.
    """
    found = [
        Place(name if source.number else "", max(0, source.number - 1), _three(source.known.spacing))
        for source, name in zip(sources, names, strict=True)
    ]
    members: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, (source, patient) in enumerate(zip(sources, patients, strict=True)):
        if source.known.series and not source.number:
            members[patient, source.known.series].append(i)
    uneven = 0
    for (patient, series), slices in members.items():
        if len(slices) < 2:
            continue
        volume = f"series-{hashlib.sha256(f'{patient} {series}'.encode()).hexdigest()[:10]}"
        order, between = _ordered([sources[i] for i in slices])
        uneven += between is not None and math.isnan(between)
        for number, k in enumerate(order):
            row, column, said = found[slices[k]].spacing
            found[slices[k]] = Place(volume, number, (row, column, said if between is None else between))
    if uneven:
        note(GUESSED, f"{uneven} volumes have slices at uneven distances: some are not here, or are of several times.")
    return found


def whose(patients: Sequence[str], places: Sequence[Place]) -> list[str]:
    """The patients. Where none is known, a volume with a phase in its name (anna_ED.nii.gz) is of the patient that its
    name tells without it (anna), which is noted; any other volume counts as a patient of its own.
    """
    unknown = {place.volume for patient, place in zip(patients, places, strict=True) if not patient}
    guessed = _without_phases(unknown)
    if guessed:
        told = f"{len(set(guessed.values()))} patients are guessed by the names of {len(guessed)} volumes without "
        told += f"{' and '.join(f'_{phase}' for phase in PHASES)}"
        note(GUESSED, f"{told}: both phases are of one patient; patients.csv or patient_pattern say otherwise.")
    return [patient or guessed.get(place.volume, place.volume) for patient, place in zip(patients, places, strict=True)]


def _without_phases(volumes: Collection[str]) -> dict[str, str]:
    """Volume -> its name without phase, ending and folders, of those that have a phase and are called more than it.

    Folders belong to the name where there are several of one name and phase, as p1/heart_ED and p2/heart_ED, or where
    the name is but the phase, as p1/ED.
    """
    named = {}
    for volume in filter(phase_of, volumes):
        folder, _, file = volume.rpartition("/")
        named[volume] = folder, file.partition(".")[0].rpartition("_")[0]
    counts = Counter((name, phase_of(volume)) for volume, (_, name) in named.items())
    several = {name for (name, _), count in counts.items() if count > 1 or not name}
    found = {v: "/".join(filter(None, both if both[1] in several else both[1:])) for v, both in named.items()}
    return {volume: patient for volume, patient in found.items() if patient}


def _ordered(slices: Sequence[Source]) -> tuple[list[int], float | None]:
    """The order of single slices and the millimetres between them: None where their positions are not known."""
    positions = [source.known.position for source in slices]
    if None in positions:
        numbers = [source.known.number for source in slices]
        return sorted(range(len(slices)), key=numbers.__getitem__), None
    rising = np.sort(np.array(positions, float))
    gaps = np.diff(rising)
    even = gaps.min() > 0 and gaps.max() - gaps.min() <= EVEN * gaps.max() + 1e-3  # headers have few decimals
    return np.argsort(np.array(positions, float), kind="stable").tolist(), float(np.mean(gaps)) if even else math.nan


def _three(spacing: Sequence[float]) -> tuple[float, float, float]:
    """Row, column and slice, nan where they are not known or no lengths."""
    row, column, between = (side if 0 < side < math.inf else math.nan for side in (*spacing, *UNKNOWN)[:3])
    return row, column, between
