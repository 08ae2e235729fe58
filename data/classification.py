"""The classification datasets by name: `load("nct", data_root, image_size=224)`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from data.catalogue import check_options, options_of
from data.formats.labelled import require_image_size
from data.phantoms.tissue import tissue
from data.sets import class_folders, defects
from data.sets.brain_tumor import braintumor
from data.sets.cifar import cifar10
from data.sets.digits import digits
from data.sets.isic import isic2020
from data.sets.medmnist import MULTI_LABEL, REFUSED, SETS, medmnist
from data.store import Images


def phantom(
    data_root: Path | None = None, image_size: int | None = None, cache_root: Path | None = None, n_pool: int = 3000, n_test: int = 1000
) -> Images:
    """The built-in tissue patches, painted at `image_size` (32 where it is None). `data_root` is not used."""
    return tissue(n_pool, n_test, image_size or 32, cache_root=cache_root)


LOADERS: dict[str, Callable[..., Images]] = {  # each: (data_root, image_size, cache_root, **its options)
    "phantom": phantom,
    "digits": digits,
    "nct": class_folders.nct,
    "isic2020": isic2020,
    "cifar10": cifar10,
    "eurosat": class_folders.eurosat,
    "imagenet": class_folders.imagenet,
    "oct": class_folders.oct_scans,
    "braintumor": braintumor,
    "brain_tumor_mri": class_folders.brain_tumor_mri,
    "gaps": defects.gaps,
    "ksdd2": defects.ksdd2,
    "ksdd": defects.ksdd,
    "folder": class_folders.own,
    **{name: partial(medmnist, name) for name in SETS},
}


def names() -> list[str]:
    """All datasets with one class per image, in alphabetical order."""
    return sorted(LOADERS)


def options(name: str) -> dict[str, Any]:
    """The options of a dataset and their defaults. ValueError names the nearest known dataset."""
    if name == MULTI_LABEL:
        raise ValueError(REFUSED)
    return options_of(LOADERS, name)


def check(name: str, image_size: int | None, /, **chosen: Any) -> None:
    """ValueError for an unknown dataset or option, or a value of the wrong type; reads nothing."""
    options(name)
    require_image_size(image_size)
    check_options(LOADERS, name, chosen)


def load(name: str, data_root: Path, image_size: int | None, cache_root: Path | None = None, **chosen: Any) -> Images:
    """The dataset called `name`: kind 'class', targets () int64, group = class, parts 'train', 'test' and, where official, 'val'.

    Images are (image_size, image_size): the shorter side resized with antialiasing, then the centre cropped (the Kolektor sets are squeezed
    instead); None keeps them as they are, of any size. `chosen` are options of the dataset, see `options`. They are decoded on the first
    use and memory-mapped from `cache_root` afterwards.

    Raises ValueError for a wrong name, option or file, with the nearest valid choice; FileNotFoundError with the expected tree.
    """
    check(name, image_size, **chosen)
    return LOADERS[name](data_root=Path(data_root), image_size=image_size, cache_root=cache_root, **chosen)
