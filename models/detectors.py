"""Detectors of torchvision for images of any size, with dropout in the box head, and their losses.

Faster R-CNN (Ren et al., 2015) with a feature pyramid (Lin et al., 2017), RetinaNet (Lin et al., 2017) and FCOS (Tian
et al., 2019). Images come in 0..1 at the size at which they are to be seen: nothing is resized inside. Classes are
0..C-1 outside, and 1..C inside, where 0 is the background.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.models.resnet import BasicBlock
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

from data.names import Refused, suggestion
from models.classifiers import MEAN, STD
from models.detector_weights import WEIGHTS, freeze_start, load_weights, read_weights


@dataclass(frozen=True)
class Detector:
    """How a detector is built, and what may be asked of it."""

    family: type[FasterRCNN] | type[RetinaNet] | type[FCOS]
    trunk: str  # name in torchvision, whose ImageNet weights fit; "small" for our own
    anchor_sizes: tuple[int | float, ...] = (32, 64, 128, 256, 512)  # one per level of the pyramid, finest first
    width: int = 256  # channels of the pyramid
    pooled: int = 7  # side to which regions are pooled
    hidden: int = 1024  # units of the two layers of the box head
    few_regions: bool = False  # for processors
    published: str = ""  # name of the torchvision detector whose COCO weights fit

    @property
    def two_stage(self) -> bool:
        """Whether there are region proposals and a box head with dropout, which localization tightness and stochastic
        passes need.
        """
        return self.family is FasterRCNN


DETECTORS = {
    "fasterrcnn_small": Detector(
        FasterRCNN, "small", (8, 16, 32, 64), width=64, pooled=5, hidden=256, few_regions=True
    ),
    "fasterrcnn_mobilenet": Detector(FasterRCNN, "mobilenet_v3_large", width=128, hidden=512, few_regions=True),
    "fasterrcnn_resnet18": Detector(FasterRCNN, "resnet18"),
    "fasterrcnn_resnet50": Detector(FasterRCNN, "resnet50", published="fasterrcnn_resnet50_fpn"),
    "retinanet_resnet50": Detector(RetinaNet, "resnet50", published="retinanet_resnet50_fpn"),
    "fcos_resnet50": Detector(FCOS, "resnet50", (8, 16, 32, 64, 128), published="fcos_resnet50_fpn"),
}
RATIOS = (0.5, 1.0, 2.0)

# Fewer regions than published (2000 proposals, of which 512 train the box head, a quarter of them hits at best), more
# of them hits.
FEW_REGIONS = {
    "rpn_pre_nms_top_n_train": 300,
    "rpn_pre_nms_top_n_test": 300,
    "rpn_post_nms_top_n_train": 200,
    "rpn_post_nms_top_n_test": 150,
    "rpn_fg_iou_thresh": 0.5,
    "box_batch_size_per_image": 64,
    "box_positive_fraction": 0.5,
}


class Unresized(GeneralizedRCNNTransform):
    """Standardises images and pads them to one batch, at the size that they have."""

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        return image, target


def make_detector(
    name: str,
    num_classes: int,
    channels: int = 3,
    dropout: float = 0.2,
    weights: str | Path = "random",
    anchor_sizes: Sequence[int | float] = (),
    anchor_ratios: Sequence[int | float] = RATIOS,
    score_threshold: float = 0.05,
    max_detections: int = 100,
    nms: float = 0.5,
) -> nn.Module:
    """A detector of `num_classes` foreground classes; `dropout` follows both layers of the box head (one-stage
    detectors have none).

    `anchor_sizes` are the sides of square anchors in pixels, one per level of the pyramid, finest first (none: those of
    the table), and `anchor_ratios` heights over widths; FCOS has no anchors and accepts neither. `weights` is "random"
    (drawn from torch's global generator), "imagenet" (the trunk, downloaded once), "coco" (the whole published
    detector; its last layers stay random unless it has as many classes) or a file with the state dict of a detector
    made here, or of a classification network made here, for the trunk. Published trunks keep their batch norm, their
    stem and their first stage frozen.

    Raises ValueError for an unknown name, a value out of range or weights that do not fit, and FileNotFoundError for a
    missing file.
    """
    if name not in DETECTORS:
        raise Refused(f"unknown detector {name!r}.{suggestion(name, DETECTORS)} Known: {', '.join(DETECTORS)}")
    detector = DETECTORS[name]
    _check(name, detector, num_classes, channels, dropout, score_threshold, max_detections, nms)
    _check_anchors(name, detector, anchor_sizes, anchor_ratios)
    whole = {known: entry.published for known, entry in DETECTORS.items()}
    trunks = {known: entry.trunk.removeprefix("small") for known, entry in DETECTORS.items()}
    state = read_weights(weights, name, whole, trunks)
    published = weights in WEIGHTS[1:]
    frozen = published or (state is not None and not any(key.endswith("num_batches_tracked") for key in state))
    pyramid = _pyramid(detector, channels, FrozenBatchNorm2d if frozen else nn.BatchNorm2d)
    anchors = AnchorGenerator(*_anchors(detector, anchor_sizes or detector.anchor_sizes, anchor_ratios))
    if detector.two_stage:
        model: Any = _faster_rcnn(detector, pyramid, num_classes + 1, dropout, anchors)
        after: Any = model.roi_heads
    else:
        model = after = detector.family(pyramid, num_classes + 1, anchor_generator=anchors)
    after.score_thresh, after.nms_thresh, after.detections_per_img = score_threshold, nms, max_detections
    mean, std = (list(values) if channels == 3 else [sum(values) / 3] * channels for values in (MEAN, STD))
    model.transform = Unresized(0, 0, mean, std)
    for part in (model.backbone, *([model.rpn.head, after.box_predictor] if detector.two_stage else [model.head])):
        part.register_forward_hook(_in_float32)
    if state is not None:
        load_weights(model, state, name, weights)
    if published:
        freeze_start(model)
    if weights == "coco" and detector.family is not FCOS:
        overwrite_eps(model, 0.0)  # these were trained with a batch norm without epsilon
    return model


def losses(
    model: nn.Module,
    images: Sequence[Float[Tensor, "channels _h _w"]],
    targets: Sequence[Float[Tensor, "_m 5"]],
    weights: Float[Tensor, " b"] | None = None,
) -> Float[Tensor, ""]:
    """The sum of the detector's losses on images with their boxes (x1, y1, x2, y2, class), in training mode.

    With one weight per image, images of equal weight pass the network together: sum_g w_g n_g / n loss(group g).
    """
    given = [1.0] * len(images) if weights is None else weights.tolist()
    total = torch.zeros((), device=images[0].device)
    for weight in sorted(set(given)):
        members = [i for i, w in enumerate(given) if w == weight]
        boxes = [{"boxes": targets[i][:, :4], "labels": targets[i][:, 4].long() + 1} for i in members]
        found = model([images[i] for i in members], boxes)
        total = (
            total + weight * len(members) / len(images) * torch.stack([loss.float() for loss in found.values()]).sum()
        )
    return total


def _check(
    name: str,
    detector: Detector,
    num_classes: int,
    channels: int,
    dropout: float,
    score_threshold: float,
    max_detections: int,
    nms: float,
) -> None:
    for option, value, fits, expected in (
        ("num_classes", num_classes, num_classes >= 1, "at least 1: the background is not counted"),
        ("channels", channels, channels >= 1, "at least 1"),
        ("dropout", dropout, 0 <= dropout < 1, "at least 0 and below 1"),
        ("score_threshold", score_threshold, 0 <= score_threshold < 1, "at least 0 and below 1"),
        ("max_detections", max_detections, max_detections >= 1, "at least 1"),
        ("nms", nms, 0 < nms <= 1, "above 0 and at most 1, an overlap (IoU)"),
    ):
        if not fits:
            raise Refused(f"{option}={value} of {name} must be {expected}")


def _check_anchors(name: str, detector: Detector, sizes: Sequence[int | float], ratios: Sequence[int | float]) -> None:
    if detector.family is FCOS and (sizes or tuple(ratios) != RATIOS):
        given = f"anchor_sizes={list(sizes)} and anchor_ratios={list(ratios)}"
        raise Refused(
            f"{name} has no anchors, so {given} mean nothing to it: "
            f"give [] and {list(RATIOS)}, or use retinanet_resnet50"
        )
    if sizes and len(sizes) != len(detector.anchor_sizes):
        like = f"one per level of {name}, finest first, like {list(detector.anchor_sizes)}"
        raise Refused(f"anchor_sizes={list(sizes)} must be {len(detector.anchor_sizes)} sizes, {like}")
    if not ratios or min(*sizes, *ratios, 1) <= 0:
        raise Refused(
            f"anchor_sizes={list(sizes)} and anchor_ratios={list(ratios)} must be above 0, "
            "with at least one ratio, like 1.0"
        )


def _pyramid(detector: Detector, channels: int, norm: Any) -> BackboneWithFPN:
    """The trunk with a feature pyramid on top: strides 4, 8, 16, (32,) and one coarser; 8 to 128 for one-stage
    detectors.
    """
    trunk: Any
    layers: dict[str, int]
    if detector.trunk == "small":
        trunk, layers = _small_trunk(), {"layer1": 32, "layer2": 64, "layer3": 128}
    elif detector.trunk == "mobilenet_v3_large":
        trunk = torchvision.models.get_model(detector.trunk, weights=None, norm_layer=partial(norm, eps=0.001)).features
        layers = {"3": 24, "6": 40, "12": 112, "16": 960}
    else:
        trunk = torchvision.models.get_model(detector.trunk, weights=None, norm_layer=norm)
        first = 1 if detector.two_stage else 2
        layers = {f"layer{k}": trunk.fc.in_features // 2 ** (4 - k) for k in range(first, 5)}
    if channels != 3:
        _set_first_convolution(trunk, channels)
    coarser = LastLevelMaxPool() if detector.two_stage else LastLevelP6P7(detector.width, detector.width)
    names = {layer: str(number) for number, layer in enumerate(layers)}
    return BackboneWithFPN(trunk, names, list(layers.values()), detector.width, coarser)


def _small_trunk() -> nn.Sequential:
    """Three residual blocks of 32, 64 and 128 channels at strides 4, 8 and 16."""

    def block(inputs: int, outputs: int) -> nn.Module:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, 2, bias=False), nn.BatchNorm2d(outputs))
        return BasicBlock(inputs, outputs, 2, shortcut)

    stem = nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU(inplace=True))
    trunk = nn.Sequential(OrderedDict(stem=stem, layer1=block(24, 32), layer2=block(32, 64), layer3=block(64, 128)))
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return trunk


def _set_first_convolution(trunk: nn.Module, channels: int) -> None:
    first = next(module for module in trunk.modules() if isinstance(module, nn.Conv2d))
    first.in_channels = channels
    first.weight = nn.Parameter(torch.empty(first.out_channels, channels, *first.kernel_size))
    nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")


def _anchors(detector: Detector, sizes: Sequence[int | float], ratios: Sequence[int | float]) -> tuple[tuple, tuple]:
    """Sizes and ratios of the anchors of each level: three sizes an octave for RetinaNet, one point for FCOS."""
    octave = [1, 2 ** (1 / 3), 2 ** (2 / 3)] if detector.family is RetinaNet else [1]
    shapes = (1.0,) if detector.family is FCOS else tuple(ratios)
    return tuple(tuple(size * part for part in octave) for size in sizes), (shapes,) * len(sizes)


def _faster_rcnn(
    detector: Detector, pyramid: BackboneWithFPN, outputs: int, dropout: float, anchors: AnchorGenerator
) -> FasterRCNN:
    levels = [str(level) for level in range(len(anchors.sizes) - 1)]
    # Which level pools a box (Lin et al., 2017, eq. 1): 224 pixels at stride 16, where the published anchors have 128.
    pool = MultiScaleRoIAlign(levels, detector.pooled, 2, canonical_scale=round(anchors.sizes[2][0] * 224 / 128))
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        flatten=nn.Flatten(),
        fc6=nn.Linear(pyramid.out_channels * detector.pooled**2, detector.hidden),
        relu6=nn.ReLU(),
        dropout6=nn.Dropout(dropout),
        fc7=nn.Linear(detector.hidden, detector.hidden),
        relu7=nn.ReLU(),
        dropout7=nn.Dropout(dropout),
    )
    parts: dict[str, Any] = {"rpn_anchor_generator": anchors, "box_roi_pool": pool, "box_head": nn.Sequential(layers)}
    parts |= {
        "box_predictor": FastRCNNPredictor(detector.hidden, outputs),
        **(FEW_REGIONS if detector.few_regions else {}),
    }
    return FasterRCNN(pyramid, **parts)


def _in_float32(module: nn.Module, inputs: Any, output: Any) -> Any:
    """The output in float32 also under autocast: coordinates and anchors follow it, and bfloat16 cannot tell 257 pixels
    from 258.
    """
    if isinstance(output, dict):
        return OrderedDict((key, value.float()) for key, value in output.items())
    if isinstance(output, tuple | list):
        return tuple(_in_float32(module, inputs, part) for part in output)
    return output.float()
