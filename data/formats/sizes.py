"""How large the pictures of a folder are, before any of them is made smaller: from a few that are spread over it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data.formats.endings import is_picture, natural
from data.formats.folders import is_junk, walk
from data.formats.pictures import decode, look
from data.names import Refused

SAMPLE = 24  # pictures that are looked at


def typical_size(folder: Path) -> tuple[int, int] | None:
    """Median height and width in pixels, as they are stored and turned, over SAMPLE pictures at any depth of a folder.

    What is no picture, or cannot be read, is passed over: readers say what is wrong. None where no picture is left.
    """
    files = sorted(
        _pictures(folder) if folder.is_dir() else (), key=lambda file: natural(file.relative_to(folder).as_posix())
    )
    chosen = np.unique(np.linspace(0, len(files) - 1, min(SAMPLE, len(files))).round().astype(int)) if files else []
    sizes = [size for number in chosen if (size := _size(files[number]))]
    if not sizes:
        return None
    height, width = np.median(sizes, axis=0)
    return int(height), int(width)


def _pictures(folder: Path) -> Iterator[Path]:
    for file in walk(folder):
        try:
            if not is_junk(file.name) and is_picture(file):
                yield file
        except (Refused, OSError):
            continue


def _size(file: Path) -> tuple[int, int] | None:
    try:
        frames = look(file).frames
        height, width, _ = decode(file, frames[0] if len(frames) > 1 else None).values.shape
    except (Refused, OSError):
        return None
    return height, width
