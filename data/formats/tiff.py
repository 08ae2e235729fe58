"""TIFF that Pillow cannot read, or reads wrongly: more than 8 bits and colours, floats, signs, many channels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from data.formats.decoded import Decoded, Known, require_frame, require_pixels, turn
from data.names import Refused

ENDINGS = (".tif", ".tiff")
SMALLEST_PAGE = 18  # bytes: a page's list of one entry
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
ORIENTATION, REDUCED = 274, 1
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2  # photometric interpretations that are read here


def is_tiff(file: Path) -> bool:
    """Whether the content is TIFF."""
    with open(file, "rb") as opened:
        return opened.read(4) in MAGIC


def look(file: Path) -> Known:
    """What the header says."""
    with _opened(file) as tiff:
        return _known(file, tiff)


def decode(file: Path, frame: int | None = None, exif: str = "apply") -> Decoded:
    """One page, with all its channels but alpha."""
    with _opened(file) as tiff:
        known = _known(file, tiff)
        page, name = tiff.pages[require_frame(file, known, frame)], ""
        try:
            name = getattr(page.compression, "name", page.compression)
            if page.photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB):
                kind = getattr(page.photometric, "name", page.photometric)
                raise Refused(f"{file} holds {kind} values of {page.bitspersample} bits, expected grey or RGB")
            require_pixels(file, int(page.imagelength), int(page.imagewidth))
            values = _rows_columns_channels(page)
        except Refused:
            raise
        except Exception as error:  # tifffile raises what the damage leads to
            if "imagecodecs" not in str(error):
                raise Refused(f"{file} is corrupt or cut short: {error}") from error
            packed = f"is compressed as {name}, which needs `pip install imagecodecs`"
            raise Refused(f"{file} {packed}; or save it without compression") from error
    if values.dtype.kind not in "uif" or values.dtype.itemsize > 8:
        raise Refused(f"{file} holds {values.dtype} values, expected whole or floating-point numbers")
    known = known._replace(coloured=values.shape[2] == 3, inverted=page.photometric == WHITE_IS_ZERO)
    return Decoded(turn(values, known.orientation if exif == "apply" else 1), known)


def _opened(file: Path) -> Any:
    import tifffile  # late: few sets need it

    try:
        return tifffile.TiffFile(file)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise Refused(f"{file} cannot be read as a picture: {error}") from error


def _known(file: Path, tiff: Any) -> Known:
    try:
        frames = tuple(i for i, page in enumerate(_pages(tiff)) if not page.subfiletype & REDUCED)
        first = tiff.pages[frames[0] if frames else 0]
        tag = first.tags.get(ORIENTATION)
        orientation = tag.value if tag is not None and tag.value in range(1, 9) else 1
        _require_alike(file, [tiff.pages[i] for i in frames])
        _require_a_page_each(file, tiff)
        deep = first.dtype != np.uint8 or (first.bitspersample or 8) > 8
        samples = first.samplesperpixel - _alphas(first)
        inverted, colours = first.photometric == WHITE_IS_ZERO, first.photometric == RGB or samples == 3
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"{file} is corrupt or cut short: {error}") from error
    return Known("TIFF", colours, deep, frames or (0,), int(orientation), inverted)


def _require_alike(file: Path, pages: Sequence[Any]) -> None:
    """Refused for pages of different depth or channels: one look at the first would be wrong for the others."""
    kinds = [(page.dtype, page.samplesperpixel, page.photometric) for page in pages]
    for number, (kind, first) in enumerate(zip(kinds, kinds[:1] * len(kinds), strict=True), start=1):
        if kind != first:
            one, other = (f"{channels} channels of {dtype}" for dtype, channels, _ in (first, kind))
            raise Refused(
                f"{file} holds {len(pages)} pictures of different kinds (the first has {one}, the {number}. {other}), "
                "expected all alike; save each as a file of its own"
            )


def _require_a_page_each(file: Path, tiff: Any) -> None:
    """Refused where one page stands for a whole stack, as ImageJ and tifffile can write it."""
    if not (tiff.is_imagej or tiff.is_shaped):
        return
    said, held = (sum(math.prod(each.shape) for each in all_of) for all_of in (tiff.series, tiff.pages))
    if said > held:
        raise Refused(
            f"{file} is a stack {' x '.join(map(str, tiff.series[0].shape))} ({tiff.series[0].axes}) behind a single "
            "page, of which only the first picture could be read; save it with a page for each picture"
        )


def _pages(tiff: Any) -> Iterator[Any]:
    """All pages. ValueError where a damaged chain of them has no end, or leads to what is none."""
    seen = set()
    for page in tiff.pages:
        if page.offset in seen or len(seen) * SMALLEST_PAGE > tiff.filehandle.size:
            raise ValueError("its pages follow each other without end")
        if not page.imagelength or not page.imagewidth:
            raise ValueError(f"its page {len(seen) + 1} has {page.imagewidth} x {page.imagelength} pixels")
        seen.add(page.offset)
        yield page


def _rows_columns_channels(page: Any) -> ndarray:
    """The values as (H, W, channels), without alpha."""
    values = page.asarray()
    if values.ndim == 2:
        return values[..., None]
    if page.axes[:1] == "S":
        values = np.moveaxis(values, 0, -1)
    if values.ndim != 3:
        raise ValueError(f"its axes are {page.axes}")
    return values[..., : values.shape[2] - _alphas(page)]


def _alphas(page: Any) -> int:
    return sum(int(kind) in (1, 2) for kind in page.extrasamples)
