"""masks/: a PNG of class numbers in the size of each image; classes.txt says what they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image

from data.formats.folders import shown
from experiments.rounds.exports.target import Names, Target
from experiments.rounds.exports.whole import text_file, whole_folder
from experiments.rounds.suggestion import Seen, Writer


@contextmanager
def masks(target: Target) -> Iterator[Writer]:
    """Writes masks/<path of the image>.png for every image with a prediction: 8 bits, or 16 from 257 classes on."""
    kind, names = np.uint8 if len(target.classes) <= 256 else np.uint16, Names(target.root)
    with text_file(target.folder / "classes.txt") as listed, whole_folder(target.folder / "masks") as folder:
        listed.writelines(f"{number}: {shown(name)}\n" for number, name in enumerate(target.classes))

        def write(seen: Seen) -> None:
            if seen.prediction is None or seen.prediction.class_map is None:
                return
            file = folder / names.free(seen.suggestion, ".png")
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(seen.prediction.class_map.astype(kind)).save(file, "PNG")

        yield write
