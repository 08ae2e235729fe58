"""Small folders of one's own for each task, whose classes can be told apart and be given in another order."""

import json
from pathlib import Path

import numpy as np

from experiments.classify import SCRIPT as CLASSIFY
from experiments.detect import SCRIPT as DETECT
from experiments.segment import SCRIPT as SEGMENT
from tests.data.pictures import save

SCRIPTS = {"segment": SEGMENT, "classify": CLASSIFY, "detect": DETECT}
SHARED = {"n_initial": 4, "n_query": 1, "n_cycles": 0, "mc_samples": 2, "precision": "float32"}
OPTIONS = {
    "classify": SHARED | {"image_size": 16, "steps": 6, "batch_size": 4},
    "segment": SHARED | {"steps": 6, "batch_size": 2, "width": 4, "depth": 2, "crop": 16},
    "detect": SHARED | {"steps": 2, "batch_size": 2, "score_threshold": 0.0},
}
PRESET = {"classify": "folder", "segment": "folder", "detect": "coco"}


def picture(i: int, size: int) -> np.ndarray:
    return np.random.default_rng(i).integers(0, 60 + 50 * (i % 3), (size, size, 3), np.uint8)


def classify(root: Path, names=("a", "b", "c"), n=5) -> dict:
    """Pictures named im<i>.png of class i % 3 in train/ and test/."""
    order = {name: place for place, name in enumerate(names)}
    for part, start in (("train", 0), ("test", 3 * n)):
        for i in range(start, start + 3 * n):
            save(root / part / sorted(names)[i % 3] / f"im{i}.png", values=picture(i, 16))
    return {"dataset_options": {"class_names": sorted(names, key=order.__getitem__)}}


def segment(root: Path, names=("background", "x", "y"), n=5) -> dict:
    """Masks of thirds; class k of `names` is the value k."""
    for part, start in (("train", 0), ("test", n)):
        for i in range(start, start + n):
            mask = np.zeros((16, 16), np.uint8)
            mask[5:10], mask[10 : 13 + i % 3] = names.index("x"), names.index("y")
            save(root / "images" / part / f"im{i}.png", values=picture(i, 16))
            save(root / "masks" / part / f"im{i}.png", values=mask)
    return {"dataset_options": {"num_classes": 3, "class_names": list(names)}}


def detect(root: Path, names=("x", "y"), n=5) -> dict:
    """One box of each class in every picture."""
    categories = [{"id": k, "name": name} for k, name in enumerate(names, 1)]
    ids = {category["name"]: category["id"] for category in categories}
    for part, start in (("train", 0), ("test", n)):
        images, boxes = [], []
        for i in range(start, start + n):
            save(root / part / f"im{i}.png", values=picture(i, 64))
            images.append({"id": i, "file_name": f"im{i}.png", "width": 64, "height": 64})
            for name, corner in (("x", [4, 4, 20, 16]), ("y", [30, 24 + i, 24, 30])):
                boxes.append({"id": len(boxes), "image_id": i, "category_id": ids[name], "bbox": corner, "iscrowd": 0})
        (root / "annotations").mkdir(parents=True, exist_ok=True)
        table = {"images": images, "annotations": boxes, "categories": categories}
        (root / f"annotations/instances_{part}.json").write_text(json.dumps(table))
    return {}


MAKE = {"classify": classify, "segment": segment, "detect": detect}


def options_of(task: str, root: Path, *names, **more) -> dict:
    """Make a folder, and the options of a run of seconds on it."""
    return OPTIONS[task] | MAKE[task](root, *names) | {"data_root": str(root)} | more
