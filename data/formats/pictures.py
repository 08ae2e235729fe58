"""Any picture file as an image of 8 bits, with the pictures of a set treated alike.

reader = pictures.survey(files)   # looks at every header; decodes those of more than 8 bits
for source in reader.sources:     # one for each picture: a file, or one frame of it
    image = reader.read(source)   # (H, W, channels) uint8, turned as EXIF says
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from data import notes
from data.formats import dicom, nifti, pillow
from data.formats.decoded import Decoded, Known, require_frame
from data.formats.endings import NIFTI, PILLOW, ending_of, is_dicom
from data.formats.windows import FULL, Tally, Window, require_window, robust, to_bytes
from data.limits import Numbers, OneOf
from data.names import Refused, require_one_of

EXIF = ("apply", "ignore")
FRAMES = ("one", "all")
SCALING = ("set", "image")
NARROW = 0.1  # share of a set's window below which a picture has at most 26 of 256 greys
ANY = 10**9  # beyond every value of a picture
# What a loader's parameters of these names may be, see `Options`
Exif = Annotated[str, OneOf(EXIF)]
Frames = Annotated[str, OneOf(FRAMES)]
Scaling = Annotated[str, OneOf(SCALING)]
Levels = Annotated[list | None, Numbers(-ANY, ANY, 2, True)]
Bands = Annotated[list | None, Numbers(0, 10**4)]


class Options(NamedTuple):
    """How a user wants pictures read; loaders have these as `dataset_options`."""

    exif: str = "apply"  # turn pictures as their EXIF orientation says, or leave them as they are stored
    frames: str = "one"  # of animated GIF, WebP, APNG and TIFF of several pages: refuse those with several, or use all
    window: Sequence[float | int] | None = None  # [value that becomes black, value that becomes white] of deep pictures
    scaling: str = "set"  # one window for the set, or one for each picture
    bands: Sequence[int] | None = None  # which one or three channels, counted from 0, where there are others

    def checked(self) -> Options:
        """The options. Refused where one is none that there is."""
        for name, known in (("exif", EXIF), ("frames", FRAMES), ("scaling", SCALING)):
            require_one_of(name, getattr(self, name), known)
        require_window(self.window)
        if self.bands is not None and len(self.bands) not in (1, 3):
            raise Refused(f"bands={list(self.bands)!r} must be one channel (grey) or three (red, green, blue)")
        return self


AS_USUAL = Options()


class Source(NamedTuple):
    """One picture of a set: a file, or one frame of it."""

    file: Path
    frame: int | None = None  # None is the only one
    number: int = 0  # its place among several frames, counted from 1; 0 where it is the only one
    known: Known = Known("", False)

    def named(self, name: str) -> str:
        """The name of the picture, from that of its file: 'stack.tif#3'."""
        return f"{name}#{self.number}" if self.number else name


def look(file: Path) -> Known:
    """What a file says of its pictures, from its header alone. Refused names an unreadable file."""
    return _decoder(file).look(file)


def decode(file: Path, frame: int | None = None, exif: str = "apply", as_mask: bool = False) -> Decoded:
    """The stored values of one picture; see `Decoded`."""
    decoder = _decoder(file)
    return pillow.decode(file, frame, exif, as_mask) if decoder is pillow else decoder.decode(file, frame)


def sources_of(file: Path, options: Options = AS_USUAL, known: Known | None = None) -> list[Source]:
    """The pictures of a file: all slices of a volume of NIfTI or DICOM; several frames of other formats only if asked
    for.
    """
    known = known or look(file)
    if len(known.frames) == 1 and known.format != "NIfTI":
        return [Source(file, known.frames[0] or None, 0, known)]
    if known.format not in ("NIfTI", "DICOM") and options.frames != "all":
        require_frame(file, known, None)
    return [Source(file, frame, number, known) for number, frame in enumerate(known.frames, start=1)]


def read_image(
    file: Path, channels: int | None = None, window: Window | None = None, frame: int | None = None, exif: str = "apply"
) -> UInt8[ndarray, "h w channels"]:
    """One picture as (H, W, channels) uint8, 0..255, turned as EXIF says.

    `channels` is 1 (grey), 3 (RGB) or None: as the file has it, where a palette counts as RGB and transparency is
    dropped. Values of more than 8 bits become 0..255 from the `window`; None is that of all 16 bits. Refused names a
    file that is unreadable, corrupt or cut short, or whose values need a window.
    """
    return as_image(file, decode(file, frame, exif), channels, window)


def as_image(
    file: Path, decoded: Decoded, channels: int | None, window: Window | None, bands: Sequence[int] | None = None
) -> UInt8[ndarray, "h w channels"]:
    """Decoded values as an image of 8 bits with 1 or 3 channels."""
    values = decoded.values
    if bands is not None and values.shape[2] > 1:
        if max(bands) >= values.shape[2]:
            raise Refused(f"{file} has {values.shape[2]} channels, bands={list(bands)} must be below that")
        values = values[..., list(bands)]
    if values.shape[2] not in (1, 3):
        raise Refused(
            f"{file} has {values.shape[2]} channels, expected 1 or 3; say bands=[0] or bands=[0, 1, 2] for those to use"
        )
    if values.dtype != np.uint8 or decoded.known.deep:
        if window is None and values.dtype != np.uint16:
            kind = "floating-point" if values.dtype.kind == "f" else str(values.dtype)
            raise Refused(f"{file} holds {kind} values; save it with 8 or 16 bits, or say window=[low, high]")
        values = to_bytes(values, window or FULL, decoded.known.inverted)
    elif decoded.known.inverted:
        values = 255 - values
    channels = channels or values.shape[2]
    if channels == values.shape[2]:
        return values
    if channels == 3:
        return np.repeat(values, 3, axis=2)
    return np.asarray(Image.fromarray(values).convert("L"))[..., None]


@dataclass(frozen=True)
class Reader:
    """How the pictures of one set become images of one kind."""

    sources: list[Source]  # in the order of the files and of their frames
    channels: int  # 3 where any picture is coloured, else 1
    window: Window | None  # of pictures of more than 8 bits; None: each has its own, or there are none
    options: Options

    def read(self, source: Source) -> UInt8[ndarray, "h w channels"]:
        """One picture as (H, W, channels) uint8."""
        decoded = decode(source.file, source.frame, self.options.exif)
        _note_not_finite(source, decoded.values)
        window = self.window
        if window is None and decoded.known.deep:
            window = decoded.known.window or robust(decoded.values)
        return as_image(source.file, decoded, self.channels, window, self.options.bands)


def survey(files: Iterable[Path], options: Options = AS_USUAL, channels: int | None = None) -> Reader:
    """How to read these files as one set: looks at their headers, decodes those of more than 8 bits for their window.

    Notes what is not as in the files: a window, turned pictures. Refused names a file that cannot be read.
    """
    options = options.checked()
    sources = [source for file in files for source in sources_of(file, options)]
    coloured = any(source.known.coloured for source in sources)
    coloured = len(options.bands) == 3 if options.bands else coloured
    turned = [source for source in sources if source.known.orientation != 1]
    if turned:
        how = "are turned as it says (exif='ignore' leaves them as they are stored)"
        how = how if options.exif == "apply" else "are left as they are stored (exif='ignore')"
        many = f"{len(turned)} of {len(sources)} pictures have an EXIF orientation, the first {turned[0].file.name}"
        notes.note(notes.CHANGED, f"{many}: they {how}")
    axes = Counter(source.known.axes for source in sources) - Counter({"": len(sources)})
    if len(axes) > 1:
        listed = ", ".join(f"{count} {name}" for name, count in axes.most_common())
        notes.note(notes.WARNING, f"slices lie in the body in different ways ({listed}); they are read as stored")
    window = _window(sources, options)
    return Reader(sources, channels or (3 if coloured else 1), window, options)


def _window(sources: list[Source], options: Options) -> Window | None:
    """The window of the pictures of more than 8 bits, noted."""
    deep = [source for source in sources if source.known.deep]
    if not deep:
        if options.window is not None:
            notes.note(notes.WARNING, "window changes nothing: no picture has more than 8 bits")
        return None
    many = f"{len(deep)} of {len(sources)} pictures have more than 8 bits"
    if len(deep) < len(sources):
        notes.note(notes.WARNING, f"{many}: these are scaled to 0 to 255, those of 8 bits are left as they are")
    if options.window is not None:
        window = require_window(options.window)
        notes.note(notes.CHANGED, f"{many}: their values {window} become 0 to 255, as window= says")
        return window
    if options.scaling == "image":
        notes.note(notes.CHANGED, f"{many}: each is scaled to 0 to 255 by its own window (scaling='image')")
        return None
    said = {source.known.window for source in deep}
    if len(said) == 1 and (window := said.pop()) is not None:
        notes.note(notes.CHANGED, f"{many}: their values {window} become 0 to 255, the window that all files say")
        return window
    tally, fractions, numbers, widths = Tally(), None, None, []
    for source in deep:
        values = decode(source.file, source.frame).values
        tally.add(values)
        own = robust(values)
        widths.append(own.high - own.low)
        if values.dtype.kind == "f" and np.nanmax(values, initial=0) <= 1:
            fractions = fractions or source.file
        elif np.nanmax(values, initial=0) > 255:
            numbers = numbers or source.file
    if fractions and numbers:
        raise Refused(
            f"{fractions} holds values of at most 1, {numbers} holds values above 255: in one window the first would "
            "be black. Save them alike, or say dataset_options.scaling=image for a window of each picture"
        )
    window, extremes = tally.window(), tally.extremes
    narrow = sum(width < NARROW * (window.high - window.low) for width in widths)
    if 2 * narrow > len(widths):
        said_of = f"{narrow} of {len(widths)} pictures hold values in less than a tenth of {window}"
        notes.note(notes.WARNING, f"{said_of}: they become nearly of one grey. Is one of the others damaged?")
    clipped = "" if window == extremes else ", outliers beyond percentiles 0.1 and 99.9 are clipped"
    notes.note(
        notes.CHANGED,
        f"{many}: their values {window} become 0 to 255 (they hold {extremes}{clipped}); "
        "window=[low, high] or scaling='image' say otherwise",
    )
    return window


def _note_not_finite(source: Source, values: ndarray) -> None:
    """Warn of pixels that are no numbers. Refused where none is one, but for slices: volumes often end in such."""
    if values.dtype.kind != "f" or (finite := np.isfinite(values)).all():
        return
    if not finite.any() and not source.number:
        raise Refused(f"{source.file} holds no pixel that is a finite number (all are NaN or inf); remove it")
    notes.note(
        notes.WARNING,
        "some pictures hold pixels that are no finite numbers: NaN is read as the lowest value of the window, inf as "
        "its end",
    )


def _decoder(file: Path) -> Any:
    """The module that reads a file."""
    ending = ending_of(file)
    if ending in PILLOW:
        return pillow
    return nifti if ending in NIFTI else dicom if is_dicom(file) else pillow
