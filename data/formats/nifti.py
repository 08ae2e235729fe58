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
from data.formats.endings import stem_of
from data.names import Refused


def look(file: Path) -> Known:
    """What the header says."""
    volume = _opened(file)
    shape = _shape(file, volume)
    spacing = tuple(round(float(side), 6) for side in volume.header.get_zooms()[:3])
    spacing = (spacing[1], spacing[0], *spacing[2:])
    scaled = (volume.dataobj.slope, volume.dataobj.inter) != (1, 0)
    deep = volume.get_data_dtype() != np.uint8 or scaled
    return Known("NIfTI", False, deep, tuple(range(shape[2])), series=stem_of(file), spacing=spacing)


def decode(file: Path, frame: int | None = None) -> Decoded:
    """One slice: its rows are the second axis of the volume, its columns the first."""
    known = look(file)
    stat = file.stat()
    values = _volume(file, stat.st_size, stat.st_mtime_ns)
    return Decoded(np.ascontiguousarray(values[:, :, require_frame(file, known, frame)].T)[..., None], known)


def affine(file: Path) -> Float[ndarray, "4 4"]:
    """Where the voxels of a volume lie in the body."""
    return np.asarray(_opened(file).affine, np.float64)


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
    return volume


def _shape(file: Path, volume: Any) -> tuple[int, int, int]:
    shape = tuple(volume.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    shape = (*shape, 1) if len(shape) == 2 else shape
    if len(shape) != 3 or min(shape) < 1:
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
