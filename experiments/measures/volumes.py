"""How good a segmentation is in three dimensions: Dice, 95 % Hausdorff and mean surface distance of whole volumes.

    dice_volume  2 |A and B| / (|A| + |B|) over the voxels of a volume
    hd95_volume  the larger of the two 95th percentiles of the distances from the surface of one to that of the other
    asd_volume   the mean of all these distances, of both surfaces together

Distances are in millimetres, by the spacing of the volume's voxels. The surface of a class are its voxels with one of
six neighbours outside of it; beyond the volume is outside. These are the definitions of `compute_hausdorff_distance`
and of the symmetric `compute_average_surface_distance` of MONAI.

What is absent.  A class that neither prediction nor truth contains is left out, so that it rewards nobody. If one side
alone contains it, Dice is 0 and the distances are the diagonal of the volume, the worst that a pair can do: the
convention of the BraTS challenge, whose 373.13 mm is that of 240 x 240 x 155 mm. (SSL4MIS counts 50 and 10 mm in its
validation.) A volume without foreground in both is perfect: Dice 1, distances 0. Distances are measured where the
spacing is known and no slice is missing before the last that is there; Dice always.

Means.  A score is the mean over the volumes of the means over their foreground classes, that of a class the mean over
the volumes that contain it. `_ED` and `_ES` behind a name are those of one phase, see `data.phases`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Integer
from numpy import ndarray
from scipy import ndimage

from data.phases import PHASES, phase_of
from data.store import Images
from experiments.measures.segmentation import ignored
from experiments.measures.table import by_class


class Slice(NamedTuple):
    """One slice until its volume is complete."""

    image: int  # position in the test set
    predicted: Integer[ndarray, "h w"]
    truth: Integer[ndarray, "h w"]


class Scored(NamedTuple):
    """The scores of one volume by foreground class; NaN for a class that is absent from both sides."""

    part: str
    phase: str
    dice: Float[ndarray, " c"]
    distances: Float[ndarray, "2 c"] | None  # hd95 and asd; None where they are not measured


class VolumeScores:
    """Scores of a test set's volumes, gathered slice by slice; a volume is scored and dropped with its last one."""

    def __init__(self, test: Images):
        self._test = test
        self._left = Counter(test.volumes.tolist())
        self._open: dict[str, dict[int, Slice]] = defaultdict(dict)
        self._done: list[Scored] = []

    def add(self, i: int, predicted: Int[ndarray, "h w"], truth: Int[ndarray, "h w"]) -> None:
        """Add image i of the test set; pixels to be ignored are background in both. Single pictures do not count."""
        volume, n_classes = str(self._test.volumes[i]), len(self._test.classes)
        if not volume:
            return
        outside = ignored(truth, n_classes)
        small = np.uint8 if n_classes <= 256 else np.uint16
        predicted, truth = (np.where(outside, 0, side).astype(small) for side in (predicted, truth))
        self._open[volume][int(self._test.slices[i])] = Slice(i, predicted, truth)
        self._left[volume] -= 1
        if not self._left[volume]:
            self._done.append(self._scored(volume, self._open.pop(volume)))

    def _scored(self, volume: str, slices: Mapping[int, Slice]) -> Scored:
        """The scores of a complete volume."""
        rising, n_classes = sorted(slices), len(self._test.classes)
        stack = [slices[number] for number in rising]
        predicted = np.concatenate([each.predicted.ravel() for each in stack])
        truth = np.concatenate([each.truth.ravel() for each in stack])
        sides = (truth[predicted == truth], predicted, truth)
        both, found, true = (np.bincount(side, minlength=n_classes)[1:n_classes] for side in sides)
        present = found + true > 0
        dice = np.where(present, 2 * both / np.maximum(found + true, 1), np.nan)
        spacing, distances = _spacing(self._test.spacings[[each.image for each in stack]], rising), None
        if spacing is not None and len({each.truth.shape for each in stack}) == 1:
            a, b = np.stack([each.predicted for each in stack]), np.stack([each.truth for each in stack])
            distances = np.full((2, n_classes - 1), np.nan)
            for c in np.flatnonzero(present):
                distances[:, c] = surface_scores(a == c + 1, b == c + 1, spacing)
        return Scored(str(self._test.parts[stack[0].image]), phase_of(volume), dice, distances)

    def summary(self) -> dict[str, float]:
        """The scores by name; none without a volume, no distances where none is measured."""
        parts = sorted({each.part for each in self._done})
        scopes = {"": self._done}
        scopes |= {f"_{part}": [each for each in self._done if each.part == part] for part in parts if len(parts) > 1}
        scopes |= {f"_{phase}": [each for each in self._done if each.phase == phase] for phase in PHASES}
        found: dict[str, float] = {}
        for behind, volumes in scopes.items():
            measured = [each.distances for each in volumes if each.distances is not None]
            tables = {
                "dice_volume": (1.0, [each.dice for each in volumes]),
                "hd95_volume": (0.0, [distances[0] for distances in measured]),
                "asd_volume": (0.0, [distances[1] for distances in measured]),
            }
            for name, (perfect, rows) in tables.items():
                if not rows:
                    continue
                means = _mean(np.stack(rows), 1)
                found[f"{name}{behind}"] = float(np.where(np.isnan(means), perfect, means).mean())
                if len(self._test.classes) > 2:
                    found |= by_class(f"{name}{behind}", self._test.classes[1:], _mean(np.stack(rows), 0))
        return found


def trivial_volumes(test: Images, truth_of: Callable[[int], ndarray]) -> dict[str, tuple[float, str]]:
    """The scores of predictions that look at no image, and which these are, as `trivial_scores` has them for images.

    Every voxel is of the commonest class, or of the commonest foreground class, whichever is better; what stands beside
    the scores of one class is calling everything so.
    """
    if not (test.volumes != "").any():
        return {}
    pixels = np.zeros(len(test.classes), np.int64)
    for i in range(len(test)):
        pixels += np.bincount(truth_of(i).ravel(), minlength=len(pixels))[: len(pixels)]
    commonest = {int(pixels.argmax()), 1 + int(pixels[1:].argmax())}
    found = {}
    for c, words in enumerate(test.classes):
        scores = VolumeScores(test)
        for i in range(len(test)):
            scores.add(i, np.full_like(truth_of(i), c), truth_of(i))
        for name, value in scores.summary().items():
            own = name.endswith(f"[{words}]") if "[" in name else c in commonest
            less = not name.startswith("dice")
            if own and (name not in found or (value < found[name][0] if less else value > found[name][0])):
                found[name] = value, f"all {words}"
    return found


def surface_scores(
    a: Bool[ndarray, "n h w"], b: Bool[ndarray, "n h w"], spacing: tuple[float, float, float]
) -> tuple[float, float]:
    """95 % Hausdorff and mean surface distance of two masks in millimetres; `spacing` between slices, rows, columns.

    One empty: the diagonal of the volume for both. Both empty: 0.
    """
    if not a.any() or not b.any():
        worst = float(np.hypot.reduce(np.multiply(a.shape, spacing))) if a.any() or b.any() else 0.0
        return worst, worst
    around = ndimage.find_objects((a | b).astype(np.uint8))[0]
    sides = [_surface(mask[around]) for mask in (a, b)]
    beyond = [ndimage.distance_transform_edt(~side, sampling=spacing) for side in sides]
    to_b, to_a = np.asarray(beyond[1])[sides[0]], np.asarray(beyond[0])[sides[1]]
    hd95 = max(np.percentile(to_b, 95), np.percentile(to_a, 95))
    return float(hd95), float(np.concatenate([to_b, to_a]).mean())


def _surface(mask: Bool[ndarray, "n h w"]) -> Bool[ndarray, "n h w"]:
    """The voxels of a mask with one of six neighbours outside of it."""
    return mask & ~np.asarray(ndimage.binary_erosion(mask))


def _spacing(spacings: Float[ndarray, "n 3"], numbers: list[int]) -> tuple[float, float, float] | None:
    """Millimetres between slices, rows and columns; None where they are not known, differ, or slices are missing: those
    of a whole volume are numbered from 0 on.
    """
    row, column, between = spacings[0].tolist()
    if numbers != list(range(len(numbers))):
        return None
    if len(numbers) == 1 and np.isnan(between):
        between = 1.0  # of a single slice it changes nothing
    elif np.ptp(spacings, axis=0).max() > 1e-6:
        return None
    return None if np.isnan([row, column, between]).any() else (between, row, column)


def _mean(rows: Float[ndarray, "n c"], axis: int) -> Float[ndarray, " m"]:
    """Mean over an axis of what is not NaN; NaN where there is nothing."""
    known = np.isfinite(rows)
    with np.errstate(invalid="ignore"):
        return np.where(known, rows, 0).sum(axis) / known.sum(axis)
