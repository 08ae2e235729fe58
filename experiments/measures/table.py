"""What metrics of single classes are called, in curves, records and tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def by_class(metric: str, classes: Sequence[str], values: ArrayLike) -> dict[str, float]:
    """The values of C classes by name, as in "accuracy[white cell]": brackets keep apart what any class may be called."""
    return {f"{metric}[{name}]": value for name, value in zip(classes, np.asarray(values, float).tolist(), strict=True)}


def is_of_class(name: str) -> bool:
    """Whether a metric is that of a single class."""
    return "[" in name
