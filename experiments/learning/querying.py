"""Choose what to label next: stream the pool through the model, score, select. Only scores survive a batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from data.names import NotFinite, Refused
from data.store import Images
from experiments.learning.batches import WithoutTargets
from experiments.learning.evidence import ModelEvidence
from heuristics.core import aggregating, units
from heuristics.core.registry import MC, Heuristic
from heuristics.core.selecting import select
from heuristics.core.two_stage import second_stage, shortlist

SETS = ("labelled", "validation")  # whose evidence a heuristic may ask for beside that of the pool


@dataclass(frozen=True)
class QueryOptions:
    """How the pool is queried; every field is the option of its name, see `experiments.tracking.options`."""

    n_query: int
    mc_samples: int
    query_batch_size: int
    aggregate: str
    empty_score: float
    select: str
    beta: float
    balance: str
    then: str
    candidates: int
    pool_subset: int
    memory_limit: float
    embeddings: str = "model"
    unit: str = "slice"
    volume_score: str = "mean"
    apart: int = 0

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> QueryOptions:
        return cls(**{name: options[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Selection:
    """What was chosen, as positions in the pool, best first; the scores, if any, of what was considered."""

    chosen: Int[ndarray, " q"]
    considered: Int[ndarray, " m"]
    scores: Float[ndarray, " m"] | None

    def summary(self) -> dict[str, float]:
        """Where the scores of the pool lie; empty for strategies that give none."""
        if self.scores is None:
            return {}
        return {f"score_{name}": float(getattr(np, name)(self.scores)) for name in ("mean", "std", "min", "max")}

    def scores_of(self, positions: Int[ndarray, " p"]) -> list[float]:
        """The scores at these positions in the pool; empty for strategies that give none."""
        if self.scores is None:
            return []
        score_of = dict(zip(self.considered.tolist(), self.scores.tolist(), strict=True))
        return [score_of[position] for position in positions.tolist()]

    def scores_of_chosen(self) -> list[float]:
        return self.scores_of(self.chosen)


def query(
    heuristic: Heuristic,
    evidence: ModelEvidence,
    images: WithoutTargets,
    pool: Int[ndarray, " n"],
    options: QueryOptions,
    known: Mapping[str, Images] | None = None,
    progress: float = 0.0,
) -> Selection:
    """Choose `n_query` of the images at the dataset indices `pool`, or whole volumes of at most so many slices.

    `known` holds the labelled and, where there is one, the validation set, for heuristics that ask for them; `progress`
    in 0..1 is how far the run has come. Raises NotFinite for a score that is none (naming the image) and Refused for
    evidence that would not fit in `memory_limit` (naming its size).
    """
    known = known or {}
    rng = evidence.generator("select")
    considered = np.arange(len(pool))
    if 0 < options.pool_subset < len(pool):
        drawn = evidence.generator("pool").choice(len(pool), options.pool_subset, replace=False)
        considered = np.sort(drawn)
    n_query = min(options.n_query, len(considered))
    if options.apart > 1 and (heuristic.chooser or not heuristic.per_batch):
        considered = _thinned(considered, images, pool, n_query, options.apart, evidence)
    given = {"n_query": n_query, "n_pool": len(considered), "rng": rng, "progress": progress}
    given |= {"model": evidence.model} | ({"head": evidence.head} if "head" in heuristic.wants else {})
    given |= _of_known(heuristic, evidence, known)
    asked = pool[considered]
    if options.unit == "volume":
        chosen, scores = _volumes(heuristic, evidence, images, asked, given, options)
    elif heuristic.per_batch:
        scores, predicted = _scores(heuristic, evidence, images, asked, given, options)
        if heuristic.chooser:
            chosen, scores = heuristic.choose(scores=scores, **given), scores[:, 0]
        else:
            chosen = _chosen(scores, predicted, evidence, images, asked, known, n_query, rng, options)
    else:
        scores = None
        wanted = _streamed(heuristic, options)
        stacks = evidence.stacked(images, asked, wanted) if wanted else {}
        chosen = np.asarray(heuristic(**given, **stacks), dtype=np.int64)
        if len(np.unique(chosen)) != n_query or chosen.min(initial=0) < 0 or chosen.max(initial=0) >= len(considered):
            expected = f"{n_query} distinct pool indices below {len(considered)}"
            raise Refused(f"heuristic {heuristic.name!r} must return {expected}, not {chosen}")
    return Selection(considered[chosen], considered, scores)


def explain(
    heuristic: Heuristic, evidence: ModelEvidence, images: WithoutTargets, indices: Int[ndarray, " q"]
) -> Iterator[tuple[Float[ndarray, "c *s"], Float[ndarray, "*s"] | None]]:
    """Mean prediction and map of scores (None where the heuristic has none) of single images, for pictures."""
    wanted = heuristic.wants if heuristic.per_batch else frozenset()
    wanted = frozenset(wanted | {"prediction", "mc_mean" if wanted & MC else "probs"})
    for index in indices:
        ((_, found),) = evidence.stream(images, np.array([index]), wanted, "picture")
        given = {"model": evidence.model, "rng": evidence.generator("select"), "n_query": 1, "n_pool": len(indices)}
        scores = heuristic(**found, **given) if heuristic.per_batch else None
        found_map = None
        if scores is not None and scores.ndim > 1 and not heuristic.chooser:
            found_map = scores[0].float().cpu().numpy()
        yield found["prediction"][0].float().cpu().numpy(), found_map


def _streamed(heuristic: Heuristic, options: QueryOptions) -> frozenset[str]:
    """The evidence that a query streams over the pool; `prediction` is the best one that is computed anyway."""
    wanted = set(heuristic.wants)
    if heuristic.per_batch:
        wanted |= set() if heuristic.of_boxes else aggregating.wants(options.aggregate)
        wanted |= {"prediction"} if options.balance == "predicted" else set()
    if "prediction" in wanted:
        wanted.add("mc_mean" if wanted & MC else "probs")
    at_once = {"model", "head"}  # not of single images
    return frozenset(w for w in wanted - at_once if not w.startswith(tuple(f"{s}_" for s in SETS)))


def _scores(
    heuristic: Heuristic,
    evidence: ModelEvidence,
    images: WithoutTargets,
    asked: Int[ndarray, " m"],
    given: Mapping[str, Any],
    options: QueryOptions,
) -> tuple[Float[ndarray, "m *r"], Int[ndarray, " m"]]:
    """One score (a row of scores for a chooser) and one predicted class (that of the mean prediction over space) per
    image.
    """

    def scored(found: dict[str, Any]) -> tuple[ndarray, ndarray | int]:
        score = heuristic(**given, **found)
        if isinstance(score, list):
            score = aggregating.over_boxes(options.aggregate, score, options.empty_score)
        elif score.ndim > 1 and not heuristic.chooser:
            score = aggregating.aggregated(options.aggregate, score, found.get("prediction"))
        classes = found["prediction"].flatten(2).mean(2).argmax(1).cpu().numpy() if "prediction" in found else 0
        return score.cpu().double().numpy(), classes

    scores, predicted = np.empty(len(asked)), np.zeros(len(asked), dtype=np.int64)
    for positions, (score, classes) in evidence.stream(images, asked, _streamed(heuristic, options), of=scored):
        if scores.shape[1:] != score.shape[1:]:
            scores = np.empty((len(asked), *score.shape[1:]))
        scores[positions], predicted[positions] = score, classes
        finite = np.isfinite(scores[positions]).reshape(len(positions), -1).all(1)
        if not finite.all():
            worst = int(asked[positions[~finite][0]])
            image = f"image {images.names[worst]!r} (index {worst})"
            raise NotFinite(f"heuristic {heuristic.name!r} gave a score that is not finite for {image}")
    return scores, predicted


def _chosen(
    scores: Float[ndarray, " m"],
    predicted: Int[ndarray, " m"],
    evidence: ModelEvidence,
    images: WithoutTargets,
    asked: Int[ndarray, " m"],
    known: Mapping[str, Images],
    n_query: int,
    rng: np.random.Generator,
    options: QueryOptions,
) -> Int[ndarray, " q"]:
    """Positions of the batch among the asked images: by their scores alone, or in two stages."""
    near = images.volumes[asked], images.slices[asked], options.apart
    if options.then == "none":
        balanced = predicted if options.balance == "predicted" else None
        ranked = len(scores) if options.apart > 1 else n_query
        order = select(scores, ranked, rng, options.select, options.beta, balanced)
        return units.spread(order, *near, n_query) if options.apart > 1 else order
    n_candidates = max(n_query, options.candidates * n_query)
    listed = shortlist(scores, len(scores) if options.apart > 1 else n_candidates, rng)
    if options.apart > 1:
        listed = units.spread(listed, *near, n_candidates, n_query)
    found = evidence.embed(images, asked[listed])
    labelled = WithoutTargets(known["labelled"])
    others = evidence.embed(labelled, np.arange(len(labelled)))
    return listed[second_stage(options.then, found, others, n_query, rng)]


def _volumes(
    heuristic: Heuristic,
    evidence: ModelEvidence,
    images: WithoutTargets,
    asked: Int[ndarray, " m"],
    given: Mapping[str, Any],
    options: QueryOptions,
) -> tuple[Int[ndarray, " q"], Float[ndarray, " m"] | None]:
    """Positions of the slices of whole volumes, and the scores of all slices: each has that of its volume.

    A strategy that looks at nothing chooses among volumes as it does among images.
    """
    volumes = units.members(images.volumes[asked])
    sizes, scores = np.array([len(positions) for positions in volumes]), None
    if heuristic.per_batch:
        of_slices, _ = _scores(heuristic, evidence, images, asked, given, options)
        of_volumes, scores = units.volume_scores(of_slices, volumes, options.volume_score), np.empty(len(asked))
        for score, positions in zip(of_volumes, volumes, strict=True):
            scores[positions] = score
        order = select(of_volumes, len(volumes), given["rng"], options.select, options.beta)
    else:
        order = heuristic(**{**given, "n_query": len(volumes), "n_pool": len(volumes)})
    taken = units.whole(order, sizes, given["n_query"])
    return np.concatenate([volumes[volume] for volume in taken]), scores


def _thinned(
    considered: Int[ndarray, " m"],
    images: WithoutTargets,
    pool: Int[ndarray, " n"],
    n_query: int,
    apart: int,
    evidence: ModelEvidence,
) -> Int[ndarray, " k"]:
    """What a strategy that chooses whole batches may see, so that it cannot choose neighbours; all where that is too
    few.
    """
    asked = pool[considered]
    kept = units.thinned(images.volumes[asked], images.slices[asked], apart, evidence.generator("apart"))
    return considered[kept] if len(kept) >= n_query else considered


def _of_known(heuristic: Heuristic, evidence: ModelEvidence, known: Mapping[str, Images]) -> dict[str, Any]:
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
        wanted = frozenset(asked - {"targets"})
        stacks = evidence.stacked(WithoutTargets(images), everything, wanted, which) if wanted else {}
        found |= {f"{which}_{name}": value for name, value in stacks.items()}
        if "targets" in asked:
            targets = torch.stack([images.target(int(i)) for i in everything])
            found[f"{which}_targets"] = targets.to(evidence.device)
        if which not in known:  # an empty set of the right shape: the heuristic decides what stands in for it
            found |= {f"{which}_{name}": found[f"{which}_{name}"][:0] for name in asked}
    return found
