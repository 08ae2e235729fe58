"""What a round suggests: an image to label, and what the model makes of it, in the pixels of the user's own file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float, Int, UInt8
from numpy import ndarray

PARTS = ("query", "start", "test")  # chosen by the strategy | before there is a model | to measure on


@dataclass(frozen=True)
class Suggestion:
    """One image that is to be labelled."""

    rank: int  # 1 is to be labelled first
    part: str  # one of PARTS
    file: Path  # the user's own file, which nothing of ours ever writes to
    name: str  # as the dataset names it, unique
    size: tuple[int, int]  # height and width of that file in pixels
    score: float  # what the strategy gave it; nan for strategies that give none
    uncertainty: float  # entropy of the prediction over its maximum, 0..1; nan without a model
    patient: str = ""
    nearest: str = ""  # name of the labelled image that is most like it; '' while there is none
    why: str = ""  # in one word: uncertain, different, typical, random, test


@dataclass(frozen=True)
class Prediction:
    """What a model makes of one image: of the three, the one that the task has. Corners of boxes are pixel edges."""

    probs: Float[ndarray, " c"] | None = None  # of the classes
    class_map: Int[ndarray, "h w"] | None = None  # class of each pixel of the user's file, 0 is background
    boxes: Float[ndarray, "m 6"] | None = None  # x1, y1, x2, y2 in pixels of the user's file, class, score in 0..1


@dataclass(frozen=True)
class Seen:
    """A suggestion, the picture of it that the model read, and its prediction; one at a time is held in memory."""

    suggestion: Suggestion
    picture: UInt8[ndarray, "h w channels"]  # as stored for training: maybe smaller than the file; 1 or 3 channels
    prediction: Prediction | None  # None without a model, and for test images, which are labelled without a hint


Writer = Callable[[Seen], None]  # takes what is seen one by one; made by a context manager that finishes the file
