"""suggestions.csv: a row for each image that is to be labelled.

A program for tables takes a cell that begins with = + - @ for a formula. The file's name is written as './=a.png' then,
which is the same file; other text that begins so gets an apostrophe before it.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from experiments.rounds.exports.target import Target, frame_of, inside, relative
from experiments.rounds.exports.whole import text_file
from experiments.rounds.suggestion import Prediction, Seen, Writer

NAME = "suggestions.csv"
COLUMNS = "rank part file score predicted confidence uncertainty patient nearest why".split()
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # the last four are full-width letters of Asia


@contextmanager
def table(target: Target) -> Iterator[Writer]:
    """Writes suggestions.csv; `confidence` is what `sure` gives."""
    with text_file(target.folder / NAME) as out:
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow(COLUMNS)

        def write(seen: Seen) -> None:
            said = seen.suggestion
            file = relative(said, target.root).as_posix()
            predicted = confidence = ""
            if seen.prediction is not None:
                predicted = described(seen.prediction, target.classes, said.size)
                confidence = number(sure(seen.prediction, said.size))
            rows.writerow(
                [
                    said.rank,
                    said.part,
                    (f"./{file}" if file.startswith(FORMULA) else file) + frame_of(said),
                    number(said.score),
                    cell(predicted),
                    confidence,
                    number(said.uncertainty),
                    *map(cell, (said.patient, said.nearest, said.why)),
                ]
            )

        yield write


def described(prediction: Prediction, classes: Sequence[str], size: tuple[int, int]) -> str:
    """The prediction in words: 'benign', '3 gland, 1 vessel', 'gland 12 %' (of the pixels)."""
    if prediction.probs is not None:
        return classes[int(prediction.probs.argmax())]
    if prediction.class_map is not None:
        share = np.bincount(prediction.class_map.ravel(), minlength=len(classes)) / prediction.class_map.size
        present = [f"{classes[c]} {percent(share[c])}" for c in range(1, len(classes)) if share[c]]
        return ", ".join(present) or "nothing"
    counts = Counter(inside(prediction, size)[:, 4].astype(int).tolist())
    return ", ".join(f"{counts[c]} {classes[c]}" for c in sorted(counts)) or "nothing"


def sure(prediction: Prediction, size: tuple[int, int]) -> float:
    """The probability of the predicted class, or the score of the surest box; nan for masks, and without boxes."""
    if prediction.probs is not None:
        return float(prediction.probs.max())
    boxes = inside(prediction, size)
    return float(boxes[:, 5].max()) if len(boxes) else math.nan


def percent(share: float) -> str:
    """'12 %', '0.3 %'."""
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.1g} %"


def number(value: float) -> str:
    """Six digits, '' for what is no number."""
    return f"{value:.6g}" if math.isfinite(value) else ""


def cell(text: str) -> str:
    """Text that no program takes for a formula; what is a number stays."""
    if not text.startswith(FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text
