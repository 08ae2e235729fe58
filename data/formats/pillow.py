"""Pictures that Pillow decodes: PNG, JPEG, WebP, GIF, BMP, TIFF of 8 bits or one colour, ...; turned as EXIF says.

What Pillow would cut to 8 bits goes elsewhere: 16-bit colours of PNG to torchvision, those of TIFF to tifffile.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray
from PIL import Image

from data import notes
from data.formats import tiff
from data.formats.decoded import Decoded, Known, require_frame, turn, turn_back
from data.names import Refused

COLOURED = {"P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"}  # modes that become RGB
DEEP = {"I", "I;16", "I;16L", "I;16B", "I;16N", "F"}  # modes of grey pictures with more than 8 bits
UNREADABLE = (  # what Pillow and its codecs raise for broken files
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError),
    *(RuntimeError, MemoryError, struct.error, Image.DecompressionBombError),
)
ORIENTATION = 0x0112
PHOTOMETRIC, BITS, SAMPLES, EXTRA_SAMPLES, SAMPLE_FORMAT, DESCRIPTION = 262, 258, 277, 338, 339, 270  # tags of TIFF
STACKED = ("ImageJ=", '{"shape"')  # how the description begins where one page may stand for a stack
WIDENED = {"L;2": 85, "L;4": 17}  # what Pillow multiplies grey values of 2 and 4 bits by
POINTERS = {  # how the text files begin that stand for content which is elsewhere
    b"version https://git-lfs": "git lfs pull",
    b"/annex/objects/": "git annex get",
    b"outs:": "dvc pull",
    b"md5:": "dvc pull",
}


def look(file: Path) -> Known:
    """What the header says."""
    with opened(file) as picture:
        if _is_cut(picture):
            return tiff.look(file)
        return known_of(file, picture)


def decode(file: Path, frame: int | None = None, exif: str = "apply", as_mask: bool = False) -> Decoded:
    """One picture: grey (H, W, 1) or RGB (H, W, 3), without alpha.

    As a mask, palette indices stay indices, and grey values of 1, 2 and 4 bits are those that are stored.
    """
    with opened(file) as picture:
        if _is_cut(picture):
            return tiff.decode(file, frame, exif)
        known = known_of(file, picture)
        palette, turned = None, False
        try:
            if len(known.frames) > 1 or frame:
                picture.seek(require_frame(file, known, frame))
            rawmode = _rawmode(picture)
            if picture.mode in ("RGB", "RGBA", "LA") and ";16" in rawmode:
                values = _deep_png(file, picture)
            elif as_mask:
                values, palette = _mask_values(file, picture, rawmode)
            elif picture.mode in DEEP:
                values = np.array(picture)
            else:
                values = np.array(picture.convert("RGB" if picture.mode in COLOURED else "L"))
            turned = picture.format == "TIFF" and known.orientation != 1  # Pillow turns these itself
            if not turned:
                known = known._replace(orientation=_orientation(picture))
        except UNREADABLE as error:
            raise _damaged(file, error) from error
    values = values[..., None] if values.ndim == 2 else values
    if known.orientation != 1 and exif == "ignore" and turned:
        values = turn_back(values, known.orientation)
    elif known.orientation != 1 and exif == "apply" and not turned:
        values = turn(values, known.orientation)
    return Decoded(values, known, palette)


@contextmanager
def opened(file: Path) -> Iterator[Image.Image]:
    """The picture with its header read. Refused where it is none, and where only a pointer to it is here."""
    try:
        picture = Image.open(file)
    except FileNotFoundError:
        raise
    except UNREADABLE as error:
        if isinstance(error, Image.UnidentifiedImageError) and tiff.is_tiff(file):
            yield Image.new("F", (1, 1))  # stands for a TIFF that Pillow does not know: see `_is_cut`
            return
        raise Refused(f"{file} cannot be read as a picture: {_pointed(file) or error}") from error
    with picture:
        yield picture


def known_of(file: Path, picture: Image.Image) -> Known:
    """What the header of an opened picture says."""
    kind, mode, rawmode = picture.format or "", picture.mode, _rawmode(picture)
    deep = mode in DEEP or (kind == "PNG" and ";16" in rawmode)
    if not deep and (_cut_bits(file, picture) or ";16" in rawmode):
        raise Refused(f"{file} holds colours of more than 8 bits in {kind}; save it as PNG or TIFF of 16 bits")
    try:
        frames = 1 if kind in ("MPO", "ICO", "PSD") else getattr(picture, "n_frames", 1)  # behind a photo: previews
        several = kind == "TIFF" and (frames > 1 or str(_tags(picture).get(DESCRIPTION, "")).startswith(STACKED))
        full = tiff.look(file).frames if several else tuple(range(frames))
        orientation = _orientation(picture) if kind != "PNG" or _says_orientation(picture) else 1
        inverted = mode in DEEP and kind == "TIFF" and _tags(picture).get(PHOTOMETRIC) == 0
    except UNREADABLE as error:
        raise _damaged(file, error) from error
    return Known(kind, mode in COLOURED, deep, full, orientation, inverted)


def _is_cut(picture: Image.Image) -> bool:
    """Whether this is a TIFF that Pillow does not know, or cuts to 8 bits, or takes for unsigned bytes."""
    if picture.format is None:
        return True
    if picture.format != "TIFF":
        return False
    tags = _tags(picture)
    bits, signed = tags.get(BITS, (1,)), tags.get(SAMPLE_FORMAT, (1,))
    alphas = sum(kind in (1, 2) for kind in tags.get(EXTRA_SAMPLES, ()))
    colours = {0: 1, 1: 1, 2: 3}.get(tags.get(PHOTOMETRIC), 0)
    if colours and tags.get(SAMPLES, 1) - alphas > colours:  # not grey or RGB with alpha, but more channels
        return True
    return (picture.mode not in DEEP and max(bits) > 8) or (max(bits) == 8 and max(signed) > 1)


def _cut_bits(file: Path, picture: Image.Image) -> bool:
    """Whether a format other than PNG and TIFF has colours of more than 8 bits, which Pillow would cut."""
    if picture.format == "PPM" and picture.mode not in DEEP:
        return any(isinstance(word, int) and word > 255 for word in _args(picture)[1:])  # its largest value
    if picture.format == "JPEG2000" and picture.mode not in DEEP:
        with open(file, "rb") as stream:
            start = stream.read(4096)
        size = start.find(b"\xff\x4f\xff\x51")  # of the codestream: its size marker, with the bits of each component
        return size >= 0 and len(start) > size + 42 and (start[size + 42] & 0x7F) + 1 > 8
    return False


def _args(picture: Image.Image) -> tuple:
    """What Pillow's decoder is told."""
    tiles = getattr(picture, "tile", None)
    args = tiles[0].args if tiles else ()
    return args if isinstance(args, tuple) else (args,)


def _tags(picture: Image.Image) -> Any:
    """The tags of a TIFF, none of other formats."""
    return getattr(picture, "tag_v2", {})


def _rawmode(picture: Image.Image) -> str:
    """How the pixels are stored, as Pillow calls it: 'RGB;16B'."""
    args = _args(picture)
    return args[0] if args and isinstance(args[0], str) else ""


def _deep_png(file: Path, picture: Image.Image) -> ndarray:
    """The 16-bit values of a PNG with colours or alpha, without alpha."""
    import torch  # late: few sets need it
    from torchvision.io import ImageReadMode, decode_image

    if picture.format != "PNG":
        raise Refused(f"{file} holds 16-bit values in {picture.format}; save it as PNG or TIFF")
    picture.load()  # names a file that is cut short
    try:
        stored = torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8)
        values = decode_image(stored, ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()
    except RuntimeError as error:
        raise Refused(f"{file} is corrupt or cut short: {error}") from error
    return np.ascontiguousarray(values[..., : 1 if values.shape[2] == 2 else 3])  # Pillow calls grey with alpha RGBA


def _mask_values(file: Path, picture: Image.Image, rawmode: str) -> tuple[ndarray, ndarray | None]:
    """Stored values, and the palette that they point into."""
    mode = picture.mode
    values = np.array(picture)
    if mode in ("LA", "PA", "RGBA") and np.ptp(values[..., -1]):
        if not np.ptp(values[..., :-1], axis=(0, 1)).any():
            raise Refused(f"{file} has one colour and a mask in its alpha channel; save that as a grey picture")
        notes.note(notes.GUESSED, "the alpha of masks is not used: their grey values, colours or palettes count alone")
    tags = _tags(picture)
    if mode == "L" and tags.get(PHOTOMETRIC) == 0 and not np.isin(values, (0, 255)).all():
        raise Refused(f"{file} says that 0 is white, so that its numbers are not sure; save it with 0 as black")
    if mode in ("P", "PA"):
        indices = values[..., 0] if mode == "PA" else values
        return indices, np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
    if mode in DEEP or mode in ("1", "L"):
        widened = WIDENED.get(rawmode, {2: 85, 4: 17}.get(tags.get(BITS, (8,))[0], 1))
        return values.astype(np.uint8) if mode == "1" else values // widened if widened > 1 else values, None
    return values[..., 0] if mode == "LA" else np.array(picture.convert("RGB")), None


def _damaged(file: Path, error: Exception) -> Refused:
    return error if isinstance(error, Refused) else Refused(f"{file} is corrupt or cut short: {error}")


def _says_orientation(picture: Image.Image) -> bool:
    return any(key in picture.info for key in ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"))


def _orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none or it cannot be read."""
    try:
        said = picture.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF does not make a picture unreadable, in no viewer
        return 1
    return said if said in range(1, 9) else 1


def _pointed(file: Path) -> str:
    """What to do where a file is a pointer of git-lfs, git-annex or DVC."""
    with open(file, "rb") as stream:
        start = stream.read(64)
    for begin, command in POINTERS.items():
        if start.startswith(begin) or re.match(rb"[./]*\.git/annex/objects", start):
            return f"only a pointer to its content is here: get it with `{command}`"
    return ""
