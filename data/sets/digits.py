"""Handwritten digits that ship with scikit-learn: 1,797 images of 8 x 8, and the redundancy study that repeats them.

The test part of Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI, 1998. Repeated copies with a
little noise follow the repeated MNIST of Kirsch et al., "BatchBALD: efficient and diverse batch acquisition for deep
Bayesian active learning", NeurIPS 2019, section 4.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
from sklearn.datasets import load_digits

from data.formats import reading
from data.formats.labelled import labelled_record, resized
from data.limits import Between
from data.names import Refused
from data.store import Images, Record, cached

CLASSES = tuple("0123456789")
TEST_PER_CLASS, TEST_SEED, NOISE_SEED = 50, 1998, 1999  # fixed: the same test part and the same copies in every run


def digits(
    data_root: Path | None = None,
    image_size: int | None = None,
    cache_root: Path | None = None,
    repeat: Annotated[int, Between(1, 100)] = 1,
    noise: Annotated[float, Between(0, 1)] = 0.0,
) -> Images:
    """The digits, grey: part 'test' of 500 (50 of each), and a pool 'train' of the other 1,297, `repeat` times over.

    They are 8 x 8 where `image_size` is None; 16 suits small networks. The first copy is clean; to each further one,
    Gaussian noise of standard deviation `noise` (the range of grey values is 1) is added. Copies of a digit share a
    `patient`, so that a validation set cut from the pool holds none that is trained on. `data_root` is not used.
    """
    if isinstance(repeat, bool) or not isinstance(repeat, int) or not 1 <= repeat <= 100:
        raise Refused(f"repeat={repeat!r} must be a whole number from 1 to 100: how often the pool holds each digit")
    if not 0 <= noise <= 1:
        raise Refused(
            f"noise={noise!r} must be from 0 to 1: the standard deviation, where the range of grey values is 1"
        )
    flat, labels = (np.asarray(column) for column in load_digits(return_X_y=True))
    values = flat.reshape(-1, 8, 8) / 16  # 0..1
    rng = np.random.default_rng(TEST_SEED)
    test = np.concatenate(
        [rng.permutation(np.flatnonzero(labels == label))[:TEST_PER_CLASS] for label in range(len(CLASSES))]
    )
    pool = np.setdiff1d(np.arange(len(labels)), test)

    def records() -> Iterator[Record]:
        shaking = np.random.default_rng(NOISE_SEED)
        for copy in range(repeat):
            added = shaking.normal(0, noise, values[pool].shape) if copy and noise else np.zeros(values[pool].shape)
            for i, image in zip(pool, values[pool] + added, strict=True):
                name, patient = f"digit_{i:04d}" + f"_copy{copy}" * (copy > 0), f"digit_{i:04d}" * (repeat > 1)
                yield record(name, image, int(labels[i]), "train", patient)
        for i in np.sort(test):
            yield record(f"digit_{i:04d}", values[i], int(labels[i]), "test", "")

    def record(name: str, image: np.ndarray, label: int, part: str, patient: str) -> Record:
        pixels = np.rint(image.clip(0, 1) * 255).astype(np.uint8)[..., None]
        return labelled_record(name, resized(pixels, image_size), label, CLASSES, part, patient)

    digest = reading.fingerprint(Path(), [], [__file__], image_size, repeat, float(noise), values.tobytes())
    return cached("digits", digest, "class", CLASSES, records, repeat * len(pool) + len(test), cache_root)
