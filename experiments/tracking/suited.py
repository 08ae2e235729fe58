"""Options that are taken from the data: `suited` to what computes, or `quick` for two cores.

A preset (or a user) gives an option one of these words in place of its value. What it becomes depends on the data, the
kind of device and the other options alone, so that the same command on the same data is the same run. Whatever is
typed, or set by a later preset, stands. The numbers in RECIPES are choices of this project, tried on the sets in
docs/your-own-data.md; those for a GPU were not run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data.names import Refused
from experiments.tracking.declare import QUICK, SUITED, Options, Values

CHANGES_NO_RESULT = True  # what it decides stands in the options

PROCESSOR, GPU = "processor", "gpu"
# task -> effort -> what does not depend on the data. `side`: pixels a side to which pictures are brought, for those
# that are not square the root of their area. `box`: least side of half of the boxes after that, in pixels.
RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    "segment": {
        QUICK: {"side": 128, "crop": 96, "width": 16, "steps": 400, "batch_size": 8, "lr": 0.003},
        PROCESSOR: {"side": 192, "crop": 128, "width": 16, "steps": 800, "batch_size": 8, "lr": 0.003},
        GPU: {"side": 512, "crop": 256, "width": 32, "steps": 2000, "batch_size": 16, "lr": 0.002},
    },
    "classify": {
        QUICK: {"side": 64, "model": "small_cnn", "steps": 500, "batch_size": 32, "lr": 0.003},
        PROCESSOR: {"side": 96, "model": "small_cnn", "steps": 1000, "batch_size": 32, "lr": 0.003},
        GPU: {"side": 224, "model": "resnet18", "steps": 2000, "batch_size": 64, "lr": 0.001},
    },
    "detect": {
        QUICK: {"side": 140, "box": 12, "model": "fasterrcnn_small", "steps": 250, "batch_size": 8, "lr": 0.002},
        PROCESSOR: {"side": 224, "box": 16, "model": "fasterrcnn_small", "steps": 500, "batch_size": 8, "lr": 0.002},
        GPU: {"side": 640, "box": 24, "model": "fasterrcnn_resnet18", "steps": 2000, "batch_size": 8, "lr": 0.002},
    },
}
LARGEST = 2  # times `side` to which small boxes may bring a picture
CYCLES = 5
PER_CLASS = {"segment": 2, "classify": 4, "detect": 4}  # first labels
SHARE = 0.02  # of the pool, if that is more
UNEVEN = 2.0  # times its even share that a class may have before accuracy no longer tells much
SCORED = 1000  # images of the pool that a quick strategy looks at
# Processor seconds per image and 10,000 of its pixels, in a training step and in a test, by the networks of `quick`
# where two threads share the work (one alone takes a half to two thirds of that, in more time)
UNITS = ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"), (1.0, "second"))
SECONDS = {"segment": (0.033, 0.011), "classify": (0.005, 0.002), "detect": (0.015, 0.008)}


@dataclass(frozen=True)
class Seen:
    """What was read of a dataset."""

    n_pool: int
    n_test: int
    height: int  # of half of the pictures, in stored pixels
    width: int
    n_classes: int  # segmentation: with the background
    # Share of the most frequent class, 0 where images have no one class. Among the labelled images of a study with a
    # person; among all images to learn from, hidden labels too, of a simulation: so that all its runs have one metric
    largest: float = 0.0


def wanted(options: Mapping[str, Any]) -> list[str]:
    """The options that are to be taken from the data."""
    return [name for name, value in options.items() if value in (SUITED, QUICK) and isinstance(value, str)]


def provisional(table: Options, options: Values) -> Values:
    """The options with a value that fits any data for each that is to be taken from them, to check all others."""
    return {**options, **{name: 1 if name == "n_query" else table[name].default for name in wanted(options)}}


def effort_of(options: Mapping[str, Any], device: str) -> str:
    """Which column of RECIPES: quick where one word says so, else by the type of the device."""
    words = {options[name] for name in wanted(options)}
    return QUICK if QUICK in words else PROCESSOR if device == "cpu" else GPU


def sizes(task: str, effort: str, options: Values, height: int, width: int, box: float = 0.0) -> Values:
    """The options that the size of the pictures decides, in their order.

    `box` is the side of half of the boxes in stored pixels, 0 where it is not known: pictures of smaller boxes are
    shrunk less.
    """
    recipe, found = RECIPES[task][effort], dict(options)
    if task == "classify":
        side = max(28, min(recipe["side"], height, width))
        if options["image_size"] in (SUITED, QUICK):
            found["image_size"] = side
        if options["model"] in (SUITED, QUICK):
            small = recipe["model"] == "resnet18" and (found["image_size"] or side) < 64
            found["model"] = "resnet18_cifar" if small else recipe["model"]
        return found
    area = math.sqrt(height * width)
    if options["scale"] in (SUITED, QUICK):
        side = recipe["side"]
        if box:
            side = min(max(side, recipe["box"] / box * area), LARGEST * side)
        found["scale"] = min(1.0, max(0.01, float(f"{side / area:.2g}")))
    if task == "segment" and options["crop"] in (SUITED, QUICK):
        shorter = int(min(height, width) * found["scale"])
        found["crop"] = min(recipe["crop"], max(32, shorter // 16 * 16))
    return found


def suit(task: str, effort: str, options: Values, seen: Seen) -> Values:
    """The options with a value for each that is to be taken from the data; all others stand as they are."""
    recipe, given = RECIPES[task][effort], sizes(task, effort, options, seen.height, seen.width)
    names = wanted(given)
    ours = {name: recipe[name] for name in names if name in recipe}
    ours |= _budget(task, effort, given, seen)
    if "metric" in names:
        uneven = seen.largest > min(UNEVEN / seen.n_classes, 0.8)
        ours["metric"] = "macro_auroc" if uneven else "accuracy"
    return {**given, **{name: ours[name] for name in names}}


def _budget(task: str, effort: str, options: Values, seen: Seen) -> Values:
    """How many labels: from a few of each class to at most half of the pool."""
    chosen = {name: value for name, value in options.items() if value not in (SUITED, QUICK)}
    classes, pool = seen.n_classes - (task == "segment"), seen.n_pool
    first = max(4, PER_CLASS[task] * classes, math.ceil(SHARE * pool))
    n_initial = chosen.get("n_initial", max(1, min(first, pool // 4)))
    left = max(0, pool - n_initial)
    n_cycles = chosen.get("n_cycles", min(CYCLES, left))
    half = (pool // 2 - n_initial) // max(1, n_cycles)
    n_query = chosen.get("n_query", max(1, min(2 * n_initial, half)))
    scored = max(SCORED, n_query)
    single = options["unit"] != "volume"  # part of the pool would be parts of volumes
    pool_subset = scored if effort == QUICK and scored < pool and single else 0
    return {"n_initial": n_initial, "n_query": n_query, "n_cycles": n_cycles, "pool_subset": pool_subset}


def minutes(task: str, options: Values, seen: Seen, supervised: bool = False) -> float:
    """A guess of the minutes on two cores, decoding and scoring aside; measured for the networks of `quick`."""
    side = options.get("scale", 1.0)
    area = options.get("image_size", 0) ** 2 or seen.height * seen.width * side**2
    trained = options["crop"] ** 2 if task == "segment" else area
    step, look = SECONDS[task]
    wide = (options["width"] / 16) ** 1.5 if task == "segment" else 1.0
    steps = options["steps"] * options["batch_size"] * trained * step * wide
    trainings = 1 if supervised else options["n_cycles"] + 1
    return trainings * (steps + seen.n_test * area * look * wide) / 10_000 / 60 / 2


def sentence(
    task: str,
    effort: str,
    names: list[str],
    options: Values,
    seen: Seen,
    supervised: bool = False,
    timed: bool = False,
) -> str:
    """What was read and what was taken from it, with a guess of the time where that is known and not `timed` later."""
    labels = f"{seen.n_classes} classes"
    read = f"{seen.n_pool} images to learn from of about {seen.height}x{seen.width}, {seen.n_test} to test, {labels}"
    chosen = ", ".join(f"{name}={options[name]}" for name in names)
    known = not timed and effort != GPU and options["steps"] and _is_measured(task, options)
    time = f", about {duration(max(60.0, 60 * minutes(task, options, seen, supervised)))} on two cores" if known else ""
    shorter = "; the preset with _quick is shorter" if effort == PROCESSOR else ""
    where = {QUICK: "for two cores", PROCESSOR: "no GPU", GPU: "a GPU"}[effort]
    return f"{read}, {where}: {chosen}{time}{shorter}."


def _is_measured(task: str, options: Values) -> bool:
    plain = options.get("encoder", "none") == "none" and options.get("train", "network") == "network"
    plain = plain and options.get("unlabelled", "none") == "none"
    return plain and options["model"] == ("unet" if task == "segment" else RECIPES[task][QUICK]["model"])


def duration(seconds: float | int) -> str:
    """Seconds as people say them."""
    length, name = next((unit for unit in UNITS if seconds >= 1.5 * unit[0]), UNITS[-1])
    number = max(1, round(seconds / length))
    return f"{number} {name}{'s' * (number != 1)}"


def require_own(dataset: str, names: list[str], own: frozenset[str]) -> None:
    """Refused for a dataset that is not the user's own: presets of known ones hold their numbers."""
    if dataset not in own:
        listed = ", ".join(sorted(own))
        raise Refused(f"{names[0]} is taken from your own data alone ({listed}); dataset={dataset} needs a value")
