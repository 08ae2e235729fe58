"""Colours of masks: the palettes of a set compared, and colours that stand for classes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int, Integer
from numpy import ndarray

from data import notes
from data.formats.masks import Mask
from data.names import Refused

FEW = 24  # colours that can be classes; more are a picture, or anti-aliased borders
HEX = re.compile(r"#?([0-9a-fA-F]{6}|[0-9a-fA-F]{12})")


def colour_codes(colours: Integer[ndarray, "*s 3"]) -> Int[ndarray, "*s"]:
    """Colours as one number each: 0xRRGGBB, or 16 bits a colour where these are not 8 bits widened."""
    if colours.dtype.itemsize > 1 and not (colours % 257).any():
        colours = (colours // 257).astype(np.uint8)
    bits = 8 * colours.dtype.itemsize
    red, green, blue = np.moveaxis(colours.astype(np.int64), -1, 0)
    return (red << 2 * bits) | (green << bits) | blue


def colour_name(code: int) -> str:
    """'#ff0000'."""
    return f"#{code:06x}"


def codes_of(colours: Sequence[str]) -> list[int]:
    """The option `colours` as numbers. Refused for what is no colour, or is there twice."""
    codes = []
    for colour in colours:
        written = HEX.fullmatch(colour) if isinstance(colour, str) else None
        if written is None:
            raise Refused(f"colours={list(colours)!r}: {colour!r} is no colour; expected for example '#ff0000'")
        codes.append(int(written[1], 16))
    if len(set(codes)) < len(codes) or len(codes) < 2:
        raise Refused(f"colours={list(colours)!r} must be at least two different colours, that of the background first")
    return codes


def to_colours(mask: Mask) -> Integer[ndarray, "h w 3"]:
    """The colours of a mask, by its palette where it has one."""
    if mask.palette is not None:
        if mask.values.max() >= len(mask.palette):
            raise Refused(f"a mask points to entry {mask.values.max()} of a palette with {len(mask.palette)}")
        return mask.palette[mask.values]
    return mask.values if mask.coloured else np.repeat(mask.values[..., None], 3, axis=2)


@dataclass
class Palettes:
    """The palettes of a set of masks."""

    first: dict[tuple[int, ...], Path] = field(default_factory=dict)  # a palette, as codes -> the first file with it
    count: dict[tuple[int, ...], int] = field(default_factory=dict)
    used: dict[tuple[int, ...], set[int]] = field(default_factory=dict)  # the entries that its masks use

    def add(self, file: Path, palette: Integer[ndarray, "n 3"], used: Integer[ndarray, " v"]) -> None:
        """Add the palette of a mask, and which of its entries the mask uses."""
        codes = tuple(colour_codes(palette).tolist())
        self.first.setdefault(codes, file)
        self.count[codes] = self.count.get(codes, 0) + 1
        self.used.setdefault(codes, set()).update(used.tolist())

    def agree(self) -> bool:
        """Whether every number that is used has one colour in all masks that use it, and no colour two numbers."""
        colour: dict[int, int] = {}
        number: dict[int, int] = {}
        for codes, used in self.used.items():
            for entry in used & set(range(len(codes))):
                if colour.setdefault(entry, codes[entry]) != codes[entry]:
                    return False
                if len(self.used) > 1 and number.setdefault(codes[entry], entry) != entry:
                    return False
        return True

    def require_black_first(self, numbers: Iterable[int]) -> None:
        """Refused where black is in use and another colour is number 0, the background: either could be meant."""
        pairs = {(entry, codes[entry]) for codes, used in self.used.items() for entry in used if entry < len(codes)}
        first = [colour_name(code) for entry, code in pairs if entry == 0 and code]
        black = [entry for entry, code in pairs if entry and not code]
        if first and black:
            colours = dict.fromkeys(sorted({code for _, code in pairs}), 0)
            raise Refused(
                f"the palette of {next(iter(self.first.values()))} makes {first[0]} number 0, the background, and "
                f"black number {black[0]}: say {offer(colours)} where black is the background, or "
                f"dataset_options.values=[{','.join(map(str, sorted(numbers)))}] where {first[0]} is"
            )

    def used_colours(self) -> set[int]:
        """The colours that any mask uses."""
        return {codes[entry] for codes, used in self.used.items() for entry in used if entry < len(codes)}

    def order(self) -> tuple[int, ...]:
        """The palette whose numbers are the classes, for masks that are read by colour: one that holds all colours in
        use, black first where black is in use, the longest of several. Refused where there is none, where several order
        the colours differently, or where a palette has one colour twice.
        """
        used = self.used_colours()
        for codes, entries in self.used.items():
            colours = [codes[entry] for entry in entries if entry < len(codes)]
            if len(set(colours)) < len(colours):
                raise Refused(f"the palettes of the masks differ, and that of {self.first[codes]} has one colour twice")
        fit = {codes: sorted(used, key=codes.index) for codes in self.used if used <= set(codes)}
        fit = {codes: order for codes, order in fit.items() if 0 not in used or order[0] == 0}
        if len(set(map(tuple, fit.values()))) != 1:
            two = " and ".join(str(file) for file in list(self.first.values())[:2])
            why = "order them differently" if fit else "hold not all of them, or black not first"
            raise Refused(
                f"the masks have different palettes (as {two}), which {why}; say in which order these {len(used)} "
                f"colours are the classes: {offer(dict.fromkeys(used, 0))}"
            )
        best = max(fit, key=lambda codes: (len(set(codes)), self.count[codes]))
        named = ", ".join(f"{colour_name(code)} is {best.index(code)}" for code in sorted(used, key=best.index)[:FEW])
        notes.note(
            notes.GUESSED,
            f"the masks have {len(self.used)} different palettes: they are read by colour, in the order of "
            f"{self.first[best].name}: {named}",
        )
        return best


def offer(colours: Mapping[int, int]) -> str:
    """The option that names these colours, the commonest first; black is offered as the background."""
    order = sorted(colours, key=lambda code: (code != 0, -colours[code], code))
    return f"dataset_options.colours=[{','.join(repr(colour_name(code)) for code in order)}]"
