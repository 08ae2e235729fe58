"""Blood cells under the microscope, 364 images of 640 x 480 pixels with 4,888 boxes in VOC format.

"Blood Cell Count and Detection", https://github.com/Shenggan/BCCD_Dataset, MIT licence.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from data.formats.boxes import BAD_BOXES
from data.formats.labelled import find_root
from data.formats.voc import read_voc
from data.limits import OneOf
from data.store import Images

CELLS = ("RBC", "WBC", "Platelets")
BCCD_TREE = """
bccd/
    BCCD/
        JPEGImages/BloodImage_00000.jpg ...
        Annotations/BloodImage_00000.xml ...
        ImageSets/Main/train.txt   val.txt   test.txt
"""


def bccd(
    data_root: Path,
    scale: float = 1.0,
    bad_boxes: Annotated[str, OneOf(BAD_BOXES)] = "clip",
    cache_root: Path | None = None,
) -> Images:
    """Blood cells under the microscope, classes CELLS, with the official parts: 205 train, 87 val, 72 test.

    Two boxes (of red cells) have no area: the default drops them with a warning, `bad_boxes='refuse'` stops at the
    first of them.
    """
    root = find_root(data_root, ["bccd/BCCD", "bccd", "BCCD"], ["Annotations"], BCCD_TREE)
    return read_voc("bccd", root, BCCD_TREE, scale, bad_boxes, CELLS, "edges", cache_root)  # drawn with labelImg
