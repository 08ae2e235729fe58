"""Detection: how unsure a detector is of the class, the place, or the presence of each box that it found.

Every scorer returns B tensors (M,), one score >= 0 per box, higher = label first; `over_boxes` of `aggregating.py` reduces them to one
score per image, and `aggregate` of the docstrings is its name. An image without boxes gives an empty tensor. Boxes are xyxy in pixels;
probabilities (M, C + 1) have the background first; P_max is the highest probability of a foreground class, of which the box was found.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from heuristics.evidence import entropy_of
from heuristics.registry import scorer

Detections = dict[str, Tensor]  # of one image: boxes, probs, scores, labels, proposals; mc_boxes and mc_probs with stochastic passes
BoxScores = list[Float[Tensor, " _"]]  # one tensor (M,) per image


@scorer
def prediction_uncertainty(detections: list[Detections]) -> BoxScores:
    """One minus the highest foreground probability of a box, 1 - P_max, in 0..1; `max` scores the least confident box (Kao et al., 2018).

    The background is left out: it is no class that a box can be found as, and with it a box that is 95% background would count as
    certain. The price is that boxes just above the detector's score threshold score highest, and with `max` nearly every image has
    one; `box_margin` and `box_entropy` count the background, and peak where presence itself is undecided. O(M C) per image.
    """
    return [1 - _confidence(found["probs"]) for found in detections]


@scorer
def box_entropy(detections: list[Detections]) -> BoxScores:
    """Entropy of the class of a box, background included, -sum_c p_c log p_c, in 0..log(C + 1) nats (Settles, 2009, eq. 3).

    The background counts since presence is a question too, and with one foreground class the only one. O(M C) per image.
    """
    return [entropy_of(found["probs"]) for found in detections]


@scorer
def box_margin(detections: list[Detections]) -> BoxScores:
    """One minus the gap between the two most probable classes of a box, 1 - (p_(1) - p_(2)), in 0..1 (Brust et al., 2019).

    The background counts as in `box_entropy`. The paper squares the score, which changes no order of boxes, and so neither `max` nor
    `min`. O(M C) per image.
    """
    two = (found["probs"].topk(2, 1).values for found in detections)
    return [(1 - (p[:, 0] - p[:, 1])).clamp_min(0) for p in two]


@scorer
def localization_tightness(detections: list[Detections]) -> BoxScores:
    """How much the proposal and the class of a box disagree about it, 1 - |IoU(proposal, box) + P_max - 1|, in 0..1 (Kao et al., 2018).

    Highest for a confident box far from its proposal, and for an unsure one that fits it tightly. The paper calls J = |...| and labels
    the image of the least J of any box first: `max` of 1 - J. O(M C) per image.
    """
    tight = [iou(found["proposals"], found["boxes"]) for found in detections]
    sure = [_confidence(found["probs"]) for found in detections]
    return [(1 - (t + p - 1).abs()).clamp_min(0) for t, p in zip(tight, sure, strict=True)]


@scorer
def localization_stability(detections: list[Detections], noisy_detections: list[list[Detections]], weighted: bool = True) -> BoxScores:
    """How far a box moves when noise is added to the image, w (1 - S_B), S_B the mean over noise levels of its best IoU (Kao et al., 2018).

    S_B = 1/N sum_n max_b IoU(box, b), b over all boxes at noise level n, 0 where there are none. The paper's score of an image is
    S_I = sum_B P_max S_B / sum_B P_max, and the least is labelled first. Here w = P_max M / sum_B P_max, whose mean over the boxes is 1:
    `mean` of these scores is 1 - S_I exactly, and `sum` is M times that. Scores lie in 0..M. `weighted=False` sets w = 1 and scores lie in
    0..1, which suits `max` and `min`. The paper's LS+C subtracts S_I from `prediction_uncertainty`; this is its first part alone.
    O(N M^2) time and O(M^2) memory per image. Raises ValueError where there is no noise level.
    """
    return [_instability(found, levels, weighted) for found, levels in zip(detections, noisy_detections, strict=True)]


@scorer
def mc_localization(mc_detections: list[Detections]) -> BoxScores:
    """Spread of a box over K stochastic passes, 1 - 1/K sum_k IoU(box_k, mean box), in 0..1: Kao et al. (2018) with dropout for noise.

    Dropout stands for draws of the weights (Gal & Ghahramani, 2016). The passes share a proposal, so that their boxes need no matching.
    O(M K) per image.
    """
    passes = (found["mc_boxes"] for found in mc_detections)
    return [(1 - iou(boxes, boxes.mean(1, keepdim=True)).mean(1)).clamp_min(0) for boxes in passes]


@scorer
def consistency(detections: list[Detections], augmented_detections: list[list[Detections]], beta: float | int = 1.3) -> BoxScores:
    """How near to `beta` a box agrees with its counterpart in a changed image, max(beta, 2 - beta) - |m - beta| (CALD; Yu et al., 2022).

    m = IoU + 1/2 (P_max + P'_max) (1 - JS(p || p')), in 0..2, with the box of the copy of highest IoU as counterpart and JS in nats; m = 0
    where none overlaps. A box that comes back as it was says nothing new, and one that does not come back may have been noise: both score
    low. The score is the mean over the copies, in 0..max(beta, 2 - beta). CALD takes the best box of each copy and then the mean; `max`
    takes the best of the means, which is the same for one copy. p has the background here but not in the authors' code, where JS is
    always 0 with one foreground class. Their second stage, which balances classes, is no part of this. O(copies M (M + C)) per image.
    Raises ValueError for `beta` outside 0..2 and where there is no copy.
    """
    if not 0 <= beta <= 2:
        raise ValueError(f"beta={beta} of consistency must be in 0..2, like 1.3: it is compared with the sum of two numbers in 0..1")
    matched = [_consistencies(found, copies) for found, copies in zip(detections, augmented_detections, strict=True)]
    return [(max(beta, 2 - beta) - (m - beta).abs()).clamp_min(0).mean(0) for m in matched]


@scorer
def box_bald(mc_detections: list[Detections]) -> BoxScores:
    """Mutual information between the class of a box and the weights, H[E p] - E H[p], in 0..log(C + 1) nats (Houlsby et al., 2011, eq. 2).

    p is that of K stochastic passes of the box head, background included. O(M K C) per image.
    """
    passes = [found["mc_probs"] for found in mc_detections]
    return [(entropy_of(p.mean(1)) - entropy_of(p.transpose(1, 2)).mean(1)).clamp_min(0) for p in passes]


def iou(boxes: Float[Tensor, "*#m 4"], others: Float[Tensor, "*#m 4"]) -> Float[Tensor, "*m"]:
    """Intersection over union, element by element with broadcasting, in 0..1; 0 for two boxes without area."""
    sides = (torch.minimum(boxes[..., 2:], others[..., 2:]) - torch.maximum(boxes[..., :2], others[..., :2])).clamp_min(0)
    shared = sides.prod(-1)
    union = _area(boxes) + _area(others) - shared
    return shared / union.clamp_min(torch.finfo(union.dtype).tiny)


def _area(boxes: Float[Tensor, "*m 4"]) -> Float[Tensor, "*m"]:
    return (boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(-1)


def _confidence(probs: Float[Tensor, "m c"]) -> Float[Tensor, " m"]:
    """P_max: the highest probability of a foreground class."""
    return probs[:, 1:].amax(1).clamp(0, 1)


def _counterparts(boxes: Float[Tensor, "m 4"], others: Float[Tensor, "n 4"]) -> tuple[Float[Tensor, " m"], Int[Tensor, " m"]]:
    """IoU and position of the one of at least one others that overlaps each box most; the first, which is the surest, among equals."""
    overlap, position = iou(boxes[:, None], others[None]).max(1)
    return overlap, position


def _instability(found: Detections, levels: list[Detections], weighted: bool) -> Float[Tensor, " _"]:
    """w (1 - S_B) of the boxes of one image."""
    if not levels:
        raise ValueError("localization_stability needs detections under at least one level of noise")
    sure = _confidence(found["probs"])
    stable = torch.zeros_like(sure)
    for level in levels:
        if len(level["boxes"]):
            stable += _counterparts(found["boxes"], level["boxes"])[0] / len(levels)
    total = sure.sum()
    weights = sure * (len(sure) / total) if weighted and total > 0 else torch.ones_like(sure)
    return weights * (1 - stable).clamp_min(0)


def _consistencies(found: Detections, copies: list[Detections]) -> Float[Tensor, "copies m"]:
    """m of the boxes of one image with each of its changed copies."""
    if not copies:
        raise ValueError("consistency needs detections of at least one changed copy of each image")
    return torch.stack([_consistency(found, copy) for copy in copies])


def _consistency(found: Detections, copy: Detections) -> Float[Tensor, " _"]:
    """m = IoU + 1/2 (P_max + P'_max) (1 - JS(p || p')) of the boxes of one image with one changed copy."""
    if not len(copy["boxes"]):
        return torch.zeros_like(found["probs"][:, 0])
    overlap, position = _counterparts(found["boxes"], copy["boxes"])
    p, q = found["probs"], copy["probs"][position]
    divergence = (entropy_of((p + q) / 2) - (entropy_of(p) + entropy_of(q)) / 2).clamp_min(0)
    return torch.where(overlap == 0, 0, overlap + (_confidence(p) + _confidence(q)) / 2 * (1 - divergence))
