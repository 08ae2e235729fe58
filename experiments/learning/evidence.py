"""What a model says about images: the evidence that a heuristic asks for, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn
from tqdm import tqdm

from data.names import Refused
from experiments.learning.batches import WithoutTargets, equal_size_batches, pictures
from experiments.learning.features import feature_batch
from experiments.learning.parallel import shared
from experiments.learning.randomness import MASKS, generator, torch_seeded

# model, images, names of EVIDENCE, passes, seed of the dropout masks that all images share -> that evidence of a batch
EvidenceOf = Callable[[nn.Module, Tensor, frozenset[str], int, int], dict[str, Any]]
# images, indices, device -> what a model sees of them, one batch
Look = Callable[[Any, Int[ndarray, " b"], torch.device], Tensor]


@dataclass(frozen=True)
class ModelEvidence:
    """A provider of evidence: the model of one cycle of a run, which stays as it is."""

    compute: EvidenceOf
    model: nn.Module
    mc_samples: int
    batch_size: int
    memory_limit: float  # GB that the evidence of all images together may take
    seed: int
    cycle: int
    look: Look = pictures
    embeddings: str = "model"  # whose they are: the model's, or "features", those of the frozen network

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def head(self) -> Callable[[Tensor], Tensor]:
        """Embeddings (N, D) -> logits (N, C) by the last part of the network, without dropout."""
        return self.model.eval().head  # type: ignore[return-value] - a method of every network of images

    def generator(self, purpose: str) -> np.random.Generator:
        """The generator of this cycle for a purpose of `experiments.learning.randomness`."""
        return generator(self.seed, self.cycle, purpose)

    def stream(
        self,
        images: WithoutTargets,
        indices: Int[ndarray, " n"],
        wanted: frozenset[str],
        label: str = "pool",
        of: Callable[[dict[str, Any]], Any] = lambda found: found,
    ) -> Iterator[tuple[Int[ndarray, " b"], Any]]:
        """Positions in `indices` and the wanted evidence of these images, one batch of equal sizes after another.

        `of` makes what is needed of a batch of it. Of several devices each does so for its share of the batches.
        """
        self.model.eval()
        masks_seed = int(generator(self.seed, self.cycle, "query", *MASKS).integers(2**62))
        of_model = wanted - {"embeddings"} if self.embeddings == "features" else wanted

        def work(number: int, positions: Int[ndarray, " b"]) -> Any:
            found = {}
            if of_model:
                batch = self.look(images, indices[positions], self.device)
                with torch.no_grad(), torch_seeded(self.seed, self.cycle, "query", number, device=self.device):
                    found = self.compute(self.model, batch, of_model, self.mc_samples, masks_seed)
            for name in wanted - of_model:
                found[name] = feature_batch(images, indices[positions], self.device).flatten(1)
            if "prediction" in wanted:
                found["prediction"] = found["mc_mean"] if "mc_mean" in found else found["probs"]
            return of(found)

        batches = list(equal_size_batches(images.shapes[indices], self.batch_size))
        with tqdm(total=len(indices), desc=label, unit="image", leave=False, dynamic_ncols=True) as bar:
            for positions, made in zip(batches, shared(work, batches, self.device), strict=True):
                yield positions, made
                bar.update(len(positions))

    def stacked(
        self, images: WithoutTargets, indices: Int[ndarray, " n"], wanted: frozenset[str], label: str = "pool"
    ) -> dict[str, Tensor]:
        """The wanted evidence of all these images at once, in their order; Refused where it would not fit."""
        stacks: dict[str, Tensor] = {}
        asked = lambda found: {name: found[name] for name in wanted}  # noqa: E731
        for positions, found in self.stream(images, indices, wanted, label, asked):
            if not stacks:
                self._require_room({name: found[name] for name in wanted}, len(indices))
            for name in wanted:
                if name not in stacks:
                    stacks[name] = found[name].new_empty(len(indices), *found[name].shape[1:])
                if found[name].shape[1:] != stacks[name].shape[1:]:
                    unlike = "images of the pool differ in size"
                    raise Refused(f"{name} cannot be stacked: {unlike}; use a streamed heuristic like bald")
                stacks[name][torch.from_numpy(positions)] = found[name]
        return stacks

    def embed(self, images: WithoutTargets, indices: Int[ndarray, " n"]) -> Float[Tensor, "n d"]:
        """Embeddings of these images; Refused where they would not fit."""
        return self.stacked(images, indices, frozenset({"embeddings"}), "embed")["embeddings"]

    def _require_room(self, examples: Mapping[str, Tensor], n_images: int) -> None:
        size = sum(e[0].numel() * e.element_size() for e in examples.values()) * n_images / 1e9
        if size > self.memory_limit:
            names = ", ".join(f"{name} at {'x'.join(map(str, e.shape[1:]))}" for name, e in sorted(examples.items()))
            fitting = max(1, int(n_images * self.memory_limit / size))
            raise Refused(
                f"{names} of {n_images} images is {size:.1f} GB, above memory_limit={self.memory_limit:g}: "
                f"use a streamed heuristic like bald, or pool_subset={fitting}"
            )
