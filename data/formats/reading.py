"""What loaders share, in one place: finding and reading pictures and masks, shrinking, the digest of a dataset.

Pictures are read by `pictures` (any format), `masks`; `endings` says which files are pictures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt8
from numpy import ndarray
from PIL import Image

from data.formats import decoded, dicom, endings, masks, nifti, pictures, pillow, tiff, windows
from data.formats.decoded import Known
from data.formats.endings import natural, picture_files, stem_of
from data.formats.masks import read_mask, require_equal_size
from data.formats.pictures import Options, Reader, Source, read_image, survey
from data.formats.pillow import UNREADABLE
from data.names import Refused
from data.sources import source_fingerprint

__all__ = ["UNREADABLE", "Known", "Options", "Reader", "Source", "fingerprint", "natural", "picture_files"]
__all__ += ["read_image", "read_mask", "require_equal_size", "require_scale", "shrink", "shrink_mask", "stem_of"]
__all__ += ["survey"]
DECODING = (decoded, dicom, endings, masks, nifti, pictures, pillow, tiff, windows)  # modules that decide the pixels


def require_scale(scale: float) -> float:
    """The scale as a float, or a ValueError if it is outside (0, 1]."""
    if not 0 < scale <= 1:
        raise Refused(f"scale={scale!r} must be above 0 and at most 1: images are only ever shrunk")
    return float(scale)


def fingerprint(root: Path, files: Sequence[Path], code: Iterable[str | Path], *decoding: object) -> str:
    """Digest for `cached`: the files with their places under `root`, the loader's own source files, its options."""
    digest = hashlib.sha256()
    for module in [__file__, *(str(m.__file__) for m in DECODING), *code]:
        digest.update(Path(module).read_bytes())
    places = sorted(file.relative_to(root).as_posix() for file in files)
    return source_fingerprint(files, digest.hexdigest(), places, *decoding)


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
