"""Images in batches: those of a training step, and those of one size for scoring and testing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor
from torch.utils.data import Dataset

from data.store import Images
from experiments.learning.randomness import generator
from experiments.learning.recipe import Recipe

ON_DEVICE = 1  # index, within "augment" and a step, of what is drawn on the device; what is drawn before has none


@dataclass(frozen=True)
class Mixed:
    """A batch of labelled images, and what joins it."""

    labelled: tuple[Any, Any]
    unlabelled: Any


Batch = tuple[Any, Any] | Mixed


class WithoutTargets(Dataset):
    """The images of a dataset without any way to their targets: all that the loop lets a heuristic see of the pool."""

    def __init__(self, images: Images | WithoutTargets):
        self.raw, self.shapes, self.names = images.raw, images.shapes, images.names
        self.dataset, self.rows, self.features = images.dataset, images.rows, images.features
        self.fingerprint, self.volumes, self.slices = images.fingerprint, images.volumes, images.slices

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: int) -> Tensor:
        """Image i as (channels, H, W) float32 in 0..1."""
        return pictures(self, [i], "cpu")[0]

    def __deepcopy__(self, memo: dict) -> WithoutTargets:
        return self


def pictures(
    images: Images | WithoutTargets, indices: Sequence[int] | ndarray, device: str | torch.device
) -> Float[Tensor, "b channels h w"]:
    """Images of one size in 0..1, never augmented; they travel to the device as bytes and are scaled there."""
    stacked = torch.from_numpy(np.stack([images.raw(int(i)) for i in indices]))
    return stacked.to(device, non_blocking=True).permute(0, 3, 1, 2).contiguous().float().div_(255)


def equal_size_batches(shapes: Int[ndarray, "n 2"], batch_size: int) -> Iterator[Int[ndarray, " b"]]:
    """Positions in batches of images of one size, in the order of their first image."""
    _, first, kind = np.unique(shapes, axis=0, return_index=True, return_inverse=True)
    for size in np.argsort(first):
        members = np.flatnonzero(kind.reshape(-1) == size)
        yield from np.split(members, range(batch_size, len(members), batch_size))


@dataclass(frozen=True)
class Companion:
    """Unlabelled images that join each step, `ratio` for each labelled one, drawn from `indices` with replacement."""

    draw: Callable[[int, np.random.Generator], Any]  # one example of the image with this dataset index
    # moves the examples to the device and makes views of them; None where those of the labelled images see both
    prepare: Callable[[list, np.random.Generator], Any] | None
    indices: Int[ndarray, " n"]
    ratio: int

    def beside(self, n_labelled: int, rng: np.random.Generator) -> list:
        """The examples that join a step with this many labelled images."""
        return [self.draw(int(rng.choice(self.indices)), rng) for _ in range(n_labelled * self.ratio)]


@dataclass(frozen=True)
class TrainingBatches:
    """Batch `step` of a training, a pure function of (seed, cycle, step): a resumed training sees the same batches.

    Every epoch is one shuffled pass over `indices`; a batch may span two epochs, so that none is ever cut short. A
    companion changes nothing of the labelled part: it draws from the step's generator after it.
    """

    draw: Callable[[int, np.random.Generator], Any]  # one example of the image with this dataset index
    collate: Callable[[list], tuple[Any, Any]]  # a batch of several
    prepare: Callable[[Any, np.random.Generator], Any]  # moves it to the device and augments it there
    indices: Int[ndarray, " l"]
    recipe: Recipe
    seed: int
    cycle: int
    names: Sequence[str]  # of all images, for messages
    report: Mapping[str, float] = field(default_factory=dict)  # joins the row of the cycle
    companion: Companion | None = None

    def __len__(self) -> int:
        return self.recipe.steps

    def __getitem__(self, step: int) -> Batch:
        """The batch of a step before `prepare`."""
        rng = generator(self.seed, self.cycle, "augment", step)
        labelled = self.collate([self.draw(int(i), rng) for i in self.members(step)])
        if self.companion is None:
            return labelled
        return Mixed(labelled, self.companion.beside(self.recipe.batch_size, rng))

    def ready(self, step: int, batch: Batch) -> Batch:
        """The batch of a step, on the device and augmented."""
        rng = generator(self.seed, self.cycle, "augment", step, ON_DEVICE)
        if self.companion is None or self.companion.prepare is None or not isinstance(batch, Mixed):
            return self.prepare(batch, rng)
        return Mixed(self.prepare(batch.labelled, rng), self.companion.prepare(batch.unlabelled, rng))

    def members(self, step: int) -> Int[ndarray, " b"]:
        """Dataset indices of the batch."""
        n = len(self.indices)
        positions = np.arange(step * self.recipe.batch_size, (step + 1) * self.recipe.batch_size)
        shuffled = {
            epoch: generator(self.seed, self.cycle, "order", int(epoch)).permutation(n)
            for epoch in np.unique(positions // n)
        }
        return self.indices[[shuffled[p // n][p % n] for p in positions]]
