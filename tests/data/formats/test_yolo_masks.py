"""YOLO polygons as masks."""

from __future__ import annotations

import numpy as np
import pytest

import data
from data import notes
from data.names import Refused
from tests.data.formats.test_yolo import load as load_boxes
from tests.data.pictures import save

BLOCK = "1 0.25 0.2 0.75 0.2 0.75 0.8 0.25 0.8"  # columns 3 to 9, rows 2 to 8 of a picture of 12 x 10 pixels
SMALL = "0 0.5 0.4 0.583334 0.4 0.583334 0.6 0.5 0.6"  # column 6, rows 4 and 5
MASK = np.zeros((10, 12), int)
MASK[2:8, 3:9] = 2
MASK[4:6, 6] = 1


def write(root, lines, names="cyst\nnodule\n"):
    for i in range(5):
        save(root / "images" / f"{i}.png", 50)
        (root / "labels").mkdir(exist_ok=True)
        (root / "labels" / f"{i}.txt").write_text(lines if i else "")
    (root / "classes.txt").write_text(names)
    return root


def load(root, **options):
    with notes.collecting() as said:
        images = data.load("segment", "yolo", root, **options)
    return images, [sentence for _, sentence in said]


@pytest.mark.parametrize("lines", [f"{BLOCK}\n{SMALL}\n", f"{SMALL}\n{BLOCK}"])
def test_class_maps(mine, lines):
    images, said = load(write(mine, lines))
    assert images.classes == ("background", "cyst", "nodule") and images.kind == "class_map"
    assert all(np.array_equal(images.target(i), MASK if i else 0 * MASK) for i in range(5))
    assert any("1 of 5 images have no outline" in sentence for sentence in said)
    assert images.parts.tolist().count("test") == 1
    assert load_boxes(mine)[0].target(1).shape == (2, 5), "the same folder has boxes"


def test_instances_and_a_class_called_background(mine):
    images, _ = load(write(mine, f"{BLOCK}\n{SMALL}\n"), instances=True)
    assert images.instances(1).tolist() == np.array([0, 2, 1])[MASK].tolist()
    images, _ = load(write(mine, f"{BLOCK}\n{SMALL}\n", "background\nnodule\n"))
    assert images.classes == ("background", "nodule")
    assert images.target(1).tolist() == np.array([0, 0, 1])[MASK].tolist()
    images, _ = load(mine, instances=True)
    assert images.instances(1).tolist() == np.array([0, 1, 1])[MASK].tolist()


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (f"{BLOCK}\n1 .5 .5 .2 .2", r"1\.txt, line 2 is a box, expected the x y of three corners or more"),
        ("1 0.1 0.1 0.5 0.5", "line 1 is a box"),
        ("1 0.1 0.1 0.5 0.5 0.2 0.2 0.9", "has 8 numbers, expected 5"),
        ("1 0.1 0.1 1.5 0.5 0.2 0.2", "line 1 reaches outside its image of 12 x 10 pixels"),
        ("7 0.1 0.1 0.5 0.5 0.2 0.2", r"1\.txt, line 1 is of class 7, but there are only 2 classes"),
    ],
)
def test_what_is_no_polygon_is_refused(mine, lines, sentence):
    with pytest.raises(Refused, match=sentence):
        load(write(mine, lines))
