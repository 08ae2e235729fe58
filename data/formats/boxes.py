"""What the loaders of boxes share: listed pictures with boxes become cached images; boxes that cannot be right are
refused or clipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8
from numpy import ndarray

from data import phases, splits
from data.formats import folders, labelled, patients, reading, seen_boxes, tables, volumes
from data.formats.labelled import TEST_FRACTION
from data.formats.masks import TURNED
from data.formats.pictures import AS_USUAL, Options, Source
from data.formats.seen_boxes import Seen
from data.formats.unlabelled import Kept
from data.limits import OneOf
from data.names import Refused, require_one_of
from data.notes import CHANGED, note
from data.sources import source_fingerprint
from data.store import Images, Record, cached
from data.threads import ordered_map

BAD_BOXES = ("refuse", "clip")
BadBoxes = Annotated[str, OneOf(BAD_BOXES)]
ROUNDING = 0.02  # pixels outside the image that are rounding: formats with two decimals round a corner and a width
LARGE = 4  # pixels a side of an image in which boxes from 0 to 1 cannot be meant in pixels


class Boxed(NamedTuple):
    """One picture and what its annotation says."""

    file: Path
    boxes: ndarray  # (M, 5) xyxy + class in pixels of the picture, not yet checked
    source: Path  # the annotation, for messages
    part: str = "train"
    size: tuple[int, int] | None = None  # (width, height) that the annotation was made for, where it says so
    relative: bool = False  # corners are fractions of the picture's width and height, not pixels
    patient: str = ""
    name: str = ""  # of an image in a set of which some have no label, else file names are used
    labelled: bool = True


class Own(NamedTuple):
    """What a user says of boxes of their own, beside what all pictures have as `Options`."""

    patient_pattern: str = ""  # see data.formats.patients
    test_fraction: float = TEST_FRACTION
    pictures: Options = AS_USUAL


def require_policy(bad_boxes: str) -> str:
    """The policy, or a ValueError if it is none of BAD_BOXES."""
    require_one_of("bad_boxes", bad_boxes, BAD_BOXES)
    return bad_boxes


class BoxChecker:
    """Checks the boxes of a dataset image by image.

    A box is bad if it is not finite, inverted, empty, reaches outside its image, or lies in the first pixel of it, as
    numbers from 0 to 1 do.

    `refuse` raises a ValueError that names the first bad box. `clip` cuts boxes at the border of the image and drops
    those without an area in it; `clipped` and `dropped` count them and `warn` tells.
    """

    def __init__(self, bad_boxes: str):
        self.policy = require_policy(bad_boxes)
        self.clipped = self.dropped = 0
        self._first = ""

    def __call__(
        self, boxes: Float[ndarray, "m 5"], height: int, width: int, source: str | Path
    ) -> Float32[ndarray, "kept 5"]:
        """The good boxes (xyxy + class) of one image of height x width pixels. `source` names the image or its
        annotation in messages.
        """
        given = boxes.astype(np.float32)
        limit = np.array([width, height, width, height], np.float32)
        with np.errstate(invalid="ignore"):  # nan compares as False
            inside = ((given[:, :4] >= -ROUNDING) & (given[:, :4] <= limit + ROUNDING)).all(1)
            kept = np.concatenate([given[:, :4].clip(0, limit), given[:, 4:]], axis=1)
            sides = kept[:, 2:4] - kept[:, :2]
            area = np.isfinite(given).all(1) & (sides > ROUNDING).all(1)
            area &= (given[:, :4].max(1, initial=-np.inf) > 1) | (min(height, width) <= LARGE)
        bad = np.flatnonzero(~inside | ~area)
        if len(bad):
            first = f"{source}: box {bad[0] + 1} of {len(given)} ({_described(given[bad[0]], height, width)})"
            if self.policy == "refuse":
                raise Refused(
                    f"{first}; expected 0 <= x1 < x2 <= {width} and 0 <= y1 < y2 <= {height}: "
                    "correct it, or say dataset_options.bad_boxes=clip to clip them and drop those without an area"
                )
            self._first = self._first or first
            self.clipped += int((area & ~inside).sum())
            self.dropped += int((~area).sum())
        return kept[area]

    def warn(self, dataset: str) -> None:
        """One note with both counts and the first bad box, if there was any."""
        if self._first:
            clipped = f"{self.clipped} boxes reached outside their image and were clipped"
            counts = f"{clipped}, {self.dropped} without an area in it were dropped"
            note(CHANGED, f"{dataset}: {counts}; the first is {self._first}.")


def shrunk(
    image: UInt8[ndarray, "h w channels"], boxes: Float[ndarray, "m 5"], scale: float
) -> tuple[UInt8[ndarray, "h2 w2 channels"], Float32[ndarray, "m 5"]]:
    """Image and boxes at `scale` times their size: boxes by the ratio of the rounded sizes, which may differ in x and
    y.
    """
    small = reading.shrink(image, scale)
    return small, scaled(boxes, image.shape, small.shape)


def scaled(boxes: Float[ndarray, "m 5"], before: Sequence[int], after: Sequence[int]) -> Float32[ndarray, "m 5"]:
    """Boxes of a picture whose (height, width) `before` became those `after`."""
    sides, new_sides = (np.array([shape[1], shape[0]] * 2, np.float64) for shape in (before, after))
    return np.concatenate([boxes[:, :4] * new_sides / sides, boxes[:, 4:]], axis=1).astype(np.float32)


def boxed_images(
    dataset: str,
    root: Path,
    found: Sequence[Boxed],
    classes: Sequence[str],
    scale: float,
    bad_boxes: str,
    code: Iterable[str],
    decoding: tuple,
    cache_root: Path | None = None,
    own: Own | None = None,
) -> Images:
    """The annotated pictures as kind 'boxes', in the order given; `group` is 0, for nothing is known of an image before
    it is labelled.

    Images become grey or, if any of them is coloured, all RGB. Names are file names, or paths relative to `root` where
    those repeat. Where no entry is of part 'test', a fixed share of 'train' becomes it: a fifth, or as a user says in
    `own`, by whole patients. `code` are the source files of the loader, `decoding` its options. Missing or Refused
    names a picture that is missing, broken, or of another size than its annotation says. Where entries have names some
    may be without a label, see data.unlabelled: then no test part is divided off.
    """
    scale, bad_boxes = reading.require_scale(scale), require_policy(bad_boxes)
    said = own or Own()
    options = said.pictures.checked()
    pictures = [entry.file for entry in found]
    opened = bool(found[0].name)
    names = [entry.name for entry in found] if opened else labelled.unique_names(pictures, root)

    def records() -> Iterator[Record]:
        reader, checker, seen = reading.survey(pictures, options), BoxChecker(bad_boxes), Seen(classes)
        require_one_each(reader.sources, pictures)
        known = whose_are(root, found, reader.sources, said) if own else [""] * len(found)
        places = volumes.places_of(reader.sources, names, known)
        whose = volumes.whose(known, places)
        parts = [entry.part for entry in found]
        parts = parts if opened else with_test_part(parts, [0] * len(found), whose, said.test_fraction)
        patients.note_shared(whose, parts)
        _require_pixels(found, reader.sources)
        kept = Kept(reader, partial(reading.shrink, scale=scale), scale, cache_root)
        read = kept.read if opened else kept.decoded
        decoded = ordered_map(read, reader.sources)
        for i, (entry, (size, small), from_file) in enumerate(zip(found, decoded, reader.sources, strict=True)):
            checked = _checked(entry, *size, from_file, checker, options.exif)
            target = scaled(checked, size, small.shape)
            if entry.labelled:
                seen.add(parts[i], target, small.shape[0], small.shape[1], names[i])
            place = places[i].resized(size, small.shape)
            record = Record(names[i], small, target, 0, parts[i], whose[i], *place, entry.labelled)
            yield record._replace(file=entry.file.relative_to(root).as_posix(), size=size) if opened else record
        checker.warn(dataset)
        if any(entry.labelled for entry in found):
            seen.tell(dataset, "annotated images" if opened else "images")

    tables_there = [file for file in root.iterdir() if file.name.casefold() == patients.TABLE]
    annotated = dict.fromkeys(entry.source for entry in found)
    if opened:  # pictures without annotation, and annotations that lie elsewhere
        annotated = dict.fromkeys(file for file in annotated if file.is_relative_to(root) and file not in set(pictures))
        elsewhere = [entry for entry in found if not entry.source.is_relative_to(root)]
        named = [(entry.name, entry.labelled) for entry in found]
        decoding = (*decoding, named, source_fingerprint([entry.source for entry in elsewhere]))
    sources = [*pictures, *annotated, *tables_there]
    shared = (folders, labelled, patients, phases, seen_boxes, splits, tables, volumes)
    modules = [__file__, *(str(module.__file__) for module in shared), *code]
    told = [(entry.part, entry.patient, entry.relative) for entry in found]
    digest = reading.fingerprint(root, sources, modules, scale, bad_boxes, tuple(classes), told, said, decoding)
    return cached(dataset, digest, "boxes", classes, records, len(found), cache_root)


def _checked(
    entry: Boxed, height: int, width: int, from_file: Source, checker: BoxChecker, exif: str
) -> Float32[ndarray, "kept 5"]:
    """The good boxes of an entry, in pixels of the picture."""
    sides = np.array([width, height] * 2 if entry.relative else [1] * 4)
    boxes = np.concatenate([entry.boxes[:, :4] * sides, entry.boxes[:, 4:]], axis=1)
    require_shown(entry, boxes, height, width, from_file, exif)
    source = entry.source if entry.source.stem == entry.file.stem else f"{entry.source}, {entry.file.name}"
    return checker(boxes, height, width, source)


def with_test_part(
    parts: Sequence[str],
    groups: Sequence[int],
    whose: Sequence[str] | None = None,
    fraction: float = TEST_FRACTION,
) -> list[str]:
    """The parts as they are if any is 'test', else with a fixed share of each group of 'train' as 'test', the same for
    all runs, by whole patients where `whose` tells them.
    """
    if "test" in parts:
        if fraction != TEST_FRACTION:
            raise Refused(f"test_fraction={fraction:g} has nothing to divide: the images have a part 'test'")
        return list(parts)
    training = [i for i, part in enumerate(parts) if part == "train"]
    told = [whose[i] if whose else "" for i in training]
    held = labelled.held_out([groups[i] for i in training], told, fraction)
    testing = {i for i, chosen in zip(training, held, strict=True) if chosen}
    return ["test" if i in testing else part for i, part in enumerate(parts)]


def whose_are(root: Path, found: Sequence[Boxed], sources: Sequence[Source], own: Own) -> list[str]:
    """The patient of every picture: of the annotation, of patients.csv or the pattern, else of the files themselves."""
    names = [entry.file.relative_to(root).as_posix() for entry in found]
    told = patients.patients_of(names, root, own.patient_pattern)
    inside = [entry.patient for entry in found]
    if any(told) and any(inside):
        raise Refused(f"the annotations in {root} tell patients, and so does {patients.TABLE} or the pattern; use one")
    if any(inside):
        return patients.as_patients(inside, str(found[0].source))
    return told if any(told) else [source.known.patient for source in sources]


def require_one_each(sources: Sequence[Source], pictures: Sequence[Path]) -> None:
    """Refused for a file of several pictures: boxes are of one."""
    for source in sources:
        if source.number:
            raise Refused(f"{source.file} holds several pictures, expected one: boxes are of a single one")
    if len(sources) != len(pictures):
        raise Refused(f"{len(pictures)} files hold {len(sources)} pictures, expected one each")


def _require_pixels(found: Sequence[Boxed], sources: Sequence[Source]) -> None:
    """Refused where all boxes of a set lie within 0 to 1 though they should be in pixels."""
    corners = [entry.boxes[:, :4] for entry in found if len(entry.boxes)]
    values = np.concatenate([*corners, np.zeros((0, 4))])
    if found[0].relative or not (0 < values[np.isfinite(values)].max(initial=0) <= 1):
        return
    first = next(entry for entry in found if len(entry.boxes))
    image = reading.read_image(first.file) if first.size is None else None
    width, height = (image.shape[1], image.shape[0]) if image is not None else first.size or (0, 0)
    if min(width, height) > LARGE:
        raise Refused(
            f"all boxes in {first.source} lie within 0 to 1, but {first.file.name} has {width} x {height} pixels: "
            "these seem to be fractions of its width and height; expected pixels (COCO: say units='fractions')"
        )


def require_shown(
    entry: Boxed, boxes: Float[ndarray, "m 5"], height: int, width: int, source: Source, exif: str
) -> None:
    """Refused where boxes were made for a picture of another size; says so where EXIF turned it."""
    turned = source.known.orientation in TURNED and height != width
    advice = (
        f"; the EXIF orientation of {entry.file.name} exchanges width and height: say "
        f"exif={'ignore' if exif == 'apply' else 'apply'!r} where boxes were drawn on the picture "
        f"{'as it is stored' if exif == 'apply' else 'as viewers show it'}"
    )
    if entry.size not in (None, (width, height)):
        told, there = "{} x {}".format(*entry.size), f"{width} x {height}"
        because = advice if turned and entry.size == (height, width) else ""
        raise Refused(
            f"{entry.source} is for {told} pixels, but {entry.file} has {there}: its boxes would be misplaced{because}"
        )
    if turned and len(boxes):
        furthest = boxes[:, 2:4].max(0)
        if (furthest > np.array([width, height]) + 1).any() and (furthest <= np.array([height, width]) + 1).all():
            raise Refused(f"{entry.source}: boxes reach outside {entry.file}, {width} x {height} pixels{advice}")


def _described(box: Float32[ndarray, "5"], height: int, width: int) -> str:
    """What is wrong with a bad box, with its corners."""
    x1, y1, x2, y2 = box[:4].tolist()
    corners = f"x1={x1:g}, y1={y1:g}, x2={x2:g}, y2={y2:g}"
    if not np.isfinite(box[:4]).all():
        return f"{corners}: not finite"
    if x2 < x1 or y2 < y1:
        return f"{corners}: inverted"
    if x2 - x1 <= ROUNDING or y2 - y1 <= ROUNDING:
        return f"{corners}: empty"
    if min(x1, y1) >= 0 and max(x2, y2) <= 1:
        return f"{corners}: within the first pixel, are these fractions?"
    return f"{corners}: outside the image of {width} x {height} pixels"
