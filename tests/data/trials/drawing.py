"""What the trials of all readers draw: names, pictures of every kind with the pixels that must come back, clutter.

A `Trial` is a folder that was drawn, what must be read of it, and what it is allowed to end in: the right values, or a
sentence that names a file, a column or a value.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tifffile
from numpy import ndarray
from PIL import Image

import data
from data import notes
from data.names import Refused
from data.store import Images
from tests.data.formats.writing import dicom, palette, png16, save

CASES = 10  # of one test
TOTAL = int(os.environ.get("ALIQUOT_TRIALS", 1000))  # cases of each reader in `pytest -m trials`
STEMS = [
    "a",
    "case 7 ",
    "Größe",
    "naïve e\u0301",
    "图像",
    "IMG_",
    "x.y.",
    "a-b_",
    "O'Brien ",
    "50%",
    "#",
    "[x]",
    "{}",
    "00",
]
STEMS += ["(1)", "a,b;", "ß", "İ", "_", "mask", "test", "train_", "e" * 120, "&amp;", "=1+", "$HOME", "x~", "🐁", "٣"]
WORDS = {
    "train": ("train", "Train", "TRAINING", "trainset", "train_set"),
    "val": ("val", "valid", "Validation", "dev"),
    "test": ("test", "Testing", "TEST", "test_set", "tst"),
}
UNDONE = [
    None,
    None,
    *(getattr(Image.Transpose, name) for name in "FLIP_LEFT_RIGHT ROTATE_180 FLIP_TOP_BOTTOM".split()),
]
UNDONE += [getattr(Image.Transpose, name) for name in "TRANSPOSE ROTATE_90 TRANSVERSE ROTATE_270".split()]


class Truth(NamedTuple):
    """What must be read of one picture."""

    image: ndarray  # (H, W, channels) uint8
    target: Any  # the class's name | (H, W) class numbers | (M, 4) boxes and the names of their classes
    part: str = ""  # '' where the reader divides
    patient: str = ""
    exact: bool = True  # else lossy or windowed: alike is enough


@dataclass
class Trial:
    """A folder and what must be read of it."""

    task: str
    name: str
    root: Path
    truth: dict[str, Truth]  # name of the image, in composed letters
    options: dict[str, Any] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)  # how it was drawn, for the message of a failure
    files: dict[str, list[Path]] = field(default_factory=dict)  # name -> the files that are about it alone
    damaged: frozenset[str] = frozenset()  # names of pictures whose own files were damaged

    def read(self) -> tuple[Images | Refused, list[str]]:
        """The images or the refusal, and what was noted."""
        cache = tempfile.mkdtemp(dir=self.root.parent)
        try:
            with notes.collecting() as said:
                found = data.load(self.task, self.name, self.root, cache_root=Path(cache), **self.options)
        except Refused as refused:
            return refused, []
        finally:
            shutil.rmtree(cache, ignore_errors=True)  # what is mapped stays readable
        return found, [sentence for _, sentence in said]


def blocks(readers: Sequence[str], few: int) -> list[Any]:
    """(reader, seed) of every test: `few` cases of each reader in the default run, the others marked `trials`."""
    seeds = {seed: () if seed < few // CASES else pytest.mark.trials for seed in range(max(few, TOTAL) // CASES)}
    return [
        pytest.param(reader, seed, marks=marks, id=f"{reader}-{seed}")
        for reader in readers
        for seed, marks in seeds.items()
    ]


def one_of(rng: np.random.Generator, choices: Sequence[Any]) -> Any:
    return choices[int(rng.integers(len(choices)))]


def chance(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


def composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def stems(rng: np.random.Generator, n: int) -> list[str]:
    """Names without ending, each once in any case and composition of letters; all alike, or each another."""
    alike, start = one_of(rng, STEMS), int(rng.integers(12))
    every = [f"{alike if n % 2 else one_of(rng, STEMS)}{number}" for number in range(start, start + n)]
    form = one_of(rng, ["NFC", "NFC", "NFD"])
    return [unicodedata.normalize(form, name) for name in rng.permutation(every).tolist()]


def scene(rng: np.random.Generator, height: int, width: int) -> ndarray:
    """A grey picture (H, W) that differs from itself turned, and from others: a slope with a bright corner."""
    down, across = rng.integers(20, 60, 2)
    ramp = down * np.arange(height)[:, None] / height + across * np.arange(width)[None] / width
    ramp[: height // 3, : width // 4] += rng.integers(60, 120)
    return (ramp + rng.integers(10, 20)).astype(np.uint8)


def coloured(grey: ndarray) -> ndarray:
    """(H, W, 3) with three different channels."""
    return np.stack([grey, grey // 2 + 20, 255 - grey], axis=2)


class Kind(NamedTuple):
    """A way to store a picture: writes a grey (H, W) picture, tells the pixels (H, W, channels) that it means."""

    ending: str
    write: Callable[[Path, ndarray, dict], object]
    means: Callable[[ndarray], ndarray]
    exact: bool = True
    turns: bool = False  # can hold an EXIF orientation


def _grey(values: ndarray) -> ndarray:
    return values[..., None]


def _as(mode: str, of: Callable[[ndarray], ndarray] = lambda grey: grey, **options: Any) -> Callable:
    def write(file: Path, grey: ndarray, exif: dict) -> None:
        picture = Image.fromarray(of(grey))
        save(file, picture if picture.mode == mode else picture.convert(mode), **options, **exif)

    return write


def _veiled(grey: ndarray) -> ndarray:
    return np.dstack([coloured(grey), np.arange(grey.size).reshape(grey.shape).astype(np.uint8)])


def _tiff(of: Callable[[ndarray], ndarray], **options: Any) -> Callable:
    def write(file: Path, grey: ndarray, exif: dict) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(file, of(grey), **options)

    return write


PLAIN = {
    "L.png": Kind(".png", _as("L"), _grey, turns=True),
    "RGB.png": Kind(".png", _as("RGB", coloured), coloured, turns=True),
    "LA.png": Kind(".PNG", _as("LA"), _grey),
    "L.tif": Kind(".tif", _as("L", compression="tiff_lzw"), _grey, turns=True),
    "L.bmp": Kind(".bmp", _as("L"), _grey),
    "L.jpg": Kind(".jpg", _as("L", quality=99), _grey, False, True),
    "RGB.jpg": Kind(".JPG", _as("RGB", coloured, quality=99, subsampling=0), coloured, False, True),
}
KINDS = PLAIN | {
    "RGBA.png": Kind(".png", _as("RGBA", _veiled), coloured),
    "P.png": Kind(
        ".png",
        lambda f, g, e: save(f, palette(g, [k for c in range(256) for k in (c, 9, 255 - c)])),
        lambda g: np.stack([g, g * 0 + 9, 255 - g], 2),
    ),
    "P.gif": Kind(
        ".gif",
        lambda f, g, e: save(f, palette(g // 2, [k for c in range(256) for k in (c, 0, c)])),
        lambda g: np.stack([g // 2, g * 0, g // 2], 2),
    ),
    "L16.png": Kind(".png", lambda f, g, e: png16(f, g.astype(np.uint16) * 16), _grey, False),
    "RGB16.png": Kind(".png", lambda f, g, e: png16(f, coloured(g).astype(np.uint16) * 16), coloured, False),
    "L16.tif": Kind(".tiff", _tiff(lambda g: g.astype(np.uint16) * 16), _grey, False),
    "RGB16.tif": Kind(".tif", _tiff(lambda g: coloured(g).astype(np.uint16) * 16, photometric="rgb"), coloured, False),
    "planes.tif": Kind(
        ".tif",
        _tiff(lambda g: coloured(g).transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate"),
        coloured,
    ),
    "float.tif": Kind(".TIF", _tiff(lambda g: g.astype(np.float32) / 255), _grey, False),
    "white.tif": Kind(".tif", _tiff(lambda g: 255 - g, photometric="miniswhite"), _grey),
    "RGB.tif": Kind(".tif", _as("RGB", coloured, compression="tiff_adobe_deflate"), coloured, turns=True),
    "CMYK.tif": Kind(".tif", _as("CMYK", coloured), coloured),
    "CMYK.jpg": Kind(".jpeg", _as("CMYK", coloured, quality=99), coloured, False),
    "RGB.webp": Kind(".webp", _as("RGB", coloured, lossless=True), coloured, turns=True),
    "RGB.jp2": Kind(".jp2", _as("RGB", coloured), coloured),
    "RGB.ppm": Kind(".ppm", _as("RGB", coloured), coloured),
    "L.pgm": Kind(".pgm", _as("L"), _grey),
    "RGB.tga": Kind(".tga", _as("RGB", coloured), coloured),
    "a.dcm": Kind(".dcm", lambda f, g, e: dicom(f, g.astype(np.uint16) * 4, PatientID=f.stem[-60:]), _grey, False),
}


def draw_kinds(rng: np.random.Generator) -> list[Kind]:
    """The kinds of the pictures of one set: mostly one, or a few."""
    names = list(PLAIN if chance(rng, 0.5) else KINDS)
    return [KINDS[one_of(rng, names)] for _ in range(one_of(rng, [1, 1, 1, 2, 4]))]


def write_picture(rng: np.random.Generator, kind: Kind, file: Path, grey: ndarray) -> Truth:
    """Write a picture, stored turned now and then; without a target yet."""
    exif: dict[str, Any] = {}
    stored: ndarray = grey
    if kind.turns and chance(rng, 0.25):
        orientation = int(rng.integers(1, 9))
        said = Image.Exif()
        said[0x0112] = orientation
        exif = {"exif": said}
        if (undone := UNDONE[orientation]) is not None:
            stored = np.asarray(Image.fromarray(grey).transpose(undone))
    kind.write(file, stored, exif)
    return Truth(kind.means(grey), None, exact=kind.exact)


def require_alike(got: ndarray, truth: Truth, name: str, said: Sequence[str]) -> None:
    """The pixels, exactly; or in their course where they were compressed or windowed, unless too wide a window is told."""
    expected = truth.image
    assert got.shape[:2] == expected.shape[:2], (name, got.shape, expected.shape)
    if got.shape[2] > expected.shape[2]:
        expected = np.repeat(expected, 3, axis=2)
    assert got.shape == expected.shape, (name, got.shape, expected.shape)
    if truth.exact:
        assert np.array_equal(got, expected), name
        return
    if any("nearly of one grey" in sentence for sentence in said):
        return
    for channel in range(got.shape[2]):
        one, other = got[..., channel].ravel(), expected[..., channel].ravel()
        rising = np.ptp(one) > 0 and (np.diff(one[np.argsort(other, kind="stable")].astype(int)) >= 0).all()
        assert np.ptp(other) == 0 or rising or np.corrcoef(one, other)[0, 1] > 0.95, (name, channel)


def require_sentence(refused: Refused, trial: Trial) -> None:
    """One sentence that names a file, a column, a value or an option."""
    said = str(refused)
    assert 20 < len(said) < 2000 and "Traceback" not in said, said
    named = trial.root.name in said or re.search(r"'.+'|\w=\S|test_fraction|patient", said)
    assert named, f"names nothing: {said}"


def clutter(rng: np.random.Generator, root: Path, folders: Sequence[Path]) -> list[str]:
    """What lies beside pictures in real folders and is none; returns what was put there."""
    put = []
    for folder in folders:
        if folder.is_dir() and chance(rng, 0.15):
            name = one_of(rng, [".DS_Store", "Thumbs.db", "._a.png", "notes.txt", "readme.md", "a.json", ".hidden.png"])
            (folder / name).write_bytes(b"\0\1\2 not a picture")
            put.append(str((folder / name).relative_to(root)))
    if chance(rng, 0.1):
        save(root / "__MACOSX" / "x.png", np.zeros((4, 4), np.uint8))
        put.append("__MACOSX")
    return put
