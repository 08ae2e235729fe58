"""What readers share that keep images without a label, see `data.unlabelled`: labels of ours, pictures that are kept.

Decoded pictures are kept in the cache, each in a file of its own: a label that comes in later decodes none again.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from data.files import folder_from
from data.formats.endings import ending_of
from data.formats.folders import walk
from data.formats.pictures import Reader, Source
from data.names import Refused
from data.notes import LEFT_OUT, WARNING, note
from data.unlabelled import Unlabelled

NO_LABEL = -1  # in the place of the number of a class
LARGEST = 2**20  # bytes of a decoded picture above which it is not kept
# A kept picture that cannot be read; SystemError is Python 3.11's own, where several threads parse the header of one.
UNREAD = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, SystemError)


def ours(given: Unlabelled, name: str, ending: str) -> dict[str, Path]:
    """Image, as its path below the folder of images without ending -> our file of it. Refused for two of one image."""
    if (folder := given.inner(name)) is None:
        return {}
    files = (file for file in sorted(walk(folder)) if file.suffix.casefold() == ending)
    return one_each((stem(file.relative_to(folder)), file) for file in files)


def one_each(told: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """Image -> our file of it. Refused where two files are of one image."""
    found: dict[str, Path] = {}
    for image, file in told:
        if image in found:
            raise Refused(f"{found[image]} and {file} are both of the image {image}: remove one of them")
        found[image] = file
    return found


def stem(path: Path) -> str:
    """A relative path with slashes and without its ending."""
    whole = path.as_posix()
    return whole[: len(whole) - len(ending_of(path))]


def note_both(differing: Mapping[str, str]) -> None:
    """Say which images have two labels that differ: image -> what they are; '' where that is not said."""
    if differing:
        name, both = next(iter(differing.items()))
        many = f"{len(differing)} images are labelled otherwise in your own folder than in ours"
        note(WARNING, f"{many}, the first {name}{f' ({both})' if both else ''}: your own labels count.")


def note_lost(names: Collection[str]) -> None:
    """Say which labels of ours are of no image."""
    if names:
        note(
            LEFT_OUT,
            f"{len(names)} of the labels beside your own are of no image and not used, the first {min(names)}.",
        )


class Kept:
    """Pictures as a reader decodes them and `shrink` makes them smaller, from the cache where they were read before."""

    def __init__(self, reader: Reader, shrink: Callable[[ndarray], ndarray], how: object, cache_root: Path | None):
        self.reader, self.shrink = reader, shrink
        self.how = (how, reader.channels, reader.window, reader.options)
        self.folder = (cache_root or folder_from("ALIQUOT_CACHE", "data/cache")) / "pictures"

    def read(self, source: Source) -> tuple[tuple[int, int], UInt8[ndarray, "h w channels"]]:
        """(Height, width) as decoded, and the smaller picture."""
        state = source.file.stat()
        said = (os.path.abspath(source.file), state.st_size, state.st_mtime_ns, source.frame, self.how)
        digest = hashlib.sha256(repr(said).encode()).hexdigest()[:24]
        file = self.folder / digest[:2] / f"{digest}.npz"
        with suppress(*UNREAD), np.load(file) as found:
            return tuple(found["size"].tolist()), found["image"]
        size, image = self.decoded(source)
        if image.nbytes <= LARGEST:
            with suppress(OSError):  # only time is lost
                file.parent.mkdir(parents=True, exist_ok=True)
                temporary = file.with_name(f".{file.name}.{os.getpid()}.npz")
                np.savez(temporary, size=size, image=image)
                os.replace(temporary, file)
        return size, image

    def decoded(self, source: Source) -> tuple[tuple[int, int], UInt8[ndarray, "h w channels"]]:
        """As `read`, from the picture's own file."""
        image = self.reader.read(source)
        return (image.shape[0], image.shape[1]), self.shrink(image)
