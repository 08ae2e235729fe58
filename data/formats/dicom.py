"""DICOM pictures: stored values become those of the modality (Hounsfield units, ...); of the header only what places
the picture is kept: patient, series, number, spacing.

DICOM PS3.3 C.7.6.3 and C.11; read by pydicom (Mason et al.).
"""

from __future__ import annotations

import hashlib
import math
import re
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from data.formats.decoded import Decoded, Known, require_frame, require_pixels
from data.formats.windows import Window
from data.names import Refused

IDENTIFIER = re.compile(r"[\w.\-]*\d[\w.\-]*")  # what is no name: one word with a digit


def look(file: Path) -> Known:
    """What the header says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that break the standard
        return _known(file, _opened(file, pixels=False))


def decode(file: Path, frame: int | None = None) -> Decoded:
    """One frame, after the modality's slope and intercept; colours as RGB."""
    known = look(file)
    stat = file.stat()
    return Decoded(_frames(file, stat.st_size, stat.st_mtime_ns)[require_frame(file, known, frame)], known)


def identifier(text: str) -> str:
    """A patient's identifier as it is, or a digest where it could be a name."""
    text = text.strip()
    if not text or IDENTIFIER.fullmatch(text):
        return text
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _opened(file: Path, pixels: bool = True) -> Any:
    try:
        import pydicom  # late: few sets need it
    except ImportError as error:
        raise Refused(f"{file} is DICOM, which needs `pip install pydicom`") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that break the standard where nothing is read from
            return pydicom.dcmread(file, stop_before_pixels=not pixels)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise Refused(f"{file} cannot be read as DICOM: {error}") from error


def _known(file: Path, header: Any) -> Known:
    try:
        modality = str(header.get("Modality", ""))
        if not all(name in header for name in ("Rows", "Columns", "BitsStored", "PhotometricInterpretation")):
            raise Refused(f"{file} is DICOM without a picture (modality {modality or 'unknown'}); remove it")
        if modality == "SEG":
            raise Refused(f"{file} is a DICOM segmentation object, which is not read: save its masks as NIfTI or PNG")
        count = int(header.get("NumberOfFrames") or 1)
        if count < 1:
            raise Refused(f"{file} says to hold {count} frames (NumberOfFrames), expected at least 1")
        require_pixels(file, int(header.Rows), int(header.Columns), count)
        kind = str(header.PhotometricInterpretation)
        coloured = int(header.get("SamplesPerPixel", 1)) > 1 or kind == "PALETTE COLOR"
        return Known(
            "DICOM",
            coloured,
            deep=int(header.BitsStored) != 8 or (not coloured and _changes(header)),
            frames=tuple(range(count)),
            inverted=kind == "MONOCHROME1",
            window=None if coloured else _window(header),
            patient=identifier(str(header.get("PatientID") or "")),
            series=" ".join([str(header.get("SeriesInstanceUID") or ""), *_direction(header)]).strip(),
            number=int(header.get("InstanceNumber") or 0),
            position=_position(header),
            spacing=_spacing(header),
        )
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"{file}: its DICOM header cannot be read: {error}") from error


def _changes(header: Any) -> bool:
    """Whether the modality's values are others than those stored."""
    said = [header, *_of_frames(header, "PixelValueTransformationSequence")]
    rescaled = any(_rescale(each) != (1, 0) for each in said)
    return rescaled or "ModalityLUTSequence" in header or bool(header.get("PixelRepresentation"))


def _rescale(header: Any) -> tuple[float, float]:
    """Slope and intercept."""
    return float(header.get("RescaleSlope") or 1), float(header.get("RescaleIntercept") or 0)


def _of_frames(header: Any, name: str) -> list[Any]:
    """What a file of many frames says under a name: of all its frames together, else of each."""
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        if said := [each for group in header.get(groups) or () for each in group.get(name) or ()]:
            return said
    return []


def _rescaled(file: Path, stored: ndarray, header: Any, count: int) -> ndarray:
    """The values of the modality, also where each frame has a slope and an intercept of its own."""
    from pydicom.pixels import apply_modality_lut

    said = _of_frames(header, "PixelValueTransformationSequence")
    if not said:
        return apply_modality_lut(stored, header)
    if len(said) not in (1, count):
        raise Refused(f"{file} has {len(said)} slopes and intercepts for {count} frames, expected one for each")
    slopes, intercepts = np.array([_rescale(each) for each in said]).T.reshape(2, -1, 1, 1)
    return (stored.reshape(count, *stored.shape[-2:]) * slopes + intercepts).reshape(stored.shape)


def _window(header: Any) -> Window | None:
    """The first window that the file says should be seen."""
    values = []
    for name in ("WindowCenter", "WindowWidth"):
        said: Any = header.get(name)
        several = list(said) if hasattr(said, "append") else [said]  # some files offer several windows
        if not several or several[0] in (None, ""):
            return None
        values.append(float(several[0]))
    centre, width = values
    return Window(centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2) if width > 1 else None


def _spacing(header: Any) -> tuple[float, float, float]:
    """Row, column and slice as far as the header says; the thickness of a slice is no distance to the next."""
    found = [_three(each) for each in _of_frames(header, "PixelMeasuresSequence") or [header]]
    return found[0] if len(set(map(str, found))) == 1 else _three({})  # frames of several spacings have none in common


def _three(measures: Any) -> tuple[float, float, float]:
    row, column = measures.get("PixelSpacing") or (math.nan, math.nan)
    return float(row), float(column), abs(float(measures.get("SpacingBetweenSlices") or math.nan))


def _padding(header: Any, stored: ndarray) -> ndarray:
    """Which stored values fill what is outside of the picture: they are no measurements and would widen its window."""
    value = header.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, bool)
    ends = sorted((int(value), int(header.get("PixelPaddingRangeLimit") or value)))
    return (stored >= ends[0]) & (stored <= ends[1])


def _direction(header: Any) -> list[str]:
    """How rows and columns lie in the body: slices of one volume lie alike."""
    return [f"{float(side) + 0.0:.2f}" for side in header.get("ImageOrientationPatient") or ()]


def _position(header: Any) -> float | None:
    """Where a slice lies along the normal of its plane, in millimetres; None where the header does not say."""
    along, at = header.get("ImageOrientationPatient") or (), header.get("ImagePositionPatient") or ()
    if len(along) != 6 or len(at) != 3:
        return None
    rows, columns = np.array(along, float).reshape(2, 3)
    return float(np.cross(rows, columns) @ np.array(at, float))


@lru_cache(maxsize=2)  # all frames of a file are decoded at once
def _frames(file: Path, size: int, changed: int) -> ndarray:
    """(frames, H, W, channels): uint8 where nothing changes the stored bytes."""
    header = _opened(file)
    known = _known(file, header)
    if "PixelData" not in header:
        raise Refused(f"{file} holds no pixels in a form that is read here, expected PixelData")
    from pydicom.pixels import apply_color_lut

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stored = header.pixel_array
            if str(header.PhotometricInterpretation) == "PALETTE COLOR":
                stored = apply_color_lut(stored, header)
            elif not known.coloured:
                padding = _padding(header, stored)
                stored = _rescaled(file, stored, header, len(known.frames))
                if padding.any() and not padding.all():
                    stored = np.where(padding, stored[~padding].min(), stored)
    except Refused:
        raise
    except Exception as error:
        plugin = "needs `pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg` for its compression"
        lacking = "plugins" in str(error) or "missing dependencies" in str(error)
        because = plugin if lacking else "is corrupt or cut short"
        raise Refused(f"{file} {because}: {' '.join(str(error).split())[:200]}") from error
    if str(header.PhotometricInterpretation) == "PALETTE COLOR" and stored.dtype.itemsize > 1:
        stored = (stored >> 8).astype(np.uint8)  # palettes are of 16 bits, as pictures of 8 are shown
    shape = (len(known.frames), int(header.Rows), int(header.Columns), 3 if known.coloured else 1)
    if stored.size != np.prod(shape):
        raise Refused(f"{file} holds values of the shape {stored.shape}, expected {shape}")
    kind = np.float32 if stored.dtype == np.float64 else stored.dtype if known.deep else np.uint8
    return stored.reshape(shape).astype(kind, copy=False)
