"""One colour for each class, in all that shows a prediction."""

from __future__ import annotations

from experiments.pictures.box_picks import BOX_COLOURS


def colour_of(number: int) -> str:
    """'#rrggbb' of class 0, 1, ... of the foreground; they repeat."""
    return BOX_COLOURS[number % len(BOX_COLOURS)]


def red_green_blue(colour: str) -> list[int]:
    """'#ff8000' as [255, 128, 0]."""
    return list(bytes.fromhex(colour.removeprefix("#")))
