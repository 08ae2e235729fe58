"""COCO files and folders, imitated small."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

from data.formats.coco import coco
from tests.data.pictures import cut_short, save

CATEGORIES = [{"id": 7, "name": "nodule", "supercategory": "lesion"}, {"id": 3, "name": "cyst"}]


def image(number: int, **changed) -> dict:
    return {"id": number, "file_name": f"{number}.jpg", "width": 12, "height": 10, "license": 1} | changed


def box(image_id: int, x, y, width, height, category=7, **changed) -> dict:
    return {"id": 1, "image_id": image_id, "category_id": category, "bbox": [x, y, width, height], "area": 1, "iscrowd": 0} | changed


IMAGES = [image(n) for n in (30, 4, 5, 6, 8)]
ANNOTATIONS = [box(4, 1, 2, 3, 4), box(30, 0, 0, 12, 10, 3), box(4, 0.5, 0.25, 2.5, 9.5, 3)]


def write(file: Path, images=IMAGES, annotations=ANNOTATIONS, categories=CATEGORIES, folder: Path | None = None) -> Path:
    """A json file and, under `folder`, its pictures of 12 x 10 pixels."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"info": {}, "images": images, "annotations": annotations, "categories": categories}))
    for entry in images:
        save((folder or file.parent / "images") / entry["file_name"], entry["id"])
    return file


def write_parts(root: Path) -> None:
    """The layout of COCO itself, with captions beside the boxes."""
    for part, n in (("train", 1), ("val", 2), ("test", 3)):
        write(root / f"annotations/instances_{part}2017.json", [image(n)], [box(n, n, n, 2, 2)], folder=root / f"{part}2017")
        (root / f"annotations/captions_{part}2017.json").write_text("{}")


def test_one_file_without_parts(tmp_path):
    write(tmp_path / "coco" / "boxes.json")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images = coco(tmp_path, cache_root=tmp_path / "cache")
    assert images.kind == "boxes" and images.classes == ("cyst", "nodule")  # by rising id
    assert images.names == ["30.jpg", "4.jpg", "5.jpg", "6.jpg", "8.jpg"] and images.groups.tolist() == [0] * 5
    assert sorted(images.parts) == ["test"] + ["train"] * 4
    assert images.target(0).tolist() == [[0, 0, 12, 10, 0]]
    assert images.target(1).tolist() == [[1, 2, 4, 6, 1], [0.5, 0.25, 3, 9.75, 0]]
    assert images.target(2).shape == (0, 5) and images.raw(2).shape == (10, 12, 1)


def test_scale(tmp_path):
    write(tmp_path / "boxes.json")
    images = coco(tmp_path, 0.5, cache_root=tmp_path / "cache")
    assert images.shapes.tolist() == [[5, 6]] * 5 and images.target(1).tolist() == [[0.5, 1, 2, 3, 1], [0.25, 0.125, 1.5, 4.875, 0]]


def write_all_in_images(root: Path) -> None:
    for part, n in (("train", 1), ("val", 2), ("test", 3)):
        write(root / f"{part}.json", [image(n)], [box(n, n, n, 2, 2)])


def write_folder_per_part(root: Path) -> None:
    for part, n in (("train", 1), ("valid", 2), ("test", 3)):
        write(root / part / "_annotations.coco.json", [image(n)], [box(n, n, n, 2, 2)], folder=root / part)


@pytest.mark.parametrize("layout", [write_parts, write_all_in_images, write_folder_per_part])
def test_official_parts(tmp_path, layout):
    layout(tmp_path / "coco")
    images = coco(tmp_path, cache_root=tmp_path / "cache")
    assert images.parts.tolist() == ["train", "val", "test"] and images.names == ["1.jpg", "2.jpg", "3.jpg"]
    assert [images.target(i).tolist() for i in range(3)] == [[[n, n, n + 2, n + 2, 1]] for n in (1.0, 2.0, 3.0)]


def test_equal_names_in_two_parts_become_paths(tmp_path):
    for part, colour in (("train", 1), ("test", 2)):
        write(tmp_path / f"annotations/instances_{part}2017.json", [image(colour, file_name="a.png")], [], folder=tmp_path / f"{part}2017")
    images = coco(tmp_path, cache_root=tmp_path / "cache")
    assert images.names == ["train2017/a.png", "test2017/a.png"] and [images.raw(i)[0, 0, 0] for i in (0, 1)] == [1, 2]


@pytest.mark.parametrize("name", ["images\\\\30.jpg", "/home/someone/30.jpg", "images/30.jpg"])
def test_paths_of_other_tools(tmp_path, name):
    file = write(tmp_path / "boxes.json")
    file.write_text(file.read_text().replace('"30.jpg"', f'"{name}"'))
    assert coco(tmp_path, cache_root=tmp_path / "cache").names[0] == "30.jpg"


def test_crowds_are_left_out_and_counted(tmp_path):
    crowd = box(5, 0, 0, 9, 9, iscrowd=1, segmentation={"counts": [], "size": []})
    write(tmp_path / "boxes.json", annotations=[*ANNOTATIONS, crowd, crowd])
    with pytest.warns(UserWarning, match="coco: 2 crowd annotations") as caught:
        images = coco(tmp_path, cache_root=tmp_path / "cache")
    assert len(caught) == 1 and len(images.target(1)) == 2 and len(images.target(2)) == 0


def test_clip_counts(tmp_path):
    write(tmp_path / "boxes.json", annotations=[box(4, -2, 2, 5, 4), box(5, 1, 1, 0, 3), box(5, 4, 4, -2, 3), box(6, 20, 1, 2, 2)])
    with pytest.warns(UserWarning, match=r"coco: 1 boxes .* clipped, 3 without an area .*boxes\.json, 4\.jpg: box 1 of 1") as caught:
        images = coco(tmp_path, bad_boxes="clip", cache_root=tmp_path / "cache")
    assert len(caught) == 1 and images.target(1).tolist() == [[0, 2, 3, 6, 1]] and len(images.target(2)) == 0


def test_rounding_is_no_fault(tmp_path):
    write(tmp_path / "boxes.json", annotations=[box(4, 2.37, 0, 9.64, 10)])
    assert coco(tmp_path, cache_root=tmp_path / "cache").target(1)[0, 2] == 12


def _write(**changed):
    return lambda root: write(root / "boxes.json", **changed)


def _drop(key):
    def damage(root):
        file = root / "boxes.json"
        file.write_text(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != key}))

    return damage


@pytest.mark.parametrize(
    ("damage", "error", "sentence"),
    [
        (lambda root: cut_short(root / "boxes.json"), ValueError, r"boxes\.json is not readable as json"),
        (lambda root: (root / "boxes.json").write_text("[]"), ValueError, "has no list 'images'"),
        (_drop("categories"), ValueError, "has no list 'categories'"),
        (_write(annotations=[{"image_id": 4, "bbox": []}]), ValueError, "entry 1 of 'annotations' has no 'category_id'"),
        (_write(annotations=[box(9, 1, 1, 2, 2)]), ValueError, "annotation 1 is for image_id 9, which"),
        (_write(annotations=[box(4, 1, 1, 2, 2, 5)]), ValueError, "annotation 1 has category_id 5, expected one of 3, 7"),
        (_write(annotations=[box(4, 1, 1, 2, 2, bbox=[1, 2, 3])]), ValueError, r"annotation 1 has bbox \[1, 2, 3\], expected"),
        (_write(annotations=[box(4, 1, "a", 2, 2)]), ValueError, "annotation 1 has bbox"),
        (_write(annotations=[box(4, 1, 1, 2, 2), box(4, 1, 1, 0, 2)]), ValueError, r"boxes\.json, 4\.jpg: box 2 of 2 \(.*empty"),
        (_write(annotations=[box(4, 1, 1, float("nan"), 2)]), ValueError, "box 1 of 1 .*not finite"),
        (_write(annotations=[box(4, 10, 1, 3, 2)]), ValueError, "outside the image of 12 x 10"),
        (_write(images=[*IMAGES, image(4)]), ValueError, "6 images with 5 different ids"),
        (_write(images=[*IMAGES, image(9, file_name="4.jpg")]), ValueError, r"boxes\.json lists .*4\.jpg, which boxes\.json lists already"),
        (_write(images=[e | {"width": 24} for e in IMAGES]), ValueError, r"boxes\.json is for 24 x 10 pixels, but .*30\.jpg has 12 x 10"),
        (_write(categories=CATEGORIES * 2), ValueError, "4 categories with 2 different ids"),
        (lambda root: (root / "images/5.jpg").unlink(), FileNotFoundError, r"boxes\.json lists '5\.jpg', which is in none of .*images"),
        (lambda root: (root / "images/5.jpg").write_text("no"), ValueError, r"5\.jpg cannot be read"),
        (lambda root: write(root / "more.json"), ValueError, r"holds boxes\.json and more\.json; expected one file, or train, val"),
        (lambda root: (root / "boxes.json").unlink(), FileNotFoundError, "found no json file"),
        (lambda root: (root / "boxes.json").rename(root / "test.json"), FileNotFoundError, "annotations for test but none for train"),
    ],
)
def test_damage_is_named_and_leaves_no_cache(tmp_path, damage, error, sentence):
    write(tmp_path / "coco" / "boxes.json")
    damage(tmp_path / "coco")
    with pytest.raises(error, match=sentence):
        coco(tmp_path, cache_root=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*"))


def test_parts_must_agree(tmp_path):
    write_parts(tmp_path)
    write(tmp_path / "annotations/instances_val2017.json", [image(2)], [], CATEGORIES[:1], folder=tmp_path / "val2017")
    with pytest.raises(ValueError, match=r"instances_val2017\.json has the categories .* expected the same in all"):
        coco(tmp_path)
    write(tmp_path / "annotations/instances_val2014.json", [image(2)], [], folder=tmp_path / "val2017")
    with pytest.raises(ValueError, match=r"instances_val2014\.json and .*val2017\.json; expected one for val"):
        coco(tmp_path)


def test_a_picture_in_two_parts_is_refused(tmp_path):
    for part in ("train", "test"):
        write(tmp_path / f"{part}.json", [image(1)], [])
    with pytest.raises(ValueError, match=r"test\.json lists .*1\.jpg, which train\.json lists already"):
        coco(tmp_path)


def test_missing_folder_shows_the_tree(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"(?s)nowhere does not exist; expected this tree:.*instances_train2017\.json"):
        coco(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="unknown bad_boxes 'drop'"):
        coco(tmp_path, bad_boxes="drop")
