"""What is kept from round to round: images by their names, so that they may come and go, and their labels change."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data.files import atomic
from data.names import Refused
from data.store import Images

FILE = "state.json"
LAYOUT = 1  # of the file


@dataclass
class Asked:
    """One image of a list."""

    name: str
    part: str  # one of experiments.rounds.suggestion.PARTS
    score: float | None = None  # of the strategy, None where it gives none


@dataclass
class Rounds:
    """The state of a study with a person; `round` models were trained."""

    round: int = 0
    classes: list[str] = field(default_factory=list)
    order: list[str] = field(default_factory=list)  # images to learn from, in the order of their dataset indices
    test: list[str] = field(default_factory=list)  # images to measure with
    away: list[str] = field(default_factory=list)  # of these, those that are not there at present
    stop: list[str] | None = None  # images on which models are compared; None before the first training
    asked: list[Asked] = field(default_factory=list)  # the last list, in its order
    labels: dict[str, int] = field(default_factory=dict)  # checksum of each label that the last model learnt from
    tested: dict[str, int] = field(default_factory=dict)  # and of those that it was measured on
    curve: list[dict[str, Any]] = field(default_factory=list)  # a row of numbers for each model
    sample: list[float] = field(default_factory=list)  # value, low and high end of the metric of the last model
    trivial: str = ""  # what a prediction reaches that looks at no image, in words
    picks: list[list[str]] = field(default_factory=list)  # of each round, what its list asked for
    options: dict[str, Any] = field(default_factory=dict)  # those that decide a result, as the last model had them
    suited: dict[str, Any] = field(default_factory=dict)  # those that were taken from the data, once and for all
    weights: str = ""  # digest of the last model's file
    code: str = ""  # digest of the code that trained it
    training: str = ""  # digest of what an unfinished training learns from
    recorded: int = 0  # rounds whose record is whole
    layout: int = LAYOUT


def load(folder: Path) -> Rounds | None:
    """The state in a folder, None where there is none. Refused for one that cannot be read."""
    file = folder / FILE
    if not file.exists():
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        found["asked"] = [Asked(**each) for each in found["asked"]]
        return Rounds(**found)
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(
            f"cannot read {file} ({error}): resume=fresh begins again, or name another folder by out="
        ) from error


def save(state: Rounds, folder: Path) -> None:
    """Write the state, whole or not at all; floats survive to the last digit."""
    with atomic(folder / FILE) as temporary:
        temporary.write_text(json.dumps(asdict(state), indent=1), encoding="utf-8")


def checksums(images: Images) -> dict[str, int]:
    """A number for the label of each labelled image, by name: another label, another number."""
    found, labelled = {}, images.subset(np.flatnonzero(images.labelled))
    for i, name in enumerate(labelled.names):
        target = np.ascontiguousarray(labelled.target(i).numpy())
        found[name] = zlib.crc32(target.tobytes() + repr(target.shape).encode())
    return found
