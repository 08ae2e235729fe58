"""Reading a dataset by name."""

from __future__ import annotations

import inspect
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.catalogue import check, loader
from data.limits import Between, check_value
from data.names import Refused
from data.notes import collecting
from data.store import Images
from data.unlabelled import Unlabelled

SIZE = Between(8, 4096)  # pixels a side


def load(
    task: str,
    name: str,
    data_root: str | Path,
    *,
    cache_root: Path | None = None,
    unlabelled: Unlabelled | None = None,
    **chosen: Any,
) -> Images:
    """The dataset called `name` of a task: masks for 'segment', classes for 'classify', boxes for 'detect'.

    `scale` in (0, 1] shrinks images with masks or boxes, `image_size` brings images with classes to so many pixels a
    side (None leaves them as they are); all else in `chosen` are options of the dataset, see `options`. Images are
    decoded on the first use and memory-mapped from `cache_root` afterwards. Parts are 'train', 'test' (or several that
    begin so) and, where official, 'val'. `notes` of the images is what was left out, guessed or changed, also when they
    were decoded. `unlabelled` keeps images that have no label, see `data.unlabelled`; all are of the part train
    then, but those that the folder itself puts into another.

    Raises Refused for a wrong name, option or file, with the nearest valid choice; Missing with the expected tree.
    """
    size = {option: chosen.pop(option) for option in ("image_size", "scale") if option in chosen}
    check(task, name, chosen)
    if size.get("image_size") is not None:
        check_value("image_size", size["image_size"], 0, SIZE)
    reader = loader(task, name)
    taken = inspect.signature(reader).parameters
    given = {"data_root": Path(data_root), "cache_root": cache_root, "image_size": None, **size}
    if unlabelled is not None:
        given["unlabelled"] = unlabelled
        if "unlabelled" not in taken:
            raise Refused(f"images without labels are read as folder, voc, yolo or coco, not as dataset {name!r}")
    with collecting() as said:
        try:
            images = reader(**{option: value for option, value in given.items() if option in taken}, **chosen)
        except OSError as error:  # of a file of the user's: no permission, a damaged disk, a loop of links
            if isinstance(error, Refused) or not _lies_in(error.filename, given["data_root"]):
                raise
            raise Refused(f"{error.filename} cannot be read: {error.strerror}") from error
    return replace(images, notes=tuple(said))


def _lies_in(file: object, folder: Path) -> bool:
    return isinstance(file, str) and Path(os.path.abspath(file)).is_relative_to(os.path.abspath(folder))
