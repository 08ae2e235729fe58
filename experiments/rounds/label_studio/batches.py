"""A few at a time, so that what is sent and what is fetched stays small."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """All items in lists of `size`, the last maybe shorter; of an iterator no more is taken than is held."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
