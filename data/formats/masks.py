"""Masks as they are stored: whole numbers, palette indices or colours. Turned as EXIF says, never scaled."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer
from numpy import ndarray

from data.formats import pictures
from data.names import Refused

IGNORED = 255  # in class maps of at most 255 classes: pixels that count neither in the loss nor in a score
TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height


class Mask(NamedTuple):
    """One mask as its file has it."""

    values: ndarray  # (H, W) whole numbers, or (H, W, 3) colours
    palette: ndarray | None = None  # (entries, 3) uint8: the colours of the numbers
    orientation: int = 1

    @property
    def coloured(self) -> bool:
        """Whether it is of colours that no palette numbers."""
        return self.values.ndim == 3


def decode_mask(file: Path, frame: int | None = None, exif: str = "apply") -> Mask:
    """A mask. Grey pictures saved as RGB are grey; alpha is no part of it. Refused names a file that cannot be one."""
    values, known, palette = pictures.decode(file, frame, exif, as_mask=True)
    if known.format == "TIFF" and known.inverted:
        raise Refused(f"{file} says that 0 is white, so that its class numbers are not sure; save it with 0 as black")
    if values.dtype.kind == "f":
        whole = np.rint(values)
        if not np.array_equal(whole, values):
            raise Refused(f"{file} holds floating-point values, expected a mask of integers")
        values = whole.astype(np.int64)
    if values.shape[2] == 3 and (values == values[..., :1]).all():
        values = values[..., :1]
    if values.shape[2] not in (1, 3):
        raise Refused(f"{file} has {values.shape[2]} channels, expected a mask of one number, or one colour, per pixel")
    return Mask(values[..., 0] if values.shape[2] == 1 else values, palette, known.orientation)


def read_mask(file: Path, exif: str = "apply") -> Integer[ndarray, "h w"]:
    """A mask's numbers (H, W): grey values, palette indices, or the equal channels of a grey picture saved as RGB.

    Refused names a file that is unreadable, in colour, or not of whole numbers.
    """
    mask = decode_mask(file, exif=exif)
    if mask.coloured:
        raise Refused(
            f"{file} is a colour picture, expected a mask whose grey values or palette indices are the class numbers"
        )
    return mask.values


def require_equal_size(image_file: Path, image: ndarray, mask_file: Path, mask: ndarray) -> None:
    """Refused with both sizes where a mask does not match its image; says so where EXIF turned one of them."""
    if image.shape[:2] == mask.shape[:2]:
        return
    turned = [file.name for file in (image_file, mask_file) if pictures.look(file).orientation in TURNED]
    because = ""
    if turned and image.shape[:2] == mask.shape[1::-1]:
        because = (
            f"; the EXIF orientation of {' and '.join(turned)} exchanges width and height: say exif='ignore' where "
            "the mask was drawn on the picture as it is stored"
        )
    raise Refused(
        f"mask {mask_file} is {mask.shape[1]} x {mask.shape[0]} pixels, "
        f"expected {image.shape[1]} x {image.shape[0]} like {image_file}{because}"
    )
