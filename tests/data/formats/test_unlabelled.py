"""Images without labels are kept where somebody asks for them: labels where the format has them, and of ours."""

import json

import numpy as np
import pytest

from data.formats.unlabelled import Kept
from data.loading import load
from data.names import Missing, Refused
from data.unlabelled import Unlabelled
from tests.data.pictures import save

BOX = "<object><name>x</name><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>12</xmax><ymax>13</ymax></bndbox></object>"
XML = "<annotation><size><width>20</width><height>24</height></size>{}</annotation>"
COCO = {
    "images": [{"id": i, "file_name": f"im{i}.png", "width": 20, "height": 24} for i in (1, 2)],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 3, 10, 10], "iscrowd": 0}],
    "categories": [{"id": 1, "name": "x"}],
}


def pictures(folder, n=4):
    for i in range(n):
        save(folder / f"im{i}.png", values=np.full((24, 20, 3), 10 * i, np.uint8))


def voc(root):
    for name, inside in (("im1", BOX), ("im2", "")):
        (root / "Annotations").mkdir(exist_ok=True)
        (root / "Annotations" / f"{name}.xml").write_text(XML.format(inside))
    return {"classes": ["x"], "corners": "edges"}


def yolo(root):
    (root / "im1.txt").write_text(f"0 {7 / 20} {8 / 24} {10 / 20} {10 / 24}\n")
    (root / "im2.txt").write_text("")
    return {"classes": ["x"]}


def coco(root):
    (root / "boxes.json").write_text(json.dumps(COCO))
    return {}


@pytest.mark.parametrize("layout", [voc, yolo, coco])
def test_an_empty_annotation_is_a_label_and_none_is_none(layout, tmp_path):
    root, ours = tmp_path / "own", tmp_path / "ours"
    pictures(root)
    options = layout(root)
    (ours / "boxes").mkdir(parents=True)
    (ours / "boxes" / "im3.png.xml").write_text(XML.format(BOX))
    images = load("detect", layout.__name__, root, unlabelled=Unlabelled(ours), scale=0.5, **options)
    assert images.names == [f"im{i}.png" for i in range(4)] == images.of_files["file"].tolist()
    assert images.labelled.tolist() == [False, True, True, True] and set(images.parts.tolist()) == {"train"}
    assert images.target(1).tolist() == images.target(3).tolist() == [[1, 1.5, 6, 6.5, 0]]
    assert images.target(2).shape == (0, 5) and images.of_files["size"].tolist() == [[24, 20]] * 4
    with pytest.raises(Refused, match=r"im0\.png has no label"):
        images.target(0)


def test_masks_of_ours_are_class_numbers_and_those_of_the_user_come_first(tmp_path):
    root, ours = tmp_path / "own", tmp_path / "ours" / "masks"
    pictures(root)  # in the folder itself
    white, classes = np.zeros((24, 20), np.uint8), np.zeros((24, 20), np.uint8)
    white[:6], classes[:12] = 255, 1
    save(root / "masks" / "im1.png", values=white)
    for name in ("im1", "im2"):
        save(ours / f"{name}.png", values=classes)
    given = {"unlabelled": Unlabelled(ours.parent), "class_names": ["gland"]}
    images = load("segment", "folder", root, **given)
    assert images.classes == ("background", "gland") and images.labelled.tolist() == [False, True, True, False]
    assert [int(images.target(i).sum()) for i in (1, 2)] == [120, 240]
    assert any("im1.png: your own labels count" in note.sentence for note in images.notes)
    save(ours / "im3.png", values=classes[:10])
    with pytest.raises(Refused, match=r"im3\.png is 20 x 10 pixels, expected 20 x 24"):
        load("segment", "folder", root, **given)
    save(ours / "im3.png", values=classes + 1)
    with pytest.raises(Refused, match="no classes, expected 0 to 1"):
        load("segment", "folder", root, **given)


def test_classes_come_from_rows_and_folders_and_moved_files_keep_their_names(tmp_path):
    root = tmp_path / "own"
    for folder in ("benign", "malignant", "unlabelled"):
        pictures(root / folder / folder[0], n=2)
    images = load("classify", "folder", root, image_size=16, unlabelled=Unlabelled())
    names = ["b/im0.png", "b/im1.png", "m/im0.png", "m/im1.png", "u/im0.png", "u/im1.png"]
    assert images.names == names and images.labelled.tolist() == [True] * 4 + [False] * 2
    (root / "benign" / "u").mkdir()
    (root / "unlabelled" / "u" / "im1.png").rename(root / "benign" / "u" / "im1.png")
    images = load("classify", "folder", root, image_size=16, unlabelled=Unlabelled())
    assert images.names == names and int(images.target(5)) == 0 and images.groups.tolist() == [0] * 6


def test_a_label_that_comes_in_decodes_no_picture_again(tmp_path, monkeypatch):
    root = tmp_path / "own"
    pictures(root)
    options = {
        "image_size": 16,
        "class_names": ["a", "b"],
        "unlabelled": Unlabelled(),
        "cache_root": tmp_path / "cache",
    }
    before = load("classify", "folder", root, **options)
    decoded, real = [], Kept.decoded
    monkeypatch.setattr(Kept, "decoded", lambda self, source: decoded.append(source.file.name) or real(self, source))
    (root / "labels.csv").write_text("file,label\nim1.png,a\nim2.png,\n")
    after = load("classify", "folder", root, **options)
    assert not decoded and after.labelled.tolist() == [False, True, False, False]
    assert all(np.array_equal(before.raw(i), after.raw(i)) for i in range(4))
    save(root / "im4.png", values=np.zeros((24, 20, 3), np.uint8))
    load("classify", "folder", root, **options)
    assert decoded == ["im4.png"]


def test_datasets_that_have_their_labels_are_refused(tmp_path):
    with pytest.raises(Refused, match="are read as folder, voc, yolo or coco"):
        load("segment", "phantom", tmp_path, unlabelled=Unlabelled())
    with pytest.raises(Missing, match="holds no picture"):
        load("classify", "folder", tmp_path, image_size=16, unlabelled=Unlabelled())


def test_a_copy_in_the_folder_of_its_class_is_one_image_under_its_name(tmp_path):
    root = tmp_path / "own"
    pictures(root / "unlabelled", n=3)
    (root / "benign").mkdir()
    for name, source in (("im1.png", "im1.png"), ("im2.png", "im0.png")):
        (root / "benign" / name).write_bytes((root / "unlabelled" / source).read_bytes())
    options = {"image_size": 16, "class_names": ["benign", "malignant"], "unlabelled": Unlabelled()}
    images = load("classify", "folder", root, **options)
    assert images.names == ["benign/im2.png", "im0.png", "im1.png", "unlabelled/im2.png"]  # im2 are two images
    assert images.labelled.tolist() == [True, False, True, False]
    assert any("1 copies of images" in note.sentence for note in images.notes)


def test_labels_of_ours_that_are_of_no_image_are_said(tmp_path):
    root, ours = tmp_path / "own", tmp_path / "ours" / "masks"
    pictures(root)
    save(ours / "im9.png", values=np.zeros((24, 20), np.uint8))
    given = {"unlabelled": Unlabelled(ours.parent), "class_names": ["gland"]}
    notes = load("segment", "folder", root, **given).notes
    assert any(
        "1 of the labels beside your own are of no image and not used, the first im9" in n.sentence for n in notes
    )


@pytest.mark.parametrize("layout", [voc, yolo, coco])
def test_boxes_of_ours_that_are_of_no_image_or_twice_of_one_are_named(layout, tmp_path):
    root, boxes = tmp_path / "own", tmp_path / "ours" / "boxes"
    pictures(root)
    given = {"unlabelled": Unlabelled(boxes.parent), **layout(root)}
    boxes.mkdir(parents=True)
    (boxes / "gone.png.xml").write_text(XML.format(""))
    images = load("detect", layout.__name__, root, **given)
    assert any("1 of the labels beside your own are of no image" in note.sentence for note in images.notes)
    for name in ("im3.png.xml", "im3.xml"):
        (boxes / name).write_text(XML.format(""))
    with pytest.raises(Refused, match=r"im3\.png\.xml and .*im3\.xml are both of the image im3(\.png)?: remove one"):
        load("detect", layout.__name__, root, **given)


@pytest.mark.parametrize("layout", [voc, yolo, coco])
def test_images_that_wait_are_not_said_to_hold_nothing(layout, tmp_path):
    pictures(tmp_path, n=6)
    images = load("detect", layout.__name__, tmp_path, unlabelled=Unlabelled(), **layout(tmp_path))
    said = [note.sentence for note in images.notes if "have no box" in note.sentence]
    assert said == [f"{layout.__name__}: 1 of 2 annotated images have no box and are read as images without an object."]


def test_two_masks_of_ours_of_one_image_are_named(tmp_path):
    pictures(tmp_path / "own")
    for name in ("im1.png", "im1.PNG"):
        save(tmp_path / "ours" / "masks" / name, values=np.zeros((24, 20), np.uint8))
    with pytest.raises(Refused, match=r"im1\.PNG and .*im1\.png are both of the image im1: remove one of them"):
        load("segment", "folder", tmp_path / "own", unlabelled=Unlabelled(tmp_path / "ours"), class_names=["gland"])


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("im1.png,benign\nim1.png,malignant\n", r"labels\.csv says 'benign' in line 2 of 'im1.png' and 'malignant' in"),
        ("im1.png,bening\n", r"labels\.csv, line 2: 'im1.png' is of class 'bening', .* Did you mean 'benign'"),
        ("im1.png,benign\nim1.png,Benign\n", None),
        ("im1.png,0\nim2.png,1\n", None),
    ],
)
@pytest.mark.parametrize("told", ["option", "list"])
def test_a_row_of_ours_that_cannot_be_right_is_named(told, rows, sentence, tmp_path):
    root, ours = tmp_path / "own", tmp_path / "ours"
    pictures(root)
    ours.mkdir()
    (ours / "labels.csv").write_text(f"file,label\n{rows}")
    names = {"class_names": ["benign", "malignant"]} if told == "option" else {}
    if not names:
        (root / "classes.txt").write_text("benign\nmalignant\n")
    given = {"image_size": 16, "unlabelled": Unlabelled(ours), **names}
    if sentence:
        with pytest.raises(Refused, match=sentence):
            load("classify", "folder", root, **given)
    else:
        assert load("classify", "folder", root, **given).labelled.sum() == len({row[:7] for row in rows.split()})
