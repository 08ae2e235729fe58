"""What the loaders of boxes share: pictures with boxes become cached images; wrong boxes are refused or clipped."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8
from numpy import ndarray

from data import splits
from data.formats import labelled, reading
from data.names import Refused, require_one_of
from data.store import Images, Record, cached
from data.threads import ordered_map

BAD_BOXES = ("refuse", "clip")
ROUNDING = 0.02  # pixels outside the image that are rounding: formats with two decimals round a corner and a width


class Boxed(NamedTuple):
    """One picture and what its annotation says."""

    file: Path
    boxes: ndarray  # (M, 5) xyxy + class in pixels of the picture, not yet checked
    source: Path  # the annotation, for messages
    part: str = "train"
    size: tuple[int, int] | None = None  # (width, height) that the annotation was made for, where it says so


def require_policy(bad_boxes: str) -> str:
    """The policy, or a ValueError if it is none of BAD_BOXES."""
    require_one_of("bad_boxes", bad_boxes, BAD_BOXES)
    return bad_boxes


class BoxChecker:
    """Checks boxes image by image: a box is bad if it is not finite, inverted, empty, or reaches outside its image.

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
        """The good boxes (xyxy + class) of one image of height x width pixels; `source` names it in messages."""
        given = boxes.astype(np.float32)
        limit = np.array([width, height, width, height], np.float32)
        with np.errstate(invalid="ignore"):  # nan compares as False
            inside = ((given[:, :4] >= -ROUNDING) & (given[:, :4] <= limit + ROUNDING)).all(1)
            kept = np.concatenate([given[:, :4].clip(0, limit), given[:, 4:]], axis=1)
            area = np.isfinite(given).all(1) & (kept[:, 2] > kept[:, 0]) & (kept[:, 3] > kept[:, 1])
        bad = np.flatnonzero(~inside | ~area)
        if len(bad):
            first = f"{source}: box {bad[0] + 1} of {len(given)} ({_described(given[bad[0]], height, width)})"
            if self.policy == "refuse":
                raise Refused(
                    f"{first}; expected 0 <= x1 < x2 <= {width} and 0 <= y1 < y2 <= {height}: "
                    "correct it, or say bad_boxes='clip' to clip such boxes and drop those without an area"
                )
            self._first = self._first or first
            self.clipped += int((area & ~inside).sum())
            self.dropped += int((~area).sum())
        return kept[area]

    def warn(self, dataset: str) -> None:
        """One UserWarning with both counts and the first bad box, if there was any."""
        if self._first:
            clipped = f"{self.clipped} boxes reached outside their image and were clipped"
            counts = f"{clipped}, {self.dropped} without an area in it were dropped"
            warnings.warn(f"{dataset}: {counts}; the first is {self._first}.", stacklevel=2)


def shrunk(
    image: UInt8[ndarray, "h w channels"], boxes: Float[ndarray, "m 5"], scale: float
) -> tuple[UInt8[ndarray, "h2 w2 channels"], Float32[ndarray, "m 5"]]:
    """Image and boxes at `scale` times their size: boxes by the ratio of the rounded sizes, one in x and one in y."""
    small = reading.shrink(image, scale)
    sides = np.array([image.shape[1], image.shape[0]] * 2, np.float64)
    new_sides = np.array([small.shape[1], small.shape[0]] * 2, np.float64)
    return small, np.concatenate([boxes[:, :4] * new_sides / sides, boxes[:, 4:]], axis=1).astype(np.float32)


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
) -> Images:
    """The annotated pictures as kind 'boxes', in the order given; `group` is 0: nothing is known without labels.

    Images become grey or, if any of them is coloured, all RGB. Names are file names, or paths relative to `root` where
    those repeat. Where no entry is of part 'test', a fixed fifth of 'train' becomes it. `code` are the source files of
    the loader, `decoding` its options. ValueError or FileNotFoundError names a picture that is missing, broken, or of
    another size than its annotation says.
    """
    scale, bad_boxes = reading.require_scale(scale), require_policy(bad_boxes)
    parts = with_test_part([entry.part for entry in found], [0] * len(found))
    pictures = [entry.file for entry in found]
    names = labelled.unique_names(pictures, root)

    def records() -> Iterator[Record]:
        reader, checker = reading.survey(pictures), BoxChecker(bad_boxes)
        decoded = ordered_map(reader.read, reader.sources)
        for name, entry, part, image in zip(names, found, parts, decoded, strict=True):
            height, width = image.shape[:2]
            if entry.size not in (None, (width, height)):
                told, there = "{} x {}".format(*entry.size), f"{width} x {height}"
                raise Refused(
                    f"{entry.source} is for {told} pixels, but {entry.file} has {there}: its boxes would be misplaced"
                )
            source = entry.source if entry.source.stem == entry.file.stem else f"{entry.source}, {entry.file.name}"
            small, target = shrunk(image, checker(entry.boxes, height, width, source), scale)
            yield Record(name, small, target, 0, part)
        checker.warn(dataset)

    sources = [*pictures, *dict.fromkeys(entry.source for entry in found)]
    modules = [__file__, labelled.__file__, splits.__file__, *code]
    digest = reading.fingerprint(root, sources, modules, scale, bad_boxes, tuple(classes), parts, decoding)
    return cached(dataset, digest, "boxes", classes, records, len(found), cache_root)


def with_test_part(parts: Sequence[str], groups: Sequence[int]) -> list[str]:
    """The parts as they are if any is 'test', else with a fixed fifth of each group of 'train' as 'test'."""
    if "test" in parts:
        return list(parts)
    training = [i for i, part in enumerate(parts) if part == "train"]
    held = labelled.held_out([groups[i] for i in training], [""] * len(training))
    testing = {i for i, chosen in zip(training, held, strict=True) if chosen}
    return ["test" if i in testing else part for i, part in enumerate(parts)]


def _described(box: Float32[ndarray, "5"], height: int, width: int) -> str:
    """What is wrong with a bad box, with its corners."""
    x1, y1, x2, y2 = box[:4].tolist()
    corners = f"x1={x1:g}, y1={y1:g}, x2={x2:g}, y2={y2:g}"
    if not np.isfinite(box[:4]).all():
        return f"{corners}: not finite"
    if x2 < x1 or y2 < y1:
        return f"{corners}: inverted"
    if x2 == x1 or y2 == y1:
        return f"{corners}: empty"
    return f"{corners}: outside the image of {width} x {height} pixels"
