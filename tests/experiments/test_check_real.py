"""What `check` says of real sets, beside counts that are made here from the files alone."""

import csv
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data
from data.inventory import take
from data.splits import make_splits

pytestmark = pytest.mark.realdata


def read(task, name, root, **options):
    """Images by part, and the counts of the classes by part."""
    images = data.load(task, name, root, **options)
    found = take(make_splits(images, 0, np.random.default_rng(0)))
    sizes = {part["name"]: part["images"] for part in found["parts"]}
    return found, sizes, {each["name"]: each["counts"] for each in found["classes"]}


def by_folder(root: Path, parts) -> dict[str, dict[str, int]]:
    """class -> part -> pictures in root/<part>/<class>."""
    counted: dict[str, dict[str, int]] = {}
    for part, folder in parts.items():
        for inner in (root / folder).iterdir():
            counted.setdefault(inner.name, {})[part] = sum(1 for file in inner.iterdir() if file.suffix in (".jpg", ".png"))
    return counted


def test_glands(raw_root, tmp_path):
    root = raw_root("glas")
    files = [file.stem for file in (root / "glas").glob("*.bmp") if not file.stem.endswith("_anno")]
    rows = (root / "glas" / "Grade.csv").read_bytes().replace(b"\r", b"\n").decode()
    patient = dict(re.findall(r"^(\w+_\d+),\s*(\d+)", rows, re.M))
    who = {part: {patient[stem] for stem in files if stem.startswith(part)} for part in ("train", "test")}
    found, sizes, classes = read("segment", "glas", root, scale=0.2)
    assert sizes == {"pool": sum(f.startswith("train") for f in files), "test": sum(f.startswith("test") for f in files)}
    masks = {part: [np.asarray(Image.open(root / "glas" / f"{f}_anno.bmp")) for f in files if f.startswith(part)] for part in who}
    assert classes["gland"] == {"pool": sum(m.any() for m in masks["train"]), "test": sum(m.any() for m in masks["test"])}
    assert found["patients"]["named"] == {"pool": len(who["train"]), "test": len(who["test"])}
    assert found["patients"]["on_both_sides"][0]["patients"] == len(who["train"] & who["test"])
    for stem in files:  # as one's own folder
        for kind, name in (("images", stem), ("masks", f"{stem}_anno")):
            folder = tmp_path / kind / stem.split("_")[0].rstrip("AB")
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / "glas" / f"{name}.bmp", folder / f"{stem}.bmp")
    own = read("segment", "folder", tmp_path, scale=0.2, instances=True)
    assert own[1] == sizes and own[2]["object"] == classes["gland"]
    assert own[0]["size"] == found["size"] and own[0]["channels"] == found["channels"]


def test_nuclei(raw_root):
    folders = [f for f in (raw_root("dsb2018") / "dsb2018/stage1_train").iterdir() if (f / "masks").is_dir()]
    shapes = [Image.open(next((f / "images").iterdir())).size for f in folders]
    found, sizes, classes = read("segment", "dsb2018", raw_root("dsb2018"))
    assert sum(sizes.values()) == len(folders) and sum(classes["nucleus"].values()) == len(folders)
    assert found["size"]["widths"] == [min(w for w, _ in shapes), max(w for w, _ in shapes)]
    assert found["size"]["heights"] == [min(h for _, h in shapes), max(h for _, h in shapes)]
    assert found["size"]["different"] == len(set(shapes))


@pytest.mark.parametrize("name", ["retinamnist", "pneumoniamnist"])
def test_medmnist(raw_root, name):
    with np.load(raw_root("medmnist") / "medmnist" / f"{name}.npz") as arrays:
        labels = {part: Counter(arrays[f"{key}_labels"].ravel().tolist()) for part, key in (("pool", "train"), ("test", "test"))}
        n_val = len(arrays["val_labels"])
    found, sizes, classes = read("classify", name, raw_root("medmnist"))
    assert list(classes.values()) == [{part: labels[part][k] for part in labels} for k in range(len(classes))]
    assert found["unused"] == [["val", n_val]] and sizes == {part: sum(labels[part].values()) for part in labels}


@pytest.mark.parametrize("name", ["brain_tumor_mri", "folder"])
def test_brains(raw_root, name):
    root = raw_root("brain_tumor_mri")
    expected = by_folder(root / "brain_tumor_mri", {"pool": "Training", "test": "Testing"})
    _, _, classes = read("classify", name, root / "brain_tumor_mri" if name == "folder" else root, image_size=32)
    assert sorted(map(str, classes.values())) == sorted(map(str, expected.values()))


def test_small_colour_pictures_as_ones_own(raw_root):
    root = raw_root("cifar10_jpg") / "cifar10_jpg"
    _, _, classes = read("classify", "folder", root, image_size=None)
    assert classes == by_folder(root, {"pool": "train", "test": "test"})


def test_surfaces(raw_root):
    masks = sorted((raw_root("kolektorsdd") / "kolektorsdd").glob("kos*/*_label.bmp"))
    defects = sum(bool(np.asarray(Image.open(mask)).any()) for mask in masks)
    _, sizes, classes = read("classify", "ksdd", raw_root("kolektorsdd"), image_size=32)
    assert sum(sizes.values()) == len(masks)
    assert sorted(sum(each.values()) for each in classes.values()) == sorted([defects, len(masks) - defects])


@pytest.mark.parametrize("name", ["bccd", "voc"])
def test_blood_cells(raw_root, name):
    folder = raw_root("bccd") / "bccd/BCCD"
    root, options = (raw_root("bccd") / "bccd", {}) if name == "bccd" else (folder, {"bad_boxes": "clip"})
    test = {line.split()[0] for line in (folder / "ImageSets/Main/test.txt").read_text().splitlines() if line.strip()}
    drawn = Counter()
    for file in (folder / "Annotations").glob("*.xml"):
        if file.stem in test:
            for what in re.findall(r"<object>(.*?)</object>", file.read_text(), re.S):
                label = re.search(r"<name>(.*?)</name>", what)[1]
                x1, y1, x2, y2 = (int(re.search(f"<{k}>(\\d+)</{k}>", what)[1]) for k in ("xmin", "ymin", "xmax", "ymax"))
                drawn[label] += x2 > x1 and y2 > y1
    _, sizes, classes = read("detect", name, root, **options)
    assert sizes["test"] == len(test) and {label: counts["test"] for label, counts in classes.items()} == drawn


def test_lesions(raw_root):
    root = raw_root("deeplesion")
    files = {file.stem for file in (root / "deeplesion/truth_samples_8bit").rglob("*.jpg")}
    with open(root / "deeplesion/DL_info.csv", newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["File_name"].removesuffix(".png") in files]
    of_part = {"pool": [r for r in rows if r["Train_Val_Test"] != "3"], "test": [r for r in rows if r["Train_Val_Test"] == "3"]}
    found, sizes, classes = read("detect", "deeplesion", root, source="samples_8bit", scale=0.25)
    assert sizes == {part: len({row["File_name"] for row in here}) for part, here in of_part.items()}
    assert classes["lesion"] == {part: len(here) for part, here in of_part.items()}
    assert found["patients"]["named"] == {part: len({row["Patient_index"] for row in here}) for part, here in of_part.items()}
    assert not found["patients"]["on_both_sides"]
