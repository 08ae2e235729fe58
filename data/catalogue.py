"""Finding a dataset by name and checking its options, for the tables of loaders of the three tasks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from data.formats.labelled import require_one_of
from data.store import Images
from heuristics.core.registry import suggestion

Loaders = Mapping[str, Callable[..., Images]]
GIVEN = ("name", "data_root", "image_size", "scale", "cache_root")  # what every loader of a task takes; all else are its options


def options_of(loaders: Loaders, name: str) -> dict[str, Any]:
    """The options of a dataset and their defaults. ValueError names the nearest known dataset."""
    require_one_of("dataset", name, sorted(loaders))
    parameters = inspect.signature(loaders[name]).parameters.values()
    return {p.name: p.default for p in parameters if p.name not in GIVEN}


def check_options(loaders: Loaders, name: str, chosen: Mapping[str, Any]) -> None:
    """ValueError for an unknown dataset or option, or a value of the wrong type; reads nothing."""
    known = options_of(loaders, name)
    for option, value in chosen.items():
        if option in GIVEN:
            raise ValueError(f"dataset_options.{option} is no option of a dataset; set dataset, data_root or the size of images beside it")
        if option not in known:
            listed = ", ".join(known) or "none"
            raise ValueError(f"dataset {name!r} has no option {option!r}.{suggestion(option, known)} Its options: {listed}")
        kind = type(known[option])
        fits = isinstance(value, int | float) if kind is float else isinstance(value, list | tuple if kind is tuple else kind)
        if not fits or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"option {option}={value!r} of dataset {name!r} must be a {kind.__name__}, like {known[option]!r}")
