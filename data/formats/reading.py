"""What loaders share: finding files, reading pictures and masks with errors that name the file, shrinking."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt8
from numpy import ndarray
from PIL import Image

from data.names import Refused
from data.sources import source_fingerprint

COLOURED = {"P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"}  # Pillow modes that become RGB
DEEP = {"I", "I;16", "I;16L", "I;16B", "I;16N"}  # Pillow modes of grey pictures with more than 8 bits
# What Pillow raises for broken files.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


def require_scale(scale: float) -> float:
    """The scale as a float, or a ValueError if it is outside (0, 1]."""
    if not 0 < scale <= 1:
        raise Refused(f"scale={scale!r} must be above 0 and at most 1: images are only ever shrunk")
    return float(scale)


def natural(name: str) -> list[tuple[int, int | str]]:
    """Sort key that counts: 'train_2' before 'train_10'."""
    return [(0, int(piece)) if piece.isdigit() else (1, piece) for piece in re.split(r"(\d+)", name) if piece]


def picture_files(folder: Path) -> list[Path]:
    """The files of a folder with an ending that Pillow can open, in natural order; others and hidden ones are not."""
    formats = Image.registered_extensions()
    known = [
        f for f in folder.iterdir() if f.is_file() and f.name[0] != "." and formats.get(f.suffix.lower()) in Image.OPEN
    ]
    return sorted(known, key=lambda file: natural(file.name))


def fingerprint(root: Path, files: Sequence[Path], code: Iterable[str | Path], *decoding: object) -> str:
    """Digest for `cached`: the files with their places under `root`, the loader's own source files, its options."""
    digest = hashlib.sha256()
    for module in [__file__, *code]:
        digest.update(Path(module).read_bytes())
    places = sorted(file.relative_to(root).as_posix() for file in files)
    return source_fingerprint(files, digest.hexdigest(), places, *decoding)


def picture_mode(file: Path) -> str:
    """Pillow's mode of a picture, from its header alone. ValueError names an unreadable file."""
    return _open(file).mode


def bit_depth(files: Iterable[Path]) -> int:
    """Bits that the grey values of these pictures need, at least 8: one number for a set keeps it comparable."""
    deep = (file for file in files if picture_mode(file) in DEEP)
    return max((int(_load(file).max()).bit_length() for file in deep), default=8)


def read_image(file: Path, channels: int | None = None, depth: int = 16) -> UInt8[ndarray, "h w channels"]:
    """A picture as (H, W, channels) uint8, 0..255.

    `channels` is 1 (grey), 3 (RGB) or None: as the file has it, where a palette counts as RGB and transparency is
    dropped. Pictures of more than 8 bits are divided by 2^(depth - 8); `depth` is the number of bits in use, see
    `bit_depth`. ValueError names a file that is unreadable, corrupt or cut short, or that has values which are not 8 to
    `depth` bits.
    """
    opened = _open(file)
    if opened.mode == "F":
        raise Refused(f"{file} holds floating-point values; save it as an 8-bit or 16-bit picture")
    if opened.mode in DEEP:
        values = _load(file).astype(np.int64)
        if values.min() < 0 or values.max() >= 2**depth:
            raise Refused(
                f"{file} holds grey values from {values.min()} to {values.max()}, expected 0 to {2**depth - 1}"
            )
        pixels = (values >> max(depth - 8, 0)).astype(np.uint8)
        return np.repeat(pixels[..., None], channels or 1, axis=2)
    grey = channels == 1 or (channels is None and opened.mode not in COLOURED)
    pixels = _load(file, "L" if grey else "RGB")
    return pixels[..., None] if grey else pixels


def read_mask(file: Path) -> Integer[ndarray, "h w"]:
    """A mask's integer values (H, W): grey values, palette indices, or the equal channels of grey saved as RGB.

    ValueError names a file that is unreadable, in colour, or not of integers.
    """
    mode = picture_mode(file)
    if mode == "F":
        raise Refused(f"{file} holds floating-point values, expected a mask of integers")
    if mode == "1":
        return _load(file).astype(np.uint8)
    if mode in DEEP | {"L", "P"}:
        return _load(file)
    if mode in {"LA", "PA"}:
        return _load(file)[..., 0]
    colours = _load(file, "RGB")
    if (colours != colours[..., :1]).any():
        raise Refused(
            f"{file} is a colour picture, expected a mask whose grey values or palette indices are the class numbers"
        )
    return colours[..., 0]


def require_equal_size(image_file: Path, image: ndarray, mask_file: Path, mask: ndarray) -> None:
    """ValueError with both sizes where a mask does not match its image."""
    if image.shape[:2] != mask.shape[:2]:
        raise Refused(
            f"mask {mask_file} is {mask.shape[1]} x {mask.shape[0]} pixels, "
            f"expected {image.shape[1]} x {image.shape[0]} like {image_file}"
        )


def shrink(image: UInt8[ndarray, "h w channels"], scale: float) -> UInt8[ndarray, "h2 w2 channels"]:
    """The image at `scale` times its size, each pixel the mean of the area that it covers (no aliasing)."""
    height, width = _shrunk(image.shape, scale)
    if (height, width) == image.shape[:2]:
        return image
    grey = image.shape[2] == 1
    small = Image.fromarray(image[..., 0] if grey else image).resize((width, height), Image.Resampling.BOX)
    return np.asarray(small)[..., None] if grey else np.asarray(small)


def shrink_mask(mask: Integer[ndarray, "h w"], scale: float) -> Integer[ndarray, "h2 w2"]:
    """The mask at `scale` times its size by the nearest pixel: values stay class numbers or ids."""
    height, width = _shrunk(mask.shape, scale)
    rows = ((np.arange(height) + 0.5) * mask.shape[0] / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(np.int64)
    return mask[rows[:, None], columns]


def _shrunk(shape: Sequence[int], scale: float) -> tuple[int, int]:
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def _open(file: Path) -> Image.Image:
    """The header of a picture, with its file closed again."""
    try:
        with Image.open(file) as opened:
            frames = getattr(opened, "n_frames", 1) if opened.format == "TIFF" else 1
    except FileNotFoundError:
        raise
    except UNREADABLE as error:
        raise Refused(f"{file} cannot be read as a picture: {error}") from error
    if frames > 1:
        raise Refused(f"{file} holds {frames} pictures, expected one; save each as a file of its own")
    return opened


def _load(file: Path, mode: str | None = None) -> ndarray:
    try:
        with Image.open(file) as opened:
            return np.array(opened.convert(mode) if mode else opened)
    except UNREADABLE as error:
        raise Refused(f"{file} is corrupt or cut short: {error}") from error
