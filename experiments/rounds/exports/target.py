"""Where a round is written to and what is known of it beforehand; names of files that never leave that folder."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from data.formats.endings import stem_of
from data.formats.folders import composed
from experiments.rounds.suggestion import Prediction, Suggestion

CHANGES_NO_RESULT = True

LONGEST = 255  # bytes of a file's name
TOLERANCE = 1.0  # pixels by which polygons may leave the edges of a mask: steps of one pixel become straight


@dataclass(frozen=True)
class Chart:
    """A map of the images in two dimensions, in any unit."""

    pool: Float[ndarray, "n 2"]  # the images that are not labelled
    labelled: Float[ndarray, "l 2"]
    picks: dict[str, tuple[float, float]]  # name of a suggestion -> its place
    how: str = ""  # what the two directions are, as the end of a sentence


@dataclass(frozen=True)
class Target:
    """A round that is to be written."""

    folder: Path
    classes: tuple[str, ...]  # for masks the background first
    title: str
    task: str  # segment, classify or detect
    root: Path | None = None  # the folder of the user's images, from which they are named
    chart: Chart | None = None
    tolerance: float = TOLERANCE  # of polygons, see `contours.regions`
    most: int = 500  # images of a preview


@dataclass
class Names:
    """Gives each suggestion a file of its own below a folder, with the sub-folders of the image."""

    root: Path | None
    taken: set[str] = field(default_factory=set)

    def free(self, suggestion: Suggestion, ending: str) -> PurePosixPath:
        """The stem of the image with another ending, or all of its name where that is taken; 'a#3.png' for the third
        picture of a file. Names are distinct also where a file system does not tell 'a' from 'A'.
        """
        image, number = relative(suggestion, self.root), frame_of(suggestion)
        others = ((image.name, f"{number} ({n})") for n in count(2))
        for stem, mark in chain([(stem_of(image), number), (image.name, number)], others):
            found = image.with_name(_cut(stem, LONGEST - len(f"{mark}{ending}")) + mark + ending)
            if (key := composed(found.as_posix()).casefold()) not in self.taken:
                break
        self.taken.add(key)
        return found


def relative(suggestion: Suggestion, root: Path | None) -> PurePosixPath:
    """The image's file as named from the folder of the images, or its name alone where it lies elsewhere."""
    file = Path(os.path.abspath(suggestion.file))
    if root is not None and file.is_relative_to(above := Path(os.path.abspath(root))):
        return PurePosixPath(file.relative_to(above).as_posix())
    return PurePosixPath(file.name)


def frame_of(suggestion: Suggestion) -> str:
    """'#3' for the third picture of a file, else ''."""
    number = re.search(r"#\d+$", suggestion.name)
    return number[0] if number and not suggestion.file.name.endswith(number[0]) else ""


def inside(prediction: Prediction, size: tuple[int, int]) -> Float[ndarray, "m 6"]:
    """The boxes cut at the border of the picture of height x width, to 0.01 pixels; without those that vanish."""
    boxes = np.zeros((0, 6)) if prediction.boxes is None else prediction.boxes.astype(np.float64)
    height, width = size
    corners = np.round(np.clip(boxes[:, :4], 0, [width, height, width, height]), 2)
    kept = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    return np.column_stack([corners, boxes[:, 4:]])[kept]


def _cut(text: str, size: int) -> str:
    """The beginning of a text that has at most so many bytes."""
    return os.fsencode(text)[:size].decode("utf-8", "ignore") if len(os.fsencode(text)) > size else text
