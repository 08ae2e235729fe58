"""What is seen of a list, written one by one: suggestions.csv."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import isnan
from pathlib import Path

from data.files import atomic
from experiments.rounds.seeing import in_words
from experiments.rounds.suggestion import Seen, Writer

COLUMNS = ("rank", "file", "part", "score", "predicted", "uncertainty", "patient", "nearest", "why")


@contextmanager
def _table(folder: Path, classes: Sequence[str]) -> Iterator[Writer]:
    """suggestions.csv: a row for each image, in their order."""
    with (
        atomic(folder / "suggestions.csv") as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        rows = csv.writer(file)
        rows.writerow(COLUMNS)

        def write(seen: Seen) -> None:
            s = seen.suggestion
            score, doubt = ("" if isnan(x) else f"{x:.6g}" for x in (s.score, s.uncertainty))
            predicted = in_words(seen.prediction, classes)
            rows.writerow([s.rank, s.name, s.part, score, predicted, doubt, s.patient, s.nearest, s.why])

        yield write


KINDS: dict[str, Callable] = {"csv": _table}


@contextmanager
def writing(kinds: Sequence[str], folder: Path, classes: Sequence[str], title: str) -> Iterator[Writer]:
    """A writer of all these kinds at once; the files are whole when the block ends."""
    with _table(folder, classes) as write:
        yield write
