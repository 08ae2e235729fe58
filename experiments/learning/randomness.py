"""Randomness is addressed, not carried: every use draws from a generator that its seed, cycle and purpose name.

A cycle that is run again repeats itself, and two heuristics with the same `run` share splits, initial set and initial
weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

START = 0  # the cycle of what happens once, before the first training: the division of the data and the first labels
MASKS = (0, 0)  # the index, within "query", of the dropout masks that all images of a pool share
# An address is the position in this list: new purposes are appended, never put between.
PURPOSES = (
    *("split", "initial", "weights", "order", "augment", "dropout", "query", "select", "evaluate", "pool", "stop"),
    *("unlabelled", "apart"),
)


def generator(seed: int, cycle: int, purpose: str, *index: int) -> np.random.Generator:
    """The generator of one use: `purpose` is one of PURPOSES, `index` a step, epoch or batch within it."""
    return np.random.default_rng([seed, cycle, PURPOSES.index(purpose), *index])


@contextmanager
def torch_seeded(
    seed: int, cycle: int, purpose: str, *index: int, device: str | torch.device = "cpu"
) -> Iterator[None]:
    """Run a block under torch's global generators seeded for one use, and restore them: dropout needs it."""
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(generator(seed, cycle, purpose, *index).integers(2**63)))
        yield
