"""Subsets that cover: greedy maximisation of submodular functions of the batch, in memory that no N x N matrix enters.

Similarities are cosines between embeddings, negative ones taken as 0. At most `max_similarities` of them are held at
once: where all pairs of N candidates and N represented images would be more, a random sample of the represented images
stands in for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from data.limits import Between, Numbers, OneOf
from data.names import Refused, suggestion
from heuristics.core.covering import LAST_BLOCK, cosines, facility_location, nearest, rows_of, sample
from heuristics.core.evidence import entropy_of
from heuristics.core.registry import check_for, selector
from heuristics.core.selecting import select

MODES = ("rare", "ood", "redundancy")
NO_QUERY = "similar with mode='ood' needs query_classes, the classes in distribution"


@selector
def fass(
    probs: Float[Tensor, "n c *s"],
    embeddings: Float[Tensor, "n d"],
    n_query: int,
    rng: np.random.Generator,
    candidates_per_pick: Annotated[int, Between(1, 10**6)] = 10,
    max_similarities: Annotated[int, Between(1, 2**40)] = 2**24,
) -> Int[ndarray, " q"]:
    """Filtered active submodular selection: the most uncertain images, then facility location among them (Wei et al.,
    2015, sec. 5).

    The `candidates_per_pick` x `n_query` images of highest entropy (of the deterministic pass; mean over space for
    maps) are the candidates F; the batch A maximises sum_{i in F} max_{a in A} s_ia. Where |F|^2 exceeds
    `max_similarities`, the sum runs over a random sample of F. O(N C + |F| R D) time, R = min(|F|, max_similarities /
    |F|), and O(|F| R) memory beside the embeddings.
    """
    uncertainty = entropy_of(probs).flatten(1).mean(1) if probs.ndim > 2 else entropy_of(probs)
    n_candidates = min(len(probs), max(1, candidates_per_pick) * n_query)
    if n_query > len(probs):
        raise Refused(f"cannot pick {n_query} images from a pool of {len(probs)}")
    if n_query == 0:
        return np.empty(0, dtype=np.int64)
    kept = select(uncertainty.double().cpu().numpy(), n_candidates, rng)
    candidates = embeddings[torch.from_numpy(kept).to(embeddings.device)]
    represented = candidates[sample(n_candidates, n_candidates, max_similarities, rng, embeddings)]
    similarities = cosines(candidates, represented)
    return kept[facility_location(similarities, similarities.new_zeros(len(represented)), n_query, rng)]


@selector
def similar(
    embeddings: Float[Tensor, "n d"],
    labelled_embeddings: Float[Tensor, "l d"],
    labelled_targets: Int[Tensor, " l"],
    n_query: int,
    rng: np.random.Generator,
    mode: Annotated[str, OneOf(MODES)] = "rare",
    query_classes: Annotated[Sequence[int] | None, Numbers(0, 10**6, whole=True)] = None,
    eta: Annotated[float, Between(0, 1e9)] = 1.0,
    max_similarities: Annotated[int, Between(1, 2**40)] = 2**24,
) -> Int[ndarray, " q"]:
    """Submodular information measures with the labelled images as query or as condition (Kothawade et al., 2021, table
    1).

    With s the similarity, A the batch, V the pool, Q the labelled images of `query_classes` and P other labelled
    images:

        rare        what is shared with Q (FLQMI): sum_{q in Q} max_{a in A} s_qa + eta sum_{a in A} max_{q in Q} s_aq;
                    `query_classes` is by default the rarest labelled class
        redundancy  gain given all labelled images (FLCG): sum_{i in V} max(max_{a in A} s_ia - max_{p in P} s_ip, 0)
        ood         conditional mutual information with Q given P, the labelled images of all other classes (FLCMI):
                    sum_{i in V} max(min(max_{a in A} s_ia, max_{q in Q} s_iq) - max_{p in P} s_ip, 0);
                    `query_classes` are the classes in distribution and must be given

    All three are facility location with another start and another ceiling. Sums over V or Q run over a random sample
    where N |V| or N |Q| exceeds `max_similarities`. O(N R D) time with R = min(N, max_similarities / N), O(N R) memory.
    """
    if mode not in MODES:
        raise Refused(f"unknown mode {mode!r} of similar.{suggestion(mode, MODES)} Known: {', '.join(MODES)}")
    if mode == "redundancy":
        pool = embeddings[sample(len(embeddings), len(embeddings), max_similarities, rng, embeddings)]
        return facility_location(cosines(embeddings, pool), nearest(pool, labelled_embeddings), n_query, rng)
    asked = _query_mask(labelled_targets, query_classes, mode)
    query = labelled_embeddings[asked]
    if mode == "rare":
        query = query[sample(len(query), len(embeddings), max_similarities, rng, embeddings)]
        similarities = cosines(embeddings, query)
        return facility_location(
            similarities, similarities.new_zeros(len(query)), n_query, rng, eta * similarities.amax(1)
        )
    pool = embeddings[sample(len(embeddings), len(embeddings), max_similarities, rng, embeddings)]
    similarities = cosines(embeddings, pool)
    torch.minimum(similarities, nearest(pool, query), out=similarities)
    return facility_location(similarities, nearest(pool, labelled_embeddings[~asked]), n_query, rng)


@check_for(similar)
def _check_similar(mode: str, query_classes: Sequence[int] | None, **others: object) -> None:
    if mode == "ood" and query_classes is None:
        raise Refused(f"{NO_QUERY}, like heuristic_options.query_classes=[0]")
    if query_classes is not None and (mode == "redundancy" or not len(query_classes)):
        means = "means nothing with mode='redundancy'" if mode == "redundancy" else "must name at least one class"
        raise Refused(f"query_classes={query_classes!r} of similar {means}")


@selector
def glister(
    embeddings: Float[Tensor, "n d"],
    probs: Float[Tensor, "n c"],
    validation_embeddings: Float[Tensor, "v d"],
    validation_probs: Float[Tensor, "v c"],
    validation_targets: Int[Tensor, " v"],
    labelled_embeddings: Float[Tensor, "l d"],
    labelled_probs: Float[Tensor, "l c"],
    labelled_targets: Int[Tensor, " l"],
    n_query: int,
    rng: np.random.Generator,
    learning_rate: Annotated[float, Between(1e-9, 1e6)] = 0.01,
    diversity: Annotated[float, Between(0, 1e9)] = 1.0,
    max_similarities: Annotated[int, Between(1, 2**40)] = 2**24,
) -> Int[ndarray, " q"]:
    """The images whose gradient step would lower the validation loss most (GLISTER-Active; Killamsetty et al., 2021,
    sec. 3 and 4).

    Greedy: each pick maximises the first-order (Taylor) fall of the mean cross-entropy on the validation set when the
    last layer takes a gradient step of `learning_rate` on the image with its predicted class as label; then that step
    is really taken and the validation predictions follow. With x = (embedding, 1), r_i = p_i - onehot(argmax p_i) and G
    the gradient of the validation loss, the gain is learning_rate r_i' G x_i. `diversity` times the gain of facility
    location over the pool is added, both gains divided by their largest value for the first pick. Without a validation
    set (V = 0) the labelled set stands in for it. O(N D C) time per pick, O(N R) memory with R = min(N,
    max_similarities / N).
    """
    if not 0 <= n_query <= len(probs):
        raise Refused(f"cannot pick {n_query} images from a pool of {len(probs)}")
    if len(validation_targets):
        held = HeldOut(validation_embeddings, validation_probs, validation_targets)
    elif len(labelled_targets):
        held = HeldOut(labelled_embeddings, labelled_probs, labelled_targets)
    else:
        raise Refused("glister needs a validation set or, in its place, labelled images; both are empty")
    residuals = probs.scatter_add(1, probs.argmax(1, keepdim=True), probs.new_full((len(probs), 1), -1.0))
    pool = embeddings[sample(len(embeddings), len(embeddings), max_similarities, rng, embeddings)]
    similarities = cosines(embeddings, pool) if diversity else embeddings.new_zeros(len(embeddings), 0)
    cover = similarities.new_zeros(similarities.shape[1])
    covering = similarities.sum(1)  # stale gains of facility location bound the gains for a larger batch from above
    covering_unit = diversity / max(covering.max().item(), torch.finfo(covering.dtype).tiny) if len(covering) else 0.0
    left = torch.ones(len(probs), dtype=torch.bool, device=probs.device)
    picks: list[int] = []
    taylor_unit = 0.0
    while len(picks) < n_query:
        taylor = held.gains(embeddings, residuals, learning_rate)
        if not picks:
            taylor_unit = 1 / max(taylor.abs().max().item(), torch.finfo(taylor.dtype).tiny)
        taylor *= taylor_unit
        stale = left.clone() if diversity else torch.zeros_like(left)
        while True:
            total = (taylor + covering_unit * covering).masked_fill_(~left, -torch.inf)
            tied = total >= total.max() - 1e-6
            if not (tied & stale).any():
                break
            index = total.masked_fill(~stale, -torch.inf).topk(min(LAST_BLOCK, int(stale.sum()))).indices
            covering[index] = (similarities[index] - cover).clamp_min_(0).sum(1)
            stale[index] = False
        pick = int(rng.choice(tied.nonzero().flatten().cpu().numpy()))
        picks.append(pick)
        left[pick] = False
        torch.maximum(cover, similarities[pick], out=cover)
        held.step(embeddings[pick], residuals[pick], learning_rate)
    return np.array(picks, dtype=np.int64)


class HeldOut:
    """Predictions on held-out images that follow gradient steps of the last layer on other images."""

    def __init__(self, embeddings: Float[Tensor, "v d"], probs: Float[Tensor, "v c"], targets: Int[Tensor, " v"]):
        self.embeddings = embeddings.float() if embeddings.dtype in (torch.float16, torch.bfloat16) else embeddings
        # Logits up to a constant per image, which is all that softmax sees; a probability of 0 is held at the smallest
        # number.
        self.logits = probs.to(self.embeddings.dtype).clamp_min(torch.finfo(self.embeddings.dtype).tiny).log()
        self.targets = targets

    def gains(
        self, embeddings: Float[Tensor, "n d"], residuals: Float[Tensor, "n c"], learning_rate: float
    ) -> Float[Tensor, " n"]:
        """First-order fall of the mean cross-entropy by one step on each image alone: learning_rate r' G x."""
        errors = self.logits.softmax(1)
        errors[torch.arange(len(errors), device=errors.device), self.targets] -= 1
        errors /= len(errors)
        weight_gradient, bias_gradient = self.embeddings.T @ errors, errors.sum(0)
        pairs = zip(
            embeddings.split(rows_of(embeddings.shape[1])), residuals.split(rows_of(embeddings.shape[1])), strict=True
        )
        gains = [(r * (x.to(errors.dtype) @ weight_gradient + bias_gradient)).sum(1) for x, r in pairs]
        return learning_rate * torch.cat(gains)

    def step(self, embedding: Float[Tensor, " d"], residual: Float[Tensor, " c"], learning_rate: float) -> None:
        """Take the step on one image: W -= learning_rate r x' moves the logits of y by -learning_rate (x'y) r."""
        kernel = self.embeddings @ embedding.to(self.embeddings.dtype) + 1
        self.logits -= learning_rate * kernel[:, None] * residual.to(self.logits.dtype)


def _query_mask(targets: Int[Tensor, " l"], query_classes: Sequence[int] | None, mode: str) -> Tensor:
    """Which labelled images make up the query set."""
    found, counts = targets.unique(return_counts=True)
    listed = ", ".join(map(str, found.tolist())) or "none"
    if query_classes is None:
        if mode == "ood":
            raise Refused(f"{NO_QUERY}; labelled classes: {listed}")
        if not len(found):
            raise Refused("similar with mode='rare' needs labelled images for its query set, and there are none")
        return targets == found[counts.argmin()]
    asked = torch.as_tensor(np.atleast_1d(query_classes), device=targets.device)
    missing = asked[~torch.isin(asked, found)].tolist()
    if missing or not len(asked):
        raise Refused(
            f"query_classes={query_classes!r} of similar has no labelled image of {missing}; labelled classes: {listed}"
        )
    return torch.isin(targets, asked)
