"""Information shared by several predictions of one network: what a whole batch tells about the weights, or one label
about others.

Both need the K stochastic passes themselves, with the same dropout masks for every image in pass k, so that the
predictions of different images in one pass come from one set of weights. Information is in nats.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from data.limits import Between
from data.names import Refused
from heuristics.core.covering import CHUNK, lazy_greedy
from heuristics.core.evidence import entropy_of
from heuristics.core.registry import selector
from heuristics.core.selecting import select

# Information below this is rounding of float32 entropies: gains that agree to it are equal.
TOLERANCE = 1e-6
# A sampled estimate of a gain may exceed an earlier one by chance: by less than this many standard errors of an
# unstratified sample, which are twice to four times those of the stratified one.
STANDARD_ERRORS = 2.0
# Outcomes in the small sample that screens candidates before all outcomes are looked at.
FEW = 1024


@selector
def batchbald(
    mc_probs: Float[Tensor, "n c k *s"],
    n_query: int,
    rng: np.random.Generator,
    max_joint: Annotated[int, Between(2, 2**30)] = 2**20,
) -> Int[ndarray, " q"]:
    """The batch whose labels together tell most about the weights, I(y_1, ..., y_q; w), greedily (Kirsch et al., 2019,
    alg. 1).

    Each pick maximises H(y | y_1..y_m) - E_k H(y | w_k), the information of its label given the labels of the m picks
    before it (eq. 8 and 9, less terms that are the same for all candidates). H(y | y_1..y_m) averages over the joint
    outcomes of those labels: exactly, over all of them, as long as outcomes x max(C, K) numbers fit `max_joint`
    (outcomes of probability zero are not counted), then over `max_joint` / max(C, K) sampled ones (the sampling of sec.
    3.3, stratified).

    The exact gains are submodular, so lazy evaluation has the picks of plain greedy: at worst O(N C max_joint) time per
    pick, in practice a few hundred candidates instead of N. O(max_joint) memory beside `mc_probs`. Raises ValueError
    for maps, and for a `max_joint` that holds no outcome.
    """
    probs = _one_label_each(mc_probs, "batchbald")
    n, n_classes, n_passes = probs.shape
    width = max(n_classes, n_passes)
    if max_joint < width:
        raise Refused(f"max_joint={max_joint} of batchbald must be at least the larger of classes and passes, {width}")
    blocks = probs.split(max(1, CHUNK // (n_classes * n_passes)))
    noise = torch.cat([entropy_of(block) for block in blocks])  # (N, K)
    bald = torch.cat([entropy_of(block.mean(2)) for block in blocks]) - noise.mean(1)
    outcomes = Outcomes(n_passes, max_joint // width, rng, probs)
    slack = [0.0]

    def gains_of(candidates: list[int], best: float) -> tuple[list[float], float]:
        index = torch.tensor(candidates, device=probs.device)
        bounds = outcomes.upper_bound(probs[index], noise[index])
        promising = (bounds >= best).nonzero().flatten()
        if len(promising):
            bounds[promising], error = outcomes.information(probs[index[promising]], noise[index[promising]])
            slack[0] = STANDARD_ERRORS * error
        return bounds.tolist(), slack[0]

    bounds = bald.double().cpu().numpy()
    return lazy_greedy(bounds, gains_of, lambda pick: outcomes.extend(probs[pick]), n_query, rng, TOLERANCE)


class Outcomes:
    """Joint outcomes y_1..y_m of the labels of m images, with their probabilities and the posterior over the K passes
    given each.

    `weights` (M,) sum to 1; `posteriors` (M, K) have rows p(k | y_1..y_m), which neither underflow nor lose precision
    as m grows. All outcomes of positive probability are kept up to `capacity`; from then on `capacity` of them are
    sampled.
    """

    def __init__(self, n_passes: int, capacity: int, rng: np.random.Generator, like: Tensor):
        self.weights = self._few_weights = like.new_ones(1)
        self.posteriors = self._few_posteriors = like.new_full((1, n_passes), 1 / n_passes)
        self.capacity = capacity
        self.exact = True
        self._rng = rng

    def information(
        self, probs: Float[Tensor, "b c k"], noise: Float[Tensor, "b k"]
    ) -> tuple[Float[Tensor, " b"], float]:
        """I(y; w | y_1..y_m) of each of B images, and the standard error of the first (0 while all outcomes are kept).

        `noise` holds the entropies of the single passes. Both terms are averaged over the same outcomes, so that an
        outcome which leaves no doubt about the weights adds nothing, and no sampling error either.
        """
        mean, spread = _mean_information(self.weights, self.posteriors, probs, noise)
        return mean, 0.0 if self.exact else spread / self.capacity**0.5

    def upper_bound(self, probs: Float[Tensor, "b c k"], noise: Float[Tensor, "b k"]) -> Float[Tensor, " b"]:
        """What `information` does not exceed, judged by a sample of `FEW` outcomes with its standard error; infinite if
        there are few.
        """
        if len(self.weights) <= 2 * FEW:
            return probs.new_full((len(probs),), torch.inf)
        mean, spread = _mean_information(self._few_weights, self._few_posteriors, probs, noise)
        return mean + STANDARD_ERRORS * spread / FEW**0.5

    def extend(self, probs: Float[Tensor, "c k"]) -> None:
        """Add the label of one more image to every outcome."""
        mass = self.weights[:, None] * (self.posteriors @ probs.T)
        flat = mass.flatten()
        children = flat.nonzero().flatten()
        if len(children) <= self.capacity:
            weights = flat[children]
        else:
            children, weights = self._sampled(flat, self.capacity)
            self.exact = False
        self.weights = weights / weights.sum()
        posteriors = self.posteriors[children // len(probs)] * probs[children % len(probs)]
        posteriors /= posteriors.sum(1, keepdim=True)
        # Far below rounding; left in, such shares shrink to subnormal numbers, which processors multiply many times
        # slower.
        self.posteriors = posteriors.masked_fill_(posteriors < torch.finfo(posteriors.dtype).eps ** 2, 0)
        if len(self.weights) > 2 * FEW:
            few, weights = self._sampled(self.weights, FEW)
            self._few_weights, self._few_posteriors = weights / FEW, self.posteriors[few]

    def _sampled(self, mass: Float[Tensor, " m"], size: int) -> tuple[Int[Tensor, " d"], Float[Tensor, " d"]]:
        """Stratified sample of `size` outcomes: each is expected as often as its share of the mass; repeats are
        counted.

        Every stratum draws for itself: with one draw for all, outcomes of equal mass would all get the same class.
        """
        cumulative = mass.double().cumsum(0)
        ticks = torch.from_numpy((np.arange(size) + self._rng.random(size)) / size).to(mass.device)
        drawn = torch.searchsorted(cumulative, ticks * cumulative[-1], right=True).clamp_max_(len(mass) - 1)
        children, counts = drawn.unique_consecutive(return_counts=True)
        return children, counts.to(mass.dtype)


def _mean_information(
    weights: Float[Tensor, " m"],
    posteriors: Float[Tensor, "m k"],
    probs: Float[Tensor, "b c k"],
    noise: Float[Tensor, "b k"],
) -> tuple[Float[Tensor, " b"], float]:
    """Weighted mean over outcomes of the information of each image's label, and its standard deviation for the first
    image.
    """
    n_images, n_classes, n_passes = probs.shape
    rows = max(1, CHUNK // (n_images * n_classes))
    flat = probs.reshape(n_images * n_classes, n_passes).T.contiguous()
    tiny = torch.finfo(probs.dtype).tiny
    mean, first, square = probs.new_zeros(n_images * n_classes), probs.new_zeros(1), probs.new_zeros(1)
    for weight, posterior in zip(weights.split(rows), posteriors.split(rows), strict=True):
        predictive = posterior @ flat
        # -p log p with the weights applied before the sum over classes: one product with a matrix in place of a short
        # reduction.
        terms = predictive.clamp_min(tiny).log_().mul_(predictive)
        mean -= weight @ terms
        information = -terms[:, :n_classes].sum(1) - posterior @ noise[0]
        first, square = first + weight @ information, square + weight @ information.square()
    return mean.view(n_images, n_classes).sum(1) - noise @ (weights @ posteriors), (square - first.square()).clamp_min_(
        0
    ).sqrt().item()


@selector
def epig(
    mc_probs: Float[Tensor, "n c k *s"],
    n_query: int,
    rng: np.random.Generator,
    n_targets: Annotated[int, Between(1, 10**6)] = 100,
) -> Int[ndarray, " q"]:
    """Expected predictive information gain: what a label tells about the predictions on other images (Bickford Smith et
    al., 2023).

    The mean over target inputs x* of I(y; y* | x, x*), with p(y, y* | x, x*) = 1/K sum_k p_k(y | x) p_k(y* | x*) (eq. 5
    and 6), in 0..log C. The target inputs are `n_targets` images drawn at random from the pool itself (all of it if it
    is smaller), which so stands for the distribution of future inputs. O(N T C^2 K) time, memory in blocks. Raises
    ValueError for maps.
    """
    probs = _one_label_each(mc_probs, "epig")
    if n_targets < 1:
        raise Refused(f"n_targets={n_targets} of epig must be at least 1")
    targets = probs[
        torch.from_numpy(rng.choice(len(probs), min(n_targets, len(probs)), replace=False)).to(probs.device)
    ]
    scores = predictive_information(probs, targets).double().cpu().numpy()
    return select(np.round(scores / TOLERANCE), n_query, rng)


def predictive_information(probs: Float[Tensor, "n c k"], targets: Float[Tensor, "t c k"]) -> Float[Tensor, " n"]:
    """Mean over the targets of the mutual information between the label of each image and the label of the target,
    nats.
    """
    n_classes, n_passes = probs.shape[1:]
    # Blocks of candidates x targets whose joint tables, C^2 numbers a pair, stay within one chunk.
    target_block = max(1, min(len(targets), CHUNK // n_classes**2))
    block = max(1, CHUNK // (target_block * n_classes**2))
    found = []
    for images in probs.split(block):
        left = images.reshape(-1, n_passes) / n_passes
        joint_entropy = probs.new_zeros(len(images))
        for others in targets.split(target_block):
            joint = left @ others.reshape(-1, n_passes).T
            joint_entropy += entropy_of(joint.view(len(images), -1))
        found.append(entropy_of(images.mean(2)) - joint_entropy / len(targets))
    return (torch.cat(found) + entropy_of(targets.mean(2)).mean()).clamp_min_(0)


def _one_label_each(mc_probs: Float[Tensor, "n c k *s"], name: str) -> Float[Tensor, "n c k"]:
    """The passes in at least single precision; refuses maps, whose joint outcomes cannot be enumerated."""
    if mc_probs.ndim != 3:
        shape = tuple(mc_probs.shape)
        raise Refused(
            f"{name} needs one label per image, mc_probs (N, C, K); "
            f"got maps of shape {shape}: use bald with an aggregate"
        )
    return mc_probs.to(torch.promote_types(mc_probs.dtype, torch.float32))
