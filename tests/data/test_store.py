"""Stored images: exact, shared, ragged."""

from __future__ import annotations

import copy
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from data.files import ROOT
from data.names import Refused
from data.store import LAYOUT, Record, cached

FOLDER = f"toy-f0-v{LAYOUT}"


def records(shapes=((4, 6), (5, 3), (1, 9)), dtype="uint8", channels=3):
    rng = np.random.default_rng(0)
    parts = ["train", "train", "test"]
    images = [rng.integers(0, 256, (*s, channels), np.uint8) for s in shapes]
    masks = [rng.integers(0, 3, s).astype(dtype) for s in shapes]
    pairs = enumerate(zip(images, masks, strict=True))
    return [Record(f"im{i}", image, mask, i % 2, parts[i % 3], f"p{i}") for i, (image, mask) in pairs]


def build(folder, given=None, kind="instance_map", fingerprint="f0"):
    return cached("toy", fingerprint, kind, ("background", "thing"), lambda: given or records(), cache_root=folder)


def test_everything_comes_back_at_first_and_second_use(tmp_path):
    wanted = records()
    for images in (build(tmp_path, wanted), build(tmp_path, ["never read"])):
        assert len(images) == 3 and images.names == ["im0", "im1", "im2"]
        assert images.shapes.tolist() == [[4, 6], [5, 3], [1, 9]]
        assert images.groups.tolist() == [0, 1, 0] and images.parts.tolist() == ["train", "train", "test"]
        assert images.patients.tolist() == ["p0", "p1", "p2"] and images.channels == 3
        for i, record in enumerate(wanted):
            assert (images.raw(i) == record.image).all() and (images.instances(i) == record.target).all()
            image, target = images[i]
            assert image.dtype == torch.float32
            assert np.array_equal((image.numpy().transpose(1, 2, 0) * 255).round(), record.image)
            assert target.dtype == torch.int64 and np.array_equal(target.numpy(), record.target > 0)


def test_volumes_slices_and_spacings(tmp_path):
    slices = [each._replace(volume="v", slice=2 - i, spacing=(0.5, 0.7, np.nan)) for i, each in enumerate(records())]
    for images in (build(tmp_path, slices), build(tmp_path, ["never read"])):
        assert images.volumes.tolist() == ["v"] * 3 and images.slices.tolist() == [2, 1, 0]
        assert np.array_equal(images.spacings, [[0.5, 0.7, np.nan]] * 3, equal_nan=True)
        assert images.subset([2]).slices.tolist() == [0]
    single = build(tmp_path, fingerprint="f1")
    assert single.volumes.tolist() == [""] * 3 and single.slices.tolist() == [0] * 3
    assert single.spacings.shape == (3, 3) and np.isnan(single.spacings).all()
    table = json.loads((tmp_path / f"toy-f1-v{LAYOUT}" / "table.json").read_text())
    assert table["volume"] == table["slice"] == table["spacing"] == [], "what sets of single pictures do not pay for"


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=6),
    st.sampled_from(["uint8", "uint16"]),
    st.data(),
)
def test_any_shapes(tmp_path_factory, shapes, dtype, data):
    pairs = [(data.draw(arrays(np.uint8, (*s, 1))), data.draw(arrays(dtype, s))) for s in shapes]
    wanted = [Record(f"{i}", *pair) for i, pair in enumerate(pairs)]
    images = build(tmp_path_factory.mktemp("cache"), wanted)
    for i, record in enumerate(wanted):
        assert np.array_equal(images.raw(i), record.image) and np.array_equal(images.instances(i), record.target)


def test_boxes_and_classes(tmp_path):
    pixel = np.zeros((2, 2, 1), np.uint8)
    boxes = [np.arange(10, dtype=np.float32).reshape(2, 5), np.zeros((0, 5), np.float32), np.ones((1, 5), np.float32)]
    images = build(tmp_path, [Record(f"{i}", pixel, b) for i, b in enumerate(boxes)], "boxes")
    assert [images.target(i).tolist() for i in range(3)] == [b.tolist() for b in boxes]
    assert images.target(1).shape == (0, 5)
    images = build(tmp_path, [Record(f"{i}", pixel, np.array(i)) for i in range(3)], "class", "f1")
    assert [images.target(i).item() for i in range(3)] == [0, 1, 2] and images.target(0).shape == ()


def test_no_boxes_at_all(tmp_path):
    images = build(tmp_path, [Record("a", np.zeros((2, 2, 1), np.uint8), np.zeros((0, 5), np.float32))], "boxes")
    assert images.target(0).shape == (0, 5)


def test_subsets_share_the_files(tmp_path):
    images = build(tmp_path)
    train = images.part("train")
    assert train.names == ["im0", "im1"] and images.part("test", "train").names == images.names
    assert len(images.part("none")) == 0
    last = train.subset([1, 0]).subset([0])
    assert last.names == ["im1"] and last.rows.tolist() == [1] and last.pixels is images.pixels
    assert np.shares_memory(last.raw(0), images.raw(1))
    assert train.patients.tolist() == ["p0", "p1"] and last.shapes.tolist() == [[5, 3]]


def test_deepcopy_shares_and_pickle_keeps(tmp_path):
    images = build(tmp_path)
    assert copy.deepcopy(images) is images and copy.deepcopy(images.pixels) is images.pixels
    again = pickle.loads(pickle.dumps(images.subset([2])))  # workers of a data loader get it so
    assert (again.raw(0) == images.raw(2)).all()


def test_images_are_read_only_and_items_are_copies(tmp_path):
    images = build(tmp_path)
    with pytest.raises(ValueError, match="read-only"):
        images.raw(0)[:] = 0
    before = images.raw(0).copy()
    images.image(0).zero_()
    images.target(0).zero_()
    assert (images.raw(0) == before).all() and images.target(0).any()


def test_instances_only_where_there_are(tmp_path):
    with pytest.raises(ValueError, match="'toy' has class_map targets and no instances"):
        build(tmp_path, kind="class_map").instances(0)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (records()[:2] + records(dtype="int64")[2:], "im2: target is int64, those before it are uint8"),
        ([], "no image was found for dataset 'toy'"),
    ],
)
def test_wrong_records_leave_nothing(tmp_path, wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        cached("toy", "f0", "class_map", ("a",), lambda: wrong, cache_root=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_failing_loader_leaves_nothing_and_the_next_build_works(tmp_path):
    def broken():
        yield records()[0]
        raise OSError("disk is gone")

    with pytest.raises(OSError, match="disk is gone"):
        cached("toy", "f0", "instance_map", ("a",), broken, cache_root=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
    assert len(build(tmp_path / "cache")) == 3


KILLED = """
import sys, time
from pathlib import Path
import numpy as np
from data.store import Record, cached
def slow():
    yield Record("half", np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8))
    print("writing", flush=True)
    time.sleep(60)
cached("toy", "f0", "instance_map", ("a",), slow, cache_root=Path(sys.argv[1]))
"""


def test_killed_build_is_never_taken_for_a_cache(tmp_path):
    words = [sys.executable, "-c", KILLED, str(tmp_path)]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None and process.stdout.readline() == b"writing\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not (tmp_path / FOLDER).exists()
    assert build(tmp_path).names == ["im0", "im1", "im2"]


def test_concurrent_builds_agree(tmp_path):
    barrier = threading.Barrier(3)
    found: list = []

    def together():
        barrier.wait(10)  # all have seen that there is no cache
        time.sleep(0.01)
        yield from records()

    def run():
        found.append(cached("toy", "f0", "instance_map", ("a",), together, cache_root=tmp_path))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == 3 and all((images.raw(1) == records()[1].image).all() for images in found)
    assert [entry.name for entry in tmp_path.iterdir()] == [FOLDER]


def test_cache_root_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIQUOT_CACHE", str(tmp_path / "elsewhere"))
    build(None)
    assert (tmp_path / "elsewhere" / FOLDER).is_dir()


@pytest.mark.parametrize(
    ("kind", "target", "expected"),
    [
        ("class", np.array(2), 0),
        ("class_map", np.array([[0, 1], [2, 255]], np.uint8), [[1, 3], [0, 255]]),
        ("boxes", np.array([[1, 2, 3, 4, 0], [0, 0, 2, 2, 2]], np.float32), [[1, 2, 3, 4, 1], [0, 0, 2, 2, 0]]),
        ("boxes", np.zeros((0, 5), np.float32), []),
        ("instance_map", np.array([[0, 7]], np.uint16), [[1, 3]]),
    ],
)
def test_classes_are_ordered_as_others_name_them(tmp_path, kind, target, expected):
    """The others may have classes more; pixels that count nowhere stay such."""
    record = Record("a", np.zeros((2, 2, 1), np.uint8), target)
    images = cached("toy", "f", kind, ("x", "y", "z")[: 2 if kind == "instance_map" else 3], lambda: [record], None, tmp_path)
    there = images.ordered(("z", "x", "w", "y"))
    assert there.classes == ("z", "x", "w", "y") and there.target(0).tolist() == expected
    assert there.target(0).dtype == images.target(0).dtype
    back = there.subset([0]).ordered(("y", "w", "z", "x"))
    again = images.ordered(("y", "w", "z", "x"))
    assert back.target(0).tolist() == again.target(0).tolist() and images.ordered(images.classes) is images
    if kind == "instance_map":
        assert back.instances(0).tolist() == [[0, 7]]


def test_classes_that_others_lack_are_refused_with_both_lists(tmp_path):
    with pytest.raises(Refused, match=r"'toy' \(background, thing\) are not .* \(thing, other\): 'background' is none"):
        build(tmp_path).ordered(("thing", "other"))
