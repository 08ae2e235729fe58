"""How numbers are written in tables: three digits, what is missing as a dash, what lies beyond the last budget as `> 44`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import numpy as np

LOWER_IS_BETTER = frozenset(
    "hd95 object_hausdorff nll ece train_loss train_seconds test_seconds query_seconds loader_share".split()
)
UNITS = {"hd95": "px", "object_hausdorff": "px", "nll": "nats", "train_seconds": "s", "test_seconds": "s", "query_seconds": "s"}
PLAIN = {"±": "+-", "–": "-", "−": "-", "≤": "<=", "≥": ">=", "“": '"', "”": '"', "’": "'", "…": "..."}


def direction_and_unit(metric: str) -> tuple[bool, str]:
    """Whether more of a metric is better, and its unit, '' for shares: all that `analysis` knows of a metric is asked here."""
    name = metric.removeprefix("mc_")
    return name not in LOWER_IS_BETTER, UNITS.get(name, "")


def higher_is_better(metric: str) -> bool:
    """Whether more of a metric is better; distances, losses and times are the others."""
    return direction_and_unit(metric)[0]


def with_unit(metric: str) -> str:
    """The name of a metric as an axis or a sentence has it."""
    unit = direction_and_unit(metric)[1]
    return metric.replace("_", " ") + (f", {unit}" if unit else "")


def say(text: str) -> None:
    """Print, with plainer signs where the terminal has no others (Latin-1, ASCII), and quietly where nobody reads on (`| head`)."""
    encoding = sys.stdout.encoding or "utf-8"
    shown = "".join(sign if _has(encoding, sign) else PLAIN.get(sign, "?") for sign in text)
    try:
        print(shown, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at the end
        raise SystemExit(0) from None


def _has(encoding: str, sign: str) -> bool:
    try:
        sign.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def number(value: float) -> str:
    """Three digits behind the point; a dash for NaN."""
    return "–" if np.isnan(value) else f"{value:.3f}"


def with_spread(mean: float, std: float) -> str:
    """Mean ± standard deviation, which a single value has not."""
    return number(mean) if np.isnan(std) else f"{number(mean)} ± {number(std)}"


def interval(low: float, high: float, write: Callable[[float], str] = number) -> str:
    """From low to high; a dash where there is none."""
    return "–" if np.isnan(low) else f"{write(low)} to {write(high)}"


def labels(value: float, first: float, last: float) -> str:
    """A number of labels; inf is more than the last budget, and where a curve begins at its target nobody knows how few would do."""
    return f"> {last:g}" if np.isinf(value) else f"≤ {first:g}" if value <= first else f"{value:.0f}"


def saved(value: float) -> str:
    """Labels saved; inf where only the strategy reached the target, -inf where only the baseline did."""
    return "–" if np.isnan(value) else f"{value:.0f}" if np.isfinite(value) else "> 0" if value > 0 else "< 0"
