"""What CVAT exports (COCO 1.0, PASCAL VOC 1.1, YOLO 1.1), imitated file by file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import data
from data import notes
from tests.data.formats.test_coco_masks import runs
from tests.data.pictures import save

BOX = [2, 3, 8, 9]  # edges of an object of a picture of 12 x 10 pixels
MASK = np.zeros((10, 12), bool)
MASK[4:6, 3:7] = True
NAMES = ("cyst", "nodule")
XML = """<?xml version='1.0' encoding='utf-8'?>
<annotation>
  <folder></folder>
  <filename>{name}</filename>
  <source>
    <database>Unknown</database>
    <annotation>Unknown</annotation>
    <image>Unknown</image>
  </source>
  <size>
    <width>12</width>
    <height>10</height>
    <depth></depth>
  </size>
  <segmented>0</segmented>
  <object>
    <name>nodule</name>
    <truncated>0</truncated>
    <occluded>0</occluded>
    <difficult>0</difficult>
    <bndbox>
      <xmin>2.0</xmin>
      <ymin>3.0</ymin>
      <xmax>8.0</xmax>
      <ymax>9.0</ymax>
    </bndbox>
    <attributes>
      <attribute>
        <name>rotation</name>
        <value>0.0</value>
      </attribute>
    </attributes>
  </object>
</annotation>"""


def load(task, name, root, **options):
    with notes.collecting() as said:
        images = data.load(task, name, root, **options)
    return images, [sentence for _, sentence in said]


def as_coco(root: Path, inner: str = "") -> None:
    """Image 0 has a box, 1 a polygon, 2 what a brush painted, 3 nothing, 4 a box."""
    common = {"iscrowd": 0, "attributes": {"occluded": False}}
    square = [2.0, 3.0, 8.0, 3.0, 8.0, 9.0, 2.0, 9.0]
    x1, y1, x2, y2 = BOX
    box = {"bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)], "area": 36.0, "category_id": 2, **common}
    rle = {"counts": runs(MASK), "size": [10, 12]}
    marks = [
        box | {"image_id": 1, "segmentation": [], "attributes": {"occluded": False, "rotation": 0.0}},
        box | {"image_id": 2, "segmentation": [square]},
        {
            "image_id": 3,
            "bbox": [3.0, 4.0, 4.0, 2.0],
            "area": 8,
            "category_id": 1,
            **common,
            "iscrowd": 1,
            "segmentation": rle,
        },
        box | {"image_id": 5, "segmentation": [], "attributes": {"occluded": False, "rotation": 0.0}},
    ]
    images = [
        {"id": i + 1, "width": 12, "height": 10, "file_name": f"{inner}{i}.png", "license": 0, "flickr_url": ""}
        | {"coco_url": "", "date_captured": 0}
        for i in range(5)
    ]
    (root / "annotations").mkdir()
    (root / "annotations/instances_default.json").write_text(
        json.dumps(
            {
                "licenses": [{"name": "", "id": 0, "url": ""}],
                "info": {
                    "contributor": "",
                    "date_created": "",
                    "description": "",
                    "url": "",
                    "version": "",
                    "year": "",
                },
                "categories": [{"id": i + 1, "name": name, "supercategory": ""} for i, name in enumerate(NAMES)],
                "images": images,
                "annotations": [{"id": i + 1, **mark} for i, mark in enumerate(marks)],
            }
        )
    )


@pytest.mark.parametrize(("folder", "inner"), [("images/default", ""), ("images", ""), ("images/default/a", "a/")])
def test_boxes_of_coco(mine, folder, inner):
    for i in range(5):
        save(mine / folder / f"{i}.png", 50)
    as_coco(mine, inner)
    images, said = load("detect", "coco", mine)
    assert images.classes == NAMES
    assert [images.target(i).tolist() for i in range(4)] == [[[*BOX, 1]], [[*BOX, 1]], [[3, 4, 7, 6, 0]], []]
    assert any("1 masks of CVAT have iscrowd=1" in sentence for sentence in said)


def test_masks_of_coco(mine):
    for i in range(5):
        save(mine / "images/default" / f"{i}.png", 50)
    as_coco(mine)
    with pytest.raises(ValueError, match="annotation 1 has a bbox and no segmentation"):
        load("segment", "coco", mine)
    file = mine / "annotations/instances_default.json"
    table = json.loads(file.read_text())
    table["annotations"] = [mark for mark in table["annotations"] if mark["segmentation"]]
    file.write_text(json.dumps(table))
    for options in ({}, {"instances": True}):
        images, _ = load("segment", "coco", mine, **options)
        square = np.zeros((10, 12), int)
        square[3:9, 2:8] = 1 if options else 2
        targets = [images.instances(i) if options else images.target(i).numpy() for i in range(4)]
        assert np.array_equal(targets[1], square) and np.array_equal(targets[2], MASK.astype(int))
        assert not targets[0].any() and not targets[3].any()


def test_a_crowd_of_coco_itself_stays_one(mine):
    for i in range(5):
        save(mine / "images/default" / f"{i}.png", 50)
    as_coco(mine)
    file = mine / "annotations/instances_default.json"
    table = json.loads(file.read_text())
    for mark in table["annotations"]:
        del mark["attributes"]
    file.write_text(json.dumps(table))
    images, said = load("detect", "coco", mine)
    assert len(images.target(2)) == 0 and any("1 crowd annotations" in sentence for sentence in said)


@pytest.mark.parametrize("subset", ["default", "train"])
def test_voc(mine, subset):
    for i in range(5):
        save(mine / "JPEGImages" / f"{i}.png", 50)
        (mine / "Annotations").mkdir(exist_ok=True)
        (mine / "Annotations" / f"{i}.xml").write_text(XML.format(name=f"{i}.png"))
    lists = mine / "ImageSets/Main"
    lists.mkdir(parents=True)
    (lists / f"{subset}.txt").write_text("".join(f"{i}\n" for i in range(5)))
    for name in NAMES:
        (lists / f"{name}_{subset}.txt").write_text("".join(f"{i} {1 if name == 'nodule' else -1}\n" for i in range(5)))
    (mine / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncyst:1,2,3::\nnodule:4,5,6::\n"
    )
    images, said = load("detect", "voc", mine)
    assert images.classes == ("nodule",) and all(images.target(i).tolist() == [[*BOX, 0]] for i in range(5))
    assert images.parts.tolist().count("test") == 1
    assert any("corners='edges'" in sentence for sentence in said)


def test_yolo(mine):
    folder = mine / "obj_train_data"
    for i in range(5):
        save(folder / f"{i}.png", 50)
        (folder / f"{i}.txt").write_text("1 0.416667 0.600000 0.500000 0.600000\n")
    (mine / "obj.names").write_text("cyst\nnodule\n")
    (mine / "obj.data").write_text("classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")
    (mine / "train.txt").write_text("".join(f"data/obj_train_data/{i}.png\n" for i in range(5)))
    images, _ = load("detect", "yolo", mine)
    assert images.classes == NAMES
    assert all(np.allclose(images.target(i), [[*BOX, 1]], atol=1e-3) for i in range(5))
