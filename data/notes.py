"""What a reader left out, guessed or changed: noted while a dataset is read, told before anything is trained."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

LEFT_OUT = "left out"  # files, columns or boxes that were seen and not used
GUESSED = "guessed"  # what a file does not say: its encoding, its separator, what its numbers mean
CHANGED = "changed"  # values that are not what the file holds: windowed, clipped, turned
WARNING = "warning"  # what is likely to be a mistake of the user's
KINDS = (WARNING, LEFT_OUT, GUESSED, CHANGED)


class Note(NamedTuple):
    """One sentence about a dataset."""

    kind: str  # one of KINDS
    sentence: str


_COLLECTED: ContextVar[list[Note] | None] = ContextVar("notes", default=None)


def note(kind: str, sentence: str) -> None:
    """Note a sentence; where nobody collects notes it is a UserWarning."""
    collected = _COLLECTED.get()
    if collected is None:
        warnings.warn(sentence, stacklevel=3)
    elif (found := Note(kind, sentence)) not in collected:
        collected.append(found)


@contextmanager
def collecting() -> Iterator[list[Note]]:
    """Collect what is noted in the block, also by threads that are started with a copy of its context.

    A collection around this one gets it too.
    """
    token = _COLLECTED.set(notes := [])
    try:
        yield notes
    finally:
        _COLLECTED.reset(token)
        if _COLLECTED.get() is not None:
            for each in notes:
                note(*each)
