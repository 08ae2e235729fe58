"""The segmentation datasets by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from data.dsb2018 import dsb2018
from data.glas import glas
from data.mask_folder import mask_folder
from data.phantoms import glands
from data.store import Images
from heuristics.registry import suggestion

LOADERS: dict[str, Callable[[Path, float, int], Images]] = {
    "phantom": lambda data_root, scale, num_classes: glands(),
    "glas": lambda data_root, scale, num_classes: glas(data_root, scale),
    "dsb2018": lambda data_root, scale, num_classes: dsb2018(data_root, scale),
    "folder": lambda data_root, scale, num_classes: mask_folder(data_root, num_classes or None, scale),
}


def load(name: str, data_root: Path, scale: float = 1.0, num_classes: int = 0) -> Images:
    """A dataset with masks; `scale` shrinks what is read from files, `num_classes` is for `folder` (0 finds out).

    ValueError names the nearest known dataset.
    """
    if name not in LOADERS:
        raise ValueError(f"unknown dataset {name!r}.{suggestion(name, LOADERS)} Known: {', '.join(LOADERS)}")
    return LOADERS[name](data_root, scale, num_classes)
