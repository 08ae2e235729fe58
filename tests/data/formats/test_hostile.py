"""What looks right and is not: each is told, or refused by name."""

from __future__ import annotations

import json

import numpy as np
import pytest

import data
from data import notes
from data.names import Refused
from tests.data.formats.test_yolo import load as load_yolo
from tests.data.formats.test_yolo import write as write_yolo
from tests.data.formats.writing import dicom, save
from tests.data.pictures import save as plain

OBJECT = "<object><name>a</name><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>8</xmax><ymax>9</ymax></bndbox>{}</object>"


def load(task, name, root, **options):
    with notes.collecting() as said:
        images = data.load(task, name, root, **options)
    return images, " ".join(sentence for _, sentence in said)


def table(root, label, n=12):
    rows = ["file,label"]
    for i in range(n):
        plain(root / f"{i}.png", 9 * i)
        rows.append(f"{i}.png,{label(i)}")
    (root / "labels.csv").write_text("\n".join(rows))
    return load("classify", "folder", root, image_size=None)


def voc(root, inner, called="{}"):
    for i in range(5):
        plain(root / "JPEGImages" / f"{i}.png", 50)
        (root / "Annotations").mkdir(exist_ok=True)
        named = f"<filename>{called.format(i)}.png</filename>"
        (root / "Annotations" / f"{i}.xml").write_text(f"<annotation>{named}{inner}</annotation>")
    return load("detect", "voc", root)


@pytest.mark.parametrize(
    ("labels", "warned"),
    [
        (("0.37", "0.74"), "2 labels are numbers with decimals ('0.37', '0.74')"),
        (('"1,5"', '"2,5"'), "2 labels are numbers with decimals ('1,5', '2,5')"),
        (("1.0", "2.0"), ""),
        (("grade 1.5", "2"), ""),
        (("a|b", "a", "b"), "label 'a|b' (4 images) joins others"),
        (("A+B", "a", "b"), "label 'A+B' (4 images) joins others"),
        (("a/c", "a", "b"), ""),
    ],
)
def test_labels_that_are_no_classes(mine, labels, warned):
    images, said = table(mine, lambda i: labels[i % len(labels)])
    assert len(images.classes) == len(labels)
    assert warned in said if warned else "decimals" not in said and "joins" not in said


def test_one_picture_in_two_classes(mine):
    for name in ("benign", "malignant"):
        for i in range(5):
            plain(mine / name / f"{name}{i}.png", i if i < 2 else 10 * i + len(name))
    _, said = load("classify", "folder", mine, image_size=None)
    assert (
        "2 pictures are the same file as one of another class, the first benign0.png (benign) and malignant0.png"
        in said
    )


def test_a_box_that_stands_twice(mine):
    write_yolo(mine)
    (mine / "classes.txt").write_text("cyst\nnodule\n")
    assert not any("twice" in sentence for sentence in load_yolo(mine)[1])
    (mine / "labels" / "a.txt").write_text("0 .5 .5 .5 .4\n1 .5 .5 .5 .4\n0 .5 .5 .5 .4\n")
    assert any(
        "1 of 7 boxes stand twice, with one class and the same corners (the first in a.png)" in s
        for s in load_yolo(mine)[1]
    )


def test_a_blank_line_among_the_classes_of_yolo(mine):
    write_yolo(mine)
    (mine / "classes.txt").write_text("cyst\n\nnodule\n\n")
    with pytest.raises(Refused, match=r"classes\.txt, line 2 is blank: does it count as a class"):
        load_yolo(mine)


def test_two_boxes_of_one_object_of_voc(mine):
    with pytest.raises(Refused, match=r"0\.xml: object 1 has 2 bndbox, expected one"):
        voc(mine, OBJECT.format("<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>"))


@pytest.mark.parametrize(("called", "warned"), [("{}", False), ("elsewhere{}", False), ("3", True)])
def test_annotations_that_name_another_picture(mine, called, warned):
    _, said = voc(mine, OBJECT.format(""), called)
    assert ("4 of 5 annotations name another picture of the set than their own name does" in said) == warned


@pytest.mark.parametrize("limit", [None, -1990])
def test_padding_of_dicom_widens_no_window(mine, limit):
    body = np.arange(80, dtype=np.int16).reshape(8, 10) * 5
    outside = np.zeros((8, 10), bool)
    outside[:2, :3] = True
    for i in range(6):
        stored = np.where(outside, np.int16(-2000 + (i if limit else 0)), body)
        header = {"PixelPaddingValue": -2000} | ({"PixelPaddingRangeLimit": limit} if limit else {})
        dicom(mine / "images" / f"{i}.dcm", stored, PatientID=f"P{i}", **header)
        save(mine / "masks" / f"{i}.png", outside.astype(np.uint8))
    images, said = load("segment", "folder", mine)
    assert f"their values {body[~outside].min()} to 395 become 0 to 255" in said
    assert (images.raw(0)[outside] == 0).all() and images.raw(0)[-1, -1, 0] == 255


def test_json_of_twice_the_same_annotation(mine):
    for i in range(5):
        plain(mine / "images" / f"{i}.png", 50)
    marks = [{"id": 1, "image_id": i, "category_id": 1, "bbox": [1, 2, 5, 5]} for i in (0, 0, 1, 2, 3, 4)]
    images = [{"id": i, "file_name": f"{i}.png"} for i in range(5)]
    (mine / "a.json").write_text(
        json.dumps({"images": images, "annotations": marks, "categories": [{"id": 1, "name": "a"}]})
    )
    assert "1 of 6 boxes stand twice" in load("detect", "coco", mine)[1]
