"""What a picture shows, for tests that read it back."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image


def pixels(path, colour: str) -> int:
    """How many pixels of a picture have nearly this colour."""
    seen = np.asarray(Image.open(path).convert("RGB"), dtype=float) / 255
    return int((np.abs(seen - to_rgb(colour)).max(-1) < 0.05).sum())


def texts(figure: Figure) -> str:
    """All that is written in a figure, except ticks."""
    written = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        written += [axes.get_title(loc="left"), *(text.get_text() for text in axes.texts)]
    return " | ".join(written)
