"""Detection: how unsure a detector is of the class, the place, or the presence of each box that it found.

Scorers return B tensors (M,), one score >= 0 per box, higher = label first; `over_boxes` of `aggregating.py` reduces
them to one score per image, and `aggregate` of the docstrings is its name. An image without boxes gives an empty one.
`consistency` alone scores whole images. Boxes are xyxy in pixels; probabilities (M, C + 1) have the background first;
P_max is the network's highest score of a class (`confidence`), for a softmax its highest foreground probability.
"""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float, Int
from torch import Tensor

from data.limits import Between, OneOf
from data.names import Refused, suggestion
from heuristics.core.evidence import entropy_of
from heuristics.core.registry import scorer

Detections = dict[str, Tensor]  # of one image, see `models/detecting.py`; mc_boxes and mc_probs with stochastic passes
EMPTY = {"inconsistent": 0.0, "consistent": 1.0}  # CALD's distance of a copy or an image without boxes
BoxScores = list[Float[Tensor, " _"]]  # one tensor (M,) per image


@scorer
def prediction_uncertainty(detections: list[Detections]) -> BoxScores:
    """One minus the highest score of a class for a box, 1 - P_max, in 0..1; `max` scores the least confident box (Kao
    et al., 2018).

    The background is left out: it is no class that a box can be found as, and with it a box that is 95% background
    would count as certain. The price is that boxes just above the detector's score threshold score highest, and with
    `max` nearly every image has one; `box_margin` and `box_entropy` count the background, and peak where presence
    itself is undecided. O(M C) per image.
    """
    return [1 - _confidence(found) for found in detections]


@scorer
def box_entropy(detections: list[Detections]) -> BoxScores:
    """Entropy of the class of a box, background included, -sum_c p_c log p_c, in 0..log(C + 1) nats (Settles, 2009, eq.
    3).

    The background counts since presence is a question too, and with one foreground class the only one. O(M C) per
    image.
    """
    return [entropy_of(found["probs"]) for found in detections]


@scorer
def box_margin(detections: list[Detections]) -> BoxScores:
    """One minus the gap between the two most probable classes of a box, 1 - (p_(1) - p_(2)), in 0..1 (Brust et al.,
    2019).

    The background counts as in `box_entropy`. The paper squares the score, which changes no order of boxes, and so
    neither `max` nor `min`. O(M C) per image.
    """
    two = (found["probs"].topk(2, 1).values for found in detections)
    return [(1 - (p[:, 0] - p[:, 1])).clamp_min(0) for p in two]


@scorer
def localization_tightness(detections: list[Detections], proposals: list[Float[Tensor, "_ 4"]]) -> BoxScores:
    """How much the proposal and the class of a box disagree about it, 1 - |IoU(proposal, box) + P_max - 1|, in 0..1
    (Kao et al., 2018).

    Highest for a confident box far from its proposal, and for an unsure one that fits it tightly. The paper calls J =
    |...| and labels the image of the least J of any box first: `max` of 1 - J. O(M C) per image.
    """
    tight = [iou(regions, found["boxes"]) for regions, found in zip(proposals, detections, strict=True)]
    sure = [_confidence(found) for found in detections]
    return [(1 - (t + p - 1).abs()).clamp_min(0) for t, p in zip(tight, sure, strict=True)]


@scorer
def localization_stability(
    detections: list[Detections], noisy_detections: list[list[Detections]], weighted: bool = True
) -> BoxScores:
    """How far a box moves when noise is added to the image, w (1 - S_B), S_B the mean over noise levels of its best IoU
    (Kao et al., 2018).

    S_B = 1/N sum_n max_b IoU(box, b), b over all boxes at noise level n, 0 where there are none. The paper's score of
    an image is S_I = sum_B P_max S_B / sum_B P_max, and the least is labelled first. Here w = P_max M / sum_B P_max,
    whose mean over the boxes is 1: `mean` of these scores is 1 - S_I exactly, and `sum` is M times that. Scores lie in
    0..M. `weighted=False` sets w = 1 and scores lie in 0..1, which suits `max` and `min`. The paper's LS+C subtracts
    S_I from `prediction_uncertainty`; this is its first part alone. O(N M^2) time and O(M^2) memory per image. Raises
    ValueError where there is no noise level.
    """
    return [_instability(found, levels, weighted) for found, levels in zip(detections, noisy_detections, strict=True)]


@scorer
def mc_localization(mc_detections: list[Detections]) -> BoxScores:
    """Spread of a box over K stochastic passes, 1 - 1/K sum_k IoU(box_k, mean box), in 0..1: Kao et al. (2018) with
    dropout for noise.

    Dropout stands for draws of the weights (Gal & Ghahramani, 2016). The passes share a proposal, so that their boxes
    need no matching. O(M K) per image.
    """
    passes = (found["mc_boxes"] for found in mc_detections)
    return [(1 - iou(boxes, boxes.mean(1, keepdim=True)).mean(1)).clamp_min(0) for boxes in passes]


@scorer
def consistency(
    detections: list[Detections],
    augmented_detections: list[list[Detections]],
    beta: Annotated[float | int, Between(0, 2)] = 1.3,
    empty: Annotated[str, OneOf(EMPTY)] = "inconsistent",
) -> Float[Tensor, " b"]:
    """How near boxes and their counterparts in changed images agree by `beta`, 1 - mean_copies min_boxes |m - beta| in
    0..1 (CALD; Yu et al., 2022).

    m = IoU + 1/2 (P_max + P'_max) (1 - JS(p || p')), in 0..2, with the box of the copy of highest IoU as counterpart
    (the surest where none overlaps) and JS in nats. A box that comes back as it was says nothing new, and one that
    agrees in nothing may have been noise. As in the authors' code the least distance |m - beta| of the boxes, 1 at
    most, stands for a copy, and the mean over the copies for the image: one score per image, so that the loop's
    `aggregate` and `empty_score` have no say.

    `empty` is how a copy, or an image, without boxes is read: "inconsistent", the authors' reading, is a distance of 0,
    so that an image in which nothing is found comes first; "consistent" is a distance of 1, so that it comes last. p
    has the background here but not in the authors' code, where JS is always 0 with one foreground class; they look at
    50 boxes of an image with more than 40, here all count. Their second stage, which balances classes, is no part of
    this. O(copies M (M + C)) per image. Raises ValueError for `beta` outside 0..2, for another `empty`, and without a
    copy.
    """
    if not 0 <= beta <= 2:
        compared = "it is compared with the sum of two numbers in 0..1"
        raise Refused(f"beta={beta} of consistency must be in 0..2, like 1.3: {compared}")
    if empty not in EMPTY:
        raise Refused(f"empty={empty!r} of consistency must be one of {', '.join(EMPTY)}.{suggestion(empty, EMPTY)}")
    pairs = zip(detections, augmented_detections, strict=True)
    return 1 - torch.stack([_distance_to(beta, found, copies, EMPTY[empty]) for found, copies in pairs])


@scorer
def box_bald(mc_detections: list[Detections]) -> BoxScores:
    """Mutual information between the class of a box and the weights, H[E p] - E H[p], in 0..log(C + 1) nats (Houlsby et
    al., 2011, eq. 2).

    p is that of K stochastic passes of the box head, background included. O(M K C) per image.
    """
    passes = [found["mc_probs"] for found in mc_detections]
    return [(entropy_of(p.mean(1)) - entropy_of(p.transpose(1, 2)).mean(1)).clamp_min(0) for p in passes]


def iou(boxes: Float[Tensor, "*#m 4"], others: Float[Tensor, "*#m 4"]) -> Float[Tensor, "*m"]:
    """Intersection over union, element by element with broadcasting, in 0..1; 0 for two boxes without area."""
    sides = (torch.minimum(boxes[..., 2:], others[..., 2:]) - torch.maximum(boxes[..., :2], others[..., :2])).clamp_min(
        0
    )
    shared = sides.prod(-1)
    union = _area(boxes) + _area(others) - shared
    return shared / union.clamp_min(torch.finfo(union.dtype).tiny)


def _area(boxes: Float[Tensor, "*m 4"]) -> Float[Tensor, "*m"]:
    return (boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(-1)


def _confidence(found: Detections) -> Float[Tensor, " m"]:
    """P_max: the network's highest score of a class."""
    return found["confidence"].clamp(0, 1)


def _counterparts(
    boxes: Float[Tensor, "m 4"], others: Float[Tensor, "n 4"]
) -> tuple[Float[Tensor, " m"], Int[Tensor, " m"]]:
    """IoU and position of the one of at least one others that overlaps each box most; the first, which is the surest,
    among equals.
    """
    overlap, position = iou(boxes[:, None], others[None]).max(1)
    return overlap, position


def _instability(found: Detections, levels: list[Detections], weighted: bool) -> Float[Tensor, " _"]:
    """w (1 - S_B) of the boxes of one image."""
    if not levels:
        raise Refused("localization_stability needs detections under at least one level of noise")
    sure = _confidence(found)
    stable = torch.zeros_like(sure)
    for level in levels:
        if len(level["boxes"]):
            stable += _counterparts(found["boxes"], level["boxes"])[0] / len(levels)
    total = sure.sum()
    weights = sure * (len(sure) / total) if weighted and total > 0 else torch.ones_like(sure)
    return weights * (1 - stable).clamp_min(0)


def _distance_to(beta: float | int, found: Detections, copies: list[Detections], empty: float) -> Float[Tensor, ""]:
    """Mean over the copies of one image of the least |m - beta| of its boxes, at most 1; `empty` without a box."""
    if not copies:
        raise Refused("consistency needs detections of at least one changed copy of each image")
    nothing = found["boxes"].new_tensor(empty)
    if not len(found["boxes"]):
        return nothing
    least = [(_agreement(found, copy) - beta).abs().amin() if len(copy["boxes"]) else nothing for copy in copies]
    return torch.stack(least).clamp_max(1).mean()


def _agreement(found: Detections, copy: Detections) -> Float[Tensor, " _"]:
    """m = IoU + 1/2 (P_max + P'_max) (1 - JS(p || p')) of the boxes of an image with a changed copy that has boxes."""
    overlap, position = _counterparts(found["boxes"], copy["boxes"])
    p, q = found["probs"], copy["probs"][position]
    divergence = (entropy_of((p + q) / 2) - (entropy_of(p) + entropy_of(q)) / 2).clamp_min(0)
    return overlap + (_confidence(found) + _confidence(copy)[position]) / 2 * (1 - divergence)
