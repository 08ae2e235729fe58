"""The datasets with boxes by name: `load("bccd", data_root, scale=0.25)`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from data.catalogue import check_options
from data.formats.coco import coco
from data.formats.voc import bccd, voc
from data.phantoms.ct import ct_slices
from data.sets.busi import busi
from data.sets.deeplesion import deeplesion
from data.store import Images


def phantom(
    data_root: Path | None = None,
    scale: float = 1.0,
    cache_root: Path | None = None,
    n_pool: int = 300,
    n_test: int = 100,
    size: int = 128,
    growth: float = 1.8,
    contrast: float = 2.0,
) -> Images:
    """The built-in CT-like slices, painted at `size` pixels a side, with lesions larger and plainer than in the clinic, so that a small
    detector learns from some dozens of slices; growth=1 contrast=1 makes them lifelike. `data_root` and `scale` are not used."""
    return ct_slices(n_pool, n_test, size, growth=float(growth), contrast=float(contrast), cache_root=cache_root)


LOADERS: dict[str, Callable[..., Images]] = {  # each: (data_root, scale, cache_root, **its options)
    "phantom": phantom,
    "deeplesion": deeplesion,
    "busi": busi,
    "bccd": bccd,
    "coco": coco,
    "voc": voc,
}


def load(name: str, data_root: Path, scale: float = 1.0, cache_root: Path | None = None, **chosen: Any) -> Images:
    """The dataset called `name`, of kind 'boxes', with images and boxes shrunk by `scale`. `chosen` are options of the dataset.

    Raises ValueError for a wrong name, option or file, with the nearest valid choice; FileNotFoundError with the expected tree.
    """
    check_options(LOADERS, name, chosen)
    return LOADERS[name](data_root=Path(data_root), scale=scale, cache_root=cache_root, **chosen)
