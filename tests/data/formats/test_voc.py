"""VOC folders, imitated small, and the real BCCD where it is."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from data.formats.voc import voc
from data.sets.bccd import bccd
from tests.data.pictures import cut_short, save

OBJECT = """
    <object>
        <name>{name}</name> <pose>Unspecified</pose> <truncated>0</truncated> <difficult>0</difficult>
        <bndbox> <xmin>{box[0]}</xmin> <ymin>{box[1]}</ymin> <xmax>{box[2]}</xmax> <ymax>{box[3]}</ymax> </bndbox>
        <part> <name>head</name> <bndbox> <xmin>1</xmin> <ymin>1</ymin> <xmax>2</xmax> <ymax>2</ymax> </bndbox> </part>
    </object>"""
OBJECTS = {
    "c1": [("RBC", (1, 1, 12, 10)), ("WBC", (3, 2, 5, 8))],
    "c2": [],
    "c10": [("Platelets", (4, 4, 5, 6))],
    "c11": [("RBC", (2, 2, 7, 7))],
    "c12": [("RBC", (2, 2, 7, 7))],
}
LISTS = {"train": ["c10", "c1"], "val": ["c2"], "test": ["c11"], "trainval": ["c1", "c2", "c10"]}


def annotate(folder: Path, stem: str, objects, size=(12, 10)) -> Path:
    file = folder / "Annotations" / f"{stem}.xml"
    file.parent.mkdir(parents=True, exist_ok=True)
    sizes = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    listed = "".join(OBJECT.format(name=name, box=box) for name, box in objects)
    file.write_text(f"<annotation>\n    <folder>JPEGImages</folder> <filename>{stem}.jpg</filename> {sizes}{listed}\n</annotation>\n")
    return file


def write_voc(folder: Path, lists=None, stems=("c1", "c2", "c10", "c11")) -> Path:
    """Pictures of 12 x 10 pixels, annotations and the lists."""
    for k, stem in enumerate(stems):
        save(folder / "JPEGImages" / f"{stem}.jpg", (10 * k, 100, 200))
        annotate(folder, stem, OBJECTS[stem])
    for name, listed in (LISTS if lists is None else lists).items():
        file = folder / "ImageSets" / "Main" / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{stem}\n" for stem in listed))
    return folder


def test_reads_the_standard_layout(tmp_path):
    write_voc(tmp_path / "voc")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images = voc(tmp_path, cache_root=tmp_path / "cache")
    assert images.kind == "boxes" and images.dataset == "voc" and images.classes == ("Platelets", "RBC", "WBC")
    assert images.names == ["c10.jpg", "c1.jpg", "c2.jpg", "c11.jpg"]
    assert images.parts.tolist() == ["train", "train", "val", "test"] and images.groups.tolist() == [0] * 4
    assert images.target(0).tolist() == [[3, 3, 5, 6, 0]]  # pixels 4 to 5 and 4 to 6, counted from 1
    assert images.target(1).tolist() == [[0, 0, 12, 10, 1], [2, 1, 5, 8, 2]]
    assert images.target(2).shape == (0, 5) and images.raw(2).shape == (10, 12, 3)


def test_edges_given_classes_and_scale(tmp_path):
    write_voc(tmp_path)  # the data root itself is the folder
    images = voc(tmp_path, 0.5, classes=["WBC", "RBC", "Platelets"], corners="edges", cache_root=tmp_path / "cache")
    assert images.classes == ("WBC", "RBC", "Platelets") and images.shapes.tolist() == [[5, 6]] * 4
    assert images.target(1).tolist() == [[0.5, 0.5, 6, 5, 1], [1.5, 1, 2.5, 4, 0]]


@pytest.mark.parametrize(
    ("lists", "parts"),
    [
        ({"trainval": ["c1", "c2", "c10"], "test": ["c11"]}, ["train", "train", "train", "test"]),
        ({"trainval": ["c1", "c2", "c10"], "val": ["c10"], "test": ["c11"]}, ["train", "train", "val", "test"]),
        ({"trainval": ["c1 -1", "c2  1", "c10 0"], "test": ["c11"]}, ["train", "train", "train", "test"]),
        ({"train": ["c1", "c10", "c2"], "val": ["c11"]}, None),
        ({}, None),
    ],
)
def test_lists(tmp_path, lists, parts):
    write_voc(tmp_path / "voc", lists)
    images = voc(tmp_path, cache_root=tmp_path / "cache")
    if parts:
        assert images.parts.tolist() == parts
    else:
        assert images.parts.tolist().count("test") == 1 and images.parts.tolist().count("val") == len(lists.get("val", []))
    if not lists:
        assert images.names == ["c1.jpg", "c2.jpg", "c10.jpg", "c11.jpg"]  # numbers count


def test_pictures_in_no_list_are_counted(tmp_path):
    write_voc(tmp_path / "voc", stems=(*OBJECTS,))
    with pytest.warns(UserWarning, match="voc: 1 of 5 pictures are in no list") as caught:
        assert len(voc(tmp_path, cache_root=tmp_path / "cache")) == 4
    assert len(caught) == 1


def test_bccd_is_a_voc_folder_with_edges_and_its_own_classes(tmp_path):
    folder = write_voc(tmp_path / "bccd" / "BCCD")
    annotate(folder, "c10", [("Platelets", (4, 4, 5, 6)), ("RBC", (7, 3, 7, 3))])
    with pytest.warns(UserWarning, match=r"bccd: 0 boxes .* 1 without an area .*c10\.xml: box 2 of 2 \(x1=7.*empty") as caught:
        images = bccd(tmp_path, cache_root=tmp_path / "cache")
    assert len(caught) == 1 and images.classes == ("RBC", "WBC", "Platelets") and images.dataset == "bccd"
    assert images.target(0).tolist() == [[4, 4, 5, 6, 2]]
    with pytest.raises(ValueError, match=r"c10\.xml: box 2 of 2 .*empty"):
        bccd(tmp_path, bad_boxes="refuse", cache_root=tmp_path / "cache")


def _annotate(*objects, **size):
    return lambda folder: annotate(folder, "c1", objects, **size)


def _replace(old, new):
    def damage(folder):
        file = folder / "Annotations" / "c1.xml"
        file.write_text(file.read_text().replace(old, new))

    return damage


@pytest.mark.parametrize(
    ("damage", "error", "sentence"),
    [
        (lambda f: cut_short(f / "JPEGImages/c1.jpg"), ValueError, r"c1\.jpg cannot be read as a picture"),
        (lambda f: (f / "JPEGImages/c1.jpg").unlink(), FileNotFoundError, "holds no picture c1, which train.txt"),
        (lambda f: (f / "Annotations/c1.xml").unlink(), FileNotFoundError, r"c1\.xml does not exist; expected one for every picture"),
        (lambda f: cut_short(f / "Annotations/c1.xml"), ValueError, r"c1\.xml is not readable as XML"),
        (lambda f: save(f / "JPEGImages/c1.png"), ValueError, "have the same stem"),
        (lambda f: (f / "ImageSets/Main/test.txt").write_text("c1\n"), ValueError, r"test\.txt names 'c1', which train\.txt names already"),
        (lambda f: (f / "ImageSets/Main/val.txt").write_text("c2\nc2\n"), ValueError, r"val\.txt names 'c2', which val\.txt names already"),
        (_annotate(("RBC", (1, 1, 3, 3)), size=(24, 20)), ValueError, r"c1\.xml is for 24 x 20 pixels, but .*c1\.jpg has 12 x 10"),
        (_annotate(("RBC", (0, 1, 3, 3))), ValueError, r"c1\.xml: box 1 of 1 has xmin=0, but VOC counts .* corners='edges'"),
        (_annotate(("RBC", (1, 1, 3, 3)), ("WBC", (5, 5, 13, 6))), ValueError, r"c1\.xml: box 2 of 2 .*x2=13.*outside the image of 12"),
        (_annotate(("RBC", (1, 5, 3, 3))), ValueError, r"c1\.xml: box 1 of 1 .*inverted"),
        (_annotate(("RBC", (1, "one", 3, 3))), ValueError, r"bndbox of object 1 is .*'ymin': 'one'.*expected four numbers"),
        (_annotate(("RBC", ("nan", 1, 3, 3))), ValueError, r"box 1 of 1 \(x1=nan.*not finite"),
        (_annotate(("", (1, 1, 3, 3))), ValueError, r"c1\.xml: object 1 has no name"),
        (_replace("<ymax>8</ymax>", ""), ValueError, r"bndbox of object 2 is .*'ymax': ''"),
    ],
)
def test_damage_is_named_and_leaves_no_cache(tmp_path, damage, error, sentence):
    damage(write_voc(tmp_path / "voc"))
    with pytest.raises(error, match=sentence):
        voc(tmp_path, cache_root=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*"))


def test_size_zero_means_unknown(tmp_path):
    folder = write_voc(tmp_path / "voc")
    annotate(folder, "c1", [("RBC", (1, 1, 3, 3))], size=(0, 0))
    assert voc(tmp_path, cache_root=tmp_path / "cache").target(1).shape == (1, 5)


def test_clip_counts(tmp_path):
    folder = write_voc(tmp_path / "voc")
    annotate(folder, "c1", [("RBC", (0, 1, 14, 3)), ("RBC", (5, 5, 3, 6))])
    with pytest.warns(UserWarning, match=r"voc: 1 boxes .* clipped, 1 without an area .*c1\.xml: box 1 of 2"):
        images = voc(tmp_path, bad_boxes="clip", classes=["RBC", "Platelets"], cache_root=tmp_path / "cache")
    assert images.target(1).tolist() == [[0, 0, 12, 3, 0]]


def test_folders_without_lists_must_match(tmp_path):
    folder = write_voc(tmp_path / "voc", {})
    annotate(folder, "c7", [])
    with pytest.raises(FileNotFoundError, match=r"c7\.xml has no picture"):
        voc(tmp_path)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"classes": ["RBC", "WBCs", "Platelets"]}, r"c1\.xml has an object 'WBC', which is none of .* Did you mean 'WBCs'\?"),
        ({"corners": "pixel"}, r"unknown corners 'pixel'\. Did you mean 'pixels'"),
        ({"bad_boxes": "drop"}, "unknown bad_boxes 'drop'"),
        ({"scale": 0.0}, "scale="),
    ],
)
def test_wrong_options(tmp_path, options, sentence):
    write_voc(tmp_path / "voc")
    with pytest.raises(ValueError, match=sentence):
        voc(tmp_path, **options)


def test_copies_that_cannot_be_used(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"(?s)found no Annotations.*expected this tree:.*BloodImage_00000\.xml"):
        bccd(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"(?s)found no Annotations or JPEGImages.*expected this tree:.*ImageSets/Main"):
        voc(tmp_path)
    (tmp_path / "a" / "JPEGImages").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"(?s)Annotations does not exist; expected this tree"):
        voc(tmp_path / "a")
    (tmp_path / "a" / "Annotations").mkdir()
    with pytest.raises(FileNotFoundError, match=r"JPEGImages holds no picture"):
        voc(tmp_path / "a")
    write_voc(tmp_path / "b", {}, stems=["c2"])
    with pytest.raises(ValueError, match="none of the 1 annotations .* has an object"):
        voc(tmp_path / "b")
    write_voc(tmp_path / "c", {"test": ["c1"]})
    with pytest.raises(FileNotFoundError, match=r"has test\.txt but neither train\.txt nor trainval\.txt"):
        voc(tmp_path / "c")


@pytest.mark.realdata
def test_real_bccd(raw_root, tmp_path):
    with pytest.warns(UserWarning, match=r"bccd: 0 boxes .* 2 without an area") as caught:
        images = bccd(raw_root("bccd"), 0.25, cache_root=tmp_path)
    assert len(caught) == 1 and len(images) == 364 and {tuple(s) for s in images.shapes} == {(120, 160)} and images.channels == 3
    assert {part: len(images.part(part)) for part in ("train", "val", "test")} == {"train": 205, "val": 87, "test": 72}
    boxes = np.concatenate([images.target(i).numpy() for i in range(364)])
    assert np.bincount(boxes[:, 4].astype(int)).tolist() == [4153, 372, 361]  # 4,888 without the two
    assert boxes[:, :4].min() == 0.25 and boxes[:, 2].max() == 160 and boxes[:, 3].max() == 120
    assert ((boxes[:, 2:4] - boxes[:, :2]) > 0).all()
    with pytest.raises(ValueError, match=r"BloodImage_00343\.xml: box 4 of 12 \(x1=181, y1=329, x2=181, y2=329: empty\)"):
        bccd(raw_root("bccd"), bad_boxes="refuse", cache_root=tmp_path / "refused")


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore:bccd")
def test_real_boxes_sit_on_cells(raw_root, tmp_path):
    """White cells and platelets are stained violet: blue is stronger against red inside their boxes than in the whole image."""
    images = bccd(raw_root("bccd"), 0.25, cache_root=tmp_path)
    stained = []
    for i in range(len(images)):
        violet = np.asarray(images.raw(i), np.float64) @ [-1, 0, 1]
        for x1, y1, x2, y2, label in images.target(i).round().int().tolist():
            if label > 0 and x2 > x1 and y2 > y1:
                stained.append(violet[y1:y2, x1:x2].mean() > violet.mean())
    assert len(stained) > 700 and all(stained)
