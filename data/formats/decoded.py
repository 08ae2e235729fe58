"""What decoders of all formats give: the values of one picture, and what its file says of it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy import ndarray
from PIL import Image

from data.formats.windows import Window
from data.names import Refused

MOST_VALUES = 2**31  # of a volume: 4 GB of 16 bits


class Known(NamedTuple):
    """What a file says of its pictures, from its header alone."""

    format: str  # PNG, TIFF, DICOM, NIfTI, ...
    coloured: bool  # three colours, or a palette of them
    deep: bool = False  # values of more than 8 bits, or that are no bytes: a window makes them so
    frames: tuple[int, ...] = (0,)  # where its pictures are in the file
    orientation: int = 1  # EXIF: how to turn what is stored
    inverted: bool = False  # the lowest value is white
    window: Window | None = None  # what the file says should be seen
    patient: str = ""
    series: str = ""  # the volume that a single slice belongs to
    number: int = 0  # its place in that
    position: float | None = None  # millimetres along the direction in which slices follow each other
    spacing: tuple[float, ...] = ()  # millimetres per pixel: row, column, slice
    axes: str = ""  # where the axes of a volume lead in the body: RAS, LPS, ...


class Decoded(NamedTuple):
    """One picture."""

    values: ndarray  # (H, W, channels): 1 or 3 (TIFF: any), turned, without alpha; uint8 where not `known.deep`
    known: Known
    palette: ndarray | None = None  # (entries, 3) uint8 where `values` are indices, as in masks


def require_pixels(file: Path, height: int, width: int, frames: int = 1) -> None:
    """Refused for a picture that would fill the memory, as Pillow does with its own formats."""
    most = 2 * (Image.MAX_IMAGE_PIXELS or 2**27)
    if height * width > most or height * width * frames > MOST_VALUES:
        many = f" x {frames}" if frames > 1 else ""
        raise Refused(f"{file} has {width} x {height}{many} pixels, more than is read; cut it into smaller pictures")


def require_frame(file: Path, known: Known, frame: int | None) -> int:
    """The frame to decode; None stands for the only one."""
    if frame is not None:
        return frame
    if len(known.frames) > 1:
        raise Refused(
            f"{file} holds {len(known.frames)} pictures, expected one; save each as a file of its own, or say "
            "frames='all' to use them all"
        )
    return known.frames[0] if known.frames else 0


def turn(values: ndarray, orientation: int) -> ndarray:
    """Stored pixels (H, W, ...) as an EXIF orientation 1..8 says they are to be seen."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return np.ascontiguousarray(values)


def turn_back(values: ndarray, orientation: int) -> ndarray:
    """The stored pixels of turned ones."""
    return turn(values, {6: 8, 8: 6}.get(orientation, orientation))
