"""What looks like a mistake in all the boxes of a set: too small, in one corner, a part without a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32, Int
from numpy import ndarray

from data.notes import GUESSED, WARNING, note

MANY = 20  # boxes that do not all lie in one quarter of their images by chance


class Seen:
    """Counts of the boxes of a set, for what looks like a mistake in all of them."""

    def __init__(self, classes: Sequence[str]):
        self.classes = list(classes)
        self._of_part: dict[str, ndarray] = {}  # part -> boxes of each class
        self._images: dict[str, int] = {}
        self._empty = self._total = self._small = self._twice = 0
        self._first = self._first_twice = ""
        self._furthest = 0.0  # share of an image's width or height that a box reaches

    def add(self, part: str, target: Float32[ndarray, "m 5"], height: int, width: int, name: str) -> None:
        side = "test" if part.startswith("test") else part
        counts = self._of_part.setdefault(side, np.zeros(len(self.classes), np.int64))
        counts += np.bincount(target[:, 4].astype(int), minlength=len(self.classes))[: len(self.classes)]
        self._images[side] = self._images.get(side, 0) + 1
        self._empty, self._total = self._empty + (not len(target)), self._total + len(target)
        twice = len(target) - len(np.unique(target, axis=0))
        self._twice, self._first_twice = self._twice + twice, self._first_twice or (name if twice else "")
        small = ((target[:, 2:4] - target[:, :2]) < 1).any(1)
        self._first = self._first or (name if small.any() else "")
        self._small += int(small.sum())
        self._furthest = max(self._furthest, float((target[:, 2:4] / [width, height]).max(initial=0)))

    def tell(self, dataset: str, what: str = "images") -> None:
        """Note images without boxes (`what` says which were seen), boxes below a pixel, classes that a part lacks."""
        if self._empty:
            many = f"{self._empty} of {sum(self._images.values())}"
            note(GUESSED, f"{dataset}: {many} {what} have no box and are read as images without an object.")
        if self._twice:
            many = f"{self._twice} of {self._total} boxes stand twice, with one class and the same corners"
            note(WARNING, f"{dataset}: {many} (the first in {self._first_twice}): remove them.")
        if self._small:
            note(
                WARNING,
                f"{dataset}: {self._small} of {self._total} boxes are less than one pixel wide or high at this scale "
                f"(the first in {self._first}).",
            )
        if self._total >= MANY and self._furthest < 0.5:
            note(WARNING, f"{dataset}: all {self._total} boxes lie in the upper left quarter: made for smaller images?")
        note_absent(dataset, self.classes, self._of_part, "box")


def note_absent(dataset: str, classes: Sequence[str], of_part: Mapping[str, Int[ndarray, " c"]], what: str) -> None:
    """Note the classes that part train or test has nothing of; `of_part` counts them."""
    for part, use in (("train", "to learn from"), ("test", "to be measured with")):
        counts = of_part.get(part, np.ones(len(classes)))
        absent = [repr(name) for name, count in zip(classes, counts, strict=True) if not count]
        if not counts.any():
            note(WARNING, f"{dataset}: the images of part {part} have no {what} {use}.")
        elif absent:
            note(WARNING, f"{dataset}: class {', '.join(absent)} has no {what} {use} in part {part}.")
