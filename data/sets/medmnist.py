"""MedMNIST v2: eleven small 2D medical sets with official parts, read from .npz files at 28, 64, 128 or 224 pixels.

Yang et al., "MedMNIST v2: a large-scale lightweight benchmark for 2D and 3D biomedical image classification",
Scientific Data 10, 2023 (Zenodo 10519652). The sets are read as they are distributed, duplicates included:
pneumoniamnist at 28 pixels has 27 groups of identical images, 8 of which reach over two of its parts; retinamnist has
none.
"""

from __future__ import annotations

import importlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from data.formats import reading
from data.formats.labelled import labelled_record, resized
from data.limits import OneOf
from data.names import Missing, Refused, require_one_of
from data.store import Images, Record, cached

SIZES = (28, 64, 128, 224)
PARTS = ("train", "val", "test")
ORGANS = (
    *("bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right"),
    *("liver", "lung-left", "lung-right", "pancreas", "spleen"),
)


class Described(NamedTuple):
    channels: int
    classes: tuple[str, ...]


SETS = {
    "pathmnist": Described(
        3,
        (
            *("adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa"),
            *("cancer-associated stroma", "colorectal adenocarcinoma epithelium"),
        ),
    ),
    "dermamnist": Described(
        3,
        (
            *(
                "actinic keratosis",
                "basal cell carcinoma",
                "benign keratosis-like",
                "dermatofibroma",
                "melanoma",
                "melanocytic nevi",
            ),
            "vascular lesions",
        ),
    ),
    "octmnist": Described(1, ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal")),
    "pneumoniamnist": Described(1, ("normal", "pneumonia")),
    "retinamnist": Described(3, ("grade 0", "grade 1", "grade 2", "grade 3", "grade 4")),  # of diabetic retinopathy
    "breastmnist": Described(1, ("malignant", "normal or benign")),
    "bloodmnist": Described(
        3,
        (
            "basophil",
            "eosinophil",
            "erythroblast",
            "immature granulocyte",
            "lymphocyte",
            "monocyte",
            "neutrophil",
            "platelet",
        ),
    ),
    "tissuemnist": Described(
        1,
        (
            *(
                "collecting duct, connecting tubule",
                "distal convoluted tubule",
                "glomerular endothelial",
                "interstitial endothelial",
            ),
            *("leukocytes", "podocytes", "proximal tubule segments", "thick ascending limb"),
        ),
    ),
    "organamnist": Described(1, ORGANS),
    "organcmnist": Described(1, ORGANS),
    "organsmnist": Described(1, ORGANS),
}


def medmnist(
    name: str,
    data_root: Path,
    image_size: int | None,
    cache_root: Path | None = None,
    size: Annotated[int, OneOf(SIZES)] = 28,
) -> Images:
    """The set called `name` from `data_root`/medmnist/<name>.npz, or <name>_<size>.npz for a `size` of 64, 128 or 224.

    Images are grey or RGB as distributed, `size` pixels wide, then resized to `image_size`. Names are
    <name>_<part>_<row>. A missing file is downloaded if the package `medmnist` is installed; FileNotFoundError says
    what to put where if it is not, or the download fails.
    """
    require_one_of("medmnist set", name, SETS)
    require_one_of("size", size, SIZES)
    file = _find(name, Path(data_root), size)
    channels, classes = SETS[name]

    def records() -> Iterator[Record]:
        for part in PARTS:
            labels = _labels(file, part)
            _require_length(file, part, len(labels))
            images = stream_rows(file, f"{part}_images", (size, size) if channels == 1 else (size, size, channels))
            for row, (image, label) in enumerate(zip(images, labels, strict=True)):
                record_name = f"{name}_{part}_{row:06d}"
                small = resized(image.reshape(size, size, channels), image_size)
                yield labelled_record(record_name, small, int(label), classes, part)

    digest = reading.fingerprint(file.parent, [file], [__file__], image_size)
    return cached(name, digest, "class", classes, records, None, cache_root)


def stream_rows(file: Path, key: str, shape: tuple[int, ...]) -> Iterator[UInt8[ndarray, " *shape"]]:
    """The rows of array `key` in a .npz one by one, also of arrays larger than memory (pathmnist at 224 has 13 GB).

    ValueError where the file is damaged, or the array is missing, not uint8 or not (N, *shape).
    """
    try:
        with zipfile.ZipFile(file) as archive, archive.open(f"{key}.npy") as member:
            (rows, *rest), by_columns, dtype = _header(member)
            if tuple(rest) != shape or dtype != np.uint8 or by_columns:
                raise Refused(
                    f"{key} holds {dtype} of shape {(rows, *rest)}, "
                    f"expected uint8 of shape (N, {', '.join(map(str, shape))})"
                )
            length = int(np.prod(shape))
            for row in range(rows):
                values = member.read(length)
                if len(values) < length:
                    raise Refused(f"{key} ends after {row} of {rows} images")
                yield np.frombuffer(values, np.uint8).reshape(shape)
    except KeyError as error:
        raise Refused(
            f"{file} has no array {key!r}, expected {', '.join(f'{part}_images' for part in PARTS)}"
        ) from error
    except (ValueError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise Refused(f"{file} is damaged or is another file: {error}") from error


def _require_length(file: Path, part: str, labels: int) -> None:
    """Refused where a part has not as many images as labels."""
    with zipfile.ZipFile(file) as archive:
        if f"{part}_images.npy" not in archive.namelist():
            return  # reading them says so
        with archive.open(f"{part}_images.npy") as member:
            shape, _, _ = _header(member)
    if shape[:1] != (labels,):
        raise Refused(f"{file} has images of shape {shape} but {labels} labels in part {part!r}, expected as many")


def _header(member: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether it is stored by columns, and type of an array in a .npz."""
    version = np.lib.format.read_magic(member)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return header(member)


def _labels(file: Path, part: str) -> ndarray:
    labels = np.array([int(row[0]) for row in stream_rows(file, f"{part}_labels", (1,))], dtype=np.int64)
    if not len(labels):
        raise Refused(f"{file} has no image in part {part!r}")
    return labels


def _find(name: str, data_root: Path, size: int) -> Path:
    wanted = f"{name}.npz" if size == 28 else f"{name}_{size}.npz"
    places = [data_root / "medmnist" / wanted, data_root / wanted]
    for place in places:
        if place.is_file():
            return place
    advice = f"put {wanted} there from https://zenodo.org/records/10519652"
    try:
        package = importlib.import_module("medmnist")
    except ImportError as error:
        raise Missing(
            f"{places[0]} does not exist; {advice}, or install the package medmnist to have it downloaded"
        ) from error
    places[0].parent.mkdir(parents=True, exist_ok=True)
    loader = getattr(package, package.INFO[name]["python_class"])
    try:
        loader(split="test", root=str(places[0].parent), size=size, download=True)
    except (OSError, RuntimeError) as error:  # of urllib and of the package
        raise Missing(f"{places[0]} does not exist and its download failed; {advice}") from error
    return places[0]
