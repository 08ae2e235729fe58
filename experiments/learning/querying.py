"""Choose what to label next: stream the pool through the model, score, select. Only scores survive a batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn
from torch.utils.data import Dataset
from tqdm import tqdm

from data.store import Images
from experiments.learning.randomness import generator, torch_seeded
from heuristics.core import aggregating
from heuristics.core.evidence import MC
from heuristics.core.registry import Heuristic
from heuristics.core.selecting import select
from heuristics.core.two_stage import second_stage, shortlist

if TYPE_CHECKING:
    from experiments.loop import Task

SETS = ("labelled", "validation")


class WithoutTargets(Dataset):
    """The images of a dataset without any way to their targets: all that the loop lets a heuristic see of the pool."""

    def __init__(self, images: Images):
        self._image, self.shapes, self.names = images.image, images.shapes, images.names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: int) -> Tensor:
        return self._image(i)

    def __deepcopy__(self, memo: dict) -> WithoutTargets:
        return self


@dataclass(frozen=True)
class Asking:
    """How to ask: the options of a query."""

    n_query: int
    mc_samples: int = 20
    batch_size: int = 16
    aggregate: str = "mean"  # of a map, or of the boxes of an image, to one score
    empty_score: float = 0.0  # of an image in which no box was found
    select: str = "top"
    beta: float = 1.0
    balance: str = "none"  # none | predicted
    then: str = "none"  # second stage, on the embeddings of the highest scores: none | kmeans | coreset | representative
    candidates: int = 4  # how many times n_query the second stage chooses from
    pool_subset: int = 0  # score a random subset of the pool of this size; 0 for all
    memory_limit: float = 4.0  # GB that evidence over the whole pool may take


@dataclass(frozen=True)
class Answer:
    """What was chosen, as positions in the pool, best first, with the scores of the considered part of the pool where there are any."""

    chosen: Int[ndarray, " q"]
    considered: Int[ndarray, " m"]
    scores: Float[ndarray, " m"] | None

    def summary(self) -> dict[str, float]:
        """Where the scores of the pool lie; empty for strategies that give none."""
        if self.scores is None:
            return {}
        return {f"score_{name}": float(getattr(np, name)(self.scores)) for name in ("mean", "std", "min", "max")}

    def scores_of_chosen(self) -> list[float]:
        if self.scores is None:
            return []
        score_of = dict(zip(self.considered.tolist(), self.scores.tolist(), strict=True))
        return [score_of[c] for c in self.chosen.tolist()]


def query(
    heuristic: Heuristic,
    task: Task,
    model: nn.Module,
    images: WithoutTargets,
    pool: Int[ndarray, " n"],
    asking: Asking,
    seed: int,
    cycle: int,
    known: dict[str, Images] | None = None,
) -> Answer:
    """Choose `n_query` of the images at the dataset indices `pool`.

    `known` holds the labelled and, where there is one, the validation set, for heuristics that ask for them. Raises ValueError for a
    non-finite score (naming the image) and for evidence that would not fit in `memory_limit` (naming its size).
    """
    model.eval()
    known = known or {}
    rng = generator(seed, cycle, "select")
    considered = np.arange(len(pool))
    if 0 < asking.pool_subset < len(pool):
        considered = np.sort(generator(seed, cycle, "pool").choice(len(pool), asking.pool_subset, replace=False))
    n_query = min(asking.n_query, len(considered))
    given = {"n_query": n_query, "n_pool": len(considered), "rng": rng, "model": model}
    given |= _known_evidence(heuristic, task, model, known, asking, seed, cycle)
    stream = _Stream(task, model, images, pool[considered], _wanted(heuristic, asking), asking, seed, cycle)
    if heuristic.per_batch:
        scores, predicted = _scores(heuristic, stream, given, asking)
        if asking.then == "none":
            chosen = select(scores, n_query, rng, asking.select, asking.beta, predicted if asking.balance == "predicted" else None)
        else:
            listed = shortlist(scores, max(n_query, asking.candidates * n_query), rng)
            found = embed(task, model, images, pool[considered[listed]], asking, seed, cycle)
            labelled = WithoutTargets(known["labelled"])
            others = embed(task, model, labelled, np.arange(len(labelled)), asking, seed, cycle)
            chosen = listed[second_stage(asking.then, found, others, n_query, rng)]
    else:
        scores = None
        chosen = np.asarray(heuristic(**given, **(stream.stacked() if stream.wanted else {})), dtype=np.int64)
        if len(np.unique(chosen)) != n_query or chosen.min(initial=0) < 0 or chosen.max(initial=0) >= len(considered):
            expected = f"{n_query} distinct pool indices below {len(considered)}"
            raise ValueError(f"heuristic {heuristic.name!r} must return {expected}, not {chosen}")
    return Answer(considered[chosen], considered, scores)


def explain(
    heuristic: Heuristic,
    task: Task,
    model: nn.Module,
    images: WithoutTargets,
    indices: Int[ndarray, " q"],
    asking: Asking,
    seed: int,
    cycle: int,
) -> Iterator[tuple[Float[ndarray, "c *s"], Float[ndarray, "*s"] | None]]:
    """Mean prediction and map of scores (None where the heuristic has none) of single images, for pictures."""
    wanted = heuristic.wants if heuristic.per_batch else frozenset()
    wanted = frozenset(wanted | {"prediction", "mc_mean" if wanted & MC else "probs"})
    for index in indices:
        ((_, found),) = _Stream(task, model, images, np.array([index]), wanted, asking, seed, cycle, "picture")
        given = {"model": model, "rng": generator(seed, cycle, "select"), "n_query": 1, "n_pool": len(indices)}
        scores = heuristic(**found, **given) if heuristic.per_batch else None
        found_map = scores[0].float().cpu().numpy() if scores is not None and scores.ndim > 1 else None
        yield found["prediction"][0].float().cpu().numpy(), found_map


def embed(
    task: Task, model: nn.Module, images: WithoutTargets, indices: Int[ndarray, " n"], asking: Asking, seed: int, cycle: int
) -> Float[Tensor, "n d"]:
    """Embeddings of the images at these indices, refused where they would not fit in `memory_limit`."""
    return _Stream(task, model.eval(), images, indices, frozenset({"embeddings"}), asking, seed, cycle, "embed").stacked()["embeddings"]


def equal_size_batches(shapes: Int[ndarray, "n 2"], batch_size: int) -> Iterator[Int[ndarray, " b"]]:
    """Positions in batches of images of one size, in the order of their first image."""
    _, first, kind = np.unique(shapes, axis=0, return_index=True, return_inverse=True)
    for size in np.argsort(first):
        members = np.flatnonzero(kind.reshape(-1) == size)
        yield from np.split(members, range(batch_size, len(members), batch_size))


def _wanted(heuristic: Heuristic, asking: Asking) -> frozenset[str]:
    """The evidence that a query streams over the pool; `prediction` is the best one that is computed anyway."""
    wanted = set(heuristic.wants)
    if heuristic.per_batch:
        wanted |= set() if heuristic.of_boxes else aggregating.wants(asking.aggregate)
        wanted |= {"prediction"} if asking.balance == "predicted" else set()
    if "prediction" in wanted:
        wanted.add("mc_mean" if wanted & MC else "probs")
    return frozenset(w for w in wanted if not w.startswith(tuple(f"{s}_" for s in SETS)) and w != "model")


@dataclass(frozen=True)
class _Stream:
    """The wanted evidence of the pool, batch by batch."""

    task: Task
    model: nn.Module
    images: Any  # WithoutTargets or Images: only images are read
    indices: Int[ndarray, " n"]
    wanted: frozenset[str]
    asking: Asking
    seed: int
    cycle: int
    label: str = "pool"

    def __iter__(self) -> Iterator[tuple[Int[ndarray, " b"], dict[str, Any]]]:
        """Positions and their evidence."""
        device = next(self.model.parameters()).device
        masks_seed = int(generator(self.seed, self.cycle, "query", 0, 0).integers(2**62))
        batches = list(equal_size_batches(self.images.shapes[self.indices], self.asking.batch_size))
        with tqdm(total=len(self.indices), desc=self.label, unit="image", leave=False, dynamic_ncols=True) as bar:
            for number, positions in enumerate(batches):
                batch = torch.stack([self.images[int(i)] for i in self.indices[positions]]).to(device)
                with torch.no_grad(), torch_seeded(self.seed, self.cycle, "query", number, device=device):
                    found = self.task.evidence(self.model, batch, self.wanted, self.asking.mc_samples, masks_seed)
                if "prediction" in self.wanted:
                    found["prediction"] = found["mc_mean"] if "mc_mean" in found else found["probs"]
                yield positions, found
                bar.update(len(positions))

    def stacked(self) -> dict[str, Any]:
        """The evidence of the whole pool at once, in pool order; refused where it would not fit."""
        stacks: dict[str, Tensor] = {}
        for positions, found in self:
            if not stacks:
                self._check_size({name: found[name] for name in self.wanted})
            for name in self.wanted:
                if name not in stacks:
                    stacks[name] = found[name].new_empty(len(self.indices), *found[name].shape[1:])
                if found[name].shape[1:] != stacks[name].shape[1:]:
                    raise ValueError(f"{name} cannot be stacked: images of the pool differ in size; use a streamed heuristic like bald")
                stacks[name][torch.from_numpy(positions)] = found[name]
        return stacks

    def _check_size(self, examples: dict[str, Tensor]) -> None:
        size = sum(e[0].numel() * e.element_size() for e in examples.values()) * len(self.indices) / 1e9
        if size > self.asking.memory_limit:
            names = ", ".join(f"{name} at {'x'.join(map(str, e.shape[1:]))}" for name, e in sorted(examples.items()))
            fitting = max(1, int(len(self.indices) * self.asking.memory_limit / size))
            raise ValueError(
                f"{names} of {len(self.indices)} images is {size:.1f} GB, above memory_limit={self.asking.memory_limit:g}: "
                f"use a streamed heuristic like bald, or pool_subset={fitting}"
            )


def _scores(heuristic: Heuristic, stream: _Stream, given: dict[str, Any], asking: Asking) -> tuple[ndarray, ndarray]:
    """One score and one predicted class (that of the mean prediction over space) per image."""
    scores, predicted = np.empty(len(stream.indices)), np.zeros(len(stream.indices), dtype=np.int64)
    for positions, found in stream:
        score = heuristic(**given, **found)
        if isinstance(score, list):
            score = aggregating.over_boxes(asking.aggregate, score, asking.empty_score)
        elif score.ndim > 1:
            score = aggregating.aggregated(asking.aggregate, score, found.get("prediction"))
        scores[positions] = score.cpu().double().numpy()
        if "prediction" in found:
            predicted[positions] = found["prediction"].flatten(2).mean(2).argmax(1).cpu().numpy()
        if not np.isfinite(scores[positions]).all():
            worst = int(stream.indices[positions[~np.isfinite(scores[positions])][0]])
            image = f"image {stream.images.names[worst]!r} (index {worst})"
            raise ValueError(f"heuristic {heuristic.name!r} gave a score that is not finite for {image}")
    return scores, predicted


def _known_evidence(
    heuristic: Heuristic, task: Task, model: nn.Module, known: dict[str, Images], asking: Asking, seed: int, cycle: int
) -> dict[str, Any]:
    """Evidence and targets of the labelled and the validation set, where the heuristic asks for them.

    `known` always has the labelled set; without a validation set its evidence has no rows.
    """
    found: dict[str, Any] = {}
    for which in SETS:
        asked = {w.removeprefix(f"{which}_") for w in heuristic.wants if w.startswith(f"{which}_")}
        if not asked:
            continue
        images = known.get(which, known["labelled"])
        everything = np.arange(len(images))
        evidence = asked - {"targets"}
        stream = _Stream(task, model, WithoutTargets(images), everything, frozenset(evidence), asking, seed, cycle, which)
        found |= {f"{which}_{name}": value for name, value in (stream.stacked() if evidence else {}).items()}
        if "targets" in asked:
            found[f"{which}_targets"] = torch.stack([images.target(int(i)) for i in everything]).to(next(model.parameters()).device)
        if which not in known:  # an empty set of the right shape: the heuristic decides what stands in for it
            found |= {f"{which}_{name}": found[f"{which}_{name}"][:0] for name in asked}
    return found
