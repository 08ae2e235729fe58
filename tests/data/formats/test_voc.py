"""VOC folders, imitated small, and the real BCCD where it is."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import data
from data import notes
from data.formats.voc import voc
from data.names import Missing, Refused
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


VOC = "<source><database>The VOC2007 Database</database><annotation>PASCAL VOC2007</annotation></source>"


def annotate(folder: Path, stem: str, objects, size=(12, 10), source=VOC) -> Path:
    file = folder / "Annotations" / f"{stem}.xml"
    file.parent.mkdir(parents=True, exist_ok=True)
    sizes = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    listed = "".join(OBJECT.format(name=name, box=box) for name, box in objects)
    file.write_text(f"<annotation>\n    <folder>JPEGImages</folder> <filename>{stem}.jpg</filename> {source} {sizes}{listed}\n</annotation>\n")
    return file


def said_once(said, pattern: str) -> bool:
    return sum(bool(re.search(pattern, sentence)) for _, sentence in said) == 1


def load(root: Path, **options):
    with notes.collecting() as said:
        images = data.load("detect", "voc", root, **options)
    return images, said


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
    with notes.collecting() as said:
        images = voc(tmp_path, cache_root=tmp_path / "cache")
    assert [sentence for _, sentence in said] == [
        "voc: 1 of 4 images have no box and are read as images without an object.",
        "voc: class 'Platelets', 'WBC' has no box to be measured with in part test.",
    ]
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
    with notes.collecting() as said:
        assert len(voc(tmp_path, cache_root=tmp_path / "cache")) == 4
    assert said_once(said, "voc: 1 of 5 pictures are in no list")


def test_bccd_is_a_voc_folder_with_edges_and_its_own_classes(tmp_path):
    folder = write_voc(tmp_path / "bccd" / "BCCD")
    annotate(folder, "c10", [("Platelets", (4, 4, 5, 6)), ("RBC", (7, 3, 7, 3))])
    with notes.collecting() as said:
        images = bccd(tmp_path, cache_root=tmp_path / "cache")
    assert said_once(said, r"bccd: 0 boxes .* 1 without an area .*c10\.xml: box 2 of 2 \(x1=7.*empty")
    assert images.classes == ("RBC", "WBC", "Platelets") and images.dataset == "bccd"
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
        (lambda f: (f / "JPEGImages/c1.jpg").unlink(), FileNotFoundError, r"train\.txt names 'c1', but there is no picture c1"),
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


BOX = [("RBC", (3, 2, 7, 9))]
LABELIMG = "<path>C:\\x\\c1.jpg</path><source><database>Unknown</database></source>"


@pytest.mark.parametrize(
    ("source", "options", "expected", "said"),
    [
        (VOC, {}, [2, 1, 7, 9], None),
        (LABELIMG, {}, [3, 2, 7, 9], "seem to be of labelImg.*corners='edges'"),
        ("<source><database>Unknown</database><annotation>Unknown</annotation></source>", {}, [3, 2, 7, 9], "seem to be of labelImg"),
        ("", {}, [2, 1, 7, 9], "do not say which tool wrote them and are read as VOC counts.*corners='edges'"),
        ("", {"corners": "edges"}, [3, 2, 7, 9], None),
        (LABELIMG, {"corners": "pixels"}, [2, 1, 7, 9], None),
    ],
)
def test_whose_corners_these_are(mine, source, options, expected, said):
    write_voc(mine, {})
    for stem in ("c1", "c2", "c10", "c11"):
        annotate(mine, stem, BOX, source=source)
    images, sentences = load(mine, **options)
    assert [images.target(i).tolist()[0][:4] for i in range(4)] == [expected] * 4
    assert said_once(sentences, said) if said else not said_once(sentences, "corners=")


def test_annotations_of_several_tools_are_refused(mine):
    write_voc(mine, {})
    annotate(mine, "c11", BOX, source=LABELIMG)
    with pytest.raises(Refused, match=r"of several tools \(2 like c1\.xml, 1 like c11\.xml\); say corners='edges'"):
        load(mine)


@pytest.mark.parametrize("policy", ["refuse", "clip"])
def test_a_zero_where_nothing_tells_the_tool_is_refused(mine, policy):
    write_voc(mine, {})
    for stem in ("c1", "c2", "c10", "c11"):
        annotate(mine, stem, [("RBC", (0, 2, 7, 9))], source="")
    with pytest.raises(Refused, match="has xmin=0, but VOC counts pixels from 1"):
        load(mine, bad_boxes=policy)


def rename(folder, change):
    """Pictures, annotations and lists with other stems."""
    for file in [*(folder / "JPEGImages").iterdir(), *(folder / "Annotations").iterdir()]:
        new = file.parent / (change(file.stem) + file.suffix)
        new.parent.mkdir(parents=True, exist_ok=True)
        file.rename(new)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_lists_with_blanks_in_names_and_in_any_encoding(mine, encoding):
    write_voc(mine, {})
    rename(mine, lambda stem: f"blood image {stem} 1")
    lists = mine / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_bytes("blood image c10 1\r\nblood image c1 1\r\nblood image c2 1\r\n".encode(encoding))
    (lists / "test.txt").write_bytes("blood image c11 1  -1\n".encode(encoding))
    images, _ = load(mine)
    assert [len(images.target(i)) for i in range(4)] == [1, 2, 0, 1] and images.parts.tolist() == ["train"] * 3 + ["test"]


def test_a_line_that_could_be_two_pictures_is_refused(mine):
    write_voc(mine, {})
    for stem in ("c1", "c2", "c10"):
        save(mine / "JPEGImages" / f"{stem} 1.jpg")
        annotate(mine, f"{stem} 1", [])
    lists = mine / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("c1 1\nc2 1\nc10 1\n")
    with pytest.raises(Refused, match=r"train\.txt: 'c1 1' could be a picture, or the picture c1 with a flag"):
        load(mine)


@pytest.mark.parametrize(
    ("declared", "encoding", "name"),
    [("gb2312", "gb2312", "腺体"), ("GBK", "gbk", "腺体"), ("utf-7", "utf-7", "腺体"), ("UTF-16", "utf-16", "腺体"), ("iso-8859-1", "latin-1", "Zélle")]
    + [("big5", "big5", "腺"), ("shift_jis", "shift_jis", "腺"), (None, "utf-8-sig", "腺体"), (None, "utf-16", "腺体"), ("x-own", "utf-8", "腺体")],
)
def test_encodings_of_annotations(mine, declared, encoding, name):
    write_voc(mine, {})
    file = annotate(mine, "c2", [(name, (1, 1, 3, 3))])
    head = f'<?xml version="1.0" encoding="{declared}"?>\n' if declared else ""
    file.write_bytes((head + file.read_text()).encode(encoding))
    images, said = load(mine)
    assert name in images.classes
    assert said_once(said, "no known encoding") == (declared == "x-own")


def test_what_lies_beside_and_other_endings(mine):
    write_voc(mine, {})
    (mine / "Annotations" / "._c1.xml").write_bytes(b"x")
    (mine / "JPEGImages" / "._c1.jpg").write_bytes(b"x")
    (mine / "JPEGImages" / "Thumbs.db").write_bytes(b"x")
    (mine / "Annotations" / "c2.xml").rename(mine / "Annotations" / "c2.XML")
    save(mine / "JPEGImages" / "c2.tif", 7)
    (mine / "JPEGImages" / "c2.jpg").unlink()
    images, said = load(mine)
    assert images.names == ["c1.jpg", "c2.tif", "c10.jpg", "c11.jpg"] and said_once(said, "hidden or left by an operating system")


def test_names_composed_in_another_way(mine):
    write_voc(mine, {})
    (mine / "JPEGImages" / "c1.jpg").rename(mine / "JPEGImages" / "za\u0308hn.jpg")
    (mine / "Annotations" / "c1.xml").rename(mine / "Annotations" / "z\u00e4hn.xml")
    images, _ = load(mine)
    assert len(images) == 4 and [len(images.target(i)) for i, n in enumerate(images.names) if n.startswith("z")] == [2]


def test_parts_in_folders(mine):
    write_voc(mine, {})
    rename(mine, lambda stem: f"{'Test' if stem == 'c11' else 'Training'}/{stem}")
    images, _ = load(mine)
    assert images.names == ["c1.jpg", "c2.jpg", "c10.jpg", "c11.jpg"] and images.parts.tolist() == ["train"] * 3 + ["test"]


def test_patients(mine):
    write_voc(mine, {})
    (mine / "patients.csv").write_text("file,patient\nc1,a\nc2,a\nc10,b\nc11,b\n")
    images, _ = load(mine, test_fraction=0.5)
    assert images.patients.tolist() == ["a", "a", "b", "b"] and len(set(images.parts[:2])) == len(set(images.parts[2:])) == 1


def _text(text):
    return lambda folder: (folder / "Annotations" / "c1.xml").write_text(text)


BOMB = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;">]><annotation><object><name>&y;</name></object></annotation>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><object><name>&x;</name></object></annotation>'


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_text("<!DOCTYPE html>\n<html><body>Not found</body></html>"), r"c1\.xml is a page of the web \(HTML\)"),
        (_text("<html><p>404</p></html>"), "is a page of the web"),
        (_text("<rss><object/></rss>"), "has the root <rss>, expected <annotation>"),
        (_text(BOMB), "has a DOCTYPE or defines entities"),
        (_text(OUTSIDE), "has a DOCTYPE or defines entities"),
        (_text("<annotation>" + "<a>" * 50_000), "not readable as XML"),
        (_text(""), "not readable as XML"),
        (_text('<?xml version="1.0" encoding="hex"?><annotation/>x'), "not readable as XML"),
        (_text("<annotation><object><name>a</name><polygon/></object></annotation>"), "object 1 has a polygon and no bndbox"),
        (lambda f: (f / "Annotations/c1.xml").write_bytes(b'<?xml version="1.0" encoding="utf-8"?><annotation><a>\xc4</a></annotation>'), "says that it is in utf-8"),
    ],
)
def test_what_is_no_annotation_ends_in_a_sentence(mine, damage, sentence):
    write_voc(mine, {})
    damage(mine)
    with pytest.raises(Refused, match=sentence):
        load(mine)


def test_fractions_are_refused(mine):
    write_voc(mine, {})
    for stem in ("c1", "c2", "c10", "c11"):
        annotate(mine, stem, [("RBC", (0.25, 0.2, 0.5, 0.9))], source=LABELIMG)
    for policy in ("refuse", "clip"):
        with pytest.raises(Refused, match="lie within 0 to 1"):
            load(mine, bad_boxes=policy)


def test_two_pictures_of_one_list(mine):
    write_voc(mine, {"train": ["c1", "c2", "c10"], "training": ["c11"]})
    with pytest.raises(Refused, match="could both be the list of part train"):
        load(mine)
    with pytest.raises(Missing):
        load(mine / "JPEGImages")


@pytest.mark.realdata
def test_real_bccd(raw_root, tmp_path):
    with notes.collecting() as said:
        images = bccd(raw_root("bccd"), 0.25, cache_root=tmp_path)
    assert said_once(said, r"bccd: 0 boxes .* 2 without an area") and len(images) == 364 and {tuple(s) for s in images.shapes} == {(120, 160)} and images.channels == 3
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
