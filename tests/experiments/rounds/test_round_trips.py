"""What is written is read by our own readers to the same labels."""

from __future__ import annotations

import csv
import json
import shutil
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

import data
from data.formats import outlines
from tests.experiments.rounds.made import CLASSES, pictures, round_of, write


def load(task, kind, root):
    options = {"image_size": None} if task == "classify" else {}
    return data.load(task, kind, root, cache_root=root / "cache", **options)


def require_masks(images, seen, tolerance=0.0):
    """Every map is that of its picture, or differs only where it is as near to another class as the tolerance."""
    assert images.classes[0] == "background" and len(images) == len(seen)
    of_name = {name.rpartition("/")[2]: i for i, name in enumerate(images.names)}
    for each in seen:
        read = np.asarray(images.target(of_name[each.suggestion.file.name]))
        numbered = np.array([CLASSES["segment"].index(name) for name in images.classes])[read]
        wanted = each.prediction.class_map
        if not tolerance:
            assert np.array_equal(numbered, wanted)
            continue
        wrong = numbered != wanted
        around = np.pad(wanted, 1, constant_values=-1)
        to_others = np.zeros(around.shape)
        for c in np.unique(wanted):
            to_others += distance_transform_edt(around == c)
        assert wrong.any() and to_others[1:-1, 1:-1][wrong].max() <= tolerance + 1.0


def require_boxes(images, seen):
    assert sorted(images.classes) == sorted(CLASSES["detect"]) and len(images) == len(seen)
    of_name = {name.rpartition("/")[2]: i for i, name in enumerate(images.names)}
    for each in seen:
        read = np.asarray(images.target(of_name[each.suggestion.file.name]))
        names = [images.classes[int(c)] for c in read[:, 4]]
        assert names == [CLASSES["detect"][int(c)] for c in each.prediction.boxes[:, 4]]
        np.testing.assert_allclose(read[:, :4], each.prediction.boxes[:, :4], atol=0.011)


def lists(task, kind):
    """Move what was written to where the reader of that kind expects it."""

    def coco(root, out):
        shutil.copy(out / "coco.json", root / "annotations.json")

    def labelstudio(root, out):
        tasks = json.loads((out / "label_studio_tasks.json").read_text())
        for entry in tasks:
            entry["annotations"] = [{"result": entry.pop("predictions")[0]["result"]}]
        (root / "project.json").write_text(json.dumps(tasks))

    def yolo(root, out):
        shutil.copytree(out / "yolo", root, dirs_exist_ok=True)

    def folder(root, out):
        shutil.copytree(out / "masks", root / "masks")
        shutil.copy(out / "classes.txt", root)

    def voc(root, out):
        shutil.copytree(out / "voc", root, dirs_exist_ok=True)

    return {"coco": coco, "labelstudio": labelstudio, "yolo": yolo, "folder": folder, "voc": voc}[kind]


READ_AS = {"labelstudio_brush": "labelstudio", "masks": "folder"}


def round_trip(tmp_path, task, export, tolerance=0.0):
    root, kind = tmp_path / "own", READ_AS.get(export, export)
    inner = "JPEGImages" if kind == "voc" else "images"
    flat = kind == "folder"  # this reader takes no folders below
    files = (
        [shutil.move(f, root / inner / f.name) for f in pictures(root, 6, inner)] if flat else pictures(root, 6, inner)
    )
    if flat:
        (root / inner / "deep er").rmdir()
    seen = round_of(task, files)
    out = write([export], tmp_path / "out", task, seen, root / inner, tolerance=tolerance)
    lists(task, kind)(root, out)
    return load(task, kind, root), seen


@pytest.mark.parametrize("export", ["coco", "yolo", "masks", "labelstudio", "labelstudio_brush"])
def test_masks_to_the_pixel(tmp_path, export):
    require_masks(*round_trip(tmp_path, "segment", export))


@pytest.mark.parametrize("export", ["coco", "yolo", "labelstudio"])
def test_simplified_masks_within_the_tolerance(tmp_path, export):
    require_masks(*round_trip(tmp_path, "segment", export, 1.0), 1.0)


@pytest.mark.parametrize("export", ["coco", "voc", "yolo", "labelstudio"])
def test_boxes(tmp_path, export):
    require_boxes(*round_trip(tmp_path, "detect", export))


def test_the_order_of_classes_is_kept_where_a_format_has_one(tmp_path):
    for export in ("coco", "voc", "yolo"):
        assert round_trip(tmp_path / export, "detect", export)[0].classes == CLASSES["detect"]


def test_choices(tmp_path):
    images, seen = round_trip(tmp_path, "classify", "labelstudio")
    of_name = {name: i for i, name in enumerate(images.names)}
    for each in seen:
        best = CLASSES["classify"][int(each.prediction.probs.argmax())]
        assert images.classes[int(images.target(of_name[each.suggestion.file.name]))] == best


def test_qupath_outlines_fill_to_the_map_with_holes(tmp_path):
    files = pictures(tmp_path / "own")
    seen = round_of("segment", files)
    out = write(["geojson"], tmp_path / "out", "segment", seen, tmp_path / "own", tolerance=0.0)
    for each in seen:
        inner = each.suggestion.file.relative_to(tmp_path / "own").with_suffix(".geojson")
        read = json.loads((out / "geojson" / inner).read_text())
        target = np.zeros(each.suggestion.size, int)
        for feature in read["features"]:
            assert feature["geometry"]["type"] == "Polygon" and feature["properties"]["objectType"] == "annotation"
            rings = [np.array(ring, float) for ring in feature["geometry"]["coordinates"]]
            assert all(np.array_equal(ring[0], ring[-1]) for ring in rings)
            inside = outlines.filled(rings[:1], *target.shape) & ~outlines.filled(rings[1:], *target.shape)
            named = feature["properties"]["classification"]
            target[inside] = CLASSES["segment"].index(named["name"])
            assert len(named["color"]) == 3 and all(0 <= value < 256 for value in named["color"])
        assert read["type"] == "FeatureCollection" and np.array_equal(target, each.prediction.class_map)


def test_qupath_boxes_have_their_scores(tmp_path):
    (seen,) = round_of("detect", pictures(tmp_path / "own", 1))
    out = write(["geojson"], tmp_path / "out", "detect", [seen], tmp_path / "own")
    read = json.loads((out / "geojson" / "image 0.geojson").read_text())["features"]
    for feature, row in zip(read, seen.prediction.boxes, strict=True):
        (ring,) = feature["geometry"]["coordinates"]
        np.testing.assert_allclose([*np.min(ring, 0), *np.max(ring, 0)], row[:4], atol=0.011)
        assert feature["properties"]["measurements"]["score"] == pytest.approx(row[5], abs=1e-5)


def test_scores_of_boxes_in_coco_and_label_studio(tmp_path):
    seen = round_of("detect", pictures(tmp_path / "own", 2))
    out = write(["coco", "labelstudio"], tmp_path / "out", "detect", seen, tmp_path / "own")
    wanted = np.concatenate([each.prediction.boxes[:, 5] for each in seen])
    scores = [entry["score"] for entry in json.loads((out / "coco.json").read_text())["annotations"]]
    np.testing.assert_allclose(scores, wanted, atol=1e-5)
    tasks = json.loads((out / "label_studio_tasks.json").read_text())
    drawn = [region["score"] for task in tasks for region in task["predictions"][0]["result"]]
    np.testing.assert_allclose(drawn, wanted, atol=1e-5)


def test_boxes_are_cut_at_the_border_and_those_outside_left_out(tmp_path):
    (seen,) = round_of("detect", pictures(tmp_path / "own", 1))
    seen.prediction.boxes[:3, :4] = [[-5, -3, 9, 8], [60, 50, 70, 60], [10, 10, 10.001, 20]]
    out = write(["coco", "voc"], tmp_path / "out", "detect", [seen], tmp_path / "own")
    boxes = [entry["bbox"] for entry in json.loads((out / "coco.json").read_text())["annotations"]]
    assert len(boxes) == 2 and boxes[0] == [0, 0, 9, 8]
    tree = ElementTree.parse(out / "voc" / "Annotations" / "image 0.xml").getroot()
    assert len(tree.findall("object")) == 2 and tree.findtext("size/width") == "52"


def test_images_without_a_prediction_are_in_no_file_of_labels_and_in_the_list_of_work(tmp_path):
    for task, kinds in {"segment": ["masks", "coco", "yolo", "geojson"], "detect": ["coco", "voc", "yolo"]}.items():
        seen = round_of(task, pictures(tmp_path / "own", 4), test=2)
        out = write([*kinds, "csv", "labelstudio"], tmp_path / task, task, seen, tmp_path / "own")
        assert len(json.loads((out / "coco.json").read_text())["images"]) == 2
        for kind in {*kinds} - {"coco"}:
            found = [f for f in (out / kind).rglob("image*") if f.is_file()]
            assert [f.stem for f in sorted(found, key=lambda f: f.stem)] == ["image 0", "image 1"]
        tasks = json.loads((out / "label_studio_tasks.json").read_text())
        assert [bool(each["predictions"][0]["result"]) for each in tasks] == [True, True, False, False]
        rows = list(csv.DictReader((out / "suggestions.csv").open(newline="")))
        assert [row["predicted"] != "" for row in rows] == [True, True, False, False]
        assert rows[3]["score"] == rows[3]["uncertainty"] == rows[3]["confidence"] == ""


def test_label_studio_hands_out_by_rank(tmp_path):
    seen = round_of("classify", pictures(tmp_path / "own"), test=1)
    out = write(["labelstudio"], tmp_path / "out", "classify", seen[::-1], tmp_path / "own")
    tasks = json.loads((out / "label_studio_tasks.json").read_text())
    by_score = sorted(tasks, key=lambda task: task["predictions"][0]["score"])
    assert [task["data"]["rank"] for task in by_score] == [1, 2, 3, 4, 5, 6]
    assert {task["predictions"][0]["model_version"] for task in tasks} == {"round 1"}
    assert by_score[0]["data"]["score"] == 0.5 and by_score[5]["data"]["score"] is None
    assert by_score[1]["data"]["image"] == "/data/local-files/?d=deep%20er/image%201.png"


@pytest.mark.parametrize(
    ("task", "kind", "tag", "inner"),
    [
        ("segment", "labelstudio", "PolygonLabels", "Label"),
        ("segment", "labelstudio_brush", "BrushLabels", "Label"),
        ("detect", "labelstudio", "RectangleLabels", "Label"),
        ("classify", "labelstudio", "Choices", "Choice"),
    ],
)
def test_the_labelling_configuration_names_what_the_predictions_use(tmp_path, task, kind, tag, inner):
    out = write([kind], tmp_path / "out", task, round_of(task, pictures(tmp_path / "own")), tmp_path / "own")
    view = ElementTree.parse(out / "label_studio_labelling.xml").getroot()
    image, control = view
    assert image.attrib["value"] == "$image" and control.tag == tag and control.attrib["toName"] == image.attrib["name"]
    known = [entry.attrib["value"] for entry in control.findall(inner)]
    assert known == list(CLASSES[task][1 if task == "segment" else 0 :])
    for each in json.loads((out / "label_studio_tasks.json").read_text()):
        for region in each["predictions"][0]["result"]:
            assert (region["from_name"], region["to_name"]) == (control.attrib["name"], image.attrib["name"])
            assert region["type"] == tag.lower() and set(region["value"][tag.lower()]) <= set(known)
