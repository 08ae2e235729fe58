"""What the values of a set of masks mean: class numbers, a few grey levels, colours, or the numbers of objects.

Masks say so nowhere. What all of them hold is looked at first; what is not certain is refused with the values that
there are and the option that settles it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Integer
from numpy import ndarray
from skimage.measure import label

from data import notes
from data.formats.masks import IGNORED, Mask
from data.formats.palettes import FEW, Palettes, codes_of, colour_codes, colour_name, offer, to_colours
from data.names import Refused

MOST_CLASSES = 256
MOST_NAMED = 12  # values, in a sentence
MANY_VALUES, FEW_OBJECTS = 10, 4  # so many values in few images each, or numbers from 1 in every image: objects
MOST_LOOKED_AT = 60  # masks, for whether each value is one connected piece


@dataclass
class Seen:
    """What the masks of a set hold."""

    values: dict[int, Path] = field(default_factory=dict)  # value -> the first file with it
    images: dict[int, int] = field(default_factory=dict)  # value -> in how many masks it occurs
    total: int = 0
    palettes: Palettes = field(default_factory=Palettes)
    coloured: Path | None = None  # the first mask of colours
    colours: dict[int, int] = field(default_factory=dict)  # code -> pixels
    numbering: list[tuple[int, bool, bool]] = field(default_factory=list)  # objects, all of 1..k, each in one piece

    def add(self, file: Path, mask: Mask) -> None:
        """Look at one mask."""
        self.total += 1
        if mask.coloured:
            self.coloured = self.coloured or file
            if len(self.colours) > MOST_CLASSES:  # a photo: counted no further
                return
            for code, count in zip(*np.unique(colour_codes(mask.values), return_counts=True), strict=True):
                self.colours[int(code)] = self.colours.get(int(code), 0) + int(count)
            return
        found = np.unique(mask.values)
        for value in found.tolist():
            self.values.setdefault(value, file)
            self.images[value] = self.images.get(value, 0) + 1
        if mask.palette is not None:
            self.palettes.add(file, mask.palette, found)
        objects = found[found > 0]
        if len(self.numbering) < MOST_LOOKED_AT and len(objects) and self.largest >= FEW_OBJECTS:
            _, pieces = label(mask.values, background=0, connectivity=2, return_num=True)  # type: ignore[misc]
            ranked = bool((objects == np.arange(1, len(objects) + 1)).all())
            self.numbering.append((len(objects), ranked, pieces <= 1.1 * len(objects)))

    @property
    def largest(self) -> int:
        return max(self.values, default=0)

    def described(self) -> str:
        """'0, 128, 255', or the first of many and the last."""
        values = sorted(self.values)
        named = ", ".join(map(str, values[:MOST_NAMED]))
        return named if len(values) <= MOST_NAMED else f"{named}, ... {values[-1]} ({len(values)} values)"

    def are_objects(self) -> bool:
        """Whether the values look like numbers of objects: each one piece, and either many values that are in few
        images each, or counted from 1 in every image, up to different numbers.
        """
        foreground = [value for value in self.values if value > 0]
        if len(foreground) < FEW_OBJECTS or not self.numbering:
            return False
        if np.mean([single for _, _, single in self.numbering]) < 0.9:
            return False
        in_few = float(np.median([self.images[value] for value in foreground])) <= max(1, self.total / 2)
        counts = {count for count, _, _ in self.numbering}
        counted = all(ranked for _, ranked, _ in self.numbering) and len(counts) > 1
        return (len(foreground) >= MANY_VALUES and in_few and len(counts) > 1) or counted


def look_at(masks: Iterable[tuple[Path, Mask]]) -> Seen:
    """What these masks hold."""
    seen = Seen()
    for file, mask in masks:
        seen.add(file, mask)
    return seen


def as_instances(file: Path, mask: Mask) -> Integer[ndarray, "h w"]:
    """Numbers of objects as uint16, 0 the background; colours, and numbers beyond 16 bits, are numbered from 1."""
    values = colour_codes(mask.values) if mask.coloured else mask.values
    if values.min() < 0:
        raise Refused(f"mask {file} holds the value {values.min()}, expected 0 or the number of an object")
    if values.max() >= 2**16:
        present, numbered = np.unique(values, return_inverse=True)
        values = numbered.reshape(values.shape) + (present[0] > 0)
    return values.astype(np.uint16)


def by_values(values: Sequence[int], ignore: int | None) -> Callable[[Path, Mask], ndarray]:
    """Class k is `values`[k]."""

    def to_target(file: Path, mask: Mask) -> ndarray:
        if mask.coloured:
            raise Refused(f"{file} is a colour picture, values={list(values)} are of grey ones; say colours=[...]")
        target = np.full(mask.values.shape, IGNORED, np.int64)
        known = np.zeros(mask.values.shape, bool) if ignore is None else mask.values == ignore
        for number, value in enumerate(values):
            here = mask.values == value
            target[here], known = number, known | here
        if not known.all():
            value = mask.values[~known][0]
            ignored = "" if ignore is None else f" or ignore={ignore}"
            named = f"mask {file} holds the value {value}, expected one of values={list(values)}{ignored}."
            raise Refused(named + lossy(file))
        return target.astype(np.uint8)

    return to_target


def by_colours(classes: Mapping[int, int]) -> Callable[[Path, Mask], ndarray]:
    """The class of every colour code; palettes and grey masks count by their colours too."""

    def to_target(file: Path, mask: Mask) -> ndarray:
        found, where = np.unique(colour_codes(to_colours(mask)), return_inverse=True)
        others = [code for code in found.tolist() if code not in classes]
        if others:
            names = ", ".join(colour_name(code) for code in others[:MOST_NAMED])
            raise Refused(f"mask {file} holds {len(others)} colours of no class: {names}.{lossy(file)}")
        numbers = np.array([classes[code] for code in found.tolist()], np.uint8)
        return numbers[where].reshape(mask.values.shape[:2])

    return to_target


def by_palette(seen: Seen, num_classes: int, ignore: int | None) -> Callable[[Path, Mask], ndarray]:
    """Masks whose palettes differ, by colour. Refused where the numbers of the colours in use cannot be classes."""
    order = seen.palettes.order()
    classes = {code: order.index(code) for code in seen.palettes.used_colours()}
    numbers = sorted(number for number in classes.values() if number != ignore)
    limit = num_classes or len(numbers)
    if not numbers or numbers[-1] >= limit:
        colours = dict.fromkeys(sorted(classes, key=lambda code: classes[code]), 0)
        raise Refused(
            f"the colours of the masks are the entries {', '.join(map(str, numbers))} of a palette, expected 0 to "
            f"{limit - 1}; say which are the classes: {offer(colours)}"
        )
    return by_colours({code: IGNORED if number == ignore else number for code, number in classes.items()})


def meaning(
    seen: Seen, num_classes: int, values: Sequence[int], colours: Sequence[str], ignore: int | None, instances: bool
) -> Callable[[Path, Mask], ndarray]:
    """How masks become targets: what the options say, else what all masks hold. Refused where that is not certain."""
    if instances:
        if 0 not in seen.values and 0 not in seen.colours:
            raise Refused(
                "no mask holds 0 (of colours: black), the background of instances, so that every pixel would be of an "
                "object; paint the background with it"
            )
        if len(seen.values.keys() - {0}) == 1:
            notes.note(
                notes.WARNING,
                f"the masks hold {seen.described()}: with instances each image has one object at most; "
                "objects that are counted need a number each",
            )
        return as_instances
    if colours:
        return by_colours({code: number for number, code in enumerate(codes_of(colours))})
    if values:
        return by_values(values, ignore)
    if seen.coloured is not None:
        if len(seen.colours) <= FEW:
            raise Refused(
                f"{seen.coloured} is a colour picture, expected class numbers; the masks hold {len(seen.colours)} "
                f"colours: say {offer(seen.colours)} in the order of the classes, that of the background first"
            )
        raise Refused(
            f"{seen.coloured} is a colour picture, and the masks hold {len(seen.colours)} colours, more than classes: "
            f"expected grey values or palette indices that are the class numbers.{lossy(seen.coloured)} "
            "Say dataset_options.instances=True where each colour is an object"
        )
    if not seen.palettes.agree():
        return by_palette(seen, num_classes, ignore)
    if 0 < sum(seen.palettes.count.values()) < seen.total:
        notes.note(notes.WARNING, "some masks have a palette, others are grey: both are read by number, not by colour")
    seen.palettes.require_black_first(value for value in seen.values if value != ignore)
    return by_number(seen, num_classes, ignore)


def by_number(seen: Seen, num_classes: int, ignore: int | None) -> Callable[[Path, Mask], ndarray]:
    """The values are the classes; 0 and white alone are 0 and 1. Refused unless they can be, with what settles it."""
    values = {value: file for value, file in seen.values.items() if value != ignore}
    white = max(values, default=0)
    if num_classes in (0, 2) and white in (255, 2**16 - 1) and set(values) <= {0, white}:
        notes.note(notes.GUESSED, f"the masks hold only 0 and {white}: they are read as classes 0 and 1.")
        whitened = True
    else:
        whitened = False
        _require_classes(seen, values, num_classes, ignore)

    def to_target(file: Path, mask: Mask) -> ndarray:
        target = (mask.values > 0 if whitened else mask.values).astype(np.uint8)
        if ignore is not None:
            target[mask.values == ignore] = IGNORED
        return target

    return to_target


def lossy(mask_file: Path) -> str:
    """What is likely to have changed the values of a mask."""
    return " JPEG changes class numbers: save masks as PNG." if mask_file.suffix.lower() in {".jpg", ".jpeg"} else ""


def _require_classes(seen: Seen, values: dict[int, Path], num_classes: int, ignore: int | None) -> None:
    """Refused unless the values are class numbers below `num_classes`, or 0, 1, ... without a gap where that is 0."""
    if not values:
        raise Refused(f"every mask holds only the value {ignore}, which is ignored")
    if not num_classes and seen.are_objects():
        raise Refused(
            f"the masks hold {seen.described()}, each value one piece and the higher ones in few of the {seen.total} "
            f"masks: they look like the numbers of objects. Say dataset_options.instances=True where they are, or "
            f"{_as_classes(seen)} where they are classes"
        )
    largest, limit = max(values), num_classes or MOST_CLASSES - (ignore is not None)
    there = f"The masks hold {seen.described()}: say {choices(seen)}."
    if largest >= limit or min(values) < 0:
        value = largest if largest >= limit else min(values)
        because = f"num_classes={num_classes}" if num_classes else f"class numbers go up to {limit - 1}"
        named = f"mask {values[value]} holds the value {value}, expected 0 to {limit - 1} because {because}."
        raise Refused(f"{named} {lossy(values[value]).strip() or there}")
    if not num_classes and largest == 0:
        raise Refused(
            f"every mask holds only the value 0 (the first is {values[0]}), "
            "expected background 0 and at least one class"
        )
    gap = next(c for c in range(largest + 2) if c not in values)
    if not num_classes and gap < largest:
        after = min(value for value in values if value > gap)
        raise Refused(
            f"mask {values[after]} holds the value {after} but no mask holds {gap}, expected class numbers without a "
            f"gap. {lossy(values[after]).strip() or there}"
        )


def _as_classes(seen: Seen) -> str:
    below = max(value for value in seen.values if value != IGNORED) + 1
    ignored = " with ignore=255" if IGNORED in seen.values and below < IGNORED else ""
    return f"dataset_options.num_classes={below if ignored else seen.largest + 1}{ignored}"


def choices(seen: Seen) -> str:
    """The options that settle what the values are."""
    values = sorted(seen.values)
    said = []
    if len(values) <= MOST_NAMED:
        said.append(f"dataset_options.values=[{','.join(map(str, values))}] where each is a class")
    if seen.largest == 255 and len(values) > 2:
        said.append("dataset_options.ignore=255 where 255 marks pixels that do not count")
    if 0 < seen.largest < MOST_CLASSES - 1:
        said.append(f"dataset_options.num_classes={seen.largest + 1} where some classes do not occur")
    said.append("dataset_options.instances=True where they number objects")
    return ", or ".join(said)
