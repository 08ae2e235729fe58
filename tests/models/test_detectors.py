"""Detectors keep one contract: any channels, any size, nothing resized; losses with weights; weights from files."""

from __future__ import annotations

from collections import OrderedDict
from statistics import median
from typing import Any

import pytest
import torch
import torchvision
from pytest import mark, raises
from torch import nn
from torchvision.models import WeightsEnum
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.ops import FrozenBatchNorm2d

from models.classifiers import MEAN, STD
from models.detectors import DETECTORS, losses, make_detector

BOXES = torch.tensor([[4.0, 6.0, 24.0, 26.0, 0.0], [30.0, 10.0, 44.0, 22.0, 2.0]])
EMPTY = torch.zeros(0, 5)


def pictures(channels: int = 3) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.rand(channels, 40, 56, generator=draw), torch.rand(channels, 36, 44, generator=draw)]


def seeded(name: str, *arguments, seed: int = 0, **options) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make_detector(name, *arguments, **options)


def loss_of(model: nn.Module, images, targets, weights=None, seed: int = 1) -> torch.Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return losses(model, images, targets, weights)


@pytest.fixture(autouse=True)
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


TRAINED = {"fasterrcnn_small": 5, "fasterrcnn_mobilenet": 1, "retinanet_resnet50": 3, "fcos_resnet50": 3}


@mark.parametrize(("name", "channels"), TRAINED.items())
def test_trains_and_detects(name, channels):
    model = seeded(name, 3, channels)
    value = loss_of(model, pictures(channels), [BOXES, EMPTY])
    value.backward()
    assert value.shape == () and torch.isfinite(value)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    with torch.no_grad():
        found = model.eval()(pictures(channels))
    for image, detections in zip(pictures(channels), found, strict=True):
        height, width = image.shape[-2:]
        assert (detections["boxes"] >= 0).all() and (detections["boxes"] <= torch.tensor([width, height] * 2)).all()


@mark.parametrize("channels", [1, 3, 4])
@mark.parametrize("name", DETECTORS)
def test_structure(name, channels):
    with torch.device("meta"):
        model: Any = make_detector(name, 3, channels, dropout=0.3)
    detector = DETECTORS[name]
    assert next(p for p in model.backbone.parameters() if p.ndim == 4).shape[1] == channels == len(model.transform.image_mean)
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == ([0.3, 0.3] if detector.two_stage else [])
    anchors = model.rpn.anchor_generator if detector.two_stage else model.anchor_generator
    assert [min(sizes) for sizes in anchors.sizes] == list(detector.anchor_sizes)
    assert anchors.num_anchors_per_location() == [{RetinaNet: 9, FCOS: 1}.get(detector.family, 3)] * len(detector.anchor_sizes)
    # The published networks have frozen batch norms from elsewhere; one that starts from nothing must learn its own.
    assert any(isinstance(m, nn.BatchNorm2d) for m in model.backbone.modules())
    assert not any(isinstance(m, FrozenBatchNorm2d) for m in model.modules()) and all(p.requires_grad for p in model.parameters())


@torch.no_grad()
def test_images_are_standardised_and_padded_but_never_resized():
    images = pictures()
    batch, _ = seeded("fasterrcnn_small", 1).transform(images)
    assert batch.tensors.shape == (2, 3, 64, 64) and batch.image_sizes == [(40, 56), (36, 44)]
    torch.testing.assert_close(batch.tensors[1, :, :36, :44], torchvision.transforms.functional.normalize(images[1], MEAN, STD))
    assert (batch.tensors[1, :, 36:] == 0).all() and (batch.tensors[1, :, :, 44:] == 0).all()
    large = torch.rand(1, 33, 2000)
    batch, _ = seeded("fasterrcnn_small", 1, 1).transform([large])
    torch.testing.assert_close(batch.tensors[0, :, :33, :2000], (large - sum(MEAN) / 3) / (sum(STD) / 3))


def test_options_reach_the_network():
    anchors = {"anchor_sizes": (6, 12, 24, 48), "anchor_ratios": (1.0, 2.0)}
    model = seeded("fasterrcnn_small", 2, dropout=0.4, score_threshold=0.3, max_detections=7, nms=0.6, **anchors)
    heads = model.roi_heads
    assert (heads.score_thresh, heads.detections_per_img, heads.nms_thresh, heads.box_head.dropout6.p) == (0.3, 7, 0.6, 0.4)
    cells = model.rpn.anchor_generator.cell_anchors
    assert [c[0].tolist() for c in cells] == [[-s / 2, -s / 2, s / 2, s / 2] for s in (6, 12, 24, 48)]
    assert (cells[3][1, 3] / cells[3][1, 2]).item() == pytest.approx(2, rel=0.05) and model.rpn.head.cls_logits.out_channels == 2
    assert heads.box_predictor.cls_score.out_features == 3


def test_weights_of_images_multiply_the_losses_of_their_groups():
    model, (a, b) = seeded("fasterrcnn_small", 3), pictures()
    c, targets = a.flip(-1), [BOXES, BOXES[:1], EMPTY]
    whole = loss_of(model, [a, b, c], targets, torch.tensor([1.0, 0.25, 1.0]))
    with torch.random.fork_rng():
        torch.manual_seed(1)  # the lighter group goes first
        light, heavy = losses(model, [b], targets[1:2]), losses(model, [a, c], targets[::2])
    torch.testing.assert_close(whole, 0.25 * light / 3 + heavy * 2 / 3)
    assert torch.equal(loss_of(model, [a, b], targets[:2], torch.ones(2)), loss_of(model, [a, b], targets[:2]))


def test_loss_is_the_sum_of_those_of_torchvision():
    model, images = seeded("fasterrcnn_small", 3), pictures()
    given = [{"boxes": t[:, :4], "labels": t[:, 4].long() + 1} for t in (BOXES, EMPTY)]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        parts = model(images, given)
    assert len(parts) == 4
    torch.testing.assert_close(loss_of(model, images, [BOXES, EMPTY]), torch.stack(list(parts.values())).sum())


def test_images_without_boxes_teach_the_background():
    model = seeded("fasterrcnn_small", 3)
    value = loss_of(model, pictures(), [EMPTY, EMPTY])
    value.backward()
    bias = model.roi_heads.box_predictor.cls_score.bias.grad
    assert torch.isfinite(value) and bias[0] < 0 and (bias[1:] > 0).all()  # down the gradient the background rises


@mark.parametrize("dtype", [None, torch.bfloat16])
def test_training_repeats_bit_by_bit(dtype):
    def gradients():
        model = seeded("fasterrcnn_small", 3)
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            value = loss_of(model, pictures(), [BOXES, EMPTY])
        value.backward()
        return value.detach(), torch.cat([p.grad.flatten() for p in model.parameters()])

    (value, gradient), (again, gradient_again) = gradients(), gradients()
    assert torch.equal(value, again) and torch.equal(gradient, gradient_again)
    assert value.dtype == torch.float32


@torch.no_grad()
def test_mixed_precision_keeps_coordinates_in_float32():
    model = seeded("fasterrcnn_small", 3, score_threshold=0.01).eval()
    wide = [torch.rand(3, 32, 1024, generator=torch.Generator().manual_seed(0))]
    exact = model(wide)[0]
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(wide)[0]
    assert rough["boxes"].dtype == rough["scores"].dtype == torch.float32
    far = rough["boxes"][rough["boxes"][:, 0] > 520]
    assert len(far) and (far[:, :2] % 4 != 0).any()  # bfloat16 has steps of 4 there
    assert (rough["scores"][0] - exact["scores"][0]).abs() < 0.05


def test_twenty_steps_learn_one_image():
    model = seeded("fasterrcnn_small", 3)
    image = torch.full((3, 40, 56), 0.2)
    image[0, 6:26, 4:24], image[1, 10:22, 30:44] = 0.9, 0.8
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    values = []
    for step in range(20):
        value = loss_of(model, [image], [BOXES], seed=step)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert median(values[-5:]) < 0.5 * values[0]


def test_weights_follow_the_global_seed():
    first, same, other = (seeded("fasterrcnn_small", 2, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not torch.equal(first["roi_heads.box_head.fc6.weight"], other["roi_heads.box_head.fc6.weight"])


@torch.no_grad()
def test_file_keeps_all_but_a_head_for_other_classes(tmp_path):
    saved = seeded("fasterrcnn_small", 3).eval()
    torch.save(saved.state_dict(), tmp_path / "own.pth")
    same = seeded("fasterrcnn_small", 3, weights=tmp_path / "own.pth", seed=5).eval()
    assert all(torch.equal(a["boxes"], b["boxes"]) for a, b in zip(saved(pictures()), same(pictures()), strict=True))
    other = seeded("fasterrcnn_small", 2, 1, weights=str(tmp_path / "own.pth"), seed=5)
    before, after = saved.state_dict(), other.state_dict()
    changed = {key for key in after if before[key].shape != after[key].shape or not torch.equal(before[key], after[key])}
    first = "backbone.body.stem.0.weight"
    assert changed == {first} | {key for key in after if "box_predictor" in key}
    torch.testing.assert_close(after[first], before[first].sum(1, keepdim=True))


def published(monkeypatch, state):
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: OrderedDict(state))


@torch.no_grad()
def test_imagenet_trunk_is_used_and_frozen(monkeypatch):
    theirs = torchvision.models.resnet18().eval()
    published(monkeypatch, theirs.state_dict())
    model = seeded("fasterrcnn_resnet18", 3, weights="imagenet").train()
    x = torch.rand(1, 3, 32, 32)
    stem = torch.nn.functional.max_pool2d(theirs.bn1(theirs.conv1(x)).relu(), 3, 2, 1)
    torch.testing.assert_close(model.backbone.body(x)["3"], theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(stem)))))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    still = {key for key, p in model.named_parameters() if not p.requires_grad}
    assert still and all(key.startswith(("backbone.body.conv1", "backbone.body.layer1")) for key in still)


def test_coco_weights_load_whole_with_a_new_last_layer(monkeypatch):
    with torch.device("meta"):
        theirs = torchvision.models.detection.retinanet_resnet50_fpn(weights=None, weights_backbone=None).state_dict()
    state = {key: torch.full(value.shape, 0.5) for key, value in theirs.items() if not key.endswith("num_batches_tracked")}
    published(monkeypatch, state)
    model = seeded("retinanet_resnet50", 3, 1, weights="coco")
    ours, first = model.state_dict(), "backbone.body.conv1.weight"
    assert set(ours) == set(state)
    different = {key for key in ours if not (ours[key] == 0.5).all()}
    assert different == {first, "head.classification_head.cls_logits.weight", "head.classification_head.cls_logits.bias"}
    assert (ours[first] == 1.5).all() and ours[first].shape[1] == 1
    assert {m.eps for m in model.modules() if isinstance(m, FrozenBatchNorm2d)} == {0.0}


@mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "fasterrcnn_resnet5"}, "unknown detector 'fasterrcnn_resnet5'. Did you mean 'fasterrcnn_resnet50'"),
        ({"num_classes": 0}, "num_classes=0"),
        ({"channels": 0}, "channels=0"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"score_threshold": 1.5}, "score_threshold=1.5"),
        ({"max_detections": 0}, "max_detections=0"),
        ({"nms": 0.0}, "nms=0.0"),
        ({"anchor_sizes": (8, 16)}, r"anchor_sizes=\[8, 16\] must be 4 sizes, .* like \[8, 16, 32, 64\]"),
        ({"anchor_sizes": (8, 16, 0, 64)}, "must be above 0"),
        ({"anchor_ratios": ()}, "at least one ratio"),
        ({"name": "fcos_resnet50", "anchor_ratios": (1.0,)}, "fcos_resnet50 has no anchors"),
        ({"weights": "imagenet"}, "no imagenet weights for 'fasterrcnn_small'.* They exist for fasterrcnn_mobilenet"),
        ({"name": "fasterrcnn_resnet18", "weights": "coco"}, "Did you mean 'fasterrcnn_resnet50'"),
    ],
)
def test_what_cannot_work_is_refused(arguments, message):
    with raises(ValueError, match=message):
        make_detector(**{"name": "fasterrcnn_small", "num_classes": 2, **arguments})


def test_unfit_files_are_refused(tmp_path):
    with raises(FileNotFoundError, match="Did you mean 'imagenet'"):
        make_detector("fasterrcnn_small", 2, weights="imagnet")
    (tmp_path / "text.pth").write_text("no weights")
    with raises(ValueError, match=r"text.pth' is not a state dict"):
        make_detector("fasterrcnn_small", 2, weights=tmp_path / "text.pth")
    torch.save({"epoch": 3}, tmp_path / "other.pth")
    with raises(ValueError, match="holds no state dict"):
        make_detector("fasterrcnn_small", 2, weights=tmp_path / "other.pth")
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "r18.pth")
    with raises(ValueError, match=r"r18.pth' do not fit 'fasterrcnn_small': they lack 'backbone.body"):
        make_detector("fasterrcnn_small", 2, weights=tmp_path / "r18.pth")
