"""Images with masks of which some are not drawn yet, see `data.unlabelled`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer
from numpy import ndarray

from data.formats import mask_values, reading
from data.formats.mask_pairs import Found
from data.formats.masks import Mask, decode_mask
from data.formats.pictures import Reader
from data.formats.unlabelled import Kept, note_both, note_lost, stem
from data.names import Refused
from data.store import Record
from data.threads import ordered_map

ToTarget = Callable[[Path, Mask], ndarray]


class Sought(NamedTuple):
    """How masks are read."""

    mine: Mapping[str, Path]  # masks of ours, by the path of their image without ending
    to_target: ToTarget | None  # what the user's masks mean; None where there is none
    n_classes: int
    instances: bool
    scale: float
    exif: str


def records(
    found: Sequence[Found], root: Path, reader: Reader, sought: Sought, cache_root: Path | None
) -> Iterator[Record]:
    """A record of every image below `root`. Refused names a mask of another size, or a file of several pictures."""
    differing, files = {}, [entry.image.file for entry in found]
    if twice := next((a for a, b in zip(files, files[1:], strict=False) if a == b), None):
        one = "each is labelled by itself: save its slices, or pages, as files of their own"
        raise Refused(f"{twice} holds several pictures, expected one, for {one}")
    note_lost(sought.mine.keys() - {stem(Path(entry.file)) for entry in found})
    kept = Kept(reader, partial(reading.shrink, scale=sought.scale), sought.scale, cache_root)
    decoded = ordered_map(kept.read, [entry.image for entry in found])
    for entry, (size, small) in zip(found, decoded, strict=True):
        own = our = None
        if entry.mask and sought.to_target:
            mask = _of_size(entry, size, entry.mask.file, sought.exif, entry.mask.frame)
            own = sought.to_target(entry.mask.file, mask)
        if file := sought.mine.get(stem(Path(entry.file))):
            our = _as_ours(file, _of_size(entry, size, file, "ignore"), sought.n_classes, sought.instances)
        if own is not None and our is not None and not np.array_equal(own, our):
            differing[entry.file] = ""
        target = own if own is not None else our
        if target is None:
            target = np.zeros((1, 1), np.uint16 if sought.instances else np.uint8)
        place = entry.place.resized(size, small.shape)
        target, labelled = reading.shrink_mask(target, sought.scale), own is not None or our is not None
        where = (labelled, entry.image.file.relative_to(root).as_posix(), size)
        yield Record(entry.file, small, target, 0, entry.part or "train", entry.patient, *place, *where)
    note_both(differing)


def _of_size(entry: Found, size: tuple[int, int], file: Path, exif: str, frame: int | None = None) -> Mask:
    """The mask in a file. Refused where it is not as large as the image."""
    mask = decode_mask(file, frame, exif)
    reading.require_equal_size(entry.image.file, np.broadcast_to(np.uint8(0), size), file, mask.values)
    return mask


def _as_ours(file: Path, mask: Mask, n_classes: int, instances: bool) -> Integer[ndarray, "h w"]:
    """The classes, or the numbers of objects, that a mask of ours holds."""
    if instances:
        return mask_values.as_instances(file, mask)
    if mask.coloured or mask.values.max(initial=0) >= n_classes or mask.values.min(initial=0) < 0:
        raise Refused(f"{file} holds values that are no classes, expected 0 to {n_classes - 1}")
    return mask.values.astype(np.uint8)
