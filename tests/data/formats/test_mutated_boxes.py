"""Annotations with random damage are read or end in a sentence, never in a traceback."""

from __future__ import annotations

import json

import numpy as np
import pytest

import data
from data import notes
from data.names import Refused
from tests.data.formats import test_coco, test_coco_masks, test_labelstudio, test_voc, test_yolo

VALUES = [None, True, [], {}, "", "a", -1, 0, 1e400, float("nan"), [1], {"a": 1}, "\0", "../x", 10**40, "1", 3.5]
PIECES = [b"-", b"nan", b"1e9", b"<", b">", b"&x;", b"\0", b" ", b"\n", b"9999999999", b"\xff", b'"', b"[", b":"]
ENCODINGS = ("utf-16", "utf-8-sig", "utf-32", "cp1252", "utf-7")


def _coco(root):
    return [test_coco.write(root / "boxes.json")]


def _masks(root):
    mark = test_coco_masks.mark
    test_coco_masks.write(root, [mark(0, [test_coco_masks.SQUARE]), mark(1, {"counts": [0, 60, 60], "size": [10, 12]}, 7)])
    return [root / "boxes.json"]


def _voc(root):
    test_voc.write_voc(root)
    return [*sorted((root / "Annotations").iterdir()), *sorted((root / "ImageSets" / "Main").iterdir())]


def _yolo(root):
    test_yolo.ultralytics(root)
    return [*sorted(root.rglob("*.txt")), root / "data.yaml"]


def _labelstudio(root):
    test_labelstudio.write(root, test_labelstudio.TASKS)
    return [root / "project.json"]


def places(value, before=()):
    """Every place in a table of json."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in inner:
        yield (*before, key)
        yield from places(entry, (*before, key))


def changed_table(text: bytes, rng: np.random.Generator) -> bytes:
    table = json.loads(text)
    every = list(places(table))
    *way, last = every[rng.integers(len(every))]
    inner = table
    for key in way:
        inner = inner[key]
    if rng.random() < 0.2:
        del inner[last]
    else:
        inner[last] = VALUES[rng.integers(len(VALUES))]
    return json.dumps(table).encode()


def damaged(text: bytes, rng: np.random.Generator) -> bytes:
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(text) + 1))
        text = [
            text[:at],
            text[:at] + rng.bytes(1) + text[at:],
            text[:at] + PIECES[rng.integers(len(PIECES))] + text[at + 3 :],
            text.decode("utf-8", "replace").encode(ENCODINGS[rng.integers(len(ENCODINGS))], "replace"),
        ][rng.integers(4)]
    return text


@pytest.mark.parametrize(
    ("task", "name", "write"),
    [("detect", "coco", _coco), ("segment", "coco", _masks), ("detect", "voc", _voc), ("detect", "yolo", _yolo)]
    + [(task, "labelstudio", _labelstudio) for task in ("detect", "segment")],
)
def test_damaged_annotations_end_in_a_sentence(mine, task, name, write):
    rng, files = np.random.default_rng(2026), write(mine)
    ended = {"read": 0, "refused": 0}
    for _ in range(50):
        file = files[rng.integers(len(files))]
        whole = file.read_bytes()
        change = changed_table if file.suffix == ".json" and rng.random() < 0.8 else damaged
        file.write_bytes(change(whole, rng))
        try:
            with notes.collecting():
                data.load(task, name, mine)
            ended["read"] += 1
        except Refused as sentence:
            assert str(sentence)
            ended["refused"] += 1
        file.write_bytes(whole)
    assert min(ended.values()) > 0
    with notes.collecting():
        assert len(data.load(task, name, mine)) >= 4


def test_an_empty_list_is_told(mine):
    test_voc.write_voc(mine)
    (mine / "ImageSets" / "Main" / "val.txt").write_text("\n")
    with notes.collecting() as said:
        assert len(data.load("detect", "voc", mine)) == 3
    assert any("val.txt names no picture" in sentence for _, sentence in said)
