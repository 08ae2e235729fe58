"""Damaged files of every format end in a sentence that names the file, or in pixels.

A few of each in the default run; $ALIQUOT_TRIALS (1000) of each by `python -m pytest -m trials tests/data`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from data.formats import masks, pictures
from data.formats.pictures import Options
from data.names import Refused
from tests.data.formats.writing import dicom, nifti, palette, png16, save
from tests.data.trials.damage import of_bytes
from tests.data.trials.drawing import TOTAL

GREY = np.random.default_rng(0).integers(0, 255, (24, 30), np.uint8)
COLOURS = np.stack([GREY, GREY, GREY[::-1]], axis=2)
DEEP = COLOURS.astype(np.uint16) * 200
TURNED = Image.Exif()
TURNED[0x0112] = 6
WRITE: dict[str, Callable[[Path], object]] = {
    "grey.png": lambda file: save(file, GREY),
    "deep.png": lambda file: png16(file, DEEP),
    "palette.png": lambda file: save(file, palette(GREY % 3, [0, 0, 0, 1, 2, 3, 4, 5, 6])),
    "moving.png": lambda file: save(file, [GREY, GREY[::-1].copy()]),
    "turned.jpg": lambda file: save(file, COLOURS, exif=TURNED),
    "turned.webp": lambda file: save(file, COLOURS, exif=TURNED),
    "turned.tif": lambda file: save(file, COLOURS, exif=TURNED),
    "moving.gif": lambda file: save(file, [GREY, GREY[::-1].copy()]),
    "a.jp2": lambda file: save(file, COLOURS),
    "a.bmp": lambda file: save(file, COLOURS),
    "a.avif": lambda file: save(file, COLOURS),
    "a.ppm": lambda file: save(file, COLOURS),
    "lzw.tif": lambda file: save(file, GREY, compression="tiff_lzw"),
    "deep.tif": lambda file: tifffile.imwrite(file, DEEP, photometric="rgb"),
    "float.tif": lambda file: tifffile.imwrite(file, GREY.astype(np.float32), compression="zlib"),
    "pages.tif": lambda file: tifffile.imwrite(
        file, np.stack([GREY, GREY]).astype(np.uint32), photometric="minisblack"
    ),
    "a.dcm": lambda file: dicom(file, GREY.astype(np.uint16), RescaleSlope="2", WindowCenter="3", WindowWidth="9"),
    "frames.dcm": lambda file: dicom(file, np.stack([GREY, GREY])),
    "a.nii": lambda file: nifti(file, GREY[:, :, None].astype(np.int16)),
    "a.nii.gz": lambda file: nifti(file, GREY[:, :, None].astype(np.int16)),
}


@pytest.mark.parametrize("cases", [12, pytest.param(TOTAL, marks=pytest.mark.trials)])
@pytest.mark.parametrize("name", WRITE)
def test_ends_in_a_sentence_or_in_pixels(tmp_path, name, cases, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10**6)  # sizes that damage makes up cost no time
    WRITE[name](tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    rng = np.random.default_rng(sum(map(ord, name)))
    for k in range(cases):
        file = tmp_path / f"{k}-{name}"
        file.write_bytes(of_bytes(whole, rng))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for read in (_as_set, masks.read_mask):
                try:
                    read(file)
                except Refused as refused:
                    assert file.name in str(refused)
        file.unlink()


def _as_set(file: Path) -> None:
    reader = pictures.survey([file], Options(frames="all"))
    for source in reader.sources[:3]:
        image = reader.read(source)
        assert image.dtype == np.uint8 and image.shape[2] == reader.channels
