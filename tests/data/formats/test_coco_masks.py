"""Polygons and run lengths of COCO as masks, against the engine of COCO itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from faster_coco_eval import mask as coco_mask

import data
from data import notes
from data.formats import outlines
from data.names import Refused
from tests.data.pictures import save

SQUARE, INNER = [2, 1, 8, 1, 8, 7, 2, 7], [4, 3, 6, 3, 6, 5, 4, 5]


def runs(mask: np.ndarray) -> list[int]:
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *edges, flat.size]).tolist()
    return lengths if not flat[0] else [0, *lengths]


def mark(image_id, outline, category=3, **more) -> dict:
    return {"id": 1, "image_id": image_id, "category_id": category, "segmentation": outline, "iscrowd": 0} | more


def write(root: Path, annotations, n=5, categories=((3, "gland"), (7, "cell"))) -> Path:
    for i in range(n):
        save(root / "images" / f"{i}.png", 50)
    images = [{"id": i, "file_name": f"{i}.png", "width": 12, "height": 10} for i in range(n)]
    named = [{"id": i, "name": name} for i, name in categories]
    (root / "boxes.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": named}))
    return root


def load(root: Path, **options):
    with notes.collecting() as said:
        images = data.load("segment", "coco", root, **options)
    return images, [sentence for _, sentence in said]


def test_polygons_and_run_lengths_become_class_maps(mine):
    mask = np.zeros((10, 12), bool)
    mask[0:4, 3:12] = True
    packed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    write(
        mine,
        [
            mark(0, [SQUARE]),
            mark(0, [INNER], 7),
            mark(1, {"counts": runs(mask), "size": [10, 12]}),
            mark(2, {"counts": packed.decode() if isinstance(packed, bytes) else packed, "size": [10, 12]}, 7),
            mark(3, [SQUARE, [9, 8, 12, 8, 12, 10, 9, 10]]),
        ],
    )
    images, said = load(mine)
    assert images.kind == "class_map" and images.classes == ("background", "gland", "cell")
    expected = np.zeros((5, 10, 12), int)
    expected[[0, 3], 1:7, 2:8] = 1
    expected[0, 3:5, 4:6] = 2
    expected[1][mask], expected[2][mask] = 1, 2
    expected[3, 8:, 9:] = 1
    for i in range(5):
        assert images.target(i).tolist() == expected[i].tolist(), i
    assert any("1 of 5 images have no outline" in s for s in said)
    small, _ = load(mine, scale=0.5)
    assert small.target(0).tolist() == expected[0][1::2, 1::2].tolist()


def test_instances_are_numbered_and_crowds_left_out(mine):
    write(mine, [mark(0, [SQUARE]), mark(0, [INNER]), mark(1, {"counts": [0, 120], "size": [10, 12]}, iscrowd=1)])
    images, said = load(mine, instances=True)
    assert images.kind == "instance_map" and images.classes == ("background", "object")
    assert np.bincount(images.instances(0).ravel()).tolist() == [84, 32, 4] and not images.instances(1).any()
    assert any("1 crowd annotations" in s for s in said)
    assert load(mine)[0].target(1).unique().tolist() == [1]


def test_a_category_called_background_is_it(mine):
    images, _ = load(write(mine, [mark(0, [SQUARE], 1), mark(0, [INNER], 0)], categories=((0, "Background"), (1, "gland"))))
    assert images.classes == ("background", "gland") and (images.target(0) == 1).sum() == 32


def test_small_and_hidden_objects_are_counted(mine):
    _, said = load(write(mine, [mark(0, [SQUARE]), mark(0, [SQUARE], 7), mark(1, [[1.1, 1.1, 1.3, 1.1, 1.3, 1.3]])]))
    assert any("1 objects hold the centre of no pixel" in s for s in said)
    assert any("1 objects are wholly below others" in s for s in said)
    assert any("images of part test have no outline" in s for s in said)


@pytest.mark.parametrize("seed", range(5))
def test_as_the_engine_of_coco_has_it(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((30, 20)) < (0.5 if seed < 4 else 0.02)
    packed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    packed = packed.decode() if isinstance(packed, bytes) else packed
    for counts in (packed, runs(mask)):
        assert (outlines.run_lengths({"counts": counts, "size": [30, 20]}, 30, 20, "x") == mask).all()
    angles = np.sort(rng.random(9)) * 2 * np.pi
    points = np.column_stack([50 + 40 * np.cos(angles), 45 + 30 * np.sin(angles)])
    theirs = coco_mask.decode(coco_mask.frPyObjects([points.ravel().tolist()], 90, 100)).reshape(90, 100) > 0
    ours = outlines.filled([points], 90, 100)
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.97  # COCO rounds corners to a fifth of a pixel


@pytest.mark.parametrize(
    ("outline", "sentence"),
    [
        (None, "annotation 1 has a bbox and no segmentation"),
        ([[1, 2, 3, 4]], r"segmentation of annotation 1 is \[\[1, 2, 3, 4\]\], expected polygons"),
        ([[1, 2, 3, 4, 5, "a"]], "expected polygons"),
        ([[0, 0, 30, 0, 30, 5]], "reaches outside its image of 12 x 10"),
        ([[0.1, 0.1, 0.9, 0.1, 0.9, 0.9]], "lies within 0 to 1"),
        ({"counts": [100], "size": [10, 12]}, "has runs of 100 pixels, expected 120"),
        ({"counts": [120], "size": [12, 10]}, r"size \[12, 10\], expected \[10, 12\]"),
        ({"counts": [130, -10], "size": [10, 12]}, "expected lengths of runs"),
        ({"counts": "\u00ff~", "size": [10, 12]}, "no part of packed run lengths"),
        ({"counts": "oo", "size": [10, 12]}, "end in the middle of a number"),
        ({"size": [10, 12]}, "expected lengths of runs"),
    ],
)
def test_outlines_that_cannot_be_read_end_in_a_sentence(mine, outline, sentence):
    with pytest.raises(Refused, match=sentence):
        load(write(mine, [mark(0, outline, bbox=[1, 1, 2, 2])]))


def test_patients_and_the_test_part(mine):
    write(mine, [mark(0, [SQUARE])], n=8)
    (mine / "patients.csv").write_text("file,patient\n" + "".join(f"{i}.png,p{i // 2}\n" for i in range(8)))
    images, _ = load(mine, test_fraction=0.25)
    assert images.patients.tolist() == [f"p{i // 2}" for i in range(8)] and images.parts.tolist().count("test") == 2
    assert all(images.parts[i] == images.parts[i + 1] for i in range(0, 8, 2))
