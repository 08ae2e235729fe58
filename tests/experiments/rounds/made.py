"""Rounds for the tests: pictures on disk, and what a model could make of them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from experiments.rounds.suggestion import Prediction, Seen, Suggestion
from experiments.rounds.writing import writing
from tests.data.pictures import save

CLASSES = {
    "segment": ("background", "gland", "a <b> & 'c'"),
    "detect": ("cell", "a <b> & 'c'"),
    "classify": ("benign", "=malignant"),
}
SIZES = [(40, 52), (33, 33), (64, 20)]  # height, width


def suggestion(file: Path, rank: int = 1, size=(40, 52), part: str = "query", **other) -> Suggestion:
    known = {
        "name": file.name,
        "score": 0.5 / rank if rank else 1.0,
        "uncertainty": 0.25,
        "patient": "p1",
        "nearest": "b.png",
        "why": "uncertain",
    }
    return Suggestion(rank=rank, part=part, file=file, size=size, **{**known, **other})


def prediction(task: str, size: tuple[int, int], seed: int = 0) -> Prediction:
    rng = np.random.default_rng([seed, *size])
    height, width = size
    if task == "classify":
        return Prediction(probs=rng.dirichlet(np.ones(2)))
    if task == "segment":
        class_map = np.zeros(size, np.int64)
        class_map[3 : height - 4, 2 : width // 2] = 1
        class_map[6:9, 4:6] = 0  # a hole, and pieces of all forms
        class_map[height // 2 :, width // 2 :] = rng.integers(0, 3, (height - height // 2, width - width // 2))
        return Prediction(class_map=class_map)
    corners = np.sort(rng.uniform(0, 1, (4, 2, 2)), axis=1) * [width - 2, height - 2] + [[[0, 0], [2, 2]]]
    return Prediction(boxes=np.column_stack([corners.reshape(4, 4), [0, 1, 0, 1], rng.uniform(0.3, 1, 4)]))


def pictures(root: Path, n: int = 6, folder: str = "") -> list[Path]:
    """Pictures of several sizes below root/folder, some of them deeper."""
    rng = np.random.default_rng(0)
    files = []
    for i in range(n):
        name = f"{'deep er/' if i % 2 else ''}image {i}.png"
        values = rng.integers(0, 255, (*SIZES[i % len(SIZES)], 3), dtype=np.uint8)
        files.append(save(root / folder / name, values=values))
    return files


def round_of(task: str, files: list[Path], test: int = 0) -> list[Seen]:
    """One suggestion for each file; the last `test` of them are test images, without a prediction."""
    found = []
    for i, file in enumerate(files):
        size, hidden = SIZES[i % len(SIZES)], i >= len(files) - test
        told = (
            {"part": "test", "score": math.nan, "uncertainty": math.nan, "why": "test", "nearest": ""} if hidden else {}
        )
        picture = np.full((*size, 3), 40 * i % 256, np.uint8)
        seen = None if hidden else prediction(task, size, i)
        found.append(Seen(suggestion(file, i + 1, size, **told), picture, seen))
    return found


def write(kinds, folder: Path, task: str, seen: list[Seen], root: Path, **options) -> Path:
    with writing(kinds, folder, CLASSES[task], "round 1", task, root, **options) as add:
        for each in seen:
            add(each)
    return folder
