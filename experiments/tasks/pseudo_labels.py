"""Pseudo-labels: confident detections on the unlabelled pool that join training as if they were boxes of an expert.

Labelled once per cycle by the model of the cycle before, or at every step by a mean teacher (Tarvainen & Valpola, 2017;
for detection Liu et al., 2021, Unbiased Teacher): a moving average of the weights labels the plain image, the network
learns them on a changed one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn

from experiments.learning.batches import WithoutTargets, equal_size_batches, pictures
from experiments.learning.parallel import shared
from models.detecting import detect

Found = dict[str, Tensor]  # boxes, scores, labels of one image


def find(model: nn.Module, images: WithoutTargets, indices: Int[ndarray, " n"], batch_size: int) -> dict[int, Found]:
    """What a network in evaluation mode finds in the images at these indices, in the order of the indices."""
    device = next(model.parameters()).device

    def said(number: int, positions: Int[ndarray, " b"]) -> list[Found]:
        batch = pictures(images, indices[positions], device)
        with torch.no_grad():
            return detect(model, batch)

    found: dict[int, Found] = {}
    batches = list(equal_size_batches(images.shapes[indices], batch_size))
    for positions, each in zip(batches, shared(said, batches, device), strict=True):
        found |= zip(indices[positions].tolist(), each, strict=True)
    return {int(i): found[int(i)] for i in indices}


def thresholds_of(
    classes: Sequence[str],
    threshold: float,
    per_class: Mapping[str, float],
    found: Iterable[Found] = (),
    labelled: Sequence[Float[Tensor, "_ 5"]] = (),
    adaptive: bool = False,
) -> Float[Tensor, " c"]:
    """The least score of a pseudo-label of each class (C,).

    `per_class` replaces `threshold` for the classes that it names. `adaptive` lowers a class's own until its
    pseudo-labels per image are as many as the boxes per labelled image, as far as half of it: the rule that both sets
    hold a class equally often (Chen et al., 2022, LabelMatch).
    """
    wanted = torch.tensor([float(per_class.get(name, threshold)) for name in classes])
    images = list(found)
    if not adaptive or not images or not len(labelled):
        return wanted
    boxes = torch.cat([target[:, 4] for target in labelled]).long()
    expected = torch.bincount(boxes, minlength=len(classes)) / len(labelled) * len(images)
    scores, labels = (torch.cat([image[name] for image in images]).cpu() for name in ("scores", "labels"))
    for c, count in enumerate(expected.round().long().tolist()):
        of_class = scores[labels == c].sort(descending=True).values
        if len(of_class) and count:
            wanted[c] = min(float(wanted[c]), max(float(of_class[min(count, len(of_class)) - 1]), float(wanted[c]) / 2))
    return wanted


def pseudo_labels(found: Found, thresholds: Float[Tensor, " c"]) -> Float[Tensor, "_ 5"]:
    """All boxes of one image whose score reaches the threshold of their class, as a target (M, 5)."""
    sure = found["scores"] >= thresholds.to(found["scores"].device)[found["labels"]]
    return torch.cat([found["boxes"][sure], found["labels"][sure, None].to(found["boxes"].dtype)], 1)
