"""Options that a study with a person takes from its images: once, so that all its rounds have the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from data.catalogue import OWN
from data.files import folder_of
from data.formats.sizes import typical_size
from data.store import Images
from experiments.learning.devices import device_of
from experiments.rounds.state import Rounds
from experiments.tracking import suited
from experiments.tracking.options import SUITABLE, TABLES
from experiments.tracking.suited import Seen

Values = Mapping[str, Any]


def suited_options(
    task: str, options: Values, state: Rounds | None, load: Callable[[Values], Images]
) -> dict[str, Any]:
    """The options with a value for each that is to be taken from the data: that of the rounds before, or a new one.

    Pictures with boxes are read at a scale that their boxes need as soon as there are any.
    """
    before = state.suited if state else {}
    names = [name for name in SUITABLE[task] if name in suited.wanted(options)]
    chosen = {**options, **{name: before[name] for name in names if name in before}}
    if not suited.wanted(chosen):
        return chosen
    suited.require_own(options["dataset"], names, OWN)
    effort = suited.effort_of(options, device_of(options["device"]).type)
    height, width = typical_size(folder_of(options["data_root"])) or _size_as_read(task, chosen, load)
    sized = suited.sizes(task, effort, chosen, height, width)
    images = load(sized)
    labelled = images.subset(np.flatnonzero(images.labelled))
    largest = 0.0
    if task == "detect" and sized["scale"] != chosen["scale"] and (box := _typical_box(labelled)):
        sized = suited.sizes(task, effort, chosen, height, width, box / sized["scale"])
    if task == "classify" and len(labelled):
        counts = np.bincount([int(labelled.target(i)) for i in range(len(labelled))])
        largest = float(counts.max() / counts.sum())
    seen = Seen(len(images), 0, height, width, len(images.classes), largest)
    return suited.suit(task, effort, sized, seen)


def keep_suited(state: Rounds, given: Values, found: Values, kind: str, labelled: bool) -> str:
    """Note what was taken from the data, in words; '' where that is nothing new. What hangs on labels stays open until
    there are any.
    """
    new = {name: found[name] for name in suited.wanted(given) if name not in state.suited}
    of_labels = set() if labelled else {"boxes": {"scale"}, "class": {"metric"}}.get(kind, set())
    state.suited |= {name: value for name, value in new.items() if name not in of_labels}
    return f"Taken from your images: {', '.join(f'{name}={value}' for name, value in new.items())}." if new else ""


def _size_as_read(task: str, options: Values, load: Callable[[Values], Images]) -> tuple[int, int]:
    """The median size of the pictures as they are read; the reader says why there are none."""
    height, width = np.median(load(suited.provisional(TABLES[task], dict(options))).shapes, axis=0)
    return int(height), int(width)


def _typical_box(images: Images) -> float:
    """Side in pixels of half of the boxes, the root of their area; 0 where there are none."""
    boxes = np.concatenate([np.zeros((0, 5)), *(images.target(i).numpy() for i in range(len(images)))])
    sides = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    return float(np.median(sides)) if len(sides) else 0.0
