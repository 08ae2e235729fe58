"""NIfTI volumes: slices along the last axis, with the spacing of their voxels.

https://nifti.nimh.nih.gov; read by nibabel (Brett et al.).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from data.formats.decoded import Decoded, Known, require_frame, require_pixels
from data.names import Refused
from data.notes import GUESSED, note

MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # the low three bits of xyzt_units: unsaid, metre, ..., micron


def look(file: Path) -> Known:
    """What the header says."""
    volume = _opened(file)
    shape = _shape(file, volume)
    scaled = (volume.dataobj.slope, volume.dataobj.inter) != (1, 0)
    deep = volume.get_data_dtype() != np.uint8 or scaled
    return Known("NIfTI", False, deep, tuple(range(shape[2])), spacing=_spacing(volume), axes=_axes(volume))


def decode(file: Path, frame: int | None = None) -> Decoded:
    """One slice: its rows are the second axis of the volume, its columns the first."""
    known = look(file)
    stat = file.stat()
    values = _volume(file, stat.st_size, stat.st_mtime_ns)
    return Decoded(np.ascontiguousarray(values[:, :, require_frame(file, known, frame)].T)[..., None], known)


def affine(file: Path) -> Float[ndarray, "4 4"]:
    """Where the voxels of a volume lie in the body."""
    return np.asarray(_opened(file).affine, np.float64)


def _axes(volume: Any) -> str:
    """'RAS' where the axes lead to the right, to the front and up."""
    from nibabel.orientations import aff2axcodes

    return "".join(code or "?" for code in aff2axcodes(volume.affine))


def _spacing(volume: Any) -> tuple[float, float, float]:
    """Millimetres between rows (the second axis), columns and slices, by the affine that is in use."""
    code = int(volume.header["xyzt_units"]) & 7
    if code not in MILLIMETRES:
        note(GUESSED, f"NIfTI volumes say a unit that is no length (xyzt_units {code}): millimetres are taken.")
    sides = np.linalg.norm(volume.affine[:3, :3], axis=0)
    first, second, third = (round(float(side), 6) * MILLIMETRES.get(code, 1.0) for side in sides)
    return second, first, third


def _opened(file: Path) -> Any:
    try:
        import nibabel  # late: few sets need it
    except ImportError as error:
        raise Refused(f"{file} is NIfTI, which needs `pip install nibabel`") from error
    try:
        volume = nibabel.load(file)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise Refused(f"{file} cannot be read as NIfTI: {error}") from error
    if not isinstance(volume, nibabel.Nifti1Image):  # CIFTI: surfaces, of the same ending
        raise Refused(f"{file} is {type(volume).__name__}, expected a volume of NIfTI")
    if volume.affine is None or not np.isfinite(volume.affine).all():
        place = "its affine (sform, qform or pixdim) holds NaN or inf, expected finite numbers"
        raise Refused(f"{file} does not say where it lies in the body: {place}; set it, or save the volume anew")
    return volume


def _shape(file: Path, volume: Any) -> tuple[int, int, int]:
    shape = tuple(volume.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    shape = (*shape, 1) if len(shape) == 2 else shape
    if min(shape, default=0) < 1:
        raise Refused(f"{file} holds no voxel: its axes are {volume.shape}, expected each to be at least 1")
    if len(shape) != 3:
        raise Refused(f"{file} has the axes {volume.shape}, expected three; save each moment as a file of its own")
    if volume.get_data_dtype().kind not in "uif":
        raise Refused(f"{file} holds {volume.get_data_dtype()} values, expected one number for each voxel")
    require_pixels(file, shape[1], shape[0], shape[2])
    return shape


@lru_cache(maxsize=2)  # an image and its mask; a compressed volume can only be read whole
def _volume(file: Path, size: int, changed: int) -> ndarray:
    volume = _opened(file)
    shape = _shape(file, volume)
    try:
        values = np.asanyarray(volume.dataobj)
    except Exception as error:
        raise Refused(f"{file} is corrupt or cut short: {error}") from error
    values = values.astype(np.float32) if values.dtype.kind == "f" else values
    return values.reshape(shape)
