"""What was read is counted right, and what to be wary of is said."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from data.alike import alike, looks_of
from data.inventory import FOLDERS, counts_of, lines, plain, take, without_names
from data.notes import LEFT_OUT, WARNING, collecting, note
from data.splits import Splits, make_splits
from data.store import Record, cached


def noise(seed, size=(20, 24), channels=3):
    return np.random.default_rng(seed).integers(0, 256, (*size, channels), np.uint8)


def stored(folder, records, kind="class", classes=("a", "b"), notes=()):
    def made():
        for each in notes:
            note(*each)
        yield from records

    return cached("toy", f"f{len(list(folder.iterdir()))}", kind, classes, made, None, folder)


def divided(images):
    return Splits(images.part("train"), images.part("val") if "val" in images.parts else None, images.part("test"))


def inventory(folder, records, kind="class", classes=("a", "b"), start=None):
    return take(divided(stored(folder, records, kind, classes)), start)


def classes_of(found, what="counts"):
    return {each["name"]: each[what] for each in found["classes"]}


def many(n=25, part="train", seed=0, target=None, **more):
    """`n` different images of a part, of two classes in turn."""
    return [
        Record(f"{part}{seed}_{i}.png", noise((seed, i)), np.array(i % 2 if target is None else target), 0, part, **more)
        for i in range(n)
    ]


def test_classes_of_every_part_are_counted(tmp_path):
    records = [*many(), *many(6, "val", 1), *many(21, "test", 2)]
    found = inventory(tmp_path, records, start=np.array([0, 1, 2]))
    assert {part["name"]: part["images"] for part in found["parts"]} == {"pool": 25, "validation": 6, "test": 21}
    assert classes_of(found) == {
        "a": {"start": 2, "pool": 13, "validation": 3, "test": 11},
        "b": {"start": 1, "pool": 12, "validation": 3, "test": 10},
    }
    assert found["warnings"] == [] and found["images"] == 52 and found["unused"] == []
    told = "\n".join(lines(found))
    assert "What was read: 52 images of toy, 20 x 24 pixels (height x width), 3 channels, values 0 to 255\n" in told
    assert "start      3 images of the pool, labelled first; a 2, b 1\n" in told
    assert "pool       25 images; a 13, b 12 (known here because this is a simulation)" in told
    assert json.loads(json.dumps(found)) == found


def test_images_in_no_part_of_the_division_are_told(tmp_path):
    images = stored(tmp_path, [*many(), *many(6, "val", 1), *many(21, "test", 2)])
    found = take(make_splits(images, 0, np.random.default_rng(0)))
    assert found["unused"] == [["val", 6]] and found["images"] == 46
    assert any("val 6: in no part of this division" in line for line in lines(found))


def test_several_test_parts_and_sizes(tmp_path):
    records = [*many(), *many(20, "testA", 1), *many(3, "testB", 2)]
    records[3] = records[3]._replace(image=noise(1, (40, 10), 1))
    found = take(make_splits(stored(tmp_path, records), 0, np.random.default_rng(0)))
    assert found["size"] == {"heights": [20, 40], "widths": [10, 24], "different": 2} and found["channels"] == [1, 3]
    told = "\n".join(lines(found))
    assert "20 to 40 x 10 to 24 pixels (height x width), 2 sizes, 1 or 3 channels" in told
    assert "23 images (testA 20, testB 3)" in told


@pytest.mark.parametrize(("in_test", "sentence"), [(0, "no image"), (1, "only one image"), (2, "")])
def test_a_class_with_one_image_or_none_in_test(tmp_path, in_test, sentence):
    test = [*many(20, "test", 2, target=0), *many(in_test, "test", 3, target=1)]
    warned = inventory(tmp_path, [*many(), *test])["warnings"]
    assert warned == ([f"{sentence} of the test part shows b."] if sentence else [])


def test_a_class_that_the_pool_lacks(tmp_path):
    assert inventory(tmp_path, [*many(target=0), *many(20, "test", 1)])["warnings"] == ["no image of the pool shows b."]


@pytest.mark.parametrize("n", [19, 20])
def test_a_small_test_part(tmp_path, n):
    warned = inventory(tmp_path, [*many(), *many(n, "test", 1)])["warnings"]
    assert warned == (["the test part has 19 images: its numbers mean little."] if n < 20 else [])


def boxes(*classes):
    return np.array([[1, 1, 5 + k, 6, c] for k, c in enumerate(classes)], np.float32).reshape(-1, 5)


def test_boxes_and_images_that_hold_them(tmp_path):
    records = [Record(f"i{i}", noise(i), boxes(0, 0, 1) if i else boxes()) for i in range(20)]
    records += [Record(f"t{i}", noise(100 + i), boxes(1) if i > 2 else boxes(), 0, "test") for i in range(20)]
    found = inventory(tmp_path, records, "boxes", start=np.array([0, 1]))
    assert classes_of(found) == {"a": {"start": 2, "pool": 38, "test": 0}, "b": {"start": 1, "pool": 19, "test": 17}}
    assert classes_of(found, "images_with")["a"] == {"start": 1, "pool": 19, "test": 0}
    assert found["warnings"] == ["no image of the test part shows a."]


def test_no_box_in_test(tmp_path):
    records = [Record(f"i{i}", noise(i), boxes(0, 1), 0, "train" if i < 20 else "test") for i in range(40)]
    records[20:] = [each._replace(target=boxes()) for each in records[20:]]
    warned = inventory(tmp_path, records, "boxes")["warnings"]
    assert warned[0] == "no image of the test part has a box: nothing can be measured on it."


@pytest.mark.parametrize("kind", ["class_map", "instance_map"])
def test_masks_are_counted_by_the_images_that_hold_a_class(tmp_path, kind):
    whole, empty = np.array([[0, 1], [1, 255 if kind == "class_map" else 7]], np.uint8), np.zeros((2, 2), np.uint8)
    records = [Record(f"i{i}", noise(i, (2, 2)), whole if i % 4 else empty) for i in range(20)]
    records += [Record(f"t{i}", noise(100 + i, (2, 2)), whole if i == 1 else empty, 0, "test") for i in range(20)]
    found = inventory(tmp_path, records, kind, ("background", "gland"))
    assert classes_of(found)["gland"] == {"pool": 15, "test": 1} and classes_of(found)["background"]["pool"] == 20
    assert found["warnings"] == ["only one image of the test part shows gland."]


def test_large_masks_are_sampled_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("data.inventory.MOST_PIXELS", 40)
    records = [Record(f"i{i}", noise(i, (2, 2)), np.eye(2, dtype=np.uint8), 0, "train" if i < 20 else "test") for i in range(40)]
    images = stored(tmp_path, records, "class_map")
    assert counts_of(images)[2] == 10
    found = take(divided(images))
    assert found["sampled"] == {"pool": 10, "test": 10}
    assert any("20 images, 10 of them counted; images that hold it: a 10, b 10" in line for line in lines(found))


def test_patients_on_both_sides(tmp_path):
    train = [each._replace(patient=f"P{i // 2}") for i, each in enumerate(many(24))]
    test = [each._replace(patient=f"P{i}") for i, each in enumerate(many(20, "test", 1))]
    found = inventory(tmp_path, [*train, *many(1, "train", 2), *test])
    assert found["patients"] == {
        "named": {"pool": 12, "test": 20},
        "volumes": 0,
        "without": 1,
        "on_both_sides": [{"sides": "pool and test", "patients": 12, "first": ["P0", "P1", "P10"]}],
    }
    assert found["warnings"] == ["12 patients are in pool and test: P0, P1, P10 and 9 more."]
    assert any(line.endswith("12 in pool, 20 in test; 1 image without") for line in lines(found))


def test_patients_on_one_side_each_and_unknown_ones(tmp_path):
    apart = [*many(24, patient="P"), *many(20, "test", 1, patient="Q")]
    assert any(line.endswith("1 in pool, 1 in test; none on both sides") for line in lines(inventory(tmp_path, apart)))
    unknown = lines(inventory(tmp_path, [*many(24), *many(20, "test", 1)]))
    assert any("not known: images of one patient may be on both sides" in line for line in unknown)


def test_images_that_look_alike_across_parts_are_named(tmp_path):
    train, test = many(30), many(20, "test", 1)
    as_before = train[4].image.astype(int)
    test[7] = test[7]._replace(image=np.clip(as_before + 1, 0, 255).astype(np.uint8))
    test[9] = test[9]._replace(image=train[5].image)
    found = inventory(tmp_path, [*train, *test])
    pairs = [["train0_4.png", "test1_7.png"], ["train0_5.png", "test1_9.png"]]
    assert found["alike"] == [{"a": "pool", "b": "test", "images": 2, "first": pairs}]
    said = "2 images of test look like one of pool: test1_7.png like train0_4.png, test1_9.png like train0_5.png."
    assert found["warnings"] == [said]


@pytest.mark.parametrize("size", [(5, 7), (8, 9), (28, 28), (300, 200)])
def test_copies_are_found_at_every_size_and_flat_or_darker_images_are_not(tmp_path, size):
    rows, columns = (np.arange(length) * 9 // length for length in size)
    images = [noise(k, (9, 9), 1)[rows][:, columns] // 2 for k in range(4)]
    records = [Record(f"{i}", image, np.array(0)) for i, image in enumerate(images)]
    flat = [Record(f"f{i}", np.full((*size, 1), 9 * i, np.uint8), np.array(0)) for i in range(2)]
    darker = [Record("d", (images[0] + 50).astype(np.uint8), np.array(0))]
    ours, theirs = stored(tmp_path, [*records, *flat]), stored(tmp_path, [*records[::-1], *flat, *darker])
    assert list(alike(looks_of(ours), looks_of(theirs))) == [(3, 0), (2, 1), (1, 2), (0, 3)]


def test_few_values_are_warned_of(tmp_path):
    """One hot pixel may leave five grey levels of a whole set."""
    records = [each._replace(image=each.image // 60) for each in [*many(), *many(20, "test", 1)]]
    assert "45 images that were looked at hold only 5 different values." in inventory(tmp_path, records)["warnings"]


def test_notes_are_told_and_their_warnings_are_warnings(tmp_path):
    said = [(LEFT_OUT, f"column {k} is not used.") for k in range(5)] + [(WARNING, "P1 is in two parts.")]
    with collecting() as notes:
        images = stored(tmp_path, [*many(), *many(20, "test", 1)], notes=said)
    found = take(divided(replace(images, notes=tuple(notes))))
    assert found["warnings"] == ["P1 is in two parts."] and Counter(k for k, _ in found["notes"])[LEFT_OUT] == 5
    short, full = "\n".join(lines(found)), "\n".join(lines(found, full=True))
    assert "column 2" in short and "column 3" not in short and "and 2 more: the command check tells all" in short
    assert "column 4" in full and short.count("P1 is in two parts.") == full.count("P1 is in two parts.") == 1


def test_a_hundred_classes_stay_a_few_lines(tmp_path):
    names = tuple(f"class{k}" for k in range(100))
    records = [each._replace(target=np.array(i % 100)) for i, each in enumerate([*many(200), *many(200, "test", 1)])]
    found = inventory(tmp_path, records, classes=names)
    assert len(found["classes"]) == 50 and found["more_classes"] == 50
    assert "class11 2, and 88 more" in "\n".join(lines(found)) and "class49 2, and 50 more" in "\n".join(lines(found, True))


def test_names_are_told_as_text_that_every_terminal_and_file_takes(tmp_path):
    assert plain("a\x1b[31m\n\udcffä") == "a\\x1b[31m\\n\\udcffä"
    found = inventory(tmp_path, [*many(), *many(20, "test", 1)], classes=("a\n\x07", "b\udcff"))
    "\n".join(lines(found)).encode()
    assert json.dumps(found, ensure_ascii=False).encode() and found["classes"][0]["name"] == "a\\n\\x07"


def test_the_trivial_value_stands_beside(tmp_path):
    images = stored(tmp_path, [*many(), *many(20, "test", 1)])
    found = take(divided(images), None, ("accuracy", 0.5, "always a"))
    assert found["trivial"] == {"metric": "accuracy", "value": 0.5, "words": "always a"}
    assert any("accuracy 0.5000 (always a)" in line for line in lines(found))


def test_what_others_are_shown_names_no_patient_image_or_folder(tmp_path):
    train = [each._replace(patient="P1") for each in many()]
    test = [each._replace(image=train[0].image, patient="P1") for each in many(20, "test", 1)]
    found = inventory(tmp_path, [*train, *test])
    shown = without_names(found)
    assert shown["warnings"] == ["1 patient is in pool and test.", "20 images of test look like one of pool."]
    assert "P1" not in json.dumps(shown) and ".png" not in json.dumps(shown)
    assert "P1" in json.dumps(found), "what it was made of is left as it was"


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("/home/me/my data/labels.csv: 2 rows", "labels.csv: 2 rows"),
        ("C:\\Users\\me\\labels.csv is read", "labels.csv is read"),
        ("the first is '/home/me/a.png'", "the first is 'a.png'"),
        ("train/a.png and 1/2 of ~/x/b", "train/a.png and 1/2 of b"),
    ],
)
def test_folders_are_not_shown(sentence, shown):
    assert FOLDERS.sub("", sentence) == shown
