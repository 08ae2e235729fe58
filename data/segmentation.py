"""The segmentation datasets by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from data.formats.mask_folder import mask_folder
from data.phantoms.glands import glands
from data.sets.dsb2018 import dsb2018
from data.sets.glas import glas
from data.store import Images
from heuristics.core.registry import suggestion

Loader = Callable[[Path, Mapping[str, Any]], Images]
LOADERS: dict[str, Loader] = {
    "phantom": lambda data_root, options: glands(options["phantom_pool"], options["phantom_test"]),
    "glas": lambda data_root, options: glas(data_root, options["scale"]),
    "dsb2018": lambda data_root, options: dsb2018(data_root, options["scale"]),
    "folder": lambda data_root, options: mask_folder(data_root, options["num_classes"] or None, options["scale"]),
}


def load(name: str, data_root: Path, options: Mapping[str, Any]) -> Images:
    """A dataset with masks. ValueError names the nearest known dataset."""
    if name not in LOADERS:
        raise ValueError(f"unknown dataset {name!r}.{suggestion(name, LOADERS)} Known: {', '.join(LOADERS)}")
    return LOADERS[name](data_root, options)
