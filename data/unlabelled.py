"""How a folder is read in which images wait for their labels.

Labels lie where the format has them, in the user's own folder, and in a folder of ours, into which they are pulled from
a tool for annotation. Paths of images are as below the user's folder of images:

    masks/<image>.png    class numbers, as large as the picture; with the stem of the image in place of its ending
    labels.csv           file,label
    boxes/<image>.xml    VOC with edges counted from 0, with the image's own ending or without it before .xml; without
                         an object: nothing is there

Where both say something of an image the user's own place counts, and it is said if they differ.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

MASKS, TABLE, BOXES = "masks", "labels.csv", "boxes"


class Unlabelled(NamedTuple):
    """What readers are given that are to keep images without a label."""

    labels: Path | None = None  # the folder of ours, which need not be there

    def inner(self, name: str) -> Path | None:
        """What lies in the folder of ours under one of the names above; None where there is nothing."""
        found = self.labels / name if self.labels else None
        return found if found and found.exists() else None
