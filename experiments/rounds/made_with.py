"""What a model was made with: whoever asks a model of an earlier round again need not type it again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from data.names import Refused
from experiments.tracking.options import TABLES
from experiments.tracking.suited import wanted

# Options that its weights, or the pictures that it reads, hang on; others say how it learns and how it is measured.
NAMES = (
    *("scale", "image_size", "model", "encoder", "width", "depth", "anchor_sizes", "anchor_ratios", "weights"),
    *("train", "features", "features_size", "head_hidden", "feature_views"),
)
DIGESTS = ("weights_digest", "features_digest")  # filled in beside two of them

Values = Mapping[str, Any]


def as_made(task: str, options: Values, recorded: Values) -> tuple[dict[str, Any], str]:
    """The options with those that the model of the last round was made with, as its state has them `recorded`, and in
    words which these are; '' where all are as they were given.

    Refused for one that was given a value which is neither that nor the usual one.
    """
    table, open_ones = TABLES[task], wanted(options)
    others = [each for each in unlike(options, recorded) if each[0] not in open_ones]
    for name, before, now in others:
        if now != table[name].default:
            raise Refused(
                f"{name}={now}, but the model of the last round was made with {name}={before}: leave {name}= out to "
                f"use that model, or let `suggest` train one with {name}={now}"
            )
    listed = ", ".join(f"{name}={before}" for name, before, _ in others)
    made = {name: recorded[name] for name in (*NAMES, *DIGESTS) if name in recorded}
    return {**options, **made}, f"As the model of the last round was made: {listed}." if listed else ""


def unlike(options: Values, recorded: Values) -> Iterator[tuple[str, Any, Any]]:
    """Name, recorded and present value of what a model was made with and that is another now."""
    for name in NAMES:
        if name in recorded and options[name] != recorded[name]:
            yield name, recorded[name], options[name]


def in_words(others: Iterable[tuple[str, Any, Any]]) -> str:
    """What `unlike` gives; '' where that is nothing."""
    return ", ".join(f"{name}={before} (now {now})" for name, before, now in others)
