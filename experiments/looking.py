"""A look at the user's own data before a run begins, for options that are taken from them (`tracking.suited`)."""

from __future__ import annotations

import numpy as np

from data.catalogue import OWN
from data.files import folder_of
from data.formats.sizes import typical_size
from data.names import Refused
from data.store import Images
from experiments.learning.devices import device_of
from experiments.simulation import splits_of
from experiments.tasks.task import Definition
from experiments.tracking import suited
from experiments.tracking.declare import Values
from experiments.tracking.options import SUITABLE, TABLES
from experiments.tracking.suited import Seen

CHANGES_NO_RESULT = True  # what it decides stands in the options


def suit_to_data(
    task: str, definition: Definition, options: Values, supervised: bool, timed: bool = False
) -> tuple[Values, str]:
    """The options with their values, and what was read and chosen in words; '' where nothing is taken from the data.

    With `timed` these words hold no guess of the time: a measured one follows.
    Pictures are decoded once, in the size that is chosen; small boxes may need a second, larger size.

    What labels decide, `metric` by the classes and `scale` by the boxes, is read of all images to learn from, also of
    those whose labels the simulation hides: first labels differ from run to run, and the runs of a study must not
    differ in these options. Whoever wants to know nothing of hidden labels gives both a value.
    """
    names = [name for name in SUITABLE[task] if name in suited.wanted(options)]
    if not names:
        return options, ""
    suited.require_own(options["dataset"], names, OWN)
    effort = suited.effort_of(options, device_of(options["device"]).type)
    height, width = typical_size(folder_of(options["data_root"])) or _size_as_read(task, definition, options)
    sized = suited.sizes(task, effort, options, height, width)
    images = definition.load(sized)
    if task == "detect" and sized["scale"] != options["scale"]:
        box = _typical_box(images) / sized["scale"]
        larger = suited.sizes(task, effort, options, height, width, box)
        images = definition.load(larger) if larger != sized else images
        sized = larger
    splits = splits_of(images, options)
    largest = 0.0
    if task == "classify":
        counts = np.bincount([int(splits.train.target(i)) for i in range(len(splits.train))])
        largest = float(counts.max() / counts.sum())
    seen = Seen(len(splits.train), len(splits.test), height, width, len(images.classes), largest)
    if seen.n_pool < 2:
        raise Refused(f"the pool has {seen.n_pool} images to learn from, expected at least 2")
    chosen = suited.suit(task, effort, sized, seen)
    return chosen, suited.sentence(task, effort, names, chosen, seen, supervised, timed)


def _size_as_read(task: str, definition: Definition, options: Values) -> tuple[int, int]:
    """The median size of the pictures as they are read where they are; the reader says why there are none."""
    height, width = np.median(definition.load(suited.provisional(TABLES[task], options)).shapes, axis=0)
    return int(height), int(width)


def _typical_box(images: Images) -> float:
    """Side in pixels of half of the boxes to learn from, hidden ones too, the root of their area; 0 without any."""
    train = images.part("train")
    boxes = np.concatenate([np.zeros((0, 5)), *(train.target(i).numpy() for i in range(len(train)))])
    sides = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    return float(np.median(sides)) if len(sides) else 0.0
