"""YOLO folders of the usual tools, imitated small."""

from __future__ import annotations

from pathlib import Path

import pytest

import data
from data import notes
from data.names import Missing, Refused
from tests.data.pictures import save

LINES = {"a": "0 0.5 0.5 0.5 0.4\n", "b": "1 0.25 0.25 0.5 0.5\n0 0.75 0.5 0.5 1\n", "c": "", "d": "1 0.5 0.5 1 1", "e": "0 .5 .5 .5 .4"}
TRUTH = {"a": [[3, 3, 9, 7, 0]], "b": [[0, 0, 6, 5, 1], [6, 0, 12, 10, 0]], "c": [], "d": [[0, 0, 12, 10, 1]], "e": [[3, 3, 9, 7, 0]]}


def write(root: Path, images="images", labels="labels", stems="abcde", ending=".png") -> Path:
    """Pictures of 12 x 10 pixels and their texts."""
    for stem in stems:
        save(root / images / f"{stem}{ending}", 50)
        text = root / labels / f"{stem}.txt"
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text(LINES[stem])
    return root


def load(root: Path, **options):
    with notes.collecting() as said:
        images = data.load("detect", "yolo", root, **options)
    return images, [sentence for _, sentence in said]


def require_right(images):
    for i, name in enumerate(images.names):
        stem = Path(name).stem
        assert images.target(i).flatten().tolist() == pytest.approx([v for row in TRUTH[stem] for v in row], abs=1e-4), name


def ultralytics(root):
    for part, stems in (("train", "abc"), ("val", "d"), ("test", "e")):
        write(root, f"images/{part}", f"labels/{part}", stems)
    (root / "data.yaml").write_text("path: /home/me/set\ntrain: images/train  # 3\nval: images/val\nnames:\n  0: cyst\n  1: nodule\n")


def roboflow(root):
    for part, stems in (("train", "abc"), ("valid", "d"), ("test", "e")):
        write(root, f"{part}/images", f"{part}/labels", stems)
    (root / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 2\nnames: ['cyst', 'nodule']\n")


def named_by_yaml(root):
    for part, stems in (("one", "abc"), ("two", "d"), ("three", "e")):
        write(root, f"images/{part}", f"labels/{part}", stems)
    (root / "set.yaml").write_text('train: images/one\nval: images/two\ntest:\n  - images/three\nnames:\n- "cyst"\n- nodule\n')


@pytest.mark.parametrize("layout", [ultralytics, roboflow, named_by_yaml])
def test_layouts_with_parts(mine, layout):
    layout(mine)
    images, _ = load(mine)
    assert images.classes == ("cyst", "nodule") and images.kind == "boxes"
    assert images.names == [f"{s}.png" for s in "abcde"] and images.parts.tolist() == ["train"] * 3 + ["val", "test"]
    require_right(images)


@pytest.mark.parametrize(("images", "labels"), [("images", "labels"), (".", "."), ("obj_train_data", "obj_train_data")])
def test_layouts_without_parts(mine, images, labels):
    write(mine, images, labels, ending=".jpg")
    (mine / "obj.names").write_text("cyst\nnodule\n")
    (mine / "README.txt").write_text("how it was made")
    found, said = load(mine, test_fraction=0.4)
    assert found.classes == ("cyst", "nodule") and found.parts.tolist().count("test") == 2
    require_right(found)
    assert any("1 of 5 images have no box" in s for s in said) and any("README.txt" in s for s in said)


def test_names_by_option_by_list_and_by_number(mine):
    write(mine)
    images, said = load(mine)
    assert images.classes == ("0", "1") and any("nothing names the classes" in s for s in said)
    (mine / "classes.txt").write_bytes("Zyste\nKnötchen\n".encode("utf-16"))
    assert load(mine)[0].classes == ("Zyste", "Knötchen")
    assert load(mine, classes=["x", "y", "z"])[0].classes == ("x", "y", "z")
    with pytest.raises(Refused, match=r"b\.txt, line 1 is of class 1, but there are only 1 classes"):
        load(mine, classes=["x"])


def test_polygons_give_their_boxes(mine):
    write(mine)
    (mine / "labels" / "a.txt").write_text("0 0.25 0.3 0.75 0.5 0.5 0.7 0.3 0.6")
    images, said = load(mine)
    require_right(images)
    assert any("1 of 5 objects are polygons" in s for s in said)


def test_a_little_outside_is_rounding_and_more_is_refused(mine):
    write(mine)
    (mine / "labels" / "d.txt").write_text("1 0.5 0.5 1.004 1.0")
    require_right(load(mine)[0])
    (mine / "labels" / "d.txt").write_text("1 0.5 0.5 1.5 1.0")
    with pytest.raises(Refused, match=r"d\.txt: box 1 of 1 .*outside"):
        load(mine)


def test_patients_are_on_one_side(mine):
    for i in range(10):
        save(mine / "images" / f"p{i // 2}_{i}.png", 50)
        (mine / "labels").mkdir(exist_ok=True)
        (mine / "labels" / f"p{i // 2}_{i}.txt").write_text(LINES["a"])
    images, _ = load(mine, patient_pattern="^(p[0-9])_")
    assert len(set(images.patients)) == 5
    for patient in set(images.patients):
        assert len(set(images.parts[images.patients == patient])) == 1
    (mine / "patients.csv").write_text("file,patient\n" + "".join(f"p{i // 2}_{i}.png,x{i % 2}\n" for i in range(10)))
    assert set(load(mine, test_fraction=0.5)[0].patients) == {"x0", "x1"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0 0.5 0.5 0.5", r"a\.txt, line 1 has 4 numbers, expected 5"),
        ("0 0.5 0.5 0.5 0.4 0.9", "has 6 numbers, as predictions"),
        ("gland 0.5 0.5 0.5 0.4", "expected numbers: class x y width height"),
        ("0.5 0.5 0.5 0.5 0.4", "begins with '0.5', expected the number of a class"),
        ("-1 0.5 0.5 0.5 0.4", "begins with '-1'"),
        ("0 6 5 6 4", "has 6, expected fractions of width and height"),
        ("0 0.5 0.5 nan 0.4", "expected the number of a class, then finite"),
        ("0 0.5 0.5 -0.5 0.4", "has a width of -0.5"),
        ("0 0.5 0.5 0 0.4", r"a\.txt: box 1 of 1 .*empty"),
        ("0,0.5,0.5,0.5,0.4", "expected numbers"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "has 8 numbers"),
    ],
)
def test_bad_lines_are_named(mine, text, sentence):
    write(mine)
    (mine / "labels" / "a.txt").write_text(text)
    with pytest.raises(Refused, match=sentence):
        load(mine)


def test_folders_that_cannot_be_used(mine):
    with pytest.raises(Missing, match=r"(?s)holds no picture.*expected this tree"):
        load(mine)
    save(mine / "images" / "a.png")
    with pytest.raises(Missing, match="has no text for any of its 1 pictures"):
        load(mine)
    write(mine)
    (mine / "labels" / "z.txt").write_text(LINES["a"])
    with pytest.raises(Missing, match=r"z\.txt has no picture: expected one with the stem z"):
        load(mine)
    (mine / "labels" / "z.txt").unlink()
    write(mine, "images/val", "labels/val", "a")
    with pytest.raises(Refused, match="are in no part, but others are"):
        load(mine)


def test_turned_pictures_can_be_left_as_stored(mine):
    from PIL import Image

    write(mine)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (12, 10), 50).save(mine / "images" / "a.png", exif=exif)
    images, said = load(mine)
    assert images.shapes[0].tolist() == [12, 10] and any("EXIF orientation" in s for s in said)
    assert images.target(0).tolist()[0][:4] == pytest.approx([2.5, 3.6, 7.5, 8.4])  # fractions of what is shown
    require_right(load(mine, exif="ignore")[0])
