"""COCO files and folders, imitated small."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import data
from data import notes
from data.formats.coco import coco
from data.names import Missing, Refused
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


def sentences(said) -> list[str]:
    return [sentence for _, sentence in said]


def said_once(said, pattern: str) -> bool:
    return sum(bool(re.search(pattern, sentence)) for sentence in sentences(said)) == 1


def changed(root: Path, change, **options):
    """The images of a table after a change of it, and what is noted."""
    file = root / "boxes.json"
    if not file.exists():
        write(file)
    table = json.loads(file.read_text())
    change(table)
    file.write_text(json.dumps(table))
    with notes.collecting() as said:
        images = data.load("detect", "coco", root, **options)
    return images, said


def each(key, **new):
    return lambda table: [entry.update({k: v(entry) if callable(v) else v for k, v in new.items()}) for entry in table[key]]


def require_right(images):
    assert sorted(images.classes) == ["cyst", "nodule"]
    boxes = {name: [[*row[:4], images.classes[int(row[4])]] for row in images.target(i).tolist()] for i, name in enumerate(images.names)}
    boxes = {name.rpartition("/")[2]: found for name, found in boxes.items()}
    assert boxes["30.jpg"] == [[0, 0, 12, 10, "cyst"]] and boxes["5.jpg"] == []
    assert boxes["4.jpg"] == [[1, 2, 4, 6, "nodule"], [0.5, 0.25, 3, 9.75, "cyst"]]


def write_parts(root: Path) -> None:
    """The layout of COCO itself, with captions beside the boxes."""
    for part, n in (("train", 1), ("val", 2), ("test", 3)):
        write(root / f"annotations/instances_{part}2017.json", [image(n)], [box(n, n, n, 2, 2)], folder=root / f"{part}2017")
        (root / f"annotations/captions_{part}2017.json").write_text("{}")


def test_one_file_without_parts(tmp_path):
    write(tmp_path / "coco" / "boxes.json")
    with notes.collecting() as said:
        images = coco(tmp_path, cache_root=tmp_path / "cache")
    assert sentences(said)[0] == "coco: 3 of 5 images have no box and are read as images without an object."
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
    with notes.collecting() as said:
        images = coco(tmp_path, cache_root=tmp_path / "cache")
    assert said_once(said, "coco: 2 crowd annotations") and len(images.target(1)) == 2 and len(images.target(2)) == 0


def test_clip_counts(tmp_path):
    write(tmp_path / "boxes.json", annotations=[box(4, -2, 2, 5, 4), box(5, 1, 1, 0, 3), box(5, 4, 4, -2, 3), box(6, 20, 1, 2, 2)])
    with notes.collecting() as said:
        images = coco(tmp_path, bad_boxes="clip", cache_root=tmp_path / "cache")
    assert said_once(said, r"coco: 1 boxes .* clipped, 3 without an area .*boxes\.json, 4\.jpg: box 1 of 1")
    assert images.target(1).tolist() == [[0, 2, 3, 6, 1]] and len(images.target(2)) == 0


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


def _text_ids(table):
    for entry in table["categories"]:
        entry["id"] = "n" if entry["id"] == 7 else 3
    for entry in table["annotations"]:
        entry["category_id"] = "n" if entry["category_id"] == 7 else "3"


def _huge_ids(table):
    for entry in table["images"]:
        entry["id"] += 10**30
    for entry in table["annotations"]:
        entry["image_id"] += 10**30


@pytest.mark.parametrize(
    "change",
    [
        each("annotations", iscrowd="0"),
        each("annotations", iscrowd=0.0),
        each("annotations", iscrowd="false"),
        each("images", width="12", height="10"),
        each("images", width=None, height=""),
        each("images", id=lambda e: str(e["id"])),
        each("images", id=lambda e: float(e["id"])),
        _text_ids,
        _huge_ids,
        each("images", file_name=lambda e: "C:\\data\\" + e["file_name"]),
        each("images", file_name=lambda e: "./images/" + e["file_name"]),
        each("images", file_name=lambda e: e["file_name"].removesuffix(".jpg")),
        lambda table: table["categories"].insert(0, {"id": 0, "name": "all", "supercategory": "none"}),
        lambda table: table.update(licenses=[[[[]]]] * 3, info=None),
    ],
)
def test_what_tools_write_is_read_right(mine, change):
    images, _ = changed(mine, change)
    require_right(images)


@pytest.mark.parametrize(
    ("annotation", "inner"),
    [("annotations/instances_default.json", "images/default"), ("annotations/instances_Train.json", "images/Train"), ("Annotations/a.JSON", "images/case 1")],
)
def test_subfolders_of_tools(mine, annotation, inner):
    write(mine / annotation, folder=mine / inner)
    with notes.collecting():
        require_right(data.load("detect", "coco", mine))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_encodings(mine, encoding):
    write(mine / "boxes.json")
    text = (mine / "boxes.json").read_text().replace("nodule", "knötchen")
    (mine / "boxes.json").write_bytes(text.encode(encoding))
    with notes.collecting():
        assert data.load("detect", "coco", mine).classes == ("cyst", "knötchen")


def test_names_composed_in_another_way(mine):
    write(mine / "boxes.json", [image(n, file_name=f"a\u0308{n}.png") for n in (4, 5, 6)], [box(4, 1, 2, 3, 4)], folder=mine / "images")
    with notes.collecting() as said:
        (mine / "boxes.json").write_text((mine / "boxes.json").read_text().replace("a\\u0308", "\u00e4"))
        assert len(data.load("detect", "coco", mine).target(0)) == 1
    assert said_once(said, "3 files are named in the table with")


def test_fractions_are_refused_or_read_as_such(mine):
    for name, whole in (("fractions", 1), ("percent", 100)):
        write(mine / name / "boxes.json")
        scaled = each("annotations", bbox=lambda e, w=whole: [e["bbox"][0] / 12 * w, e["bbox"][1] / 10 * w, e["bbox"][2] / 12 * w, e["bbox"][3] / 10 * w])
        images, _ = changed(mine / name, scaled, units=name)
        assert images.target(1).flatten().tolist() == pytest.approx([1, 2, 4, 6, 1, 0.5, 0.25, 3, 9.75, 0], abs=1e-5)
    for policy in ("refuse", "clip"):
        with pytest.raises(Refused, match=r"lie within 0 to 1, but 30\.jpg has 12 x 10 pixels.*units='fractions'"):
            data.load("detect", "coco", mine / "fractions", bad_boxes=policy)


def test_categories_that_look_like_a_mistake(mine):
    images, said = changed(mine, lambda t: t["categories"].append({"id": 9, "name": "cyst"}))
    assert images.classes == ("cyst", "nodule") and said_once(said, "categories 3 and 9 are both called 'cyst': they are read as one class")
    images, said = changed(mine, lambda t: t["categories"].insert(0, {"id": 0, "name": "set-1", "supercategory": "none"}))
    assert images.classes == ("cyst", "nodule") and said_once(said, r"category 0 \('set-1'\) has no annotation")
    images, said = changed(mine, lambda t: t["categories"].append({"id": 11, "name": "polyp"}))
    assert images.classes[-1] == "polyp" and said_once(said, "nothing is marked as 'polyp'")


def test_classes_without_a_box_in_test_are_told(mine):
    for part, n, category in (("train", 1, 7), ("test", 3, 3)):
        write(mine / f"{part}.json", [image(n), image(n + 1)], [box(n, 1, 1, 2, 2, category)])
    with notes.collecting() as said:
        data.load("detect", "coco", mine)
    assert said_once(said, "class 'nodule' has no box to be measured with in part test")
    assert said_once(said, "class 'cyst' has no box to learn from in part train")
    write(mine / "test.json", [image(3)], [])
    with notes.collecting() as said:
        data.load("detect", "coco", mine)
    assert said_once(said, "images of part test have no box to be measured with")


def test_patients_and_parts_that_images_tell(mine):
    write(mine / "boxes.json", [image(n, patient_id=f"p{n % 3}", split="test" if n % 3 == 0 else "train") for n in range(1, 10)], [box(1, 1, 1, 2, 2)])
    with notes.collecting():
        images = data.load("detect", "coco", mine)
    assert images.patients.tolist() == [f"p{n % 3}" for n in range(1, 10)] or sorted(images.patients) == sorted(f"p{n % 3}" for n in range(1, 10))
    assert images.parts.tolist() == ["test" if n % 3 == 0 else "train" for n in range(1, 10)]
    with pytest.raises(Refused, match="use one"):
        data.load("detect", "coco", mine, patient_pattern="([0-9])")


def test_boxes_that_are_not_around_their_outline_are_told(mine):
    outline = [[6, 5, 9, 5, 9, 8, 6, 8]]
    write(mine / "boxes.json", annotations=[box(4, 6, 5, 3, 3, segmentation=outline), box(5, 6, 5, 9, 8, segmentation=outline)])
    with notes.collecting() as said:
        data.load("detect", "coco", mine, bad_boxes="clip")
    assert said_once(said, "1 of 2 boxes, the first of annotation 2, are not around their segmentation")
    write(mine / "boxes.json", annotations=[{"image_id": 4, "category_id": 7, "segmentation": outline}])
    with notes.collecting():
        assert data.load("detect", "coco", mine).target(1).tolist() == [[6, 5, 9, 8, 1]]


def _photo(file, orientation):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("L", (12, 10), 50).save(file, exif=exif)


def test_turned_pictures(mine):
    """4.jpg is stored with 12 x 10 pixels and shown with 10 x 12."""
    write(mine / "boxes.json")
    _photo(mine / "images" / "4.jpg", 6)
    with pytest.raises(Refused, match=r"is for 12 x 10 pixels, but .*4\.jpg has 10 x 12: .*EXIF orientation.*exif='ignore'"):
        changed(mine, lambda t: None)
    require_right(changed(mine, lambda t: None, exif="ignore")[0])
    no_size = each("images", width=0, height=0)
    for policy in ("refuse", "clip"):
        with pytest.raises(Refused, match=r"reach outside .*4\.jpg.*EXIF orientation.*exif='ignore'"):
            changed(mine, lambda t: (no_size(t), t["annotations"].append(box(4, 2, 2, 9.5, 3))), bad_boxes=policy)


def test_boxes_without_a_size(mine):
    write(mine / "boxes.json", annotations=[box(4, 1, 1, 0.001, 4), box(5, 1, 1, 0.6, 4), box(30, 2, 2, 1, 1)])
    with pytest.raises(Refused, match="box 1 of 1 .*empty"):
        data.load("detect", "coco", mine)
    with notes.collecting() as said:
        images = data.load("detect", "coco", mine, bad_boxes="clip")
    assert [len(images.target(i)) for i in range(3)] == [1, 0, 1]
    assert said_once(said, "1 without an area") and said_once(said, r"1 of 2 boxes are less than one pixel .* \(the first in 5\.jpg\)")
    with notes.collecting() as said:
        data.load("detect", "coco", mine, bad_boxes="clip", scale=0.5)
    assert said_once(said, "2 of 2 boxes are less than one pixel")


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (each("annotations", category_id=[7]), Refused, r"annotation 1 \(category_id\) has the id '\[7\]', expected a whole number or a name"),
        (each("images", id=True), Refused, "entry 1 of 'images' has the id 'True'"),
        (each("images", id=None), Refused, "has the id 'None'"),
        (each("images", width="twelve"), Refused, "has width 'twelve', expected a whole number of pixels"),
        (each("images", width=12.5), Refused, "has width '12.5'"),
        (each("images", file_name=5), Refused, "has file_name 5, expected a path"),
        (each("images", file_name="../../etc/passwd"), Refused, "may lead out of"),
        (each("annotations", bbox=[True, 1, 2, 2]), Refused, "has bbox"),
        (each("annotations", bbox=["1", "1", "2", "2"]), Refused, "has bbox"),
        (each("annotations", bbox=[10**400, 1, 2, 2]), Refused, "has bbox"),
        (each("annotations", bbox=[float("inf"), 1, 2, 2]), Refused, "not finite"),
        (each("categories", name=None), Refused, "is called None"),
        (lambda t: t.update(annotations={}), Refused, "has no list 'annotations'"),
        (lambda t: t["images"].append(5), Refused, "entry 6 of 'images' has no 'id'"),
        (each("images", file_name="x" * 5000), Refused, "too long"),
    ],
)
def test_what_cannot_be_read_ends_in_a_sentence(mine, change, error, sentence):
    with pytest.raises(error, match=sentence):
        changed(mine, change)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"images": ' + "9" * 5000 + "}", "", "null", "\0\0"])
def test_no_table_at_all(mine, text):
    (mine / "boxes.json").write_text(text)
    with pytest.raises(Refused):
        data.load("detect", "coco", mine)


def test_files_that_are_not_used_are_told(mine):
    write(mine / "boxes.json")
    save(mine / "images" / "unlisted.png")
    write(mine / "train.json", folder=mine / "images")
    with notes.collecting() as said:
        data.load("detect", "coco", mine)
    assert said_once(said, "pictures that no used row") and said_once(said, r"boxes\.json: not used")
    with pytest.raises(Missing):
        data.load("detect", "coco", mine / "images")
