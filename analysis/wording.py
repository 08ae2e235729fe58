"""How numbers are written: three digits, a dash for what is missing, `> 44` for what lies beyond the last budget."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import numpy as np

from experiments.measures.table import unit_of

PLAIN = {"±": "+-", "–": "-", "−": "-", "≤": "<=", "≥": ">=", "“": '"', "”": '"', "’": "'", "…": "..."}


def with_unit(metric: str) -> str:
    """The name of a metric as an axis or a sentence has it."""
    unit = unit_of(metric)
    return metric.replace("_", " ") + (f" ({unit})" if unit else "")


def counted(n: int, one: str, many: str = "") -> str:
    """`1 run`, `2 runs`."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def say(text: str) -> None:
    """Print, with plainer signs where the terminal has no others (Latin-1, ASCII); a closed pipe is no error."""
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
    """A number of labels; inf is beyond the last budget, and where a curve begins at its target, fewer might do."""
    return f"> {last:g}" if np.isinf(value) else f"≤ {first:g}" if value <= first else f"{value:.0f}"


def saved(value: float) -> str:
    """Labels saved; inf where only the strategy reached the target, -inf where only the baseline did."""
    return "–" if np.isnan(value) else f"{value:.0f}" if np.isfinite(value) else "> 0" if value > 0 else "< 0"
