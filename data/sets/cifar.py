"""CIFAR-10 from its Python batches, or from one folder per class.

Krizhevsky, "Learning multiple layers of features from tiny images", technical report, 2009: 50,000 training and 10,000
test images of 32 x 32, ten classes. The training set holds a few near-duplicates of test images (Barz and Denzler,
Journal of Imaging 6, 2020).
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy import ndarray

from data.formats import reading
from data.formats.labelled import find_root, labelled_record, resized
from data.names import Missing, Refused
from data.sets.class_folders import CIFAR10, CIFAR10_TREE, cifar10_folders
from data.store import Images, Record, cached

BATCHES = "cifar-10-batches-py"
FILES = [*((f"data_batch_{i}", "train") for i in range(1, 6)), ("test_batch", "test")]
TREE = f"""
cifar10/
    {BATCHES}/   data_batch_1 ... data_batch_5   test_batch   batches.meta
or
{CIFAR10_TREE.strip()}
"""
HARMLESS = {
    *((f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")),
    *(("numpy", name) for name in ("ndarray", "dtype")),
    ("_codecs", "encode"),
}


class _ArraysOnly(pickle.Unpickler):
    """Reads pickles of dictionaries, numbers, strings and arrays; refuses everything that could run code."""

    def find_class(self, module: str, name: str):
        if (module, name) not in HARMLESS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def cifar10(data_root: Path, image_size: int | None, cache_root: Path | None = None) -> Images:
    """CIFAR-10, 32 x 32 RGB, in 'train' and 'test': its Python batches if there are any, else one folder per class."""
    root = find_root(data_root, ["cifar10", "cifar10_jpg", "CIFAR10"], [BATCHES, "train"], TREE)
    if not (root / BATCHES).is_dir():
        return cifar10_folders(root, image_size, cache_root)
    sources = [(root / BATCHES / name, part) for name, part in FILES]
    for file, _ in sources:
        if not file.is_file():
            raise Missing(f"{file} does not exist; expected this tree:\n{TREE.strip()}")

    def records() -> Iterator[Record]:
        for file, part in sources:
            names, labels, pixels = _read(file)
            for name, label, flat in zip(names, labels, pixels, strict=True):
                image = flat.reshape(3, 32, 32).transpose(1, 2, 0)
                yield labelled_record(name, resized(np.ascontiguousarray(image), image_size), int(label), CIFAR10, part)

    digest = reading.fingerprint(root, [file for file, _ in sources], [__file__], image_size)
    return cached("cifar10", digest, "class", CIFAR10, records, None, cache_root)


def _read(file: Path) -> tuple[list[str], list[int], ndarray]:
    """Names, labels and pixels (N, 3072) of one batch."""
    try:
        batch = _ArraysOnly(io.BytesIO(file.read_bytes()), encoding="bytes").load()
        names, labels, pixels = batch[b"filenames"], batch[b"labels"], batch[b"data"]
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise Refused(f"{file} is damaged or is no CIFAR-10 batch: {error}") from error
    if pixels.dtype != np.uint8 or pixels.shape != (len(labels), 3072) or len(names) != len(labels):
        raise Refused(
            f"{file} holds {pixels.dtype} of shape {pixels.shape} and {len(labels)} labels, "
            "expected uint8 of (N, 3072) and N"
        )
    return [name.decode() for name in names], labels, pixels
