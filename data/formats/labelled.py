"""What the classification loaders share: listed files become cached images of one size, read by ordered threads."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray
from PIL import Image, ImageOps

from data import files, phases, splits
from data.formats import reading, volumes
from data.formats.folders import composed, is_junk
from data.formats.pictures import AS_USUAL
from data.formats.unlabelled import NO_LABEL, Kept
from data.formats.volumes import Place
from data.limits import Between
from data.names import Missing, Refused, suggestion
from data.notes import GUESSED, WARNING, note
from data.store import Images, Record, cached
from data.threads import ordered_map

TEST_FRACTION, TEST_SEED = 0.2, 1  # of sets without an official test part: the same for all runs and experiments
TestShare = Annotated[float, Between(0.01, 0.99)]


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
    options: reading.Options = AS_USUAL,
    opened: Sequence[str] | None = None,
) -> Images:
    """The listed pictures as kind 'class', group = label, in the order given.

    `channels` is 1 or 3, or None: RGB where any picture is coloured, else grey. `whole` is that of `resized`. `code`
    are the source files of the loader. Names are file names, or paths relative to `root` where two files have the same
    name, with '#3' for the third picture of a file. With a `test_fraction`, that share of the images of part 'train'
    becomes 'test', see `held_out`. `options` say how files are read where `channels` is None. `opened` are the names of
    images of which some have NO_LABEL: the group of all is 0 then, for nothing is known of an image before its label.
    """
    names = list(opened) if opened else unique_names([entry.file for entry in found], root)

    def prepared(image: ndarray) -> tuple[tuple[int, ...], ndarray]:
        return image.shape, resized(image, image_size, whole)

    def records() -> Iterator[Record]:
        files = [entry.file for entry in found]
        if channels:
            entries, called, places = found, names, [Place()] * len(found)
            decoded = ordered_map(lambda file: prepared(reading.read_image(file, channels)), files)
        else:
            reader = reading.survey(files, options)
            entries, called, places = _pictures_of(reader.sources, found, names)
            read = lambda source: prepared(reader.read(source))  # noqa: E731
            if opened:
                kept = Kept(reader, lambda image: resized(image, image_size, whole), (image_size, whole), cache_root)
                read = kept.read
            else:
                _note_same(found, names, classes)
            decoded = ordered_map(read, reader.sources)
        parts = np.array([entry.part for entry in entries], dtype="U8")
        training = [entry for entry in entries if entry.part == "train"]
        held = held_out([entry.label for entry in training], [entry.patient for entry in training], test_fraction)
        parts[np.flatnonzero(parts == "train")[held]] = "test"
        for name, (shape, image), entry, part, place in zip(called, decoded, entries, parts, places, strict=True):
            record = labelled_record(name, image, max(entry.label, 0), classes, str(part), entry.patient)
            if opened:
                where = entry.file.relative_to(root).as_posix()
                record = record._replace(group=0, labelled=entry.label != NO_LABEL, file=where, size=tuple(shape[:2]))
            yield record._replace(**place.resized(shape, image.shape, cut=not whole)._asdict())

    said = [(entry.label, entry.part, entry.patient) for entry in found]
    decoding = (image_size, channels, whole, test_fraction, tuple(classes), said, names, options)
    modules = [__file__, phases.__file__, splits.__file__, volumes.__file__, *code]
    digest = reading.fingerprint(root, [entry.file for entry in found], modules, *decoding)
    return cached(
        dataset, digest, "class", classes, records, None if options.frames == "all" else len(found), cache_root
    )


def _pictures_of(
    sources: Sequence[reading.Source], found: Sequence[Labelled], names: Sequence[str]
) -> tuple[list[Labelled], list[str], list[Place]]:
    """What is known of every picture, its name and its place: all pictures of a file have its label.

    Where no patient is told at all they are those of DICOM headers, and the slices of a volume are of one patient
    (`volumes.whose`).
    """
    entry_of = {entry.file: (entry, name) for entry, name in zip(found, names, strict=True)}
    entries = [entry_of[source.file][0] for source in sources]
    files = [entry_of[source.file][1] for source in sources]
    told = any(entry.patient for entry in found)
    known = [entry.patient if told else s.known.patient for entry, s in zip(entries, sources, strict=True)]
    places = volumes.places_of(sources, files, known)
    patients = volumes.whose(known, places)
    if any(patients) and not told:
        many = len(set(patients) - {""})
        note(GUESSED, f"{many} patients are told by the files themselves (DICOM headers, pictures of one file).")
    entries = [entry._replace(patient=patient) for entry, patient in zip(entries, patients, strict=True)]
    return entries, [source.named(name) for source, name in zip(sources, files, strict=True)], places


def _note_same(found: Sequence[Labelled], names: Sequence[str], classes: Sequence[str]) -> None:
    """Warn of files that are byte for byte the same and have different classes."""
    of_size: dict[int, list[int]] = defaultdict(list)
    for i, entry in enumerate(found):
        of_size[entry.file.stat().st_size].append(i)
    first: dict[bytes, int] = {}
    pairs = []
    for i in (i for places in of_size.values() if len(places) > 1 for i in places):
        k = first.setdefault(hashlib.sha256(found[i].file.read_bytes()).digest(), i)
        if found[k].label != found[i].label:
            pairs.append((k, i))
    if pairs:
        one, other = (f"{names[i]} ({classes[found[i].label]})" for i in pairs[0])
        note(WARNING, f"{len(pairs)} pictures are the same file as one of another class, the first {one} and {other}.")


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
    """File names without folder; where any two are equal but for the composition of letters, paths from `root`."""
    names = [path.name for path in paths]
    different = len(set(map(composed, names))) == len(names)
    return names if different else [path.relative_to(root).as_posix() for path in paths]


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
    present = sorted((f.name for f in folder.iterdir() if f.is_dir() and not is_junk(f.name)), key=reading.natural)
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
            f"a test part of {fraction:g} (test_fraction) of {len(labels)} images{who} leaves one part empty; "
            "expected more images"
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
