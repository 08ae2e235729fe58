"""What a detector finds, with all that query strategies ask of it: class distributions, proposals, stochastic passes,
changed images.

One image's detections are a dict, sorted by score, highest first: boxes (M, 4) xyxy in pixels; labels (M,) in 0..C-1;
scores (M,), the network's own score of that label, by which boxes are kept, suppressed and ranked; confidence (M,), its
highest score of any class; probs (M, C + 1) that sum to 1, background first; proposals (M, 4), the regions from which
the boxes were regressed.

Two-stage detectors give a softmax over C + 1 classes for each proposal; scores and confidence are of its foreground.
One-stage detectors give C independent scores s_c for each anchor (for FCOS s_c is the geometric mean of class and
centre-ness, as in the publication's revision). For `probs`, and for nothing else, they are made one distribution: the
background is prod_c (1 - s_c), and the rest is shared in proportion to s_c. In place of a proposal they have the
anchor, which is nearly the same for all boxes of a level, so that tightness means nothing there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.models.detection import FCOS, FasterRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import batched_nms, clip_boxes_to_image, remove_small_boxes

from data.names import Refused
from models.stochastic import mc_dropout, shared_masks

Detections = dict[str, Tensor]
Pictures = Sequence[Float[Tensor, "channels _h _w"]] | Float[Tensor, "b channels h w"]

NOISE = (8, 16, 24, 32, 40, 48)  # standard deviations in grey levels of 255 (Kao et al., 2018)
CANDIDATES = 1000  # anchors of an image that a one-stage detector looks at, best first
DARKER, BRIGHTER, SMALLER = 0.7, 1.3, 0.8


def detect(model: nn.Module, images: Pictures) -> list[Detections]:
    """What a network in evaluation mode finds in each image; the images may differ in size."""
    return _detect(model, *_see(model, images))[0]


def from_detector(
    model: nn.Module,
    images: Float[Tensor, "b channels h w"],
    wanted: frozenset[str],
    mc_samples: int,
    masks_seed: int | None = None,
) -> dict[str, Any]:
    """The wanted evidence on one batch, by the names of `heuristics.core.registry.EVIDENCE`.

    Where `masks_seed` is given, stochastic pass k uses the same dropout masks for every box, and every image receives
    the same noise, whatever else is in the batch; else both are drawn from torch's global generator. `embeddings` are
    the features of every level of the pyramid but the coarsest, averaged over space, one level after the other.
    """
    batch, features = _see(model, images)
    found: dict[str, Any] = {}
    if "embeddings" in wanted:
        found["embeddings"] = _embeddings(batch, features)
    if wanted & {"detections", "mc_detections", "proposals"}:
        found["detections"], pooled = _detect(model, batch, features)
        if "mc_detections" in wanted:
            found["mc_detections"] = _mc_detections(model, batch, found["detections"], pooled, mc_samples, masks_seed)
        found["proposals"] = [image["proposals"] for image in found["detections"]]
    if "noisy_detections" in wanted:
        found["noisy_detections"] = _per_image(detect(model, noisy) for noisy in _noisy(images, masks_seed))
    if "augmented_detections" in wanted:
        found["augmented_detections"] = _per_image(_changed_and_back(model, images))
    if "images" in wanted:
        found["images"] = images
    return {name: value for name, value in found.items() if name in wanted}


def _see(model: Any, images: Pictures) -> tuple[ImageList, dict[str, Tensor]]:
    """The standardised batch and the maps of its pyramid."""
    batch, _ = model.transform(list(images))
    return batch, model.backbone(batch.tensors)


def _detect(model: Any, batch: ImageList, features: dict[str, Tensor]) -> tuple[list[Detections], Tensor | None]:
    """Detections, and the pooled features of their proposals where there are any."""
    if not isinstance(model, FasterRCNN):
        return _detect_in_one_stage(model, batch, features), None
    heads: Any = model.roi_heads
    proposals, _ = model.rpn(batch, features)
    pooled = heads.box_roi_pool(features, proposals, batch.image_sizes)
    boxes, probs = _boxes_and_probs(model, pooled, proposals)
    numbers = [len(p) for p in proposals]
    limits = (heads.score_thresh, heads.nms_thresh, heads.detections_per_img)
    parts = zip(
        boxes.split(numbers), probs.split(numbers), proposals, batch.image_sizes, pooled.split(numbers), strict=True
    )
    found, kept = [], []
    for image_boxes, image_probs, image_proposals, size, regions in parts:
        detections, rows = _select(image_boxes, image_probs[:, 1:], image_probs, image_proposals, size, limits)
        found.append(detections)
        kept.append(regions[rows])
    return found, torch.cat(kept)


def _boxes_and_probs(
    model: Any, pooled: Tensor, proposals: list[Tensor]
) -> tuple[Float[Tensor, "m c 4"], Float[Tensor, "m classes"]]:
    """What the box head says of pooled regions: a box of each foreground class (M, C, 4), and class probabilities (M, C
    + 1).
    """
    heads = model.roi_heads
    logits, offsets = heads.box_predictor(heads.box_head(pooled))
    boxes = heads.box_coder.decode(offsets, proposals).reshape(*logits.shape, 4)  # also where there is no box
    return boxes[:, 1:], logits.softmax(1)


def _select(
    boxes: Float[Tensor, "n c 4"],
    class_scores: Float[Tensor, "n c"],
    probs: Float[Tensor, "n classes"],
    proposals: Float[Tensor, "n 4"],
    size: tuple[int, int],
    limits: tuple[float, float, int],
) -> tuple[Detections, Int[Tensor, " m"]]:
    """The detections of one image and the rows they come from: score threshold, suppression within each class, the
    best.

    The same steps in the same order as torchvision's, but each box keeps its distribution and its proposal.
    """
    threshold, nms, most = limits
    boxes, n_classes = clip_boxes_to_image(boxes, size).flatten(0, 1), boxes.shape[1]
    scores = class_scores.flatten()
    keep = (scores > threshold).nonzero()[:, 0]
    keep = keep[remove_small_boxes(boxes[keep], min_size=1e-2)]
    keep = keep[batched_nms(boxes[keep], scores[keep], keep % n_classes, nms)[:most]]
    rows, labels = keep // n_classes, keep % n_classes
    found = {"boxes": boxes[keep], "labels": labels, "scores": scores[keep], "confidence": class_scores[rows].amax(1)}
    return found | {"probs": probs[rows], "proposals": proposals[rows]}, rows


def _detect_in_one_stage(model: Any, batch: ImageList, features: dict[str, Tensor]) -> list[Detections]:
    maps = list(features.values())
    output = model.head(maps)
    scores = output["cls_logits"][
        ..., 1:
    ].sigmoid()  # the first is of the background, which these detectors do not learn
    if isinstance(model, FCOS):
        scores = (scores * output["bbox_ctrness"].sigmoid()).sqrt()
    limits = (model.score_thresh, model.nms_thresh, model.detections_per_img)
    found = []
    for s, offsets, anchors, size in zip(
        scores, output["bbox_regression"], model.anchor_generator(batch, maps), batch.image_sizes, strict=True
    ):
        best = s.amax(1).topk(min(CANDIDATES, len(s))).indices
        decode: Callable = model.box_coder.decode if isinstance(model, FCOS) else model.box_coder.decode_single
        boxes = decode(offsets[best], anchors[best])[:, None].expand(-1, s.shape[1], -1)
        found.append(_select(boxes, s[best], distribution(s[best]), anchors[best], size, limits)[0])
    return found


def distribution(scores: Float[Tensor, "m c"]) -> Float[Tensor, "m classes"]:
    """Independent scores of C classes as one distribution over C + 1: background prod_c (1 - s_c), the rest in
    proportion to s_c.
    """
    background = (1 - scores).prod(1, keepdim=True)
    share = scores / scores.sum(1, keepdim=True).clamp_min(torch.finfo(scores.dtype).tiny)
    return torch.cat([background, (1 - background) * share], 1)


def _embeddings(batch: ImageList, features: dict[str, Tensor]) -> Float[Tensor, "b d"]:
    """Spatial means of the maps, without what was padded."""
    rows = batch.tensors.shape[-2]
    height, width = batch.image_sizes[0]
    means = []
    for level in list(features.values())[:-1]:
        stride = rows / level.shape[-2]
        means.append(level[..., : math.ceil(height / stride), : math.ceil(width / stride)].mean((2, 3)))
    return torch.cat(means, 1)


def _mc_detections(
    model: nn.Module,
    batch: ImageList,
    found: list[Detections],
    pooled: Tensor | None,
    mc_samples: int,
    masks_seed: int | None,
) -> list[Detections]:
    """The detections with mc_boxes (M, K, 4) and mc_probs (M, K, C + 1): the box head K times with dropout, all else
    computed once.
    """
    if pooled is None:
        raise Refused(
            f"{type(model).__name__} has no box head with dropout, "
            "so it has no stochastic passes; use a fasterrcnn_ detector"
        )
    proposals = torch.cat([image["proposals"] for image in found])
    rows, labels = (
        torch.arange(len(proposals), device=proposals.device),
        torch.cat([image["labels"] for image in found]),
    )
    passes = [
        (boxes[rows, labels], probs) for boxes, probs in _passes(model, pooled, proposals, mc_samples, masks_seed)
    ]
    numbers = [len(image["boxes"]) for image in found]
    mc_boxes, mc_probs = (torch.stack(part, 1).split(numbers) for part in zip(*passes, strict=True))
    return [
        image | {"mc_boxes": clip_boxes_to_image(boxes, size), "mc_probs": probs}
        for image, boxes, probs, size in zip(found, mc_boxes, mc_probs, batch.image_sizes, strict=True)
    ]


def _passes(
    model: nn.Module, pooled: Tensor, proposals: Tensor, mc_samples: int, masks_seed: int | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Boxes of all classes and class probabilities of each stochastic pass."""
    if masks_seed is None:
        with mc_dropout(model):
            for _ in range(mc_samples):
                yield _boxes_and_probs(model, pooled, [proposals])
    else:
        with shared_masks(model, masks_seed) as set_pass:
            for k in range(mc_samples):
                set_pass(k)
                yield _boxes_and_probs(model, pooled, [proposals])


def _noisy(images: Float[Tensor, "b channels h w"], seed: int | None) -> Iterator[Float[Tensor, "b channels h w"]]:
    """The images under each level of Gaussian noise."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    for level in NOISE:
        shape = images.shape if seed is None else images.shape[1:]
        yield images + (level / 255) * torch.randn(shape, generator=generator).to(images.device)


def _changed_and_back(model: nn.Module, images: Float[Tensor, "b channels h w"]) -> Iterator[list[Detections]]:
    """Detections of four changed copies, in the coordinates of the original: mirrored, darker, brighter, shrunk.

    After CALD (Yu et al., 2022), with those of its changes that need no randomness; the strengths are choices of this
    project.
    """
    height, width = images.shape[-2:]
    offset = torch.tensor([width, 0, width, 0], device=images.device)
    mirror = torch.tensor([-1, 1, -1, 1], device=images.device)
    yield [_moved(found, lambda b: (offset + mirror * b)[:, [2, 1, 0, 3]]) for found in detect(model, images.flip(-1))]
    yield detect(model, images * DARKER)
    yield detect(model, (images * BRIGHTER).clamp_max(1))
    small = interpolate(images, size=(round(SMALLER * height), round(SMALLER * width)), mode="bilinear", antialias=True)
    scale = torch.tensor([width / small.shape[-1], height / small.shape[-2]] * 2, device=images.device)
    yield [_moved(found, lambda b: b * scale) for found in detect(model, small)]


def _moved(found: Detections, move: Callable[[Tensor], Tensor]) -> Detections:
    return found | {name: move(found[name]) for name in ("boxes", "proposals")}


def _per_image(versions: Iterator[list[Detections]]) -> list[list[Detections]]:
    """One list per image from one list per version."""
    return [list(image) for image in zip(*versions, strict=True)]
