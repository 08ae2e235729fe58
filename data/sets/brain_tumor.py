"""Brain tumours in contrast-enhanced T1 MRI: the 3,064 MATLAB v7.3 files of figshare 1512427, read directly.

Cheng et al., "Enhanced performance of brain tumor classification via tumor region augmentation and partition", PLOS ONE
10, 2015. 233 patients; each file holds a struct `cjdata` with image (int16), label (1 meningioma, 2 glioma, 3 pituitary
tumour), PID and mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import h5py
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from data.formats import reading
from data.formats.labelled import TEST_FRACTION, find_root, held_out, labelled_record, resized
from data.limits import Between
from data.names import Missing, Refused
from data.store import Images, Record, cached

CLASSES = ("meningioma", "glioma", "pituitary")
FOLDS = "cvind.mat"
TREE = """
braintumor/
    1.mat ... 3064.mat   (directly, or in the folders brainTumorDataPublic_1-766/ ... of the archives)
    cvind.mat            (optional: the authors' five folds)
"""


def braintumor(
    data_root: Path,
    image_size: int | None,
    cache_root: Path | None = None,
    test_fold: Annotated[int, Between(1, 5)] = 5,
) -> Images:
    """The slices in the order of their numbers, grey, with patients; each image is scaled from its own range to 0..255.

    With cvind.mat, fold `test_fold` (1 to 5) of the authors' division by patient is 'test'; without it, a fixed fifth
    of the patients is.
    """
    if test_fold not in range(1, 6):
        raise Refused(f"test_fold={test_fold!r} must be one of the authors' folds, 1 to 5")
    root = find_root(
        data_root,
        ["braintumor", "brain_tumor", "figshare_brain_tumor"],
        [FOLDS, "1.mat", "brainTumorDataPublic_1-766"],
        TREE,
    )
    sources = sorted((f for f in root.rglob("*.mat") if f.name != FOLDS), key=lambda f: reading.natural(f.name))
    for file in sources:
        if not file.stem.isdigit():
            raise Refused(f"{file} is not called by its number (1.mat to 3064.mat), so its fold is unknown")
    if not sources:
        raise Missing(f"{root} has no numbered .mat file; expected this tree:\n{TREE.strip()}")
    folds = [root / FOLDS] if (root / FOLDS).is_file() else []

    def records() -> Iterator[Record]:
        known = [_label_and_patient(file) for file in sources]
        if folds:
            held = _folds(folds[0], [int(file.stem) for file in sources]) == test_fold
        else:
            held = held_out([label for label, _ in known], [patient for _, patient in known], TEST_FRACTION)
        for file, (label, patient), out in zip(sources, known, held, strict=True):
            yield labelled_record(
                file.name, resized(_image(file), image_size), label, CLASSES, "test" if out else "train", patient
            )

    digest = reading.fingerprint(root, sources + folds, [__file__], image_size, test_fold)
    return cached("braintumor", digest, "class", CLASSES, records, len(sources), cache_root)


def _field(file: Path, *path: str) -> ndarray:
    try:
        with h5py.File(file) as opened:
            return np.array(opened["/".join(path)])
    except (OSError, KeyError, TypeError) as error:
        raise Refused(f"{file} cannot be read as MATLAB v7.3 with {'.'.join(path)}: {error}") from error


def _label_and_patient(file: Path) -> tuple[int, str]:
    label = int(_field(file, "cjdata", "label").item()) - 1
    if not 0 <= label < len(CLASSES):
        raise Refused(f"{file} has label {label + 1}, expected 1 to {len(CLASSES)} ({', '.join(CLASSES)})")
    return label, "".join(chr(code) for code in _field(file, "cjdata", "PID").ravel())


def _image(file: Path) -> UInt8[ndarray, "h w 1"]:
    values = _field(file, "cjdata", "image").T.astype(np.float64)  # HDF5 shows MATLAB's column-major arrays transposed
    if values.ndim != 2 or not np.isfinite(values).all():
        raise Refused(f"{file} holds an image of shape {values.shape}, expected two axes of finite numbers")
    values -= values.min()
    return np.rint(values * (255 / (values.max() or 1)))[..., None].astype(np.uint8)


def _folds(file: Path, numbers: list[int]) -> ndarray:
    """The fold, 1 to 5, of each numbered file."""
    folds = _field(file, "cvind").ravel().astype(np.int64)
    if max(numbers) > len(folds):
        raise Refused(f"{file} gives folds for {len(folds)} files, but there is a file {max(numbers)}.mat")
    return folds[np.array(numbers) - 1]
