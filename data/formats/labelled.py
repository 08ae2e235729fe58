"""What the classification loaders share: listed files become cached images of one size, read by ordered threads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray
from PIL import Image, ImageOps

from data import files, splits
from data.formats import reading
from data.names import Missing, Refused, suggestion
from data.store import Images, Record, cached
from data.threads import ordered_map

# Of sets without an official test part: every run and every experiment has the same one.
TEST_FRACTION, TEST_SEED = (0.2, 1)


class Labelled(NamedTuple):
    """One image file and what is known of it before it is read."""

    file: Path
    label: int  # index in the classes
    part: str = "train"
    patient: str = ""


def images_of(
    dataset: str,
    root: Path,
    found: Sequence[Labelled],
    classes: Sequence[str],
    image_size: int | None,
    channels: int | None,
    code: Iterable[str],
    cache_root: Path | None = None,
    whole: bool = False,
    test_fraction: float = 0.0,
) -> Images:
    """The listed pictures as kind 'class', group = label, in the order given.

    `channels` is 1 or 3, or None: RGB where any picture is coloured, else grey. `whole` is that of `resized`. `code`
    are the source files of the loader. Names are file names, or paths relative to `root` where two files have the same
    name. With a `test_fraction`, that share of the images of part 'train' becomes 'test', see `held_out`.
    """
    names = unique_names([entry.file for entry in found], root)

    def records() -> Iterator[Record]:
        sources = [entry.file for entry in found]
        planes, depth = (channels, 16) if channels else _planes_and_depth(sources)
        pixels = ordered_map(lambda file: resized(reading.read_image(file, planes, depth), image_size, whole), sources)
        parts = np.array([entry.part for entry in found], dtype="U8")
        training = [entry for entry in found if entry.part == "train"]
        held = held_out([entry.label for entry in training], [entry.patient for entry in training], test_fraction)
        parts[np.flatnonzero(parts == "train")[held]] = "test"
        for name, image, entry, part in zip(names, pixels, found, parts, strict=True):
            yield labelled_record(name, image, entry.label, classes, str(part), entry.patient)

    decoding = (
        image_size,
        channels,
        whole,
        test_fraction,
        tuple(classes),
        [(e.label, e.part, e.patient) for e in found],
        names,
    )
    digest = reading.fingerprint(root, [entry.file for entry in found], [__file__, splits.__file__, *code], *decoding)
    return cached(dataset, digest, "class", classes, records, len(found), cache_root)


def _planes_and_depth(sources: Sequence[Path]) -> tuple[int, int]:
    """3 planes where any picture is coloured, else 1; and the bits that the deepest needs."""
    return 3 if any(reading.picture_mode(file) in reading.COLOURED for file in sources) else 1, reading.bit_depth(
        sources
    )


def labelled_record(
    name: str, image: ndarray, label: int, classes: Sequence[str], part: str = "train", patient: str = ""
) -> Record:
    """A Record of kind 'class'. ValueError where the label is not one of 0 .. C-1."""
    if not 0 <= label < len(classes):
        raise Refused(f"{name} has label {label}, expected 0 to {len(classes) - 1} ({', '.join(classes)})")
    return Record(name, image, np.array(label, dtype=np.int64), int(label), part, patient)


def resized(
    image: UInt8[ndarray, "h w channels"], image_size: int | None, whole: bool = False
) -> UInt8[ndarray, "h2 w2 channels"]:
    """The image at (image_size, image_size), antialiased; as it is where `image_size` is None.

    The shorter side is brought to `image_size` and the centre of the longer one kept. With `whole` nothing is cut off:
    both sides are brought to `image_size`, for labels that may hang on a detail at the border.
    """
    if image_size is None or image.shape[:2] == (image_size, image_size):
        return image
    grey = image.shape[2] == 1
    picture, size = Image.fromarray(image[..., 0] if grey else image), (image_size, image_size)
    smooth = Image.Resampling.BILINEAR  # Pillow widens the filter where it shrinks, so that nothing aliases
    small = np.asarray(picture.resize(size, smooth) if whole else ImageOps.fit(picture, size, smooth))
    return small[..., None] if grey else small


def unique_names(paths: Sequence[Path], root: Path) -> list[str]:
    """File names without folder; where any two are equal, paths relative to `root`."""
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [path.relative_to(root).as_posix() for path in paths]


def find_root(data_root: Path, candidates: Sequence[str], needs: Sequence[str], tree: str) -> Path:
    """The first of `data_root`/candidate, and at last `data_root`, that has a file or folder called as one of `needs`.

    FileNotFoundError says where it was sought and shows the expected tree.
    """
    places = [*(Path(data_root) / candidate for candidate in candidates), Path(data_root)]
    for place in places:
        if any((place / need).exists() for need in needs):
            return place
    sought = f"found no {' or '.join(needs)} in {', '.join(str(place) for place in places)}"
    raise Missing(f"{sought}; expected this tree:\n{tree.strip()}")


def in_class_folders(
    folder: Path, part: str, classes: Sequence[str] | None, tree: str
) -> tuple[list[Labelled], list[str]]:
    """The pictures of `folder`/<class>/ for every class, and the classes: those given, or the folders in natural order.

    FileNotFoundError for a missing folder; ValueError for a folder that is none of the given classes, or a class
    without pictures.
    """
    files.require_folder(folder, tree)
    present = sorted((f.name for f in folder.iterdir() if f.is_dir() and f.name[0] not in "._"), key=reading.natural)
    expected = list(classes) if classes is not None else present
    for name in present:
        if name not in expected:
            raise Refused(f"{folder / name} is none of the classes {', '.join(expected)}.{suggestion(name, expected)}")
    if len(expected) < 2:
        raise Refused(
            f"{folder} holds {len(expected)} class folders, expected at least two in this tree:\n{tree.strip()}"
        )
    found = []
    for label, name in enumerate(expected):
        pictures = reading.picture_files(files.require_folder(folder / name, tree))
        if not pictures:
            raise Refused(
                f"{folder / name} holds no picture that Pillow can read, expected the images of class {name!r}"
            )
        found += [Labelled(file, label, part) for file in pictures]
    return found, expected


def held_out(labels: Sequence[int], patients: Sequence[str], fraction: float = TEST_FRACTION) -> Bool[ndarray, " n"]:
    """Which images are the fixed test part: about `fraction` of each class, of a patient ('' is none) all or none.

    ValueError when `fraction` is not in [0, 1), or is above 0 and a part would be empty.
    """
    named = any(patients)
    held = splits.divide(labels, float(fraction), np.random.default_rng(TEST_SEED), patients if named else None)[1]
    if fraction and len(held) in (0, len(labels)):
        who = f" from {len(set(patients))} patients" if named else ""
        raise Refused(
            f"a test part of {fraction:g} of {len(labels)} images{who} leaves one part empty; expected more images"
        )
    return np.isin(np.arange(len(labels)), held)


def require_image_size(image_size: int | None) -> int | None:
    """The size, or a ValueError if it is neither None nor a whole number of at least 8 pixels."""
    if image_size is None or (
        isinstance(image_size, int) and not isinstance(image_size, bool) and 8 <= image_size <= 4096
    ):
        return image_size
    raise Refused(
        f"image_size={image_size!r} must be a whole number of pixels from 8 to 4096, or None for the images as they are"
    )
