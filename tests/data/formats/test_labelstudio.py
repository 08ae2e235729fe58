"""Exports of Label Studio, imitated small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import data
from data import notes
from data.names import Missing, Refused
from tests.data.pictures import save


def region(kind="rectanglelabels", label="gland", **value) -> dict:
    value = value or {"x": 25, "y": 20, "width": 50, "height": 40, "rotation": 0}
    return {"type": kind, "value": {**value, kind: [label]}, "original_width": 12, "original_height": 10, "to_name": "image"}


def choice(word) -> dict:
    return {"type": "choices", "value": {"choices": [word]}, "to_name": "image"}


def task(i, *results, name=None, **more) -> dict:
    return {"id": i, "data": {"image": name or f"/data/upload/1/0a1b2c3d-{i}.png"}, "annotations": [{"result": list(results)}]} | more


def write(root: Path, tasks) -> Path:
    for i in range(5):
        save(root / "images" / f"{i}.png", 50)
    (root / "project.json").write_text(json.dumps(tasks))
    return root


def load(root: Path, task="detect", **options):
    with notes.collecting() as said:
        images = data.load(task, "labelstudio", root, **options)
    return images, [sentence for _, sentence in said]


POLYGON = region("polygonlabels", "cell", points=[[0, 0], [50, 0], [50, 50]])
ELLIPSE = region("ellipselabels", "cell", x=50, y=50, radiusX=25, radiusY=30)
TURNED = region(x=50, y=20, width=50, height=60, rotation=90)  # around its upper left corner
TASKS = [task(0, region()), task(1, POLYGON, ELLIPSE), task(2, TURNED), task(3), task(4, region())]


def test_boxes(mine):
    images, said = load(write(mine, TASKS))
    assert images.classes == ("cell", "gland") and images.names == [f"{i}.png" for i in range(5)]
    assert images.target(0).tolist() == [[3, 2, 9, 6, 1]]
    assert images.target(1).flatten().tolist() == pytest.approx([0, 0, 6, 5, 0, 3, 2, 9, 8, 0], abs=1e-4)
    assert images.target(2).flatten().tolist() == pytest.approx([0, 2, 6, 8, 1], abs=1e-4)
    assert len(images.target(3)) == 0 and any("1 of 5 images have no box" in s for s in said)
    assert load(mine, classes=["gland", "cell"])[0].target(0)[0, 4] == 0


def test_masks(mine):
    images, _ = load(write(mine, TASKS), "segment")
    assert images.classes == ("background", "cell", "gland") and images.kind == "class_map"
    assert (images.target(0)[2:6, 3:9] == 2).all() and (images.target(0) > 0).sum() == 24
    assert (images.target(2)[2:8, 0:6] == 2).all() and (images.target(2) > 0).sum() == 36
    assert load(mine, "segment", instances=True)[0].instances(1).max() == 2


def test_choices(mine):
    words = ["benign", "malignant", "benign", "malignant", "benign"]
    images, _ = load(write(mine, [task(i, choice(word)) for i, word in enumerate(words)]), "classify", image_size=None, test_fraction=0.4)
    assert [images.classes[int(images.target(i))] for i in range(5)] == words and images.parts.tolist().count("test") == 2


def test_the_short_export(mine):
    def flat(i):
        return {"x": 25, "y": 20, "width": 50, "height": 40, "rotation": 0, "rectanglelabels": ["gland"], "original_width": 12, "original_height": 10}

    short = [{"image": f"/data/local-files/?d=images/{i}.png", "id": i, "label": [flat(i)], "choice": "benign", "annotation_id": i} for i in range(5)]
    images, _ = load(write(mine, short))
    assert all(images.target(i).tolist() == [[3, 2, 9, 6, 0]] for i in range(5))


def test_tasks_without_annotation_are_left_out(mine):
    tasks = [*TASKS[:4], {"id": 9, "data": {"image": "4.png"}, "annotations": []}]
    images, said = load(write(mine, tasks))
    assert len(images) == 4 and any("1 of 5 tasks have no annotation" in s for s in said)
    assert any("pictures that no used row" in s for s in said)


@pytest.mark.parametrize(
    ("tasks", "error", "sentence"),
    [
        ({}, Refused, "no JSON export of Label Studio"),
        ([5], Refused, "expected a list of tasks"),
        ([task(7, region())], Missing, r"task 1 is of '/data/upload/1/0a1b2c3d-7\.png', which is not under"),
        ([task(0, region(), name="../../images/0.png"), task(0, region())], Refused, "task 2 is of .* and so is task 1"),
        ([{"data": {"image": "0.png"}, "annotations": [{"result": []}, {"result": []}]}], Refused, "has 2 annotations, expected one"),
        ([task(0, region("brushlabels", rle=[1, 999]))], Refused, "is a brush in the format None, expected rle"),
        ([task(0, region("brushlabels", rle=[]))], Refused, "expected rle and a list of bytes"),
        ([task(0, region("brushlabels", rle=[1]) | {"original_width": 0})], Refused, "is a brush and has no original_width"),
        ([task(0, region("brushlabels", rle=[1])), *TASKS[1:]], Refused, "result 1: its run lengths end too early"),
        ([task(0, region("bitmasklabels", imageDataURL="data:"))], Refused, "is bitmasklabels, expected rectangles"),
        ([task(0, region() | {"image_rotation": 90})], Refused, "drawn on a picture turned by 90 degrees"),
        ([task(0, region() | {"value": {"rectanglelabels": ["a", "b"]}})], Refused, r"has the labels \['a', 'b'\], expected one"),
        ([task(0, region(x="a", y=1, width=1, height=1))], Refused, "has no numbers x, y, width, height"),
        ([task(0, region("polygonlabels", points=[[1, 2]]))], Refused, "expected at least three"),
        ([task(0, TURNED | {"original_width": None})], Refused, "is turned by 90 degrees"),
        ([task(0, choice("x"))], Refused, "has no rectangle, polygon, ellipse or brush"),
        ([task(0, region() | {"original_width": 10, "original_height": 12}), *TASKS[1:]], Refused, "is for 10 x 12 pixels"),
        ([task(0, region(x=90, y=20, width=50, height=40)), *TASKS[1:]], Refused, "box 1 of 1 .*outside"),
    ],
)
def test_what_cannot_be_read_ends_in_a_sentence(mine, tasks, error, sentence):
    with pytest.raises(error, match=sentence):
        load(write(mine, tasks))


def test_several_choices_are_refused(mine):
    with pytest.raises(Refused, match=r"0\.png has the choices \['a', 'b'\], expected one class"):
        load(write(mine, [task(0, choice("a"), choice("b"))]), "classify", image_size=None)
