"""Small picture files for imitations of datasets."""

from pathlib import Path

import numpy as np
from PIL import Image


def save(file: Path, colour=128, size=(12, 10), mode: str | None = None, values=None) -> Path:
    """Write a picture of (width, height), of one grey value or (r, g, b), or of `values`; makes its folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if values is None:
        shape = (size[1], size[0]) if np.isscalar(colour) else (size[1], size[0], 3)
        values = np.broadcast_to(np.array(colour, dtype=np.uint8), shape)
    picture = Image.fromarray(np.ascontiguousarray(values))
    (picture.convert(mode) if mode else picture).save(file)
    return file


def cut_short(file: Path) -> Path:
    """Leave only the first half of a file."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return file
