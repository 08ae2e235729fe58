"""Writing a round: what is asked for, whole or not at all, and never outside of its folder."""

from __future__ import annotations

import csv
import json
import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.names import Refused
from experiments.rounds.exports.table import cell
from experiments.rounds.exports.target import LONGEST, Names
from experiments.rounds.suggestion import Prediction, Seen
from experiments.rounds.writing import KINDS, writing
from tests.experiments.rounds.made import CLASSES, pictures, round_of, suggestion, write

FILES = {
    "csv": ["suggestions.csv"],
    "preview": ["preview.html"],
    "masks": ["masks", "classes.txt"],
    "coco": ["coco.json"],
    "voc": ["voc"],
    "yolo": ["yolo"],
    "geojson": ["geojson"],
    "labelstudio": ["label_studio_tasks.json", "label_studio_labelling.xml"],
    "labelstudio_brush": ["label_studio_tasks.json", "label_studio_labelling.xml"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_for_each_of_its_tasks(tmp_path, kind):
    for task in KINDS[kind].tasks:
        seen = round_of(task, pictures(tmp_path / "own"), test=1)
        out = write([kind, kind], tmp_path / task, task, seen, tmp_path / "own")
        assert sorted(f.name for f in out.iterdir()) == sorted(FILES[kind])
        before = {f: f.read_bytes() for f in out.rglob("*") if f.is_file()}
        write([kind], out, task, seen, tmp_path / "own")  # again, over what is there
        assert {f: f.read_bytes() for f in out.rglob("*") if f.is_file()} == before


@pytest.mark.parametrize(
    ("kinds", "task", "sentence"),
    [
        (["csv", "cooc"], "segment", "unknown export 'cooc'. Did you mean 'coco'.* Known: csv, preview"),
        (["masks"], "detect", "export 'masks' is not for detect. Known for it: csv, preview, coco, voc"),
        (["labelstudio_brush", "labelstudio"], "segment", "write the same files; choose one"),
    ],
)
def test_what_cannot_be_written(tmp_path, kinds, task, sentence):
    with pytest.raises(Refused, match=sentence), writing(kinds, tmp_path / "out", CLASSES[task], "x", task):
        pass
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_round_that_breaks_off_leaves_nothing(tmp_path, kind):
    task = KINDS[kind].tasks[0]
    seen = round_of(task, pictures(tmp_path / "own"))
    with (
        pytest.raises(RuntimeError, match="of the test"),
        writing([kind], tmp_path / "out", CLASSES[task], "x", task) as add,
    ):
        add(seen[0])
        raise RuntimeError("of the test")
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_a_round_that_breaks_off_keeps_the_one_before(tmp_path):
    seen = round_of("segment", pictures(tmp_path / "own"))
    kinds = [kind for kind in KINDS if "segment" in KINDS[kind].tasks and kind != "labelstudio_brush"]
    out = write(kinds, tmp_path / "out", "segment", seen, tmp_path / "own")
    before = {f: f.read_bytes() for f in out.rglob("*") if f.is_file()}
    broken = [seen[0], replace(seen[1], prediction=Prediction(class_map=np.full((3, 3), 9)))]  # there is no class 9
    with pytest.raises(IndexError):
        write(kinds, out, "segment", broken, tmp_path / "own")
    assert {f: f.read_bytes() for f in out.rglob("*") if f.is_file()} == before


@pytest.mark.parametrize("kind", ["masks", "yolo", "geojson"])
def test_a_folder_of_somebody_else_is_left_alone(tmp_path, kind):
    theirs = tmp_path / "out" / kind / "mine.png"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    with pytest.raises(Refused, match=f"{kind} exists and was not written here"):
        write([kind], tmp_path / "out", "segment", round_of("segment", pictures(tmp_path / "own")), tmp_path / "own")
    assert theirs.read_text() == "mine" and list(theirs.parent.iterdir()) == [theirs]


HOSTILE = [
    "<img src=x onerror=alert(1)>.png",
    "a \"quoted\" & 'quoted'.png",
    "=cmd|' ‮gnp.exe.png",
    "two\nlines.png",
    "..png",
    "...",
    "-1+1.png",
    "مرحبا.png",
    "a\u0308 ä.png",
    " .png",
    "%2e%2e%2fup.png",
    "..\\up.png",
    "x" * 251 + ".png",
    os.fsdecode(b"latin\xe9.png"),
]


@pytest.mark.parametrize("task", CLASSES)
def test_strange_names_stay_in_the_folder(tmp_path, task):
    root = tmp_path / "own"
    files = [root / name for name in HOSTILE] + [
        root / "sub" / ".." / ".." / "up.png",
        Path("/etc/passwd"),
        root / "..",
    ]
    seen = round_of(task, files)
    kinds = [kind for kind in KINDS if task in KINDS[kind].tasks and kind != "labelstudio_brush"]
    out = write(kinds, tmp_path / "all" / "out", task, seen, root)
    assert [f.name for f in (tmp_path / "all").iterdir()] == ["out"] and {f.name for f in tmp_path.iterdir()} == {"all"}
    for kind, inner in {"masks": ".", "yolo": "labels", "voc": "Annotations", "geojson": "."}.items():
        if kind in kinds:  # none of them was written over another
            assert len([f for f in (out / kind / inner).rglob("*") if f.is_file() and f.name != ".aliquot"]) == len(
                files
            )
    listed = [entry["data"]["image"] for entry in json.loads((out / "label_studio_tasks.json").read_text())]
    assert len(set(listed)) == len(files) and not any(set(url) & set("<>\"' \n\\") for url in listed)
    assert len(list(csv.reader((out / "suggestions.csv").open(newline="", encoding="utf-8")))) == 1 + len(files)


def test_sub_folders_are_kept_and_equal_stems_told_apart(tmp_path):
    root = tmp_path / "own"
    names = ["a/1.png", "b/1.png", "b/1.jpg", "B/1.TIF", "b/1.JPG"]
    seen = [
        Seen(suggestion(root / name, i), np.zeros((4, 5, 1), np.uint8), Prediction(class_map=np.full((4, 5), i % 3)))
        for i, name in enumerate(names)
    ]
    out = write(["masks"], tmp_path / "out", "segment", seen, root)
    found = sorted(f.relative_to(out / "masks").as_posix() for f in (out / "masks").rglob("*.png"))
    assert found == ["B/1.TIF.png", "a/1.png", "b/1.JPG (2).png", "b/1.jpg.png", "b/1.png"]
    assert np.unique(np.asarray(Image.open(out / "masks" / "b" / "1.jpg.png"))).tolist() == [2]


def test_pictures_of_one_file_have_numbers(tmp_path):
    names, file = Names(tmp_path), tmp_path / "stack.tif"
    found = [names.free(suggestion(file, name=f"stack.tif#{n}"), ".png").as_posix() for n in (1, 2, 12)]
    assert found == ["stack#1.png", "stack#2.png", "stack#12.png"]
    assert names.free(suggestion(tmp_path / "x#3", name="x#3"), ".png").as_posix() == "x#3.png"


def test_names_are_not_too_long_for_a_disk(tmp_path):
    names = Names(tmp_path)
    found = [names.free(suggestion(tmp_path / ("ä" * 125 + end)), ".geojson").name for end in (".png", ".tif")]
    assert len(set(found)) == 2 and all(len(name.encode()) <= LONGEST and name.endswith(".geojson") for name in found)


def test_the_table(tmp_path):
    root = tmp_path / "own"
    seen = round_of("classify", [root / "=a.png", root / "deep" / "-b.png", root / "c.png"], test=1)
    seen[0] = replace(seen[0], suggestion=replace(seen[0].suggestion, patient="@p", nearest="+n.png"))
    seen[0].prediction.probs[:] = [0.25, 0.75]
    rows = list(csv.DictReader((write(["csv"], tmp_path, "classify", seen, root) / "suggestions.csv").open(newline="")))
    assert list(rows[0]) == "rank part file score predicted confidence uncertainty patient nearest why".split()
    assert list(rows[0].values()) == [
        "1",
        "query",
        "./=a.png",
        "0.5",
        "'=malignant",
        "0.75",
        "0.25",
        "'@p",
        "'+n.png",
        "uncertain",
    ]
    assert [row["file"] for row in rows[1:]] == ["deep/-b.png", "c.png"]
    assert list(rows[2].values()) == ["3", "test", "c.png", "", "", "", "", "p1", "", "test"]


def test_cells_that_would_be_formulas():
    assert [cell(text) for text in ("=1+1", "+a", "-a", "@a", "\ta", "＝a")] == [
        "'=1+1",
        "'+a",
        "'-a",
        "'@a",
        "'\ta",
        "'＝a",
    ]
    assert [cell(text) for text in ("-1.5", "+3", "a=b", "", "1e5")] == ["-1.5", "+3", "a=b", "", "1e5"]


def test_predictions_in_words(tmp_path):
    wanted = {"segment": "gland 50 %", "detect": "1 cell, 2 a <b> & 'c'"}
    class_map = np.repeat([[0, 1]], 20, 0)
    boxes = np.array([[0, 0, 5, 5, 1, 0.3], [1, 1, 5, 5, 0, 0.9], [2, 2, 9, 9, 1, 0.4]])
    for task, made in {"segment": Prediction(class_map=class_map), "detect": Prediction(boxes=boxes)}.items():
        seen = [Seen(suggestion(tmp_path / "a.png"), np.zeros((4, 4, 1), np.uint8), made)]
        (row,) = csv.DictReader((write(["csv"], tmp_path, task, seen, tmp_path) / "suggestions.csv").open(newline=""))
        assert row["predicted"] == wanted[task] and row["confidence"] == ("0.9" if task == "detect" else "")
    nothing = [Seen(suggestion(tmp_path / "a.png"), np.zeros((4, 4, 1), np.uint8), Prediction(boxes=np.zeros((0, 6))))]
    (row,) = csv.DictReader(
        (write(["csv"], tmp_path, "detect", nothing, tmp_path) / "suggestions.csv").open(newline="")
    )
    assert row["predicted"] == "nothing" and row["confidence"] == ""


def test_memory_does_not_grow_with_the_round(tmp_path):
    def peak(n: int) -> int:
        with writing(
            ["csv", "preview", "coco", "labelstudio"], tmp_path / str(n), CLASSES["segment"], "x", "segment"
        ) as add:
            tracemalloc.start()
            for i in range(n):
                class_map = np.zeros((100, 100), np.int64)
                class_map[20:75, 30:90] = 1
                made = Prediction(class_map=class_map)
                add(Seen(suggestion(tmp_path / f"{i}.png", i + 1, (100, 100)), np.zeros((100, 100, 3), np.uint8), made))
            highest = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return highest

    few = peak(3)
    assert peak(40) < 1.15 * few + 50_000
